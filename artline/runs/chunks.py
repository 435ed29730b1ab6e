"""Rows of metrics into chunks of columns: the writing side of history.

Rows are appended to the last chunks of their group. A chunk that is not full is absorbed into the next one
once that is at least half its size, so that a live run leaves a handful of chunks behind, and a row is
rewritten a logarithmic number of times.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import sqlalchemy as sa

from artline.runs.attributes import clean_text, lookup_text
from artline.runs.columns import (
    FLOAT,
    INT,
    column_stats,
    decode_axis,
    decode_column,
    decode_orders,
    encode_axis,
    encode_column,
)
from artline.runs.records import Rows
from artline.runs.schema import metric_chunk, metric_group, metric_key

__all__ = ["CHUNK_ROWS", "CHUNK_VALUES", "MAX_KEY_SETS", "RowBuffer", "append_rows", "chunk_capacity"]

CHUNK_ROWS = 8192
CHUNK_VALUES = 1 << 20
# A writer that logs another combination of keys every time would make a group of each; past this many, a new
# combination is kept key by key.
MAX_KEY_SETS = 256

_INSERT_BYTES = 8 << 20


def chunk_capacity(keys: int) -> int:
    """Return how many rows a full chunk holds for a group of that many keys."""
    return max(64, min(CHUNK_ROWS, CHUNK_VALUES // max(1, keys)))


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
                columns = [_column(kind) for kind in rows.types]
                buffer = found[name] = cls(*name, array("q"), array("d"), array("q"), columns)
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
    fresh: bool


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
    open_chunks = _open_chunks(conn, [group.id for group in groups.values() if not group.fresh])
    for (stream, signature), buffer in chosen.items():
        group = groups[stream, signature]
        _append(conn, group, buffer, open_chunks.get(group.id, []), compact=compact)


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
    query = sa.select(table.id, table.stream, table.signature, table.row_count, table.next_seq).where(
        table.run_writer_id == writer
    )
    if len(buffers) <= 500:
        query = query.where(table.signature.in_([signature for _, signature in buffers]))
    found = {
        (stream, signature): _Group(id, rows, next_seq, False)
        for id, stream, signature, rows, next_seq in conn.execute(query)
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
        found[stream, signature] = _Group(id, 0, 0, True)
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


def _open_chunks(conn: sa.Connection, groups: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
    """Return ``(seq, count)`` of the chunks that are not full, by group, oldest first."""
    table = metric_chunk.c
    found: dict[int, list[tuple[int, int]]] = {}
    for at in range(0, len(groups), 500):
        rows = conn.execute(
            sa.select(table.metric_group_id, table.seq, table.count)
            .where(
                table.metric_group_id.in_(groups[at : at + 500]),
                table.level == 0,
                table.ordinal == 0,
                table.count < CHUNK_ROWS,
                table.location.is_(None),
            )
            .order_by(table.metric_group_id, table.seq)
        )
        for group, seq, count in rows:
            found.setdefault(group, []).append((seq, count))
    return found


def _append(
    conn: sa.Connection,
    group: _Group,
    buffer: RowBuffer,
    open_chunks: list[tuple[int, int]],
    *,
    compact: bool,
) -> None:
    capacity = chunk_capacity(len(buffer.keys))
    steps, times, orders, columns = buffer.steps, buffer.times, buffer.orders, buffer.columns
    first = group.next_seq
    total = len(steps)
    while open_chunks:
        seq, count = open_chunks[-1]
        # Only chunks at the very end may be absorbed, or rows would change places.
        if seq != first - 1 or count >= capacity or (count > 2 * total and not compact):
            break
        open_chunks.pop()
        first, total = seq, total + count
    if first < group.next_seq:
        old_steps, old_times, old_orders, old_columns = _take(conn, group.id, first, buffer.kinds)
        steps = old_steps + steps
        times = old_times + times
        orders = old_orders + orders
        columns = [old + new for old, new in zip(old_columns, columns, strict=True)]
    rows: list[dict[str, Any]] = []
    size = 0
    seq = first
    for low in range(0, len(steps), capacity):
        high = low + capacity
        for row in _chunk(
            group.id,
            seq,
            buffer.kinds,
            steps[low:high],
            times[low:high],
            orders[low:high],
            [column[low:high] for column in columns],
        ):
            rows.append(row)
            size += len(row["payload"])
            if size >= _INSERT_BYTES:
                conn.execute(sa.insert(metric_chunk), rows)
                rows, size = [], 0
        seq += 1
    if rows:
        conn.execute(sa.insert(metric_chunk), rows)
    conn.execute(
        sa.update(metric_group)
        .where(metric_group.c.id == group.id)
        .values(next_seq=seq, row_count=group.rows + len(buffer.steps))
    )


def _take(
    conn: sa.Connection, group: int, first: int, kinds: str
) -> tuple[array[int], array[float], array[int], list[Any]]:
    """Remove the chunks from ``first`` on and return their rows."""
    table = metric_chunk.c
    where = (table.metric_group_id == group, table.level == 0, table.seq >= first)
    steps, times, orders = array("q"), array("d"), array("q")
    columns = [_column(kind) for kind in kinds]
    for ordinal, payload in conn.execute(
        sa.select(table.ordinal, table.payload).where(*where).order_by(table.ordinal, table.seq)
    ):
        if ordinal == 0:
            more_steps, more_times = decode_axis(payload)
            steps.extend(more_steps)
            times.extend(more_times)
            orders.extend(decode_orders(payload))
        else:
            columns[ordinal - 1].extend(decode_column(payload))
    conn.execute(sa.delete(metric_chunk).where(*where))
    return steps, times, orders, columns


def _column(kind: str) -> Any:
    return array(kind) if kind in (FLOAT, INT) else []


def _chunk(
    group: int,
    seq: int,
    kinds: str,
    steps: Sequence[int],
    times: Sequence[float],
    orders: Sequence[int],
    columns: Sequence[Sequence[Any]],
) -> Iterable[dict[str, Any]]:
    place = {
        "metric_group_id": group,
        "level": 0,
        "seq": seq,
        "step_min": min(steps),
        "step_max": max(steps),
        "time_min": min(times),
        "time_max": max(times),
        "count": len(steps),
        "location": None,
    }
    yield {
        **place,
        "ordinal": 0,
        "value_min": None,
        "value_max": None,
        "value_last": None,
        "payload": encode_axis(steps, times, orders),
    }
    for ordinal, (kind, values) in enumerate(zip(kinds, columns, strict=True), 1):
        stats = column_stats(kind, values)
        yield {
            **place,
            "ordinal": ordinal,
            "value_min": stats.minimum,
            "value_max": stats.maximum,
            "value_last": stats.last,
            "payload": encode_column(kind, values),
        }
