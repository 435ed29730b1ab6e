"""A run's journal: an append-only file of checksummed frames, one file per writer.

The layout is specified in ``docs/format/v1.md`` (section "Journal"). In short: a 16-byte file header, then
frames of a 24-byte header (payload length, type, sequence number, XXH3-64 checksum) and a payload. Row frames
hold columns and point back, by file offset, at the schema frame that names their keys, so a reader may
resume at any frame boundary with nothing but the offset.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

from artline.errors import IntegrityError, StoreTooNewError
from artline.runs import records
from artline.runs.journal_rows import ROWS_HEADER, decode_rows, split_rows
from artline.runs.records import Record, Rows

__all__ = [
    "FILE_HEADER",
    "FRAME_HEADER",
    "MAX_PAYLOAD",
    "Frame",
    "JournalReader",
    "JournalWriter",
    "read_journal",
]

MAGIC = b"ARTJRNL\x00"
VERSION = 1
FILE_HEADER = struct.Struct("<8sII")  # magic, version, reserved
FRAME_HEADER = struct.Struct("<IBBHQQ")  # payload length, type, flags, reserved, sequence, checksum
HEADED = struct.Struct("<IBBHQ")  # the part of a frame header that the checksum covers
CONSOLE_HEADER = struct.Struct("<Bd")  # stream, time
SCHEMA_ENTRY = struct.Struct("<II")

MAX_PAYLOAD = 64 * 1024 * 1024
ROWS_IN_FRAME = 4096
PIECE = 1 << 20  # bytes written by one call, about
SETTLED = 600.0  # seconds; systems write out what changed within half a minute
ABOVE = 4  # folders above a journal's own that a store may have made: project, journal, root, what it lies in
KNOWN_SCHEMA_KEYS = 200_000  # names a writer remembers before it starts its schema table anew

START, UPDATE, CONFIG, DEFINE, SCHEMA, ROWS, SUMMARY, CONSOLE, FILE, EDGE, HEARTBEAT, FINISH = range(1, 13)
REWIND, BRANCH, ALERT = 13, 14, 15

_JSON_TYPES: dict[type, int] = {
    records.Start: START,
    records.Update: UPDATE,
    records.Config: CONFIG,
    records.Define: DEFINE,
    records.Summary: SUMMARY,
    records.File: FILE,
    records.Edge: EDGE,
    records.Heartbeat: HEARTBEAT,
    records.Finish: FINISH,
    records.Rewind: REWIND,
    records.Branch: BRANCH,
    records.Alert: ALERT,
}
_CLASSES = {number: cls for cls, number in _JSON_TYPES.items()}
_STREAMS: tuple[records.Stream, ...] = (records.HISTORY, records.SYSTEM)
_CONSOLES: tuple[Any, ...] = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its sequence number, the offsets it spans, and its record.

    ``record`` is None for frames that serve the format itself (schemas) and for types this version does
    not know; their sequence number and end still count.
    """

    seq: int
    start: int
    end: int
    record: Record | None


