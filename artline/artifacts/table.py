"""Tables of rows and typed columns, stored as Parquet, with media as files beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from artline.artifacts.media import Content, Kept, Media, Sink, Source
from artline.artifacts.table_file import (
    SUFFIX,
    StoredTable,
    TableWriter,
    array_of,
    arrow_module,
    frame_columns,
    frame_forms,
    is_frame,
)
from artline.errors import EntryNotFoundError, UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.manifest import Entry

__all__ = ["SUFFIX", "Table", "TableWriter"]

BATCH = 1 << 16


class Table(Media):
    """Rows under named columns; each column has one type, None is allowed anywhere.

    Made of ``columns`` and ``data`` (rows), or of a pandas, Polars or Arrow ``dataframe``; a pandas index is
    left out, the levels of a MultiIndex become columns. Cells may be numbers, decimals, text, bytes,
    booleans, times (zones kept; all of a column with one, or none), lists, dicts (all with
    the same keys), NumPy values, and media (Image, Audio, Histogram, …; one kind in a column).
    ``schema``, a pyarrow schema or a mapping of column names to pyarrow types, settles the types of all
    columns or of some; the others follow from their cells.

    ``rows`` is another name for ``data``. ``dtype``, one or a list or mapping by column of ``int``,
    ``float``, ``str``, ``bool``, ``bytes`` or NumPy types, says what ``schema`` does; others have no effect.
    ``optional``, one or a list by column, refuses None where it is False. With ``allow_mixed_types`` a column
    whose cells are not of one type is stored as text, each cell as JSON (``1``, ``"x"``). ``log_mode``
    changes nothing: each time a table is logged it is kept as it is then.

    A table that ``Artifact.get`` returns is read when it is used: ``iter_batches`` and ``iterrows`` keep one
    batch in memory, everything else the whole table.
    """

    kind = "table"
    record_type = "table-file"

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        data: Iterable[Sequence[Any]] | Any = None,
        dataframe: Any = None,
        *,
        schema: Any = None,
        rows: Iterable[Sequence[Any]] | Any = None,
        dtype: Any = None,
        optional: bool | Sequence[bool] = True,
        allow_mixed_types: bool = False,
        log_mode: str | None = None,
    ) -> None:
        data = rows if data is None else data
        if dataframe is None and is_frame(data):
            data, dataframe = None, data
        self._stored: StoredTable | None = None
        self._loaded: dict[str, Any] = {}
        self._forms: dict[str, str] = {}
        if dataframe is not None:
            if columns is not None or data is not None:
                raise UsageError("a table is made of a dataframe or of columns and data, not of both")
            self._loaded = frame_columns(dataframe)
            self._forms = frame_forms(dataframe)
        else:
            given = _rows(data)
            if columns is None:
                columns = [str(index) for index in range(len(given[0]) if given else 0)]
            columns = [str(name) for name in columns]  # as those of a dataframe
            if len(set(columns)) != len(columns):
                raise UsageError(f"a table's columns must have different names, not {list(columns)}")
            for row in given:
                _check_width(row, columns)
            cells = map(list, zip(*given, strict=True)) if given else ([] for _ in columns)
            self._loaded = dict(zip(columns, cells, strict=True))
        self._mixed = allow_mixed_types
        self._required = _required(optional, self.columns)
        for name, cells in self._loaded.items():
            if name in self._required and isinstance(cells, list):
                for cell in cells:
                    self._check_cell(name, cell)
        self._types = {**_dtypes(dtype, self.columns), **_types(schema)}
        for name in self._types:
            self._check_column(name)
            self._forms.pop(name, None)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._stored.columns if self._stored is not None else self._loaded)

    @property
    def data(self) -> list[list[Any]]:
        """The rows, as lists of cells."""
        return [list(row) for row in zip(*map(self.get_column, self.columns), strict=True)]

    @property
    def schema(self) -> Any:
        """The columns with their types, as a pyarrow schema; media are of their paths and captions."""
        return self._stored.schema if self._stored is not None else self.to_arrow().schema

    def __len__(self) -> int:
        if self._stored is not None:
            return self._stored.rows
        return len(next(iter(self._loaded.values()), ()))

    def __repr__(self) -> str:
        return f"<Table {len(self)} rows, columns {', '.join(self.columns)}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return self.columns == other.columns and len(self) == len(other) and self.data == other.data

    __hash__ = None  # type: ignore[assignment]  # it can change

    def add_data(self, *cells: Any) -> None:
        """Append a row; raise UsageError unless it has a cell for each column."""
        _check_width(cells, self.columns)
        for column, cell in zip(self.columns, cells, strict=True):
            self._check_cell(column, cell)
        for column, cell in zip(self.columns, cells, strict=True):
            self._list(column).append(cell)

    def add_column(self, name: str, data: Iterable[Any]) -> None:
        """Append a column; raise UsageError when its length or name does not fit."""
        values = list(data)
        if name in self.columns or (self.columns and len(values) != len(self)):
            raise UsageError(f"column '{name}' is there already or has not {len(self)} cells")
        self._load()[name] = values

    def get_column(self, name: str) -> list[Any]:
        """Return the cells of a column; raise UsageError when there is none of that name."""
        self._check_column(name)
        if self._stored is not None:
            return self._stored.column(name)
        cells = self._loaded[name]
        return list(cells) if isinstance(cells, list) else list(cells.to_pylist())

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield each row's index and cells."""
        stored = self._stored
        if stored is None:
            columns = [self.get_column(name) for name in self.columns]
            for index, row in enumerate(zip(*columns, strict=True)):
                yield index, list(row)
            return
        index = 0
        for batch in stored.batches(BATCH):
            parts = [stored.cells(name, batch.column(name)) for name in stored.columns]
            for row in zip(*parts, strict=True):
                yield index, list(row)
                index += 1

    def iter_batches(self, size: int = BATCH) -> Iterator[Any]:
        """Yield the rows as Arrow record batches of at most ``size`` rows; media as in ``to_arrow``."""
        if self._stored is not None:
            yield from self._stored.batches(size)
        else:
            yield from self.to_arrow().to_batches(max_chunksize=size)

    def to_arrow(self) -> Any:
        """Return a pyarrow Table.

        Media of a table out of an artifact are structs of their path in it, their caption and details. Raises
        UsageError for media that are not stored yet, and naming a column whose cells are not of one type.
        """
        if self._stored is not None:
            return self._stored.read()
        arrays = {}
        for name, cells in self._loaded.items():
            if isinstance(cells, list) and any(isinstance(cell, Media) for cell in cells):
                held = next(cell.kind for cell in cells if isinstance(cell, Media))
                raise UsageError(f"column '{name}' holds {held}s, which Arrow has not. Add the table first")
            arrays[name] = self._array(name, cells)
        return arrow_module().table(arrays)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame; media stay as they are.

        Integers and booleans beside None are pandas' nullable ones; so is a column that came from such a one.
        """
        from artline.artifacts.table_frames import pandas_module, pandas_series, pandas_table, plain_series

        pd = pandas_module()
        stored = self._stored
        if stored is not None:
            table = stored.read()
            plain = [name for name in stored.columns if name not in stored.media]
            frame = pandas_table(table.select(plain), stored.forms)
            for name in stored.media:
                frame[name] = pd.Series(stored.cells(name, table.column(name)), dtype=object)
            return frame[stored.columns]
        columns = {}
        for name, cells in self._loaded.items():
            typed = name in self._types or not isinstance(cells, list)
            columns[name] = (
                pandas_series(array_of(name, cells, self._types.get(name)), self._forms.get(name))
                if typed
                else plain_series(name, cells)
            )
        return pd.DataFrame(columns, columns=self.columns)

    get_dataframe = to_pandas

    def to_polars(self) -> Any:
        """Return a Polars DataFrame; media and errors as in ``to_arrow``.

        Times of an offset such as +05:30 are in UTC there. Raises UsageError for a type that Polars has not.
        """
        from artline.artifacts.table_frames import polars_table

        return polars_table(self.to_arrow())

    def add_to_artifact(self, artifact: Artifact, name: str, *, overwrite: bool = False) -> Entry:
        """Store the table as ``<name>.table.parquet``, media in ``media`` beside it.

        Raises UsageError naming a column whose cells are not of one type.
        """
        with TableWriter(artifact, name, overwrite=overwrite) as writer:
            self._write(writer)
        assert writer.entry is not None
        return writer.entry

    def _write(self, writer: TableWriter) -> None:
        stored = self._stored
        writer.forms = dict(self._forms if stored is None else stored.forms)
        if stored is None:
            writer.write(
                {
                    column: self._array(column, cells) if self._settles(column, cells) else cells
                    for column, cells in self._loaded.items()
                }
            )
            return
        for batch in stored.batches(BATCH) if stored.rows else [stored.read()]:
            parts = {column: batch.column(column) for column in stored.columns}
            writer.write(parts | {column: stored.cells(column, parts[column]) for column in stored.media})

    @property
    def held(self) -> int:
        """About the bytes of memory that the rows take."""
        if self._stored is not None:
            return 0
        size = 0
        for cells in self._loaded.values():
            if not isinstance(cells, list):
                size += int(cells.nbytes)
                continue
            size += 64 * len(cells)
            size += sum(len(cell) for cell in cells if isinstance(cell, str | bytes))
            size += sum(cell.held for cell in cells if isinstance(cell, Media))
        return size

    def snapshot(self) -> Table:
        """Return a table of the rows that there are now; media and nested cells are shared."""
        table = Table()
        table._mixed, table._required = self._mixed, self._required
        table._stored, table._types, table._forms = self._stored, dict(self._types), dict(self._forms)
        table._loaded = {
            name: list(cells) if isinstance(cells, list) else cells for name, cells in self._loaded.items()
        }
        return table

    def to_record(self, sink: Sink) -> dict[str, Any]:
        """Keep the table as Parquet, its media beside it, and return what a history says of it."""
        target = _Record(sink)
        with TableWriter(target, "table") as writer:
            self._write(writer)
        assert target.kept is not None
        return {
            "_type": self.record_type,
            "path": target.kept.path,
            "digest": target.kept.digest,
            "size": target.kept.size,
            "ncols": len(self.columns),
            "nrows": len(self),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], source: Source) -> Table:
        """Return what ``to_record`` described."""
        table = cls()
        table._stored = StoredTable(source, str(record["path"]))
        return table

    @classmethod
    def from_artifact(cls, artifact: Artifact, name: str) -> Table | None:
        """Return the table stored under ``name``, None when there is none."""
        path = name if name.endswith(SUFFIX) else name + SUFFIX
        try:
            artifact.get_entry(path)
        except EntryNotFoundError:
            return None
        table = cls()
        table._stored = StoredTable(artifact, path)
        return table

    def _load(self) -> dict[str, Any]:
        """Return the columns in memory; from then on the table is independent of its file."""
        stored = self._stored
        if stored is not None:
            table = stored.read()
            self._loaded = {
                name: stored.cells(name, table.column(name)) if name in stored.media else table.column(name)
                for name in stored.columns
            }
            self._types = {
                field.name: field.type for field in stored.schema if field.name not in stored.media
            }
            self._forms = stored.forms
            self._stored = None
        return self._loaded

    def _settles(self, column: str, cells: Any) -> bool:
        if column in self._types:
            return True
        return self._mixed and isinstance(cells, list) and not any(isinstance(cell, Media) for cell in cells)

    def _array(self, column: str, cells: Any) -> Any:
        """Return cells as an Arrow array, of JSON where they are of several types and may be."""
        wanted = self._types.get(column)
        try:
            return array_of(column, cells, wanted)
        except UsageError:
            if wanted is not None or not self._mixed:
                raise
        return array_of(column, [None if cell is None else _json(cell) for cell in cells])

    def _check_cell(self, column: str, cell: Any) -> None:
        if cell is None and column in self._required:
            raise UsageError(
                f"column '{column}' is not optional and has no None. Pass optional=True to allow it"
            )

    def _check_column(self, name: str) -> None:
        if name not in self.columns:
            raise UsageError(f"the table has no column '{name}'. It has: {', '.join(self.columns)}")

    def _list(self, name: str) -> list[Any]:
        cells = self._load()[name]
        if isinstance(cells, list):
            return cells
        self._types.setdefault(name, cells.type)
        values: list[Any] = cells.to_pylist()
        self._loaded[name] = values
        return values


class _Record:
    """Keeps the file of a table under its digest, where its media are kept."""

    def __init__(self, sink: Sink) -> None:
        self.keep = sink.keep
        self.kept: Kept | None = None

    def add_stream(self, stream: BinaryIO, name: str, /, *, overwrite: bool = False) -> Kept:
        self.kept = self.keep(Content(stream=stream), "table", SUFFIX)
        return self.kept


def _rows(data: Any) -> list[Sequence[Any]]:
    if data is None:
        return []
    if hasattr(data, "tolist"):
        data = data.tolist()
    return [row if isinstance(row, Sequence) and not isinstance(row, str) else list(row) for row in data]


def _check_width(row: Sequence[Any], columns: Sequence[str]) -> None:
    if len(row) != len(columns):
        raise UsageError(
            f"a row has {len(row)} cells, the table has {len(columns)} columns ({', '.join(columns)})"
        )


def _types(schema: Any) -> dict[str, Any]:
    if schema is None:
        return {}
    if isinstance(schema, Mapping):
        return dict(schema)
    return {field.name: field.type for field in schema}


def _json(cell: Any) -> str:
    plain = cell.tolist() if hasattr(cell, "tolist") and hasattr(cell, "dtype") else cell
    return json.dumps(plain, ensure_ascii=False, default=str)


def _required(optional: bool | Sequence[bool], columns: Sequence[str]) -> frozenset[str]:
    flags = [optional] * len(columns) if isinstance(optional, bool) else list(optional)
    if len(flags) != len(columns):
        raise UsageError(
            f"optional has {len(flags)} values, the table has {len(columns)} columns. Pass one each"
        )
    return frozenset(name for name, flag in zip(columns, flags, strict=True) if not flag)


def _dtypes(dtype: Any, columns: Sequence[str]) -> dict[str, Any]:
    """Return Arrow types by column for types of Python or NumPy, as far as they say one."""
    if dtype is None:
        return {}
    if isinstance(dtype, Mapping):
        named = {str(name): kind for name, kind in dtype.items()}
    elif isinstance(dtype, list | tuple):
        named = dict(zip(columns, dtype, strict=False))
    else:
        named = dict.fromkeys(columns, dtype)
    arrow = arrow_module()
    known = {int: arrow.int64(), float: arrow.float64(), str: arrow.string(), bool: arrow.bool_()}
    known[bytes] = arrow.binary()
    found = {}
    for name, kind in named.items():
        if isinstance(kind, arrow.DataType):
            found[name] = kind
        elif isinstance(kind, type) and kind in known:
            found[name] = known[kind]
        elif type(kind).__module__.startswith("numpy") or getattr(kind, "__module__", "") == "numpy":
            try:
                found[name] = arrow.from_numpy_dtype(kind)
            except (arrow.ArrowException, TypeError):
                continue  # as Python objects: the cells tell
    return found
