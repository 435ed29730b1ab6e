"""Exact reads of metric history: rows merged by step, whole or page by page.

Records are sorted by step. Rows that one writer logged at the same step become one record, in which the
value logged last stands. Another writer's row joins it unless both hold a value for the same key: then it is
a record of its own, so that writers do not overwrite each other. Rows beyond the step that a later attempt
rewound the run to do not count.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import lt
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from artline.runs.attributes import lookup_text
from artline.runs.branches import find_branches
from artline.runs.columns import FLOAT, INT, JSON
from artline.runs.records import HISTORY, SYSTEM
from artline.runs.schema import metric_chunk, metric_group, metric_key, run_writer
from artline.runs.sealed import ChunkFiles, StoredAxis

if TYPE_CHECKING:
    from artline.storage.catalog import Catalog

__all__ = [
    "STEP",
    "Metric",
    "count_rows",
    "list_metrics",
    "read_history",
    "scan_columns",
    "scan_history",
    "thin_records",
]

STEP, TIME, RUNTIME = "_step", "_timestamp", "_runtime"
_PAGE_ROWS = 8192
_PLANNED_CHUNKS = 4096  # of which the pages of a scan are planned at once
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Metric:
    """A key of a run's history: how many rows hold it."""

    stream: str
    key: str
    row_count: int


@dataclass(slots=True)
class _Group:
    """The wanted columns of keys logged together: ordinal to key and kind, then the rows themselves."""

    id: int
    writer: int
    highest: int  # step beyond which a later attempt rewound the run, or a fork left it
    rows: int  # all of them, whether they count or not
    ordinals: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    steps: array[int] = field(default_factory=lambda: array("q"))
    times: array[float] = field(default_factory=lambda: array("d"))
    axes: list[StoredAxis] = field(default_factory=list)
    columns: list[Any] = field(default_factory=list)  # an array of numbers or a list of anything else each


def list_metrics(conn: sa.Connection, files: ChunkFiles, run: int, stream: str | None = None) -> list[Metric]:
    """Return every key of a run's history with the number of rows that hold it, by stream and key."""
    counts: dict[tuple[str, str], int] = {}
    for found in (HISTORY, SYSTEM) if stream is None else (stream,):
        for group in _find_groups(conn, run, found, None):
            rows = _count_rows(conn, files, group)
            for key in group.keys if rows else ():
                counts[found, key] = counts.get((found, key), 0) + rows
    return [Metric(found, key, counts[found, key]) for found, key in sorted(counts)]


