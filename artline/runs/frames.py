"""Records as columns: for pandas, polars and Arrow, without a dict a row where that can be avoided."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from artline.errors import MissingExtraError, UsageError
from artline.runs.cells import arrow_type, column_kind, kind_of, typed, unicode_text
from artline.runs.columns import FLOAT, INT

__all__ = ["FORMATS", "Columns"]

FORMATS = ("rows", "pandas", "polars", "arrow")
_OBJECT = "O"
_INEXACT = 2.0**53  # from here on floats do not tell every whole number from the next


@dataclass(slots=True)
class _Column:
    """Values of one kind, an array of numbers or a list of anything; ``held`` tells which rows have one."""

    kind: str
    values: Any
    held: bytearray | None = None

    @classmethod
    def absent(cls, kind: str, rows: int) -> _Column:
        """Return a column that no row has had so far."""
        blank: Any = array(kind, bytes(8 * rows)) if kind in (FLOAT, INT) else [None] * rows
        return cls(kind, blank, bytearray(rows) if rows else None)

    def widen(self, kind: str) -> None:
        """Make room for values of another kind."""
        if kind == self.kind or self.kind == _OBJECT:
            return
        if {kind, self.kind} == {FLOAT, INT}:
            if self.kind == INT:
                self.kind, self.values = FLOAT, array(FLOAT, self.values)
            return
        values = self.values.tolist()
        if self.held is not None:
            values = [value if held else None for value, held in zip(values, self.held, strict=True)]
        self.kind, self.values = _OBJECT, values

    def hold(self, held: bytes) -> None:
        """Note which of the rows that were just added have a value."""
        before = len(self.values) - len(held)
        if self.held is None and not all(held):
            self.held = bytearray(b"\1") * before
        if self.held is not None:
            self.held += held


@dataclass(slots=True)
class Columns:
    """A table that grows: names to columns of one length."""

    rows: int = 0
    columns: dict[str, _Column] = field(default_factory=dict)

    @classmethod
    def gather(cls, parts: Iterable[Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]]) -> Columns:
        """Join columns and records, in order."""
        table = cls()
        for part in parts:
            if isinstance(part, Mapping):
                table._add_columns(part)
            else:
                table._add_records(part)
        return table

    def _add_columns(self, part: Mapping[str, Sequence[Any]]) -> None:
        count = len(next(iter(part.values())))
        for name, values in part.items():
            kind = values.typecode if isinstance(values, array) else _OBJECT
            self._extend(name, kind, values, b"\1" * count)
        self._pad(count)

    def _add_records(self, records: Sequence[Mapping[str, Any]]) -> None:
        for name in dict.fromkeys(name for record in records for name in record):
            held = bytes(name in record for record in records)
            values = [record.get(name) for record in records]
            kinds = {type(value) for value, there in zip(values, held, strict=True) if there}
            kind = FLOAT if kinds in ({float}, {int, float}) else INT if kinds == {int} else _OBJECT
            if kind in (FLOAT, INT):
                values = [value if there else 0 for value, there in zip(values, held, strict=True)]
                if int in kinds and not all(
                    -(2**63) <= value < 2**63 for value in values if type(value) is int
                ):
                    kind = _OBJECT
            self._extend(name, kind, values, held)
        self._pad(len(records))

    def _extend(self, name: str, kind: str, values: Sequence[Any], held: bytes) -> None:
        column = self.columns.get(name)
        if column is None:
            column = self.columns[name] = _Column.absent(kind, self.rows)
        column.widen(kind)
        column.values.extend(values)
        column.hold(held)

    def _pad(self, count: int) -> None:
        self.rows += count
        for column in self.columns.values():
            missing = self.rows - len(column.values)
            if missing:
                column.values.extend(_Column.absent(column.kind, missing).values)
                column.hold(bytes(missing))

    def shown(self, format: str) -> Any:
        """Return a pandas or polars DataFrame, or an Arrow table. Raises MissingExtraError, UsageError."""
        makers = {"pandas": self._pandas, "polars": self._polars, "arrow": self._arrow}
        if format not in makers:
            raise UsageError(f"unknown format '{format}'. Known: {', '.join(FORMATS)}")
        try:
            return makers[format]()
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"history as {format} needs {error.name}. Install it: pip install {error.name}; or leave "
                "the format out"
            ) from None

    def _pandas(self) -> Any:
        import numpy
        import pandas

        found = {}
        for name, column in self.columns.items():
            if column.kind == _OBJECT:
                values = [unicode_text(v) if isinstance(v, str) else v for v in column.values]
                if column.held is not None:
                    values = [
                        value if held else math.nan for value, held in zip(values, column.held, strict=True)
                    ]
                whole = column_kind(map(kind_of, column.values)) in ("decimal", "digits")
                found[name] = pandas.Series(values, dtype=object if whole else None)
                continue
            numbers = numpy.frombuffer(column.values, dtype="f8" if column.kind == FLOAT else "i8")
            if column.held is not None:
                there = numpy.frombuffer(column.held, dtype=bool)
                floats = numbers.astype("f8")
                if column.kind == INT and (numpy.abs(floats) >= _INEXACT).any():
                    found[name] = pandas.Series(pandas.arrays.IntegerArray(numbers, ~there))
                    continue
                numbers = numpy.where(there, floats, math.nan)
            found[name] = pandas.Series(numbers)
        return pandas.DataFrame(found)

    def _polars(self) -> Any:
        import polars

        return polars.from_arrow(self._arrow()) if self.columns else polars.DataFrame()

    def _arrow(self) -> Any:
        import pyarrow as pa

        arrays = {}
        for name, column in self.columns.items():
            if column.kind == _OBJECT:
                arrays[name] = _arrow_objects(pa, column.values)
                continue
            validity, missing = None, 0
            if column.held is not None:
                flags = pa.array(list(map(bool, column.held)), pa.bool_())
                validity, missing = flags.buffers()[1], column.held.count(0)
            kind = pa.float64() if column.kind == FLOAT else pa.int64()
            data = pa.py_buffer(column.values)
            arrays[name] = pa.Array.from_buffers(kind, self.rows, [validity, data], missing)
        return pa.table(arrays)


def _arrow_objects(pa: Any, values: Sequence[Any]) -> Any:
    kind = column_kind(map(kind_of, values))
    return pa.array([typed(value, kind) for value in values], arrow_type(kind))
