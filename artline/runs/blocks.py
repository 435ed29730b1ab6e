"""What a chunk of a group holds, in memory: rows, or the entries of a pyramid over them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import le
from typing import Any, Self

from artline.runs.columns import (
    FLOAT,
    INT,
    column_stats,
    decode_axis,
    decode_column,
    decode_numbers,
    decode_orders,
    encode_axis,
    encode_column,
)
from artline.runs.pyramid import Spans, Stats

__all__ = ["Block", "EntryBlock", "RowBlock"]


@dataclass(slots=True)
class RowBlock:
    """Rows of a group: the axis that all its keys share, and a column each."""

    kinds: str
    steps: array[int]
    times: array[float]
    orders: array[int]
    columns: list[Any]  # an array of numbers or a list of anything else each

    @classmethod
    def empty(cls, kinds: str) -> Self:
        """Return no rows."""
        columns: list[Any] = [array(kind) if kind in (FLOAT, INT) else [] for kind in kinds]
        return cls(kinds, array("q"), array("d"), array("q"), columns)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def width(self) -> int:
        """How many values one row has."""
        return len(self.kinds)

    def take(self, ordinal: int, payload: bytes) -> None:
        """Append the axis (``ordinal`` 0) or one column of a stored chunk."""
        if ordinal == 0:
            steps, times = decode_axis(payload)
            self.steps.extend(steps)
            self.times.extend(times)
            self.orders.extend(decode_orders(payload))
        elif self.kinds[ordinal - 1] in (FLOAT, INT):
            self.columns[ordinal - 1].extend(decode_numbers(payload))
        else:
            self.columns[ordinal - 1].extend(decode_column(payload))

    def extend(self, other: Self) -> None:
        """Append other rows."""
        self.steps.extend(other.steps)
        self.times.extend(other.times)
        self.orders.extend(other.orders)
        for column, more in zip(self.columns, other.columns, strict=True):
            column.extend(more)

    def part(self, low: int, high: int) -> Self:
        """Return the rows from place ``low`` to before ``high``."""
        columns = [column[low:high] for column in self.columns]
        return type(self)(
            self.kinds, self.steps[low:high], self.times[low:high], self.orders[low:high], columns
        )

    def sort(self) -> None:
        """Bring the rows into the order of their steps, and those of one step into that of logging."""
        if all(map(le, self.steps, self.steps[1:])):
            return
        keys = list(zip(self.steps, self.orders, strict=True))
        places = sorted(range(len(keys)), key=keys.__getitem__)
        self.steps = array("q", map(self.steps.__getitem__, places))
        self.times = array("d", map(self.times.__getitem__, places))
        self.orders = array("q", map(self.orders.__getitem__, places))
        for at, (kind, column) in enumerate(zip(self.kinds, self.columns, strict=True)):
            moved = map(column.__getitem__, places)
            self.columns[at] = array(kind, moved) if kind in (FLOAT, INT) else list(moved)

    def raised(self, seq: int) -> EntryBlock:
        """Return the pyramid's entries over these rows, which make up chunk ``seq``."""
        return EntryBlock(
            self.kinds,
            Spans.of_rows(seq, self.steps, self.times),
            [
                Stats.of_rows(kind, self.steps, column)
                for kind, column in zip(self.kinds, self.columns, strict=True)
            ],
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the catalog's rows of these, as one chunk, without its place."""
        bounds = _bounds(self.steps, self.steps, self.times, self.times, len(self))
        yield {**bounds, **_values(None, None, None), "ordinal": 0, "payload": self._axis()}
        for ordinal, (kind, values) in enumerate(zip(self.kinds, self.columns, strict=True), 1):
            stats = column_stats(kind, values)
            found = _values(stats.minimum, stats.maximum, stats.last)
            yield {**bounds, **found, "ordinal": ordinal, "payload": encode_column(kind, values)}

    def _axis(self) -> bytes:
        return encode_axis(self.steps, self.times, self.orders)


@dataclass(slots=True)
class EntryBlock:
    """Entries of one level of a group's pyramid."""

    kinds: str
    spans: Spans
    stats: list[Stats]

    @classmethod
    def empty(cls, kinds: str) -> Self:
        """Return no entries."""
        return cls(kinds, Spans.empty(), [Stats.empty(kind) for kind in kinds])

    def __len__(self) -> int:
        return len(self.spans.rows)

    @property
    def width(self) -> int:
        """How many values one entry has."""
        return 8 * len(self.kinds)

    def take(self, ordinal: int, payload: bytes) -> None:
        """Append the spans (``ordinal`` 0) or the statistics of one key from a stored chunk."""
        if ordinal == 0:
            self.spans.extend(Spans.decode(payload))
        else:
            self.stats[ordinal - 1].extend(Stats.decode(payload))

    def extend(self, other: Self) -> None:
        """Append other entries."""
        self.spans.extend(other.spans)
        for mine, more in zip(self.stats, other.stats, strict=True):
            mine.extend(more)

    def part(self, low: int, high: int) -> Self:
        """Return the entries from place ``low`` to before ``high``."""
        return type(self)(
            self.kinds, self.spans.part(low, high), [stats.part(low, high) for stats in self.stats]
        )

    def sort(self) -> None:
        """Leave the entries in the order of their rows."""

    def raised(self, seq: int) -> EntryBlock:
        """Return the entries of the next level over these, which make up chunk ``seq``."""
        return EntryBlock(self.kinds, self.spans.raised(seq), [stats.raised() for stats in self.stats])

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the catalog's rows of these, as one chunk, without its place."""
        spans = self.spans
        bounds = _bounds(spans.step_min, spans.step_max, spans.time_min, spans.time_max, len(self))
        yield {**bounds, **_values(None, None, None), "ordinal": 0, "payload": spans.encode()}
        for ordinal, stats in enumerate(self.stats, 1):
            found = _values(None, None, None)
            if any(stats.counts):
                found = _values(float(min(stats.minimum)), float(max(stats.maximum)), float(stats.last[-1]))
            yield {**bounds, **found, "ordinal": ordinal, "payload": stats.encode()}


Block = RowBlock | EntryBlock


def _bounds(
    low: Sequence[int], high: Sequence[int], early: Iterable[float], late: Iterable[float], count: int
) -> dict[str, Any]:
    return {
        "step_min": min(low),
        "step_max": max(high),
        "time_min": min(early),
        "time_max": max(late),
        "count": count,
        "location": None,
    }


def _values(low: float | None, high: float | None, last: float | None) -> dict[str, Any]:
    return {"value_min": low, "value_max": high, "value_last": last}
