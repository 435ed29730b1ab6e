"""Rows of metrics into chunks of columns: the writing side of history.

Rows are appended to the last chunks of their group. A chunk that is not full is absorbed into the next one
once that is at least half its size, so that a live run leaves a handful of chunks behind, and a row is
rewritten a logarithmic number of times. A chunk that is full never changes again and is raised: entries over
it are appended to the next level of the group's pyramid, in the same way.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import sqlalchemy as sa

from artline.runs.attributes import clean_text, lookup_text
from artline.runs.blocks import Block, EntryBlock, RowBlock
from artline.runs.pyramid import FAN
from artline.runs.records import Rows
from artline.runs.schema import metric_chunk, metric_group, metric_key

__all__ = ["CHUNK_ROWS", "CHUNK_VALUES", "MAX_KEY_SETS", "RowBuffer", "append_rows", "chunk_capacity"]

CHUNK_ROWS = 8192
CHUNK_VALUES = 1 << 20
# A writer that logs another combination of keys every time would make a group of each; past this many, a new
# combination is kept key by key.
MAX_KEY_SETS = 256

_INSERT_BYTES = 8 << 20


def chunk_capacity(width: int) -> int:
    """Return how many rows a full chunk holds when each has that many values; a multiple of 64."""
    return max(FAN, min(CHUNK_ROWS, CHUNK_VALUES // max(1, width)) // FAN * FAN)


@dataclass(slots=True)
class RowBuffer:
    """Rows of one key set, gathered from many frames."""

    stream: str
    keys: tuple[str, ...]
    kinds: str
    steps: array[int]
    times: array[float]
    orders: array[int]
    columns: list[Any]  # an array of numbers or a list of anything else each

    @classmethod
    def gather(cls, frames: Iterable[Rows]) -> list[RowBuffer]:
        """Join frames of the same key set, in order."""
        found: dict[tuple[str, tuple[str, ...], str], RowBuffer] = {}
        for rows in frames:
            name = (rows.stream, rows.keys, rows.types)
            buffer = found.get(name)
            if buffer is None:
                empty = RowBlock.empty(rows.types)
                buffer = found[name] = cls(*name, empty.steps, empty.times, empty.orders, empty.columns)
            buffer.steps.extend(rows.steps)
            buffer.times.extend(rows.times)
            buffer.orders.extend(rows.orders)
            for column, values in zip(buffer.columns, rows.columns, strict=True):
                column.extend(values)
        return list(found.values())

    @property
    def signature(self) -> str:
        """Digest that names the key set within a run and stream."""
        return blake2b(json.dumps([self.keys, self.kinds]).encode(), digest_size=16).hexdigest()

    def block(self) -> RowBlock:
        """Return the rows as a block, sharing this one's columns."""
        return RowBlock(self.kinds, self.steps, self.times, self.orders, self.columns)

    def split(self) -> list[RowBuffer]:
        """Return one buffer a key, sharing this one's axis."""
        return [
            RowBuffer(self.stream, (key,), kind, self.steps, self.times, self.orders, [column])
            for key, kind, column in zip(self.keys, self.kinds, self.columns, strict=True)
        ]


@dataclass(slots=True)
class _Group:
    id: int
    rows: int
    next_seq: int
    raised: list[int]
    fresh: bool
    # Chunks that are not full, by level: seq and count, oldest first.
    open: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def end(self, level: int) -> int:
        """Return the seq that follows the last chunk of a level."""
        if level == 0:
            return self.next_seq
        if self.open.get(level):
            return self.open[level][-1][0] + 1
        return self.raised[level] if level < len(self.raised) else 0


