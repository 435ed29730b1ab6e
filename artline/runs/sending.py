"""Journals sent to a server, frame by frame, exactly as they lie on disk; and read there.

A request carries the bytes of a journal from the offset that the server has, and before them the frames that
these refer back to: the first one, which says whose run it is, and the schemas of rows. So any replica can
take any request in, and one that is repeated changes nothing: the server tells the offset it is at.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import xxhash

from artline.errors import UsageError
from artline.runs.journal import (
    FILE_HEADER,
    FRAME_HEADER,
    HEADED,
    MAX_PAYLOAD,
    ROWS,
    JournalReader,
)
from artline.runs.journal_rows import ROWS_HEADER
from artline.runs.journals import Batch
from artline.runs.records import Start

__all__ = ["Pieces", "Taken", "pack_pieces", "read_batch", "read_stretch", "unpack_pieces"]

_PIECE = struct.Struct("<QQ")  # offset and length of a stretch of the journal
_COUNT = struct.Struct("<I")
_MOST_PIECES = 10_000

Pieces = list[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Taken:
    """Where a server is with a journal: the offset and frame it awaits, and the state of its writer."""

    offset: int
    seq: int | None
    state: str


def read_stretch(path: Path, offset: int, budget: int) -> tuple[Pieces, int]:
    """Return what to send of a journal from ``offset`` on, and the offset after it.

    About ``budget`` bytes of whole, sound frames, or the one frame that is larger; before them the frames
    that they refer to. Nothing new is ``([], offset)``. Raises FileNotFoundError.
    """
    with open(path, "rb") as file:
        begin = max(offset, FILE_HEADER.size)
        end, wanted = begin, {FILE_HEADER.size}
        for _, past, kind, payload in _frames(file, begin):
            if end > begin and past - begin > budget:
                break
            if kind == ROWS:
                wanted.add(ROWS_HEADER.unpack_from(payload)[0])
            end = past
        if end == begin:
            return [], offset
        pieces: Pieces = []
        for place in sorted(wanted):
            if place < begin:
                start, past, *_ = next(_frames(file, place))
                pieces.append((start, _read(file, start, past)))
        pieces.append((offset, _read(file, offset, end)))
    return pieces, end


def pack_pieces(pieces: Pieces) -> bytes:
    """Return stretches of a journal as the body of a request."""
    head = [_COUNT.pack(len(pieces)), *(_PIECE.pack(offset, len(data)) for offset, data in pieces)]
    return b"".join([*head, *(data for _, data in pieces)])


def unpack_pieces(data: bytes) -> Pieces:
    """Read what ``pack_pieces`` made. Raises UsageError for anything else."""
    view = memoryview(data)
    try:
        (count,) = _COUNT.unpack_from(view)
        if not 1 <= count <= _MOST_PIECES:
            raise ValueError(f"{count:,} stretches")
        at = _COUNT.size + count * _PIECE.size
        pieces: Pieces = []
        for number in range(count):
            offset, length = _PIECE.unpack_from(view, _COUNT.size + number * _PIECE.size)
            if length > len(view) - at or offset + length >= 1 << 63:
                raise ValueError("a stretch ends after the body does")
            pieces.append((offset, bytes(view[at : at + length])))
            at += length
        if at != len(view) or any(a[0] + len(a[1]) > b[0] for a, b in pairwise(pieces)):
            raise ValueError("the stretches do not follow each other")
    except (struct.error, ValueError) as error:
        raise UsageError(
            f"these are no frames of a journal: {error}. Is the client of this version?"
        ) from None
    return pieces


def read_batch(pieces: Pieces, seq: int | None, label: str) -> Batch:
    """Return the frames of the last stretch as a batch to be taken in.

    Raises UsageError when they are not whole, IntegrityError when they mean nothing.
    """
    offset, data = pieces[-1]
    journal = _Stretches(pieces)
    first = next(iter(JournalReader(Path(label), file=_Stretches([(0, _HEADER), *pieces]))), None)
    if first is None or not isinstance(first.record, Start):
        raise UsageError(f"{label}: the first frame of the journal is missing, or none")
    reader = JournalReader(Path(label), offset, seq if offset else None, file=journal)
    batch = Batch(first.record, offset, offset, seq)
    for frame in reader:
        batch.end, batch.seq = frame.end, frame.seq + 1
        if frame.record is not None:
            batch.records.append(frame.record)
    if reader.damage or batch.end != offset + len(data):
        raise UsageError(f"{label}: {reader.damage or 'the frames are not whole'}. Send them again")
    return batch


_HEADER = FILE_HEADER.pack(b"ARTJRNL\x00", 1, 0)


class _Stretches(io.BytesIO):
    """A file of which only some stretches are known; elsewhere it ends."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__()
        self._pieces = pieces
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        assert whence == io.SEEK_SET
        self._position = offset
        return offset

    def read(self, size: int | None = -1, /) -> bytes:
        parts: list[bytes] = []
        assert size is not None
        for offset, data in self._pieces:
            if size > 0 and offset <= self._position < offset + len(data):
                part = data[self._position - offset : self._position - offset + size]
                parts.append(part)
                self._position += len(part)
                size -= len(part)
        return b"".join(parts)


def _frames(file: BinaryIO, offset: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield start, end, kind and payload of the whole and sound frames from ``offset`` on."""
    file.seek(offset)
    while True:
        head = file.read(FRAME_HEADER.size)
        if len(head) < FRAME_HEADER.size:
            return
        length, kind, _, _, _, checksum = FRAME_HEADER.unpack(head)
        if length > MAX_PAYLOAD:
            return
        payload = file.read(length)
        if len(payload) < length or xxhash.xxh3_64_intdigest(head[: HEADED.size] + payload) != checksum:
            return
        past = offset + FRAME_HEADER.size + length
        yield offset, past, kind, payload
        offset = past
        file.seek(offset)


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)
