"""Tables of rows and typed columns, stored as Parquet, with images as files beside them."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from artline.artifacts.media import Image
from artline.errors import EntryNotFoundError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.manifest import Entry

__all__ = ["SUFFIX", "Table"]

SUFFIX = ".table.parquet"

_KIND = b"artline.kind"
_IMAGE = b"image"


class Table:
    """Rows under named columns; each column has one type, None is allowed anywhere.

    Made of ``columns`` and ``data`` (rows), or of a pandas ``dataframe`` (its index is left out). Cells may
    be numbers, text, bytes, booleans, times, lists, dicts, NumPy values, and Image.
    """

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        data: Iterable[Sequence[Any]] | None = None,
        dataframe: Any = None,
    ) -> None:
        if dataframe is not None:
            if columns is not None or data is not None:
                raise UsageError("a table is made of a dataframe or of columns and data, not of both")
            columns = [str(name) for name in dataframe.columns]
            values = [dataframe.iloc[:, index].tolist() for index in range(len(columns))]
        else:
            rows = _rows(data)
            if columns is None:
                columns = [str(index) for index in range(len(rows[0]) if rows else 0)]
            for row in rows:
                _check_width(row, columns)
            values = [[row[index] for row in rows] for index in range(len(columns))]
        if len(set(columns)) != len(columns):
            raise UsageError(f"a table's columns must have different names, not {list(columns)}")
        self._columns: dict[str, list[Any]] = dict(zip(columns, values, strict=True))

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._columns)

    @property
    def data(self) -> list[list[Any]]:
        """The rows, as lists of cells."""
        return [list(row) for row in zip(*self._columns.values(), strict=True)]

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __repr__(self) -> str:
        return f"<Table {len(self)} rows, columns {', '.join(self._columns)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and other._columns == self._columns

    __hash__ = None  # type: ignore[assignment]  # it can change

    def add_data(self, *cells: Any) -> None:
        """Append a row; raise UsageError unless it has a cell for each column."""
        _check_width(cells, self.columns)
        for values, cell in zip(self._columns.values(), cells, strict=True):
            values.append(cell)

    def add_column(self, name: str, data: Iterable[Any]) -> None:
        """Append a column; raise UsageError when its length or name does not fit."""
        values = list(data)
        if name in self._columns or (self._columns and len(values) != len(self)):
            raise UsageError(f"column '{name}' is there already or has not {len(self)} cells")
        self._columns[name] = values

    def get_column(self, name: str) -> list[Any]:
        """Return the cells of a column; raise UsageError when there is none of that name."""
        if name not in self._columns:
            raise UsageError(f"the table has no column '{name}'. It has: {', '.join(self._columns)}")
        return list(self._columns[name])

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield each row's index and cells."""
        for index, row in enumerate(zip(*self._columns.values(), strict=True)):
            yield index, list(row)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame; Image cells stay as they are."""
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("a DataFrame needs pandas. Install it: pip install pandas") from error
        return pd.DataFrame(self._columns, columns=self.columns)

    get_dataframe = to_pandas

    def add_to_artifact(self, artifact: Artifact, name: str, *, overwrite: bool = False) -> Entry:
        """Store the table as ``<name>.table.parquet``, images in ``media/images`` beside it.

        Raises UsageError naming a column whose cells are not of one type.
        """
        arrow = _arrow()
        folder = posixpath.dirname(name)
        arrays, schema = [], []
        for column, values in self._columns.items():
            described = None
            if any(isinstance(value, Image) for value in values):
                values = _stored_images(column, values, artifact, folder)
                described = {_KIND: _IMAGE}
            array = _array(arrow, column, values)
            arrays.append(array)
            schema.append(arrow.field(column, array.type, metadata=described))
        buffer = io.BytesIO()
        table = arrow.table(arrays, schema=arrow.schema(schema))
        _parquet().write_table(table, buffer, compression="zstd")
        buffer.seek(0)
        path = name if name.endswith(SUFFIX) else name + SUFFIX
        return artifact.add_stream(buffer, path, overwrite=overwrite)

    @classmethod
    def from_artifact(cls, artifact: Artifact, name: str) -> Table | None:
        """Return the table stored under ``name``, None when there is none."""
        path = name if name.endswith(SUFFIX) else name + SUFFIX
        try:
            stream = artifact.open(path)
        except EntryNotFoundError:
            return None
        with stream:
            stored = _parquet().read_table(stream)
        columns = {}
        for field, column in zip(stored.schema, stored.columns, strict=True):
            values = column.to_pylist()
            if (field.metadata or {}).get(_KIND) == _IMAGE:
                values = [None if value is None else _open_image(artifact, value) for value in values]
            columns[field.name] = values
        table = cls()
        table._columns = columns
        return table


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


def _stored_images(column: str, values: list[Any], artifact: Artifact, folder: str) -> list[str | None]:
    paths: list[str | None] = []
    for value in values:
        if value is not None and not isinstance(value, Image):
            raise UsageError(f"column '{column}' mixes images and {type(value).__name__}. Use one kind")
        paths.append(None if value is None else value.add_by_content(artifact, folder))
    return paths


def _open_image(artifact: Artifact, path: str) -> Image:
    with artifact.open(path) as stream:
        return Image(stream.read())


def _array(arrow: Any, column: str, values: list[Any]) -> Any:
    try:
        return arrow.array([_cell(value) for value in values])
    except (arrow.ArrowInvalid, arrow.ArrowTypeError, OverflowError) as error:
        raise UsageError(
            f"the cells of column '{column}' are not of one type that Parquet has: {error}. Convert them, "
            "to text for instance"
        ) from error


def _cell(value: Any) -> Any:
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return value.tolist()
    return value


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError("tables need pyarrow. Install it: pip install 'artline[table]'") from error
    return pyarrow


def _parquet() -> Any:
    _arrow()
    import pyarrow.parquet

    return pyarrow.parquet
