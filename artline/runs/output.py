"""Console output in the catalog: written by ingestion, read in order, from the end, or from a cursor.

A run's output is one sequence of bytes. A cursor is a place in it, so following goes on where it stopped.
A chunk's layout is specified in ``docs/format/v1.md`` (console chunks).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from artline.errors import IntegrityError
from artline.runs.schema import run_console

__all__ = ["OutputPiece", "append_output", "read_output", "rename_writers", "tail_start"]

_CHUNK_BYTES = 256 * 1024
# An open chunk is rewritten until it holds this much; then a new one begins.
_OPEN_BYTES = 64 * 1024
_HEADER = struct.Struct("<BBHI")  # version, flags, reserved, pieces
_PIECE = struct.Struct("<BQdI")  # stream, writer, time, length
_CHECKSUM = struct.Struct("<Q")
_STREAMS = ("stdout", "stderr")
_ZSTD = 1


@dataclass(frozen=True, slots=True)
class OutputPiece:
    """Bytes that one writer's stream gave at one time; ``cursor`` is where reading goes on after them."""

    stream: str
    time: float
    data: bytes
    writer: int
    cursor: int = 0


def append_output(conn: sa.Connection, run: int, start: int, pieces: Sequence[OutputPiece]) -> int:
    """Append pieces to a run's output that ends at ``start``; return where it ends now."""
    table = run_console.c
    last = conn.execute(
        sa.select(table.start, table.size, table.payload)
        .where(table.run_id == run, table.size < _OPEN_BYTES)
        .order_by(table.start.desc())
        .limit(1)
    ).first()
    pending: list[OutputPiece] = []
    if last is not None and last.start + last.size == start:
        pending = _decode(last.payload)
        start = last.start
        conn.execute(sa.delete(run_console).where(table.run_id == run, table.start == last.start))
    rows: list[dict[str, Any]] = []
    size = sum(len(piece.data) for piece in pending)
    for piece in pieces:
        for part in _cut(piece):
            if pending and size + len(part.data) > _CHUNK_BYTES:
                rows.append(_row(run, start, size, pending))
                start, size, pending = start + size, 0, []
            pending.append(part)
            size += len(part.data)
    if pending:
        rows.append(_row(run, start, size, pending))
    if rows:
        conn.execute(sa.insert(run_console), rows)
    return start + size


def read_output(conn: sa.Connection, run: int, after: int = 0) -> list[OutputPiece]:
    """Return the pieces of one chunk of a run's output, from the cursor ``after`` on; none at the end."""
    table = run_console.c
    row = conn.execute(
        sa.select(table.start, table.payload)
        .where(table.run_id == run, table.start + table.size > after)
        .order_by(table.start)
        .limit(1)
    ).first()
    if row is None:
        return []
    pieces = []
    at = row.start
    for piece in _decode(row.payload):
        end = at + len(piece.data)
        if end > after:
            data = piece.data[max(0, after - at) :]
            pieces.append(OutputPiece(piece.stream, piece.time, data, piece.writer, end))
        at = end
    return pieces


def tail_start(conn: sa.Connection, run: int, lines: int) -> int:
    """Return the cursor from which a run's output holds its last ``lines`` lines."""
    table = run_console.c
    wanted = lines
    before: int | None = None
    ends_in_line = True
    while True:
        query = sa.select(table.start, table.size, table.line_count, table.payload).where(table.run_id == run)
        if before is not None:
            query = query.where(table.start < before)
        row = conn.execute(query.order_by(table.start.desc()).limit(1)).first()
        if row is None:
            return 0
        if before is None:
            data = b"".join(piece.data for piece in _decode(row.payload))
            ends_in_line = not data.endswith(b"\n")
            wanted -= ends_in_line  # the unfinished last line is one of them
        if row.line_count > wanted:
            data = b"".join(piece.data for piece in _decode(row.payload))
            at = len(data)
            for _ in range(wanted + 1):
                at = data.rindex(b"\n", 0, at)
            start: int = row.start
            return start + at + 1
        wanted -= row.line_count
        before = row.start


def rename_writers(payload: bytes, names: Mapping[int, int]) -> bytes:
    """Return a chunk's payload with other numbers for its writers: for a copy in another catalog."""
    pieces = [
        OutputPiece(piece.stream, piece.time, piece.data, names[piece.writer]) for piece in _decode(payload)
    ]
    return _encode(pieces)


def _cut(piece: OutputPiece) -> Iterator[OutputPiece]:
    if len(piece.data) <= _CHUNK_BYTES:
        yield piece
        return
    for at in range(0, len(piece.data), _CHUNK_BYTES):
        yield OutputPiece(piece.stream, piece.time, piece.data[at : at + _CHUNK_BYTES], piece.writer)


def _row(run: int, start: int, size: int, pieces: Sequence[OutputPiece]) -> dict[str, Any]:
    return {
        "run_id": run,
        "start": start,
        "size": size,
        "line_count": sum(piece.data.count(b"\n") for piece in pieces),
        "time_min": min(piece.time for piece in pieces),
        "time_max": max(piece.time for piece in pieces),
        "payload": _encode(pieces),
    }


def _encode(pieces: Sequence[OutputPiece]) -> bytes:
    from xxhash import xxh3_64_intdigest
    from zstandard import ZstdCompressor

    joined: list[OutputPiece] = []
    for piece in pieces:  # neighbours of the same stream, writer and time become one
        last = joined[-1] if joined else None
        if last and (last.stream, last.writer, last.time) == (piece.stream, piece.writer, piece.time):
            joined[-1] = OutputPiece(piece.stream, piece.time, last.data + piece.data, piece.writer)
        else:
            joined.append(piece)
    body = b"".join(
        _PIECE.pack(_STREAMS.index(piece.stream), piece.writer, piece.time, len(piece.data))
        for piece in joined
    ) + b"".join(piece.data for piece in joined)
    squeezed = ZstdCompressor(level=1, write_content_size=True).compress(body)
    flags = _ZSTD if len(squeezed) < len(body) else 0
    data = _HEADER.pack(1, flags, 0, len(joined)) + (squeezed if flags else body)
    return data + _CHECKSUM.pack(xxh3_64_intdigest(data))


def _decode(payload: bytes) -> list[OutputPiece]:
    from xxhash import xxh3_64_intdigest
    from zstandard import ZstdDecompressor

    data, (checksum,) = payload[: -_CHECKSUM.size], _CHECKSUM.unpack(payload[-_CHECKSUM.size :])
    if xxh3_64_intdigest(data) != checksum:
        raise IntegrityError(f"console chunk of {len(payload)} bytes does not match its checksum")
    version, flags, _, count = _HEADER.unpack_from(data)
    if version != 1:
        raise IntegrityError(f"console chunk of version {version} cannot be read. Upgrade Artline")
    body = data[_HEADER.size :]
    if flags & _ZSTD:
        body = ZstdDecompressor().decompress(body)
    at = count * _PIECE.size
    pieces = []
    for index in range(count):
        stream, writer, time, length = _PIECE.unpack_from(body, index * _PIECE.size)
        pieces.append(OutputPiece(_STREAMS[stream], time, body[at : at + length], writer))
        at += length
    return pieces
