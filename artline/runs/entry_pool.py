"""Entries of a pyramid, and single rows, gathered along the x axis of a chart."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import le
from typing import Any

from artline.runs.columns import FLOAT, INT, JSON
from artline.runs.pyramid import Stats, number_of, stats_kind

__all__ = ["EntryPool", "single_rows"]


@dataclass(slots=True)
class EntryPool:
    """Entries found so far: where on the x axis each begins and ends, and what it says."""

    low: array[Any]
    high: array[Any]
    stats: Stats
    rows: int = 0
    finer: set[int] = field(default_factory=set)  # chunks of the level below to be read instead

    @classmethod
    def empty(cls, kind: str, x_kind: str) -> EntryPool:
        """Return no entries over a column of a kind, on an axis of another."""
        return cls(array(x_kind), array(x_kind), Stats.empty(kind))

    def extend(self, other: EntryPool) -> None:
        """Append other entries."""
        self.low.extend(other.low)
        self.high.extend(other.high)
        self.stats.extend(other.stats)
        self.rows += other.rows

    def sort(self) -> None:
        """Bring the entries into the order in which they begin."""
        if all(map(le, self.low, self.low[1:])):
            return
        places = sorted(range(len(self.low)), key=self.low.__getitem__)
        self.low = array(self.low.typecode, map(self.low.__getitem__, places))
        self.high = array(self.high.typecode, map(self.high.__getitem__, places))
        self.stats = self.stats.pick(places)


def single_rows(kind: str, steps: Sequence[int], values: Sequence[Any]) -> Stats:
    """Return an entry a row."""
    count = len(steps)
    places = array(INT, steps)
    zeros, ones = array(INT, bytes(8 * count)), array(INT, [1]) * count
    if kind == JSON:
        numbers: Any = [number_of(text) for text in values]
    else:
        numbers = values
    code = stats_kind(kind)
    if code == FLOAT and (kind == JSON or math.isnan(sum(numbers))):
        missing = [value is None or value != value for value in numbers]
        ones = array(INT, [not gone for gone in missing])
        zeros = array(INT, [value is not None and value != value for value in numbers])
        plain = array(FLOAT, [0.0 if gone else value for value, gone in zip(numbers, missing, strict=True)])
        low = array(FLOAT, [math.inf if gone else v for v, gone in zip(plain, missing, strict=True)])
        high = array(FLOAT, [-math.inf if gone else v for v, gone in zip(plain, missing, strict=True)])
        return Stats(ones, zeros, plain, low, high, plain, plain, places, places)
    column = numbers if isinstance(numbers, array) and numbers.typecode == code else array(code, numbers)
    mean = column if code == FLOAT else array(FLOAT, column)
    return Stats(ones, zeros, column, column, column, column, mean, places, places)