def read_history(
    conn: sa.Connection,
    files: ChunkFiles,
    run: int,
    *,
    stream: str,
    origin: float,
    keys: Sequence[str] | None = None,
    min_step: int | None = None,
    max_step: int | None = None,
    steps: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Return the records of a run, steps from ``min_step`` up to and including ``max_step``.

    With ``steps``, in rising order, only the records of these, and only the chunks that hold one are read.

    A record holds ``_step``, ``_timestamp``, ``_runtime`` (seconds after ``origin``) and the keys that
    were logged. With ``keys`` only those columns are read, and only rows that hold one of them.
    """
    low = _LOWEST if min_step is None else min_step
    high = _HIGHEST if max_step is None else max_step
    groups = _find_groups(conn, run, stream, keys)
    _load(conn, files, groups, low, high, steps)
    return _merge([group for group in groups if group.steps], origin, low, high)


def scan_history(
    catalog: Catalog,
    files: ChunkFiles,
    run: int,
    *,
    stream: str,
    origin: float,
    keys: Sequence[str] | None = None,
    min_step: int | None = None,
    max_step: int | None = None,
    page_size: int = 1000,
) -> Iterator[dict[str, Any]]:
    """Yield the records that ``read_history`` returns with a bounded number of rows in memory.

    Each page is its own short read, of about ``page_size`` rows and no less than one chunk.
    """
    for groups, low, high in _pages(catalog, files, run, stream, keys, min_step, max_step, page_size):
        yield from _merge(groups, origin, low, high)


def scan_columns(
    catalog: Catalog,
    files: ChunkFiles,
    run: int,
    *,
    stream: str,
    origin: float,
    keys: Sequence[str] | None = None,
) -> Iterator[dict[str, Sequence[Any]] | list[dict[str, Any]]]:
    """Yield what ``scan_history`` does a page at a time: as columns where rows need no merging, else records.

    Columns are arrays of numbers or lists, all of one length.
    """
    for groups, low, high in _pages(catalog, files, run, stream, keys, None, None, _PAGE_ROWS):
        if len(groups) == 1 and _is_plain(groups[0], low, high):
            group = groups[0]
            runtimes = array("d", [time - origin for time in group.times])
            axis: dict[str, Sequence[Any]] = {STEP: group.steps, TIME: group.times, RUNTIME: runtimes}
            yield {**axis, **dict(zip(group.keys, group.columns, strict=True))}
        else:
            yield _merge(groups, origin, low, high)


def _pages(
    catalog: Catalog,
    files: ChunkFiles,
    run: int,
    stream: str,
    keys: Sequence[str] | None,
    min_step: int | None,
    max_step: int | None,
    page_size: int,
) -> Iterator[tuple[list[_Group], int, int]]:
    """Yield the groups with the rows of each page, and its first and last step; each is a read of its own."""
    low = _LOWEST if min_step is None else min_step
    last = _HIGHEST if max_step is None else max_step
    planned: list[int] = []
    while low <= last:
        with catalog.read() as conn:
            groups = _find_groups(conn, run, stream, keys)
            if not planned:
                planned = _page_ends(conn, groups, low, last, max(page_size, _PAGE_ROWS))
                planned.reverse()
            if not planned:
                return
            high = planned.pop()
            _load(conn, files, groups, low, high)
        found = [group for group in groups if group.steps]
        if found:
            yield found, low, high
        low = high + 1


def thin_records(records: list[dict[str, Any]], samples: int) -> list[dict[str, Any]]:
    """Return at most ``samples`` records that keep the shape: of each stretch the rows of every key's
    smallest and largest value, and the first and the last record.

    With more keys than there is room for, rows at even distances.
    """
    if samples <= 0 or len(records) <= samples:
        return records
    keys = {
        key
        for record in records
        for key, value in record.items()
        if not key.startswith("_") and isinstance(value, (int, float))
    }
    stretches = (samples - 2) // (2 * max(1, len(keys)))
    if stretches < 1:
        if samples == 1:
            return records[-1:]
        stride = (len(records) - 1) / (samples - 1)
        return [records[round(index * stride)] for index in range(samples)]
    kept = {0, len(records) - 1}
    for index in range(stretches):
        begin, end = (len(records) * part // stretches for part in (index, index + 1))
        for key in keys:
            values = [
                (record[key], at)
                for at, record in enumerate(records[begin:end], begin)
                if isinstance(record.get(key), (int, float)) and record[key] == record[key]
            ]
            if values:
                kept.add(min(values)[1])
                kept.add(max(values, key=lambda pair: pair[0])[1])
    return [records[at] for at in sorted(kept)]


def _find_groups(conn: sa.Connection, run: int, stream: str, keys: Sequence[str] | None) -> list[_Group]:
    table = metric_key.c
    branches = find_branches(conn, run, stream)
    base = (
        sa.select(
            table.metric_group_id,
            metric_group.c.run_writer_id,
            run_writer.c.run_id,
            run_writer.c.attempt,
            metric_group.c.row_count,
            table.ordinal,
            table.key,
            table.kind,
        )
        .join(metric_group, metric_group.c.id == table.metric_group_id)
        .join(run_writer, run_writer.c.id == metric_group.c.run_writer_id)
        .where(table.run_id.in_(branches.runs), table.stream == stream)
        .order_by(table.metric_group_id, table.ordinal)
    )
    queries = [base]
    if keys is not None:
        names = [lookup_text(key) for key in dict.fromkeys(keys)]
        queries = [base.where(table.lookup.in_(names[at : at + 500])) for at in range(0, len(names), 500)]
    groups: dict[int, _Group] = {}
    for query in queries:
        for group_id, writer, owner, attempt, rows, ordinal, key, kind in conn.execute(query):
            group = groups.get(group_id)
            if group is None:
                highest = branches.highest(owner, attempt)
                if highest is None:
                    continue
                group = groups[group_id] = _Group(group_id, writer, highest, rows)
            group.ordinals.append(ordinal)
            group.keys.append(key)
            group.kinds.append(kind)
    return list(groups.values())


def _count_rows(conn: sa.Connection, files: ChunkFiles, group: _Group) -> int:
    """Return how many rows of a group count; leaves those of the chunks at its end in it."""
    if group.highest == _HIGHEST:
        return group.rows
    table = metric_chunk.c
    whole = conn.execute(
        sa.select(sa.func.coalesce(sa.func.sum(table.count), 0)).where(
            table.metric_group_id == group.id,
            table.level == 0,
            table.ordinal == 0,
            table.step_max < group.highest,
        )
    ).scalar_one()
    edge = _Group(group.id, group.writer, group.highest, 0)
    _load(conn, files, [edge], group.highest, group.highest)
    return int(whole) + sum(step <= group.highest for step in edge.steps)


def count_rows(conn: sa.Connection, run: int, stream: str, keys: Sequence[str] | None) -> int:
    """Return about how many rows of a run hold one of the keys: those that count no longer are among them."""
    return sum(group.rows for group in _find_groups(conn, run, stream, keys))


def _page_ends(conn: sa.Connection, groups: Sequence[_Group], low: int, last: int, rows: int) -> list[int]:
    """Return the last steps of the next pages of about ``rows`` rows each; none when there are no rows."""
    table = metric_chunk.c
    ends: list[tuple[int, int]] = []
    ids = [group.id for group in groups]
    for at in range(0, len(ids), 500):
        ends += [
            (step_max, count)
            for step_max, count in conn.execute(
                sa.select(table.step_max, table.count)
                .where(
                    table.metric_group_id.in_(ids[at : at + 500]),
                    table.level == 0,
                    table.ordinal == 0,
                    table.step_max >= low,
                    table.step_min <= last,
                )
                .order_by(table.step_max)
                .limit(max(rows, _PLANNED_CHUNKS))
            )
        ]
    if not ends:
        return []
    pages: list[int] = []
    total = 0
    for step_max, count in sorted(ends)[:_PLANNED_CHUNKS]:
        total += count
        if total >= rows and min(step_max, last) > (pages[-1] if pages else low - 1):
            pages.append(min(step_max, last))
            total = 0
    if len(ends) <= _PLANNED_CHUNKS and (not pages or pages[-1] < last):
        pages.append(last)
    return pages or [sorted(ends)[_PLANNED_CHUNKS][0]]


def _load(
    conn: sa.Connection,
    files: ChunkFiles,
    groups: Sequence[_Group],
    low: int,
    high: int,
    steps: Sequence[int] | None = None,
) -> None:
    """Read the chunks of the groups that touch the steps from ``low`` to ``high``, or some of these alone."""
    alike: dict[tuple[int, ...], list[_Group]] = {}
    for group in groups:
        group.columns = [array(kind) if kind in (FLOAT, INT) else [] for kind in group.kinds]
        alike.setdefault(tuple(group.ordinals), []).append(group)
    for ordinals, members in alike.items():
        if steps is not None:
            for group in members:
                _load_steps(conn, files, group, ordinals, steps)
            continue
        for at in range(0, len(members), 500):
            _load_alike(conn, files, members[at : at + 500], ordinals, low, high)


def _load_steps(
    conn: sa.Connection, files: ChunkFiles, group: _Group, ordinals: tuple[int, ...], steps: Sequence[int]
) -> None:
    """Read the rows of some steps of a group."""
    table = metric_chunk.c
    chunks = conn.execute(
        sa.select(table.seq, table.step_min, table.step_max)
        .where(table.metric_group_id == group.id, table.level == 0, table.ordinal == 0)
        .order_by(table.seq)
    ).all()
    wanted = [seq for seq, low, high in chunks if bisect_left(steps, low) < bisect_right(steps, high)]
    chosen = frozenset(steps)
    for at in range(0, len(wanted), 50):
        _load_alike(conn, files, [group], ordinals, _LOWEST, _HIGHEST, wanted[at : at + 50], chosen)


def _load_alike(
    conn: sa.Connection,
    files: ChunkFiles,
    groups: Sequence[_Group],
    ordinals: tuple[int, ...],
    low: int,
    high: int,
    seqs: Sequence[int] = (),
    steps: frozenset[int] | None = None,
) -> None:
    table = metric_chunk.c
    query = (
        sa.select(table.metric_group_id, table.seq, table.ordinal, table.payload, table.location)
        .where(table.metric_group_id.in_([group.id for group in groups]), table.level == 0)
        .order_by(table.metric_group_id, table.seq)
    )
    if len(ordinals) <= 500:
        query = query.where(table.ordinal.in_([0, *ordinals]))
    if low > _LOWEST:
        query = query.where(table.step_max >= low)
    if high < _HIGHEST:
        query = query.where(table.step_min <= high)
    if seqs:
        query = query.where(table.seq.in_(seqs))
    by_id = {group.id: group for group in groups}
    chunks: dict[tuple[int, int], dict[int, tuple[bytes | None, str | None]]] = {}
    for group_id, seq, ordinal, payload, location in conn.execute(query):
        chunks.setdefault((group_id, seq), {})[ordinal] = payload, location
    for (group_id, _), parts in chunks.items():
        group = by_id[group_id]
        axis, columns = files.read(parts, ordinals)
        if steps is not None:
            axis, columns = axis.pick(steps, columns)
        group.steps.extend(axis.steps)
        group.times.extend(axis.times)
        group.axes.append(axis)
        for at, values in enumerate(columns):
            group.columns[at].extend(map(json.loads, values) if group.kinds[at] == JSON else values)


def _merge(groups: Sequence[_Group], origin: float, low: int, high: int) -> list[dict[str, Any]]:
    if len(groups) == 1 and _is_plain(groups[0], low, high):
        return _records(groups[0], origin)
    rows = sorted(
        (step, group.writer, order, which, at)
        for which, group in enumerate(groups)
        for at, (step, order) in enumerate(zip(group.steps, _orders(group), strict=True))
        if low <= step <= high and step <= group.highest
    )
    values = [list(zip(*_lists(group), strict=True)) for group in groups]
    records: list[dict[str, Any]] = []
    record: dict[str, Any] = {}
    last_writer = -1
    others: frozenset[str] = frozenset()  # keys of the record that another writer set
    for step, writer, _, which, at in rows:
        group = groups[which]
        if record.get(STEP) != step:
            record, others = {STEP: step}, frozenset()
            records.append(record)
        elif writer != last_writer:
            others = frozenset(record)
        if not others.isdisjoint(group.keys):
            record, others = {STEP: step}, frozenset()
            records.append(record)
        last_writer = writer
        record[TIME] = group.times[at]
        record[RUNTIME] = group.times[at] - origin
        record.update(zip(group.keys, values[which][at], strict=True))
    return records


def _is_plain(group: _Group, low: int, high: int) -> bool:
    """Tell whether each row of a group is a record of its own, in order."""
    steps = group.steps
    end = min(high, group.highest)
    return low <= steps[0] and steps[-1] <= end and all(map(lt, steps, steps[1:]))


def _orders(group: _Group) -> Iterator[int]:
    return chain.from_iterable(axis.orders for axis in group.axes)


def _lists(group: _Group) -> list[list[Any]]:
    return [column.tolist() if isinstance(column, array) else column for column in group.columns]


def _records(group: _Group, origin: float) -> list[dict[str, Any]]:
    # The hottest loop of a read: constant keys and one pass a column are twice as fast as dict(zip(…)).
    first, *others = group.keys
    values, *columns = _lists(group)
    records = [
        {"_step": step, "_timestamp": time, "_runtime": time - origin, first: value}
        for step, time, value in zip(group.steps.tolist(), group.times.tolist(), values, strict=True)
    ]
    for key, column in zip(others, columns, strict=True):
        for record, value in zip(records, column, strict=True):
            record[key] = value
    return records