class JournalWriter:
    """Append records to a new journal file.

    ``append`` only encodes, into memory; ``flush`` writes. Not thread-safe: one thread at a time. The
    file must not exist (FileExistsError), so no two writers ever share one.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._fd = -1
        self._parts: list[bytes] = [FILE_HEADER.pack(MAGIC, VERSION, 0)]
        self._written = 0  # bytes of the file known to be good
        self._end = FILE_HEADER.size  # where the next frame will begin
        self._torn = False
        self._folder_synced = False
        self._unsynced = False
        self._seq = 0
        self._orders = dict.fromkeys(_STREAMS, 0)
        self._schemas: dict[tuple[str, tuple[str, ...], str], int] = {}
        self._schema_keys = 0
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    @property
    def pending(self) -> int:
        """Bytes that are encoded and not yet written."""
        return self._end - self._written

    @property
    def end(self) -> int:
        """The offset just past the last record appended."""
        return self._end

    def append(self, record: Record) -> None:
        """Encode one record into memory."""
        if isinstance(record, Rows):
            self.append_rows(
                record.stream,
                record.keys,
                record.types,
                record.steps,
                record.times,
                record.columns,
                record.orders,
            )
        elif isinstance(record, records.Console):
            head = CONSOLE_HEADER.pack(_CONSOLES.index(record.stream), record.time)
            self._frame(CONSOLE, head + record.data)
        else:
            self._frame(_JSON_TYPES[type(record)], encode_json(asdict(record)))

    def append_rows(
        self,
        stream: records.Stream,
        keys: tuple[str, ...],
        types: str,
        steps: Sequence[int],
        times: Sequence[float],
        columns: Sequence[Sequence[Any]],
        orders: Sequence[int],
    ) -> None:
        """Encode the rows of one key set, as the fields of Rows, split into frames of bounded size.

        Raises OverflowError for an integer outside 64 bits; nothing of the frame is kept then.
        """
        most = max(1, min(ROWS_IN_FRAME, MAX_PAYLOAD // 4 // (24 + 8 * len(types))))
        largest = MAX_PAYLOAD - ROWS_HEADER.size
        frames = list(split_rows(types, steps, times, columns, orders, most, largest))
        for first, count, layout, payload in frames:
            head = ROWS_HEADER.pack(self._schema(stream, keys, types), first, count, layout)
            self._frame(ROWS, head + payload)

    def flush(self, *, fsync: bool = False) -> None:
        """Write what is pending, and with ``fsync`` make it durable. Raises OSError; safe to repeat.

        After a failed write the same bytes are written again at the same place by the next call.
        """
        if self._fd < 0:
            raise OSError(9, "journal is closed", str(self.path))
        if self._torn:
            os.ftruncate(self._fd, self._written)
            self._torn = False
        if len(self._parts) > 1:
            self._parts = list(_joined(self._parts))
        while self._parts:
            self._torn = True
            view = memoryview(self._parts[0])
            at = self._written
            while view:
                count = os.pwrite(self._fd, view, at)
                at += count
                view = view[count:]
            self._torn = False
            self._written = at
            del self._parts[0]
            self._unsynced = True
        if fsync and self._unsynced:
            os.fsync(self._fd)
            if not self._folder_synced:
                sync_folders(self.path.parent)
                self._folder_synced = True
            self._unsynced = False

    def sync_later(self) -> Callable[[], None] | None:
        """Return what makes durable all that is written by now, for another thread to call; None if it is.

        It raises OSError, and ``doubt`` then has the next ``flush`` with ``fsync`` try again.
        """
        if not self._unsynced:
            return None
        fd, folder = os.dup(self._fd), None if self._folder_synced else self.path.parent
        self._unsynced, self._folder_synced = False, True

        def sync() -> None:
            try:
                os.fsync(fd)
                if folder is not None:
                    sync_folders(folder)
            finally:
                os.close(fd)

        return sync

    def doubt(self) -> None:
        """Take nothing written so far for durable."""
        self._unsynced, self._folder_synced = True, False

    def lost(self) -> bool:
        """Return whether the file was deleted or replaced under its name."""
        try:
            named, held = os.stat(self.path), os.fstat(self._fd)
        except OSError:
            return True
        return (named.st_ino, named.st_dev) != (held.st_ino, held.st_dev)

    def restore(self) -> None:
        """Write a deleted file anew under its name, from the copy the system still holds open.

        Raises OSError and changes nothing when that is not possible.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        fd = self._copy(draft)
        try:
            os.replace(draft, self.path)
        except OSError:
            os.close(fd)
            draft.unlink(missing_ok=True)
            raise
        os.close(self._fd)
        self._fd = fd
        self.doubt()

    def copy_to(self, path: Path) -> None:
        """Write the whole journal, with what is pending, to a new file, durably; this one stays as it is.

        Raises OSError, and leaves no file then.
        """
        fd = self._copy(path)
        try:
            at = self._written
            for part in self._parts:
                view = memoryview(part)
                while view:
                    count = os.pwrite(fd, view, at)
                    at += count
                    view = view[count:]
            os.fsync(fd)
            sync_folders(path.parent)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)

    def _copy(self, path: Path) -> int:
        """Write what the file holds to a new one and return that, open; nothing is left of one that fails."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            at = 0
            while at < self._written:
                data = os.pread(self._fd, min(1 << 20, self._written - at), at)
                if not data:
                    raise OSError(5, "the journal cannot be read back", str(self.path))
                at += os.pwrite(fd, data, at)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return fd

    def close(self) -> None:
        """Close the file without writing what is pending. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _schema(self, stream: records.Stream, keys: tuple[str, ...], types: str) -> int:
        name = (stream, keys, types)
        offset = self._schemas.get(name)
        if offset is None:
            self._schema_keys += len(keys)
            if self._schema_keys > KNOWN_SCHEMA_KEYS:
                self._schemas.clear()
                self._schema_keys = len(keys)
            offset = self._schemas[name] = self._end
            self._frame(SCHEMA, encode_json({"stream": stream, "keys": keys, "types": types}))
        return offset

    def _frame(self, kind: int, payload: bytes) -> None:
        if len(payload) > MAX_PAYLOAD:
            raise OverflowError(f"a journal frame of {len(payload):,} bytes exceeds {MAX_PAYLOAD:,}")
        head = HEADED.pack(len(payload), kind, 0, 0, self._seq)
        checksum = xxhash.xxh3_64_intdigest(head + payload)
        frame = b"".join((head, checksum.to_bytes(8, "little"), payload))
        self._parts.append(frame)
        self._seq += 1
        self._end += len(frame)