def append_rows(
    conn: sa.Connection, run: int, writer: int, buffers: Sequence[RowBuffer], *, compact: bool = False
) -> None:
    """Append rows to the groups of a writer of a run, inside the caller's transaction.

    ``compact`` absorbs every chunk of the touched groups that is not full: for a run that ends.
    """
    if not buffers:
        return
    chosen = _limit_key_sets(conn, writer, buffers)
    groups = _groups(conn, run, writer, chosen)
    _find_open([group for group in groups.values() if not group.fresh], conn)
    for place, buffer in chosen.items():
        group = groups[place]
        before = list(group.raised)
        _append(conn, group, 0, buffer.block(), compact=compact)
        group.rows += len(buffer.steps)
        values: dict[str, Any] = {"row_count": group.rows, "next_seq": group.next_seq}
        if group.raised != before:
            values["raised"] = json.dumps(group.raised)
        conn.execute(sa.update(metric_group).where(metric_group.c.id == group.id).values(**values))


def _limit_key_sets(
    conn: sa.Connection, writer: int, buffers: Sequence[RowBuffer]
) -> dict[tuple[str, str], RowBuffer]:
    named = {(buffer.stream, buffer.signature): buffer for buffer in buffers}
    rows = conn.execute(
        sa.select(metric_group.c.stream, metric_group.c.signature).where(
            metric_group.c.run_writer_id == writer
        )
    )
    known = {(stream, signature) for stream, signature in rows}
    if len(known) + len(named.keys() - known) <= MAX_KEY_SETS:
        return named
    chosen: dict[tuple[str, str], RowBuffer] = {}
    for name, buffer in named.items():
        if name in known or len(known) < MAX_KEY_SETS:
            known.add(name)
            parts = [buffer]
        else:
            parts = buffer.split()
        for part in parts:
            place = (part.stream, part.signature)
            before = chosen.get(place)
            if before is None:
                chosen[place] = part
            else:
                chosen[place] = RowBuffer(
                    part.stream,
                    part.keys,
                    part.kinds,
                    before.steps + part.steps,
                    before.times + part.times,
                    before.orders + part.orders,
                    [first + second for first, second in zip(before.columns, part.columns, strict=True)],
                )
    return chosen


def _groups(
    conn: sa.Connection, run: int, writer: int, buffers: dict[tuple[str, str], RowBuffer]
) -> dict[tuple[str, str], _Group]:
    table = metric_group.c
    query = sa.select(
        table.id, table.stream, table.signature, table.row_count, table.next_seq, table.raised
    ).where(table.run_writer_id == writer)
    if len(buffers) <= 500:
        query = query.where(table.signature.in_([signature for _, signature in buffers]))
    found = {
        (stream, signature): _Group(id, rows, next_seq, json.loads(raised), False)
        for id, stream, signature, rows, next_seq, raised in conn.execute(query)
    }
    names: list[dict[str, Any]] = []
    for (stream, signature), buffer in buffers.items():
        if (stream, signature) in found:
            continue
        id = conn.execute(
            sa.insert(metric_group)
            .values(
                run_id=run,
                run_writer_id=writer,
                stream=stream,
                signature=signature,
                row_count=0,
                next_seq=0,
            )
            .returning(table.id)
        ).scalar_one()
        found[stream, signature] = _Group(id, 0, 0, [], True)
        names += [
            {
                "metric_group_id": id,
                "ordinal": ordinal,
                "run_id": run,
                "stream": stream,
                "key": clean_text(key),
                "lookup": lookup_text(key),
                "kind": kind,
            }
            for ordinal, (key, kind) in enumerate(zip(buffer.keys, buffer.kinds, strict=True), 1)
        ]
    if names:
        conn.execute(sa.insert(metric_key), names)
    return found


def _find_open(groups: Sequence[_Group], conn: sa.Connection) -> None:
    """Find the chunks of each level that were not raised: the full ones are, so these are not full."""
    low = [group for group in groups if not group.raised]
    for at in range(0, len(low), 500):
        _read_open(conn, low[at : at + 500], ())
    for group in groups:
        for level, first in enumerate([*group.raised, 0] if group.raised else ()):
            where = (metric_chunk.c.level == level, metric_chunk.c.seq >= first)
            _read_open(conn, [group], where)


