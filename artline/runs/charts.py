"""Metrics in as many buckets as a chart has pixels, read from the pyramid: no extreme is ever lost.

A bucket is made of whole entries, of single rows at the edges of the range and where a chart is close
enough, so it says exactly what the rows it covers come to. An entry belongs to the bucket that it begins in;
one that is wider than a bucket is read at the finer level as long as that stays cheap.
"""

from __future__ import annotations

import json
import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import le, sub
from typing import Any

import sqlalchemy as sa

from artline.errors import UsageError
from artline.runs.attributes import lookup_text
from artline.runs.branches import find_branches
from artline.runs.columns import FLOAT, INT, JSON
from artline.runs.entry_pool import EntryPool, single_rows
from artline.runs.history import RUNTIME, STEP, TIME
from artline.runs.pyramid import FAN, Spans, Stats, number_of, stats_kind
from artline.runs.schema import metric_chunk, metric_group, metric_key, run_writer
from artline.runs.sealed import ChunkFiles, StoredAxis

__all__ = ["Curve", "read_curves"]

# Chunks that may be read at the level below because their entries are wider than a bucket.
_FINER_CHUNKS = 16


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric in buckets, in order of ``x``; a bucket without rows is left out.

    ``start`` and ``end`` are the smallest and largest x in a bucket: steps, seconds (since 1970 for
    ``_timestamp``, since the run began for ``_runtime``), or values of another metric. ``count`` numbers
    have this ``first``, ``minimum``, ``maximum``, ``last`` and ``mean`` (to seven digits), None without any;
    ``nans`` were logged beside them. ``min_step`` and ``max_step`` are where the extremes were logged.
    """

    key: str
    x_axis: str
    start: tuple[Any, ...]
    end: tuple[Any, ...]
    count: tuple[int, ...]
    nans: tuple[int, ...]
    first: tuple[Any, ...]
    minimum: tuple[Any, ...]
    maximum: tuple[Any, ...]
    last: tuple[Any, ...]
    mean: tuple[float | None, ...]
    min_step: tuple[int, ...]
    max_step: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.start)


@dataclass(slots=True)
class _Group:
    """A group that holds the key, and the x axis if that is a metric too."""

    id: int
    highest: int
    rows: int
    raised: list[int]
    ordinal: int
    kind: str
    x_ordinal: int = 0
    x_kind: str = ""


def read_curves(
    conn: sa.Connection,
    files: ChunkFiles,
    run: int,
    keys: Sequence[str],
    *,
    stream: str,
    origin: float,
    x_axis: str = STEP,
    buckets: int = 1000,
    low: float | None = None,
    high: float | None = None,
) -> list[Curve]:
    """Return each key's curve in at most ``buckets`` buckets between ``low`` and ``high``, both included.

    ``x_axis`` is ``_step``, ``_timestamp``, ``_runtime`` (seconds after ``origin``) or a metric logged
    together with the key. Reads a number of values in proportion to ``buckets``, however long the run is.
    Raises UsageError for fewer than one bucket.
    """
    if buckets < 1:
        raise UsageError(f"a chart has at least one bucket, not {buckets}")
    shift = origin if x_axis == RUNTIME else 0.0
    bounds = tuple(None if value is None else value + shift for value in (low, high))
    return [
        _Chart(conn, files, run, key, stream, x_axis, buckets, bounds, shift).read()
        for key in dict.fromkeys(keys)
    ]


class _Chart:
    """The reading of one curve."""

    def __init__(
        self,
        conn: sa.Connection,
        files: ChunkFiles,
        run: int,
        key: str,
        stream: str,
        x_axis: str,
        buckets: int,
        bounds: Sequence[float | None],
        shift: float,
    ) -> None:
        self.conn, self.files, self.key, self.x_axis, self.buckets = conn, files, key, x_axis, buckets
        self.shift = shift
        self.by_time = x_axis in (TIME, RUNTIME)
        self.by_metric = not self.by_time and x_axis != STEP
        self.groups = self._find_groups(run, stream)
        self.x_kind = INT if x_axis == STEP else FLOAT
        self.asked = any(bound is not None for bound in bounds)
        self.low, self.high = self._span(*bounds)
        self.width = (self.high - self.low) / buckets

    def read(self) -> Curve:
        kinds = {stats_kind(group.kind) for group in self.groups}
        kind = INT if kinds == {INT} else FLOAT
        found = EntryPool.empty(kind, self.x_kind)
        if self.low <= self.high:
            for group in self.groups:
                found.extend(self._fill(self._read_group(group), kind))
        found.sort()
        return self._curve(self._fill(found, kind) if len(self.groups) > 1 else found)

    # Where

    def _find_groups(self, run: int, stream: str) -> list[_Group]:
        names = {lookup_text(self.key): self.key}
        if self.by_metric:
            names[lookup_text(self.x_axis)] = self.x_axis
        branches = find_branches(self.conn, run, stream)
        table = metric_key.c
        rows = self.conn.execute(
            sa.select(
                table.metric_group_id,
                table.ordinal,
                table.key,
                table.lookup,
                table.kind,
                metric_group.c.row_count,
                metric_group.c.raised,
                run_writer.c.run_id,
                run_writer.c.attempt,
            )
            .join(metric_group, metric_group.c.id == table.metric_group_id)
            .join(run_writer, run_writer.c.id == metric_group.c.run_writer_id)
            .where(table.run_id.in_(branches.runs), table.stream == stream, table.lookup.in_(names))
            .order_by(table.metric_group_id)
        ).all()
        groups: dict[int, _Group] = {}
        for row in rows:
            highest = branches.highest(row.run_id, row.attempt)
            if names[row.lookup] == self.key and highest is not None:
                raised = json.loads(row.raised)
                groups[row.metric_group_id] = _Group(
                    row.metric_group_id, highest, row.row_count, raised, row.ordinal, row.kind
                )
        for row in rows:
            group = groups.get(row.metric_group_id)
            if self.by_metric and group is not None and names[row.lookup] == self.x_axis:
                group.x_ordinal, group.x_kind = row.ordinal, row.kind
        return [group for group in groups.values() if group.x_ordinal or not self.by_metric]

    def _span(self, low: float | None, high: float | None) -> tuple[Any, Any]:
        """Return the range of the chart: what was asked for, else what the data span."""
        ends: list[Any] = []
        for group in self.groups if low is None or high is None else ():
            ends += self._group_ends(group)
        finite = [end for end in ends if end is not None and math.isfinite(end)]
        return (
            min(finite, default=0 if high is None else high) if low is None else low,
            max(finite, default=-1 if low is None else low) if high is None else high,
        )

    def _group_ends(self, group: _Group) -> list[Any]:
        table = metric_chunk.c
        columns = (table.step_min, table.step_max)
        if self.by_time:
            columns = (table.time_min, table.time_max)
        elif self.by_metric:
            columns = (table.value_min, table.value_max)
        found: list[Any] = []
        for low, high, first in self.conn.execute(
            sa.select(*columns, table.step_min).where(
                table.metric_group_id == group.id,
                table.ordinal == group.x_ordinal,
                _cover(group.raised, len(group.raised)),
            )
        ):
            if first <= group.highest:
                found += [low, high if self.by_time or self.by_metric else min(high, group.highest)]
        return found

    # Reading

    def _read_group(self, group: _Group) -> EntryPool:
        """Return the entries of a group at the coarsest level that has enough of them."""
        share = self._share(group)
        level = 0
        while level < len(group.raised) and group.rows * share / FAN ** (level + 1) >= self.buckets:
            level += 1
        pool = self._read_level(group, level)
        while level and pool.rows / FAN**level < self.buckets and len(pool.low) < self.buckets:
            level -= 1
            pool = self._read_level(group, level)
        return pool

    def _share(self, group: _Group) -> float:
        """Return about how much of a group lies in the range."""
        if not self.asked:
            return 1.0
        ends = [end for end in self._group_ends(group) if end is not None and math.isfinite(end)]
        if not ends or max(ends) <= min(ends):
            return 1.0
        inside = min(self.high, max(ends)) - max(self.low, min(ends))
        return float(max(0.0, min(1.0, inside / (max(ends) - min(ends)))))

    def _read_level(self, group: _Group, level: int) -> EntryPool:
        """Return the entries of one level, and of those below what it does not tell of, in order of x."""
        pieces: list[EntryPool] = []
        budget = _FINER_CHUNKS
        finer: set[int] = set()
        for at in range(level, -1, -1):
            where = [metric_chunk.c.level == at]
            if at < level:
                first = group.raised[at]
                fresh = metric_chunk.c.seq >= first
                where.append(sa.or_(fresh, metric_chunk.c.seq.in_(finer)) if finer else fresh)
            wanted: set[int] = set()
            for chunk in self._chunks(group, at, where):
                part = EntryPool.empty(group.kind, self.x_kind)
                if at:
                    budget = self._take_entries(group, part, *chunk, budget)
                else:
                    self._take_rows(group, part, *chunk)
                wanted |= part.finer
                pieces.append(part)
            finer = wanted
        pool = EntryPool.empty(group.kind, self.x_kind)
        for piece in sorted((piece for piece in pieces if piece.rows), key=lambda piece: piece.low[0]):
            pool.extend(piece)
        pool.sort()
        return pool

    def _chunks(self, group: _Group, level: int, where: Sequence[Any]) -> Iterable[tuple[Any, Any, Any]]:
        """Yield the axis, the key's column and the x axis's column of each chunk that touches the range."""
        table = metric_chunk.c
        query = (
            sa.select(table.seq, table.ordinal, table.payload, table.location)
            .where(
                table.metric_group_id == group.id,
                table.ordinal.in_({0, group.ordinal, group.x_ordinal}),
                table.step_min <= group.highest,
                *where,
            )
            .order_by(table.seq)
        )
        if self.asked and not self.by_metric:
            low, high = (table.time_min, table.time_max) if self.by_time else (table.step_min, table.step_max)
            query = query.where(high >= self.low, low <= self.high)
        found: dict[int, dict[int, tuple[bytes | None, str | None]]] = {}
        for seq, ordinal, payload, location in self.conn.execute(query):
            found.setdefault(seq, {})[ordinal] = payload, location
        ordinals = [group.ordinal, *([group.x_ordinal] if self.by_metric else [])]
        for parts in found.values():
            if level:
                payloads = [parts[ordinal][0] or b"" for ordinal in (0, *ordinals)]
                yield (
                    Spans.decode(payloads[0]),
                    Stats.decode(payloads[1]),
                    Stats.decode(payloads[2]) if self.by_metric else None,
                )
            else:
                axis, columns = self.files.read(parts, ordinals, times=self.by_time, orders=False)
                yield axis, columns[0], columns[1] if self.by_metric else None

    def _take_entries(
        self, group: _Group, pool: EntryPool, spans: Spans, stats: Stats, x: Stats | None, budget: int
    ) -> int:
        """Take the entries that lie in the range; those partly in it are to be read at the level below.

        So are up to ``budget`` chunks with entries wider than a bucket; return what is left of it.
        """
        low, high = self._entry_ends(spans, x)
        wide = max(self.width, 1.0) if self.x_kind == INT else self.width
        whole = (
            min(low) >= self.low
            and max(high) <= self.high
            and max(spans.step_max) <= group.highest
            and max(map(sub, high, low)) <= wide
            and (x is None or all(x.counts))
        )
        if whole:
            pool.extend(EntryPool(low, high, stats, sum(spans.rows)))
            return budget
        if self._take_sorted(group, pool, spans, stats, x, low, high, wide):
            return budget
        refuse: set[int] = set()
        wider: dict[int, None] = {}
        for at, source in enumerate(spans.sources):
            begin, end = low[at], high[at]
            if begin > self.high or end < self.low or spans.step_min[at] > group.highest or begin > end:
                continue
            if begin < self.low or end > self.high or spans.step_max[at] > group.highest:
                refuse.add(source)
            elif end - begin > wide:
                wider[source] = None
        chosen = [source for source in wider if source not in refuse]
        if len(chosen) > budget:  # a few of many would not make the picture finer
            chosen = []
        refuse.update(chosen)
        places = [
            at
            for at, source in enumerate(spans.sources)
            if source not in refuse
            and low[at] >= self.low
            and low[at] <= high[at]
            and high[at] <= self.high
            and spans.step_max[at] <= group.highest
        ]
        pool.finer |= refuse
        taken = EntryPool(
            array(self.x_kind, map(low.__getitem__, places)),
            array(self.x_kind, map(high.__getitem__, places)),
            stats.pick(places),
            sum(map(spans.rows.__getitem__, places)),
        )
        pool.extend(taken)
        return budget - len(chosen)

    def _take_sorted(
        self,
        group: _Group,
        pool: EntryPool,
        spans: Spans,
        stats: Stats,
        x: Stats | None,
        low: array[Any],
        high: array[Any],
        wide: float,
    ) -> bool:
        """Take entries that are in order and none wider than a bucket; tell whether they were."""
        if (
            max(spans.step_max) > group.highest
            or (x is not None and not all(x.counts))
            or not all(map(le, low, low[1:]))
            or not all(map(le, high, high[1:]))
            or max(map(sub, high, low)) > wide
        ):
            return False
        first, last = bisect_left(high, self.low), bisect_right(low, self.high)
        while first < last and low[first] < self.low:
            pool.finer.add(spans.sources[first])
            first = bisect_right(spans.sources, spans.sources[first])
        while first < last and high[last - 1] > self.high:
            pool.finer.add(spans.sources[last - 1])
            last = bisect_left(spans.sources, spans.sources[last - 1])
        if first < last:
            rows = sum(spans.rows[first:last])
            pool.extend(EntryPool(low[first:last], high[first:last], stats.part(first, last), rows))
        return True

    def _entry_ends(self, spans: Spans, x: Stats | None) -> tuple[array[Any], array[Any]]:
        if x is not None:
            return array(FLOAT, x.minimum), array(FLOAT, x.maximum)
        return (spans.time_min, spans.time_max) if self.by_time else (spans.step_min, spans.step_max)

    def _take_rows(
        self, group: _Group, pool: EntryPool, axis: StoredAxis, values: Sequence[Any], x: Sequence[Any] | None
    ) -> None:
        steps = axis.steps
        place: Any = array(INT, steps)
        if self.by_time:
            place = array(FLOAT, axis.times)
        elif x is not None:
            numbers = map(number_of, x) if group.x_kind == JSON else x
            place = array(FLOAT, [math.nan if value is None else value for value in numbers])
        if not (
            min(place) >= self.low
            and max(place) <= self.high
            and max(steps) <= group.highest
            and (x is None or sum(place) == sum(place))
        ):
            if x is None and not self.by_time and all(map(le, place, place[1:])):
                begin = bisect_left(place, self.low)
                end = bisect_right(place, min(self.high, group.highest))
                place, steps, values = place[begin:end], steps[begin:end], values[begin:end]
            else:
                at = [
                    at
                    for at, (value, step) in enumerate(zip(place, steps, strict=True))
                    if self.low <= value <= self.high and step <= group.highest
                ]
                place = array(self.x_kind, map(place.__getitem__, at))
                steps = list(map(steps.__getitem__, at))
                values = list(map(values.__getitem__, at))
        pool.extend(EntryPool(place, place, single_rows(group.kind, steps, values), len(steps)))

    # Buckets

    def _fill(self, pool: EntryPool, kind: str) -> EntryPool:
        """Return one entry a bucket; ``pool`` is in order of x."""
        filled = EntryPool.empty(kind, self.x_kind)
        filled.rows = pool.rows
        begin = 0
        count = len(pool.low)
        for bucket in range(self.buckets):
            if begin == count:
                break
            edge = self.low + (bucket + 1) * self.width
            end = bisect_left(pool.low, edge, begin) if bucket + 1 < self.buckets else count
            if end > begin:
                filled.low.append(pool.low[begin])
                filled.high.append(max(pool.high[begin:end]))
                filled.stats.merge(pool.stats, begin, end)
                begin = end
        return filled

    def _curve(self, pool: EntryPool) -> Curve:
        stats = pool.stats

        def shown(values: Sequence[Any]) -> tuple[Any, ...]:
            if all(stats.counts):
                return tuple(values)
            return tuple(value if count else None for value, count in zip(values, stats.counts, strict=True))

        def moved(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(value - self.shift for value in values) if self.shift else tuple(values)

        return Curve(
            self.key,
            self.x_axis,
            moved(pool.low),
            moved(pool.high),
            tuple(stats.counts),
            tuple(stats.nans),
            shown(stats.first),
            shown(stats.minimum),
            shown(stats.maximum),
            shown(stats.last),
            shown(stats.mean),
            tuple(stats.min_step),
            tuple(stats.max_step),
        )


def _cover(raised: Sequence[int], top: int) -> sa.ColumnElement[bool]:
    """Return the condition for the chunks that together tell of every row once, from level ``top`` down."""
    table = metric_chunk.c
    lower = [sa.and_(table.level == level, table.seq >= first) for level, first in enumerate(raised[:top])]
    return sa.or_(table.level == top, *lower)
