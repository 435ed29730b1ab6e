"""The pyramid over metric chunks: what every 64 rows, 64 times 64 rows, … come to.

An entry tells of consecutive rows of a group how many there are, which steps and times they span, and of
each key its first, smallest, largest, last and mean number (the mean to seven digits), how many numbers and
how many NaN. NaN, text
and lists count for nothing else; without any number the smallest is infinity and the largest its negative, so
that entries merge by taking the smallest and the largest. The layout is specified in ``docs/format/v1.md``.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import mul
from typing import Any, Self

from artline.runs.columns import BOOL, FLOAT, INT, JSON, decode_parts, encode_parts

__all__ = ["FAN", "Spans", "Stats", "number_of", "stats_kind"]

FAN = 64

_INF = math.inf
_FLOAT32 = struct.Struct("<f")
_SMALLEST_FLOAT32 = 2.0**-126  # with all its digits
_NUMBER_START = frozenset("-0123456789NI")


def stats_kind(kind: str) -> str:
    """Return the kind of the entries over a column: integers stay integers, the rest are floats."""
    return INT if kind in (INT, BOOL) else FLOAT


def number_of(text: str) -> float | None:
    """Return the number that a JSON text is, None for anything else; infinity where it is beyond float64."""
    if not text or text[0] not in _NUMBER_START:
        return None
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(slots=True)
class Spans:
    """What entries cover: the chunk below they were made of, rows, and bounds of steps and times."""

    sources: array[int]
    rows: array[int]
    step_min: array[int]
    step_max: array[int]
    time_min: array[float]
    time_max: array[float]

    @classmethod
    def empty(cls) -> Self:
        """Return no entries."""
        return cls(*_arrays(_SPAN_KINDS))

    @classmethod
    def of_rows(cls, seq: int, steps: Sequence[int], times: Sequence[float]) -> Self:
        """Return the entries over the rows of chunk ``seq``."""
        count = len(steps)
        starts = range(0, count, FAN)
        rows = array("q", [min(FAN, count - at) for at in starts])
        low = array("q", [min(steps[at : at + FAN]) for at in starts])
        high = array("q", [max(steps[at : at + FAN]) for at in starts])
        early = array("d", [min(times[at : at + FAN]) for at in starts])
        late = array("d", [max(times[at : at + FAN]) for at in starts])
        return cls(array("q", [seq]) * len(starts), rows, low, high, early, late)

    def raised(self, seq: int) -> Self:
        """Return the entries over these, which make up chunk ``seq`` of their level."""
        starts = range(0, len(self.rows), FAN)

        def each(what: Any, values: array[Any], kind: str) -> array[Any]:
            return array(kind, [what(values[at : at + FAN]) for at in starts])

        return type(self)(
            array("q", [seq]) * len(starts),
            each(sum, self.rows, "q"),
            each(min, self.step_min, "q"),
            each(max, self.step_max, "q"),
            each(min, self.time_min, "d"),
            each(max, self.time_max, "d"),
        )

    def encode(self) -> bytes:
        """Return the entries as bytes."""
        return encode_parts(list(zip(_SPAN_KINDS, _columns(self), strict=True)))

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Return what ``encode`` was given. Raises IntegrityError."""
        return cls(*decode_parts(payload))

    def part(self, low: int, high: int) -> Self:
        """Return the entries from place ``low`` to before ``high``."""
        return type(self)(*(column[low:high] for column in _columns(self)))

    def extend(self, other: Self) -> None:
        """Append other entries."""
        for mine, more in zip(_columns(self), _columns(other), strict=True):
            mine.extend(more)


