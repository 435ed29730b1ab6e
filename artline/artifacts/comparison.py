"""Where two manifests differ, found by comparing columns of shards: rows are made only of what changed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from artline.artifacts.shards import DIGEST, Columns, Row, ascend

if TYPE_CHECKING:
    from artline.artifacts.manifest import Manifest

__all__ = ["differences"]

SIZE = 8
FEW = 4  # rows that are compared one by one rather than in halves


def differences(old: Manifest, new: Manifest) -> Iterator[tuple[Row | None, Row | None]]:
    """Yield the rows that differ, side by side where they have the same path, None where one has it not.

    Only the shards that the two do not share are read, a few at a time. Of each kind (only in ``old``, only
    in ``new``, in both) the rows come in order. How content is kept (its recipe) makes no difference.
    """
    shared = {shard.logical for shard in old.root.shards}.intersection(
        shard.logical for shard in new.root.shards
    )
    left, right = _Side(old, shared), _Side(new, shared)
    while left.columns is not None and right.columns is not None:
        end = min(left.last, right.last)
        yield from _compare(left.until(end), right.until(end))
    while left.columns is not None:
        yield from ((row, None) for row in left.until(left.last).rows())
    while right.columns is not None:
        yield from ((None, row) for row in right.until(right.last).rows())


class _Stretch:
    """Rows of one shard that follow each other: from ``start`` up to, but not with, ``stop``."""

    __slots__ = ("columns", "start", "stop")

    def __init__(self, columns: Columns, start: int, stop: int) -> None:
        self.columns = columns
        self.start = start
        self.stop = stop

    @property
    def count(self) -> int:
        return self.stop - self.start

    @property
    def whole(self) -> bool:
        return self.count == self.columns.count

    def names(self) -> list[bytes]:
        names = self.columns.names
        return names if self.whole else names[self.start : self.stop]

    def rows(self) -> list[Row]:
        return self.columns.rows()[self.start : self.stop]


class _Side:
    """The shards of a manifest that the other one lacks, taken off from the front."""

    def __init__(self, manifest: Manifest, shared: set[bytes]) -> None:
        shards = manifest.root.shards
        wanted = [index for index, shard in enumerate(shards) if shard.logical not in shared]
        self._lasts = (shards[index].last.encode() for index in wanted)
        self._blocks = manifest.columns(wanted)
        self._start = 0
        self._advance()

    def until(self, end: bytes) -> _Stretch:
        """Take off the rows that are not behind ``end``."""
        columns = self.columns
        assert columns is not None
        start = self._start
        if self.last <= end:
            stop = columns.count
            self._advance()
        else:
            stop = self._start = bisect_right(columns.names, end, start)
        return _Stretch(columns, start, stop)

    def _advance(self) -> None:
        self._start = 0
        self.columns = next(self._blocks, None)
        self.last = next(self._lasts, b"")


def _compare(left: _Stretch, right: _Stretch) -> Iterator[tuple[Row | None, Row | None]]:
    if left.whole and right.whole and left.columns.paths == right.columns.paths:
        yield from _same_paths(left.columns, 0, right.columns, 0, left.count)
        return
    before, after = left.names(), right.names()
    ascend(before)
    ascend(after)
    old, new = set(before), set(after)
    place, other = left.start, right.start
    for name in sorted(old ^ new):
        if name in old:
            end = left.start + bisect_left(before, name)
            yield from _same_paths(left.columns, place, right.columns, other, end - place)
            yield left.columns.row(end), None
            place, other = end + 1, other + end - place
        else:
            end = right.start + bisect_left(after, name)
            yield from _same_paths(left.columns, place, right.columns, other, end - other)
            yield None, right.columns.row(end)
            place, other = place + end - other, end + 1
    yield from _same_paths(left.columns, place, right.columns, other, left.stop - place)


def _same_paths(
    left: Columns, start: int, right: Columns, other: int, count: int
) -> Iterator[tuple[Row, Row]]:
    """Yield the rows that differ in two stretches that have the same paths."""
    found: set[int] = set()
    for before, after, width in (
        (left.kinds, right.kinds, 1),
        (left.sizes, right.sizes, SIZE),
        (left.digests, right.digests, DIGEST),
    ):
        old = before[start * width : (start + count) * width]
        new = after[other * width : (other + count) * width]
        if old != new:
            _find(old, new, width, 0, found)
    if left.extras is not None or right.extras is not None:
        olds, news = _part(left.extras, start, count), _part(right.extras, other, count)
        found.update(place for place in range(count) if olds[place] != news[place])
    for place in sorted(found):
        yield left.row(start + place), right.row(other + place)


def _part(values: list[bytes] | None, start: int, count: int) -> Sequence[bytes]:
    return [b""] * count if values is None else values[start : start + count]


def _find(old: bytes, new: bytes, width: int, start: int, found: set[int]) -> None:
    """Add to ``found`` which items of two columns, known to differ, do so, by halving."""
    count = len(old) // width
    if count <= FEW:
        for place in range(count):
            if old[place * width : place * width + width] != new[place * width : place * width + width]:
                found.add(start + place)
        return
    middle = count // 2
    cut = middle * width
    for low, high, place in ((0, cut, start), (cut, len(old), start + middle)):
        before, after = old[low:high], new[low:high]
        if before != after:
            _find(before, after, width, place, found)
