"""The stored form of a table: one Parquet file whose pages and row groups follow its content."""

from __future__ import annotations

import json
import posixpath
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from artline.artifacts.media import FILE_KINDS, FileMedia, Histogram, Media, Sink, Source, sink_of
from artline.artifacts.table_zones import check_zones
from artline.errors import ArtlineError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.manifest import Entry

__all__ = [
    "SUFFIX",
    "StoredTable",
    "TableWriter",
    "array_of",
    "arrow_module",
    "frame_columns",
    "frame_forms",
    "is_frame",
]

SUFFIX = ".table.parquet"

# A row group ends at a fixed number of rows, or at a multiple of GRID rows once it is large, so that the row
# groups of a table and of the same table with rows appended begin alike.
GROUP_ROWS = 1 << 17
GROUP_BYTES = 128 << 20
GRID = 1 << 10
SPOOL = 16 << 20

_KIND = b"artline.kind"
_FORM = b"artline.pandas"
_FORMS = ("nullable", "arrow")
_NULLABLE = {f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
_NULLABLE |= {"Float32", "Float64", "boolean", "string"}
_KINDS: dict[bytes, type[FileMedia] | type[Histogram]] = {
    **{kind.kind.encode(): kind for kind in FILE_KINDS},
    Histogram.kind.encode(): Histogram,
}
# What a cell does not repeat of a record: it is in columns of its own, in the manifest, or in the file.
_ELSEWHERE = frozenset(("_type", "path", "digest", "size", "caption", "format", "width", "height"))


class Target(Sink, Protocol):
    """Where a table is written that is not for an artifact: its media are kept by it, too."""

    def add_stream(self, stream: BinaryIO, name: str, /, *, overwrite: bool = False) -> Any:
        """Keep the file of the table."""


class TableWriter:
    """Writes a table that need not fit in memory into an artifact, batch by batch.

    Use it in a ``with`` block: the table is there, as ``<name>.table.parquet``, when the block ends, and
    nothing is when the block raises. The first batch settles columns and types unless ``schema`` (a pyarrow
    schema) does. Memory holds one row group, 131,072 rows or about 128 MiB.
    """

    def __init__(
        self, artifact: Artifact | Target, name: str, *, schema: Any = None, overwrite: bool = False
    ) -> None:
        self._artifact = artifact
        self._path = name if name.endswith(SUFFIX) else name + SUFFIX
        self._overwrite = overwrite
        self._arrow = arrow_module()
        self._schema = schema
        self._given = schema is not None
        self._settled = False
        self.forms: dict[str, str] = {}
        self._file = tempfile.SpooledTemporaryFile(SPOOL, prefix="artline-")  # noqa: SIM115 (closed at exit)
        self._parquet: Any = None
        self._pending: list[Any] = []
        self._rows = 0
        self._size = 0
        self.entry: Entry | None = None

    def write(self, rows: Any) -> None:
        """Append a batch: a pandas, Polars or Arrow table, or a mapping of column names to cells.

        Raises UsageError naming a column whose cells do not fit its type.
        """
        mapped = isinstance(rows, Mapping)
        columns = {str(name): rows[name] for name in rows} if mapped else frame_columns(rows)
        if mapped and len(columns) != len(rows):
            raise UsageError(f"a table's columns must have different names, not {list(rows)}")
        if self._schema is None:
            self.forms |= frame_forms(rows)
        table = self._table(columns)
        if not self._settled:
            self._schema, self._settled = table.schema, True
        offset = 0
        while offset < len(table):
            piece = table.slice(offset, GRID - self._rows % GRID)
            self._pending.append(piece)
            self._rows += len(piece)
            self._size += piece.nbytes
            offset += len(piece)
            if self._rows == GROUP_ROWS or (self._size >= GROUP_BYTES and self._rows % GRID == 0):
                self._write_group()

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is not None:
                return
            if not self._settled:
                self._schema = self._schema or self._arrow.schema([])
            self._write_group()
            self._parquet.close()
            self._file.seek(0)
            stream = cast("BinaryIO", self._file)
            self.entry = self._artifact.add_stream(stream, self._path, overwrite=self._overwrite)

    def _table(self, columns: Mapping[str, Any]) -> Any:
        if self._schema is not None and list(columns) != self._schema.names:
            raise UsageError(
                f"the rows have the columns {', '.join(columns)}, the table {', '.join(self._schema.names)}"
            )
        fields, arrays = [], []
        for name, cells in columns.items():
            wanted = self._schema.field(name) if self._schema is not None else None
            kind = _media_kind(name, cells)
            if kind is not None:
                array = self._media(name, kind, cells, wanted)
                field = self._arrow.field(name, array.type, metadata={_KIND: kind.kind.encode()})
            else:
                if self._settled and wanted is not None and not self._given:
                    self._check_zone(name, cells, wanted.type)
                array = array_of(name, cells, wanted.type if wanted is not None else None)
                form = {_FORM: self.forms[name]} if name in self.forms else None
                field = wanted if wanted is not None else self._arrow.field(name, array.type, metadata=form)
            fields.append(field)
            arrays.append(array)
        return self._arrow.table(arrays, schema=self._arrow.schema(fields))

    def _check_zone(self, column: str, cells: Any, wanted: Any) -> None:
        """Raise UsageError when a batch has times with a zone after times without, or the reverse."""
        if not self._arrow.types.is_timestamp(wanted):
            return
        zoned = wanted.tz is not None
        if isinstance(cells, list):
            check_zones(column, cells, zoned)
            return
        type_ = array_of(column, cells).type
        if self._arrow.types.is_timestamp(type_) and (type_.tz is not None) != zoned:
            raise UsageError(
                f"column '{column}' mixes times with and without a zone: it is of type {wanted} in the rows "
                f"before, and of type {type_} in these. Give all a zone, or none"
            )

    def _media(
        self, column: str, kind: type[FileMedia] | type[Histogram], cells: list[Any], wanted: Any
    ) -> Any:
        """Keep the files of media and return the cells that refer to them."""
        sink = sink_of(self._artifact, posixpath.dirname(self._path))
        stored: list[dict[str, Any] | None] = []
        detailed = False
        for cell in cells:
            if cell is None:
                stored.append(None)
                continue
            record = cell.to_record(sink)
            if kind is Histogram:
                stored.append({"values": list(map(float, record["values"])), "bins": record["bins"]})
                continue
            details = {name: value for name, value in record.items() if name not in _ELSEWHERE}
            detailed = detailed or bool(details)
            text = json.dumps(details) if details else None
            stored.append({"path": record["path"], "caption": cell.caption, "details": text})
        arrow = self._arrow
        if kind is Histogram:
            numbers = arrow.list_(arrow.float64())
            type_ = arrow.struct([("values", numbers), ("bins", numbers)])
        else:
            names = ["path", "caption"]
            if detailed or (wanted is not None and "details" in str(wanted.type)):
                names.append("details")
            type_ = arrow.struct([(name, arrow.string()) for name in names])
        if wanted is not None and (
            wanted.type != type_ or (wanted.metadata or {}).get(_KIND) not in (None, kind.kind.encode())
        ):
            raise UsageError(f"column '{column}' is of type {wanted.type}, not {kind.kind}s like these")
        return arrow.array(stored, type_)

    def _write_group(self) -> None:
        from pyarrow import parquet

        try:
            if self._parquet is None:
                self._parquet = parquet.ParquetWriter(
                    self._file, self._schema, compression="zstd", use_content_defined_chunking=True
                )
            if self._pending:
                group = self._arrow.concat_tables(self._pending)
                self._parquet.write_table(group, row_group_size=GROUP_ROWS)
        except (self._arrow.ArrowInvalid, self._arrow.ArrowNotImplementedError) as error:
            raise UsageError(f"Parquet has no form for the table '{self._path}': {error}") from error
        self._pending, self._rows, self._size = [], 0, 0


class StoredTable:
    """A table's file in an artifact, or among the files of a run, read in place."""

    def __init__(self, artifact: Source, path: str) -> None:
        arrow_module()
        self._artifact = artifact
        self._path = path
        with artifact.open(path) as stream, reading_parquet(path):
            file = self._open(stream)
            self.rows: int = file.metadata.num_rows
            self._schema = file.schema_arrow
        self.columns: list[str] = self._schema.names
        self.media = {
            field.name: _KINDS[kind]
            for field in self._schema
            if (kind := (field.metadata or {}).get(_KIND)) in _KINDS
        }

        self.forms = {
            field.name: form
            for field in self._schema
            if (form := (field.metadata or {}).get(_FORM, b"").decode(errors="replace")) in _FORMS
        }

    @property
    def schema(self) -> Any:
        """The columns with their Arrow types; media are of their paths, captions and details."""
        return arrow_module().schema([field.remove_metadata() for field in self._schema])

    def read(self) -> Any:
        """Return everything as an Arrow table."""
        with self._artifact.open(self._path) as stream, reading_parquet(self._path):
            return self._open(stream).read().cast(self.schema)

    def column(self, name: str) -> list[Any]:
        """Return one column as Python values, reading no other."""
        with self._artifact.open(self._path) as stream, reading_parquet(self._path):
            return self.cells(name, self._open(stream).read(columns=[name]).column(name))

    def batches(self, size: int) -> Iterator[Any]:
        """Yield Arrow record batches of at most ``size`` rows, reading the file as they are taken."""
        schema = self.schema
        with self._artifact.open(self._path) as stream, reading_parquet(self._path):
            file = self._open(stream)
            for group in range(file.num_row_groups):  # all at once, Arrow keeps what it has read
                for batch in file.iter_batches(batch_size=size, row_groups=[group]):
                    yield batch.cast(schema)

    def cells(self, column: str, array: Any) -> list[Any]:
        """Return a column of ``read`` or ``batches`` as Python values, media opened."""
        values = array.to_pylist()
        kind = self.media.get(column)
        return list(values) if kind is None else [self._cell(kind, value) for value in values]

    def _cell(self, kind: type[FileMedia] | type[Histogram], stored: Any) -> Media | None:
        if stored is None:
            return None
        # A path alone is what the first stores have.
        record = {"path": stored} if isinstance(stored, str) else dict(stored)
        record.update(json.loads(record.pop("details", None) or "{}"))
        return kind.from_record(record, self._artifact)

    def _open(self, stream: BinaryIO) -> Any:
        from pyarrow import parquet

        return parquet.ParquetFile(stream)


@contextmanager
def reading_parquet(place: str) -> Iterator[None]:
    """Turn what is raised on content that is no Parquet, or damaged by who wrote it, into UsageError."""
    try:
        yield
    except ArtlineError:
        raise
    except (arrow_module().ArrowException, OSError, ValueError, OverflowError) as error:
        raise UsageError(f"{place} cannot be read as Parquet: {error}") from error


def _media_kind(column: str, cells: Any) -> type[FileMedia] | type[Histogram] | None:
    """Return of what kind the media of a column are, None when they are none. Raises UsageError for two."""
    if not isinstance(cells, list):
        return None
    first = next((cell for cell in cells if isinstance(cell, Media)), None)
    if first is None:
        return None
    kind = next((known for known in _KINDS.values() if isinstance(first, known)), None)
    if kind is None:
        raise UsageError(f"column '{column}' holds a {type(first).__name__}, which cannot be a cell")
    for cell in cells:
        if cell is not None and not isinstance(cell, kind):
            raise UsageError(f"column '{column}' mixes {kind.kind}s and {type(cell).__name__}. Use one kind")
    return kind


def is_frame(data: Any) -> bool:
    """Tell whether an object is a table of another library: pandas, Polars, or one that exports Arrow."""
    return hasattr(data, "iloc") or hasattr(data, "to_arrow") or hasattr(data, "__arrow_c_stream__")


def frame_columns(frame: Any) -> dict[str, Any]:
    """Return another library's table as columns: Arrow arrays, or lists where they hold media."""
    arrow = arrow_module()
    if hasattr(frame, "iloc"):
        frame = _leveled(frame)
        names = [str(name) for name in frame.columns]
        series = [frame.iloc[:, index] for index in range(len(names))]
        cells = [
            one.tolist() if any(isinstance(cell, Media) for cell in _objects(one)) else array_of(name, one)
            for name, one in zip(names, series, strict=True)
        ]
    elif isinstance(frame, arrow.RecordBatch | arrow.Table):
        names, cells = list(frame.schema.names), list(frame.columns)
    elif is_frame(frame):
        table = frame.to_arrow() if hasattr(frame, "to_arrow") else arrow.table(frame)
        names, cells = list(table.schema.names), list(table.columns)
    else:
        raise UsageError(
            f"a {type(frame).__name__} is no table. Pass a pandas, Polars or Arrow table, or columns and data"
        )
    if len(set(names)) != len(names):
        raise UsageError(f"a table's columns must have different names, not {names}")
    return dict(zip(names, cells, strict=True))


def _leveled(frame: Any) -> Any:
    """Return a pandas table with the levels of a MultiIndex as columns; raise UsageError without names."""
    if getattr(frame.index, "nlevels", 1) == 1:
        return frame
    names = list(frame.index.names)
    if None in names:
        raise UsageError(
            f"the dataframe's index has {len(names)} levels, not all of them named. Name them "
            "(frame.index.names = […]) to keep them as columns, or drop them: frame.reset_index(drop=True)"
        )
    taken = {str(name) for name in names} & {str(name) for name in frame.columns}
    if taken or len(set(names)) != len(names):
        raise UsageError(
            f"the dataframe's index levels {names} do not differ from its columns and each other. "
            "Rename them: frame.index.names = […]"
        )
    return frame.reset_index()


def frame_forms(frame: Any) -> dict[str, str]:
    """Return which columns of a pandas table are ``nullable`` ones, or ``arrow`` ones."""
    if not hasattr(frame, "iloc"):
        return {}
    forms = {}
    for name, dtype in _leveled(frame).dtypes.items():
        if str(dtype).endswith("[pyarrow]"):
            forms[str(name)] = _FORMS[1]
        elif str(dtype) in _NULLABLE:
            forms[str(name)] = _FORMS[0]
    return forms


def array_of(column: str, cells: Any, wanted: Any = None) -> Any:
    """Return cells as an Arrow array, of the type ``wanted`` if one is.

    Raises UsageError naming the column when the cells are not of one type, or not of that one, or when only
    some of its times have a zone.
    """
    arrow = arrow_module()
    try:
        if isinstance(cells, arrow.Array | arrow.ChunkedArray):
            return cells if wanted is None or cells.type == wanted else cells.cast(wanted)
        if hasattr(cells, "iloc"):
            array = arrow.array(cells, wanted, from_pandas=True)
            cells = _objects(cells)
        else:
            cells = [_plain(cell) for cell in cells]
            array = arrow.array(cells, wanted)
        if "time" in str(array.type):
            check_zones(column, cells)
        return array
    except (arrow.ArrowException, TypeError, ValueError, OverflowError) as error:
        told = f"of type {wanted}" if wanted is not None else "of one type that Parquet has"
        raise UsageError(
            f"the cells of column '{column}' are not {told}: {error}. Convert them, to text for instance"
        ) from error


def arrow_module() -> Any:
    """Return pyarrow; raise MissingExtraError without it."""
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError("tables need pyarrow. Install it: pip install 'artline[table]'") from error
    return pyarrow


def _objects(series: Any) -> Any:
    return series if series.dtype == object else ()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return value.tolist()
    return value
