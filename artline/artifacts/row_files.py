"""Files of rows: CSV, JSON lines and Parquet, read in order and in bounded memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from artline.artifacts.table_file import arrow_module, reading_parquet
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact

__all__ = ["ROW_SUFFIXES", "RowFile", "has_rows", "open_rows"]

BATCH = 4096
ROW_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")

# Tells whether any of the rows from a number to before another is wanted.
Wanted = Callable[[int, int], bool]


class RowFile(Protocol):
    """A file of rows. ``columns`` is None where each row has its own."""

    place: str
    columns: list[str] | None

    def batches(self, wanted: Wanted) -> Iterator[tuple[int, Sequence[Any]]]:
        """Yield rows in order with the number of the first (from 0), leaving out what is not wanted.

        A row is a sequence of cells, one for each of ``columns``, or a dict where there are none.
        """


def has_rows(path: str) -> bool:
    """Tell from its name whether a file is one of rows."""
    return path.lower().endswith(ROW_SUFFIXES)


def open_rows(artifact: Artifact, path: str) -> RowFile:
    """Return a file of an artifact as rows; raise UsageError for one of another format.

    Raises EntryNotFoundError, MissingExtraError for Parquet without pyarrow, and UsageError, also while
    reading, for content that is not what the file's name says.
    """
    suffix = "." + path.lower().rpartition(".")[2]
    if suffix in (".csv", ".tsv"):
        return _Csv(artifact, path, "," if suffix == ".csv" else "\t")
    if suffix in (".jsonl", ".ndjson"):
        return _JsonLines(artifact, path)
    if suffix == ".parquet":
        return _Parquet(artifact, path)
    raise UsageError(f"'{path}' is not a file of rows. Their names end in {', '.join(ROW_SUFFIXES)}")


class _Csv:
    """Text cells under the names in the first line."""

    def __init__(self, artifact: Artifact, path: str, delimiter: str) -> None:
        self._artifact = artifact
        self._path = path
        self._delimiter = delimiter
        self.place = f"'{path}' in '{artifact.name}'"
        self.columns: list[str] | None = next((rows[0] for rows in self._lines()), [])
        if len(set(self.columns)) != len(self.columns):
            raise UsageError(f"{self.place} has two columns of one name: {', '.join(self.columns)}")

    def batches(self, wanted: Wanted) -> Iterator[tuple[int, Sequence[Any]]]:
        width = len(self.columns or ())
        start = -1  # the head is no row
        for lines in self._lines():
            rows = lines[1:] if start < 0 else lines
            start = max(start, 0)
            if any(len(row) != width for row in rows):
                number, row = next((n, row) for n, row in enumerate(rows, start + 1) if len(row) != width)
                raise UsageError(
                    f"{self.place}: row {number} has {len(row)} cells where there are {width} columns"
                )
            if wanted(start, start + len(rows)):
                yield start, rows
            start += len(rows)

    def _lines(self) -> Iterator[list[list[str]]]:
        with self._artifact.open(self._path) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            lines = filter(None, csv.reader(text, delimiter=self._delimiter, strict=True))
            while True:
                try:
                    batch = list(islice(lines, BATCH))
                except (csv.Error, UnicodeDecodeError) as error:
                    raise UsageError(f"{self.place} cannot be read as CSV: {error}") from error
                if not batch:
                    return
                yield batch


class _JsonLines:
    """An object on each line."""

    columns: list[str] | None = None

    def __init__(self, artifact: Artifact, path: str) -> None:
        self._artifact = artifact
        self._path = path
        self.place = f"'{path}' in '{artifact.name}'"

    def batches(self, wanted: Wanted) -> Iterator[tuple[int, Sequence[Any]]]:
        start = 0
        with self._artifact.open(self._path) as stream:
            lines = (line for line in stream if not line.isspace())
            while batch := list(islice(lines, BATCH)):
                if wanted(start, start + len(batch)):
                    yield start, _JsonRows(self.place, start, batch)
                start += len(batch)


class _JsonRows(Sequence[dict[str, Any]]):
    """Lines that become rows when they are looked at."""

    _decode = json.JSONDecoder().decode

    def __init__(self, place: str, start: int, lines: Sequence[bytes]) -> None:
        self._place = place
        self._start = start
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: Any) -> Any:
        try:
            row = self._decode(self._lines[index].decode())
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self._place}: row {self._start + index + 1} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise UsageError(
                f"{self._place}: row {self._start + index + 1} is not an object with named cells"
            )
        return row


class _Parquet:
    """Typed cells, by row group, so that those without wanted rows are not read."""

    def __init__(self, artifact: Artifact, path: str) -> None:
        arrow_module()
        self._artifact = artifact
        self._path = path
        self.place = f"'{path}' in '{artifact.name}'"
        with self._artifact.open(path) as stream, reading_parquet(self.place):
            self.columns: list[str] | None = list(self._open(stream).schema_arrow.names)
        if len(set(self.columns)) != len(self.columns):
            raise UsageError(f"{self.place} has two columns of one name: {', '.join(self.columns)}")

    def batches(self, wanted: Wanted) -> Iterator[tuple[int, Sequence[Any]]]:
        with self._artifact.open(self._path) as stream, reading_parquet(self.place):
            file = self._open(stream)
            start = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if wanted(start, start + rows):
                    number = start
                    for batch in file.iter_batches(batch_size=BATCH, row_groups=[group]):
                        if wanted(number, number + batch.num_rows):
                            yield number, list(zip(*map(_cells, batch.columns), strict=True))
                        number += batch.num_rows
                start += rows

    def _open(self, stream: Any) -> Any:
        from pyarrow import parquet

        return parquet.ParquetFile(stream)


def _cells(array: Any) -> list[Any]:
    if str(array.type).endswith(("[ns]", "[ns, tz=UTC]")) or "[ns, tz=" in str(array.type):
        array = array.cast(arrow_module().string())  # Python's times end at microseconds
    cells: list[Any] = array.to_pylist()
    return cells