def _read_open(conn: sa.Connection, groups: Sequence[_Group], where: Sequence[Any]) -> None:
    table = metric_chunk.c
    by_id = {group.id: group for group in groups}
    rows = conn.execute(
        sa.select(table.metric_group_id, table.level, table.seq, table.count)
        .where(table.metric_group_id.in_(by_id), table.ordinal == 0, *where)
        .order_by(table.metric_group_id, table.level, table.seq)
    )
    for group, level, seq, count in rows:
        by_id[group].open.setdefault(level, []).append((seq, count))


def _append(conn: sa.Connection, group: _Group, level: int, block: Block, *, compact: bool) -> None:
    """Append rows or entries to a level of a group, and raise the chunks that it fills."""
    capacity = chunk_capacity(block.width)
    open_chunks = group.open.get(level, [])
    end = first = group.end(level)
    total = len(block)
    while open_chunks:
        seq, count = open_chunks[-1]
        # Only chunks at the very end may be absorbed, or rows would change places.
        if seq != first - 1 or count >= capacity or (count > 2 * total and not compact):
            break
        open_chunks.pop()
        first, total = seq, total + count
    if first < end:
        absorbed = type(block).empty(block.kinds)
        _load(conn, group.id, level, range(first, end), absorbed)
        conn.execute(
            sa.delete(metric_chunk).where(
                metric_chunk.c.metric_group_id == group.id,
                metric_chunk.c.level == level,
                metric_chunk.c.seq >= first,
            )
        )
        absorbed.extend(block)  # type: ignore[arg-type]  # both are of one class
        block = absorbed
    block.sort()
    higher = EntryBlock.empty(block.kinds)
    seq = first
    rows: list[dict[str, Any]] = []
    size = 0
    for low in range(0, len(block), capacity):
        part = block.part(low, low + capacity)
        for row in part.rows():
            rows.append({"metric_group_id": group.id, "level": level, "seq": seq, **row})
            size += len(row["payload"])
            if size >= _INSERT_BYTES:
                conn.execute(sa.insert(metric_chunk), rows)
                rows, size = [], 0
        if len(part) == capacity:
            higher.extend(part.raised(seq))
        else:
            group.open.setdefault(level, []).append((seq, len(part)))
        seq += 1
    if rows:
        conn.execute(sa.insert(metric_chunk), rows)
    if level == 0:
        group.next_seq = seq
    if len(higher):
        _raise(conn, group, level, first, seq - (len(block) % capacity > 0), higher, compact=compact)


def _raise(
    conn: sa.Connection,
    group: _Group,
    level: int,
    first: int,
    end: int,
    entries: EntryBlock,
    *,
    compact: bool,
) -> None:
    """Append the entries over the chunks from ``first`` to before ``end`` to the next level."""
    while len(group.raised) <= level:
        group.raised.append(0)
    if group.raised[level] < first:  # chunks of a catalog from before there were pyramids
        earlier = EntryBlock.empty(entries.kinds)
        for seq in range(group.raised[level], first):
            block = RowBlock.empty(entries.kinds)
            _load(conn, group.id, level, range(seq, seq + 1), block)
            earlier.extend(block.raised(seq))
        earlier.extend(entries)
        entries = earlier
        group.open[level] = []
    group.raised[level] = end
    _append(conn, group, level + 1, entries, compact=compact)


def _load(conn: sa.Connection, group: int, level: int, seqs: range, block: Block) -> None:
    """Append the chunks of a level to an empty block."""
    table = metric_chunk.c
    for ordinal, payload in conn.execute(
        sa.select(table.ordinal, table.payload)
        .where(
            table.metric_group_id == group,
            table.level == level,
            table.seq >= seqs.start,
            table.seq < seqs.stop,
        )
        .order_by(table.ordinal, table.seq)
    ):
        block.take(ordinal, payload)