class JournalReader:
    """Read one journal's frames in order, up to the first frame that is not whole.

    ``offset`` is 0 or the ``end`` of a frame read before; ``seq`` is the number expected of the first
    frame, when known. After iteration ``offset`` is where to resume and ``damage`` tells why reading
    stopped before the end of the file (empty when it did not): while the writer lives that is merely a
    frame being written; once it is dead it is the torn tail of its last write.

    ``file`` is read instead of the file at ``path``, which then only names it.

    Raises FileNotFoundError, IntegrityError (not a journal), StoreTooNewError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        offset: int = 0,
        seq: int | None = None,
        *,
        file: BinaryIO | None = None,
    ) -> None:
        self.path = Path(path)
        self._file = file
        self.offset = offset
        self.seq = seq
        self.damage = ""
        self._schemas: dict[int, tuple[records.Stream, tuple[str, ...], str]] = {}

    def __iter__(self) -> Iterator[Frame]:
        self.damage = ""
        with self._file or open(self.path, "rb", buffering=1 << 18) as file:
            if self.offset == 0:
                head = file.read(FILE_HEADER.size)
                if len(head) < FILE_HEADER.size:
                    self.damage = "the file header is incomplete" if head else ""
                    return
                self._check_header(head)
                self.offset = FILE_HEADER.size
            file.seek(self.offset)
            while True:
                frame = self._frame(file, self.offset)
                if frame is None:
                    return
                kind, seq, payload = frame
                start, end = self.offset, self.offset + FRAME_HEADER.size + len(payload)
                if self.seq is not None and seq != self.seq:
                    self.damage = f"frame {seq} follows where frame {self.seq} belongs"
                    return
                try:
                    record = self._decode(file, kind, start, payload)
                except (ValueError, TypeError, LookupError, RecursionError, struct.error) as error:
                    raise IntegrityError(
                        f"journal {self.path}: frame {seq} at offset {start} has a valid checksum but cannot "
                        f"be decoded: {error}. Keep the file and report it"
                    ) from error
                self.offset, self.seq = end, seq + 1
                yield Frame(seq, start, end, record)

    def _check_header(self, head: bytes) -> None:
        magic, version, _ = FILE_HEADER.unpack(head)
        if magic != MAGIC:
            raise IntegrityError(f"{self.path} is not a run journal. Move it out of the journal folder")
        if version > VERSION:
            raise StoreTooNewError(
                f"journal {self.path} has format {version}, newer than {VERSION}. Upgrade Artline"
            )

    def _frame(self, file: BinaryIO, offset: int) -> tuple[int, int, bytes] | None:
        head = file.read(FRAME_HEADER.size)
        if len(head) < FRAME_HEADER.size:
            self.damage = f"the frame header at offset {offset} is incomplete" if head else ""
            return None
        length, kind, _, _, seq, checksum = FRAME_HEADER.unpack(head)
        if length > MAX_PAYLOAD:
            self.damage = f"the frame at offset {offset} claims {length:,} bytes"
            return None
        payload = file.read(length)
        if len(payload) < length:
            self.damage = f"the frame at offset {offset} is incomplete"
            return None
        if xxhash.xxh3_64_intdigest(head[: HEADED.size] + payload) != checksum:
            self.damage = f"the frame at offset {offset} does not match its checksum"
            return None
        return kind, seq, payload

    def _decode(self, file: BinaryIO, kind: int, start: int, payload: bytes) -> Record | None:
        if kind == ROWS:
            return self._rows(file, payload)
        if kind == CONSOLE:
            stream, time = CONSOLE_HEADER.unpack_from(payload)
            return records.Console(_CONSOLES[stream], time, payload[CONSOLE_HEADER.size :])
        if kind == SCHEMA:
            self._learn(start, payload)
            return None
        cls = _CLASSES.get(kind)
        if cls is None:
            return None
        values = _known(cls, json.loads(payload))
        if cls is records.Start:
            values["process"] = records.Process(**_known(records.Process, values["process"]))
        record: Record = cls(**values)
        return record

    def _rows(self, file: BinaryIO, payload: bytes) -> Rows:
        offset, first, count, layout = ROWS_HEADER.unpack_from(payload)
        schema = self._schemas.get(offset)
        if schema is None:
            resume = file.tell()
            if offset >= resume:
                raise ValueError(f"its schema, at offset {offset}, does not come before it")
            file.seek(offset)
            frame = self._frame(file, offset)
            file.seek(resume)
            if frame is None or frame[0] != SCHEMA:
                raise ValueError(f"there is no schema at offset {offset}")
            schema = self._learn(offset, frame[2])
        return decode_rows(schema, first, count, layout, payload)

    def _learn(self, offset: int, payload: bytes) -> tuple[records.Stream, tuple[str, ...], str]:
        fields = json.loads(payload)
        stream, keys, types = fields["stream"], tuple(fields["keys"]), fields["types"]
        if stream not in _STREAMS or len(keys) != len(types) or not all(type(key) is str for key in keys):
            raise ValueError(f"the schema at offset {offset} is none")
        schema = (stream, keys, types)
        self._schemas[offset] = schema
        return schema


def read_journal(path: str | os.PathLike[str], offset: int = 0, seq: int | None = None) -> Iterator[Frame]:
    """Yield the whole frames of a journal from ``offset`` (0, or a Frame's ``end``); see JournalReader."""
    return iter(JournalReader(path, offset, seq))


def _known(cls: type[Record | records.Process], values: Any) -> dict[str, Any]:
    """Return the fields that this version knows: a later one may write more."""
    if not isinstance(values, dict):
        raise TypeError(f"{cls.__name__} is no object")
    names = {field.name for field in fields(cls)}
    return values if names.issuperset(values) else {name: values[name] for name in names & values.keys()}


def encode_json(value: Any) -> bytes:
    """Return compact ASCII JSON; NaN and infinities are the bare words NaN, Infinity and -Infinity."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def sync_folders(folder: Path) -> None:
    """Make the names in a folder durable, and its own, up to the folder that a store's root lies in.

    One above it that has not changed for a while was written out by the system long ago.
    """
    for place in (folder, *folder.parents[:ABOVE]):
        try:
            fd = os.open(place, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        except PermissionError:  # nobody who may not look into it made anything there
            continue
        try:
            if place is folder or time.time() - os.fstat(fd).st_mtime < SETTLED:
                os.fsync(fd)
        finally:
            os.close(fd)


def _joined(parts: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces of about a MiB: what is that large already is not copied."""
    group: list[bytes] = []
    size = 0
    for part in parts:
        group.append(part)
        size += len(part)
        if size >= PIECE:
            yield b"".join(group)
            group, size = [], 0
    if group:
        yield b"".join(group)