@dataclass(slots=True)
class Stats:
    """What one key comes to in each entry. ``min_step`` and ``max_step`` tell where the extremes are."""

    counts: array[int]
    nans: array[int]
    first: array[Any]
    minimum: array[Any]
    maximum: array[Any]
    last: array[Any]
    mean: array[float]
    min_step: array[int]
    max_step: array[int]

    @property
    def kind(self) -> str:
        """``q`` for integers, ``d`` for floats."""
        return self.minimum.typecode

    @classmethod
    def empty(cls, kind: str) -> Self:
        """Return no entries over a column of that kind."""
        return cls(*_arrays(_stat_kinds(stats_kind(kind))))

    @classmethod
    def of_rows(cls, kind: str, steps: Sequence[int], values: Sequence[Any]) -> Self:
        """Return the entries over the values of a chunk, in the order of its rows."""
        found = cls.empty(kind)
        if kind == JSON:
            numbers: Sequence[Any] = [number_of(text) for text in values]
        else:
            numbers = values.tolist() if isinstance(values, array) else list(map(int, values))
        for at in range(0, len(numbers), FAN):
            found._take(numbers[at : at + FAN], steps, at)
        return found

    def _take(self, block: Sequence[Any], steps: Sequence[int], at: int) -> None:
        try:
            total = sum(block)
        except TypeError:  # JSON that is no number
            total = math.nan
        if total != total:
            self._take_apart(block, steps, at)
            return
        low, high = min(block), max(block)
        self.counts.append(len(block))
        self.nans.append(0)
        self.first.append(block[0])
        self.minimum.append(low)
        self.maximum.append(high)
        self.last.append(block[-1])
        self.mean.append(_mean(total, block, low, high))
        self.min_step.append(steps[at + block.index(low)])
        self.max_step.append(steps[at + block.index(high)])

    def _take_apart(self, block: Sequence[Any], steps: Sequence[int], at: int) -> None:
        places = [place for place, value in enumerate(block, at) if value is not None and value == value]
        numbers = [block[place - at] for place in places]
        self.counts.append(len(numbers))
        self.nans.append(sum(value is not None for value in block) - len(numbers))
        if not numbers:
            self._append_nothing(steps[at])
            return
        low, high = min(numbers), max(numbers)
        self.first.append(numbers[0])
        self.minimum.append(low)
        self.maximum.append(high)
        self.last.append(numbers[-1])
        self.mean.append(_mean(sum(numbers), numbers, low, high))
        self.min_step.append(steps[places[numbers.index(low)]])
        self.max_step.append(steps[places[numbers.index(high)]])

    def _append_nothing(self, step: int) -> None:
        self.first.append(math.nan)
        self.minimum.append(_INF)
        self.maximum.append(-_INF)
        self.last.append(math.nan)
        self.mean.append(0.0)
        self.min_step.append(step)
        self.max_step.append(step)

    def raised(self) -> Self:
        """Return the entries over these."""
        found = type(self)(*_arrays(_stat_kinds(self.kind)))
        for at in range(0, len(self.counts), FAN):
            found.merge(self, at, min(at + FAN, len(self.counts)))
        return found

    def merge(self, source: Stats, low: int, high: int) -> None:
        """Append one entry: entries ``low`` to before ``high`` of another level, taken together."""
        counts = source.counts[low:high]
        total = sum(counts)
        self.counts.append(total)
        self.nans.append(sum(source.nans[low:high]))
        if not total:
            self._append_nothing(source.min_step[low])
            return
        begin, end = low, high - 1
        while not source.counts[begin]:
            begin += 1
        while not source.counts[end]:
            end -= 1
        minima, maxima = source.minimum[low:high], source.maximum[low:high]
        smallest, largest = min(minima), max(maxima)
        self.first.append(source.first[begin])
        self.minimum.append(smallest)
        self.maximum.append(largest)
        self.last.append(source.last[end])
        self.mean.append(_weighted(source.mean[low:high], counts, total, smallest, largest))
        where = minima.index(smallest) if smallest != _INF else begin - low
        self.min_step.append(source.min_step[low + where])
        where = maxima.index(largest) if largest != -_INF else begin - low
        self.max_step.append(source.max_step[low + where])

    def encode(self) -> bytes:
        """Return the entries as bytes."""
        return encode_parts(list(zip(_stat_kinds(self.kind), _columns(self), strict=True)))

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Return what ``encode`` was given. Raises IntegrityError."""
        return cls(*decode_parts(payload))

    def part(self, low: int, high: int) -> Self:
        """Return the entries from place ``low`` to before ``high``."""
        return type(self)(*(column[low:high] for column in _columns(self)))

    def pick(self, places: Iterable[int]) -> Self:
        """Return the entries at some places, in their order."""
        chosen = list(places)
        return type(self)(
            *(array(column.typecode, map(column.__getitem__, chosen)) for column in _columns(self))
        )

    def extend(self, other: Self) -> None:
        """Append other entries."""
        for mine, more in zip(_columns(self), _columns(other), strict=True):
            mine.extend(more)


_SPAN_KINDS = "qqqqdd"


def _stat_kinds(kind: str) -> str:
    return f"qq{kind * 4}dqq"


def _arrays(kinds: str) -> list[array[Any]]:
    return [array(kind) for kind in kinds]


def _columns(entries: Spans | Stats) -> list[array[Any]]:
    return [getattr(entries, field.name) for field in fields(entries)]


def _mean(total: float, values: Sequence[Any], low: Any, high: Any) -> float:
    count = len(values)
    mean = total / count
    if math.isinf(mean) and low > -_INF and high < _INF:
        mean = math.fsum(value / count for value in values)  # the sum is beyond float64, the mean is not
    return _short(mean, low, high)


def _weighted(means: array[float], counts: array[int], total: int, low: Any, high: Any) -> float:
    mean = float(sum(map(mul, means, counts))) / total
    if math.isinf(mean) and low > -_INF and high < _INF:
        mean = math.fsum(map(mul, means, [count / total for count in counts]))
    return _short(mean, low, high)


def _short(mean: float, low: Any, high: Any) -> float:
    """Return a mean to float32's seven digits, which take half the room, unless those leave its bounds."""
    if abs(mean) < _SMALLEST_FLOAT32:
        return mean
    try:
        (short,) = _FLOAT32.unpack(_FLOAT32.pack(mean))
    except OverflowError:
        return mean
    return float(short) if low <= short <= high else mean
