"""What an artifact is put together with: bytes into the content store at once, entries into a draft."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from threading import RLock
from typing import TYPE_CHECKING, BinaryIO

from artline.artifacts.manifest import Built, Manifest, ManifestBuilder, row_of
from artline.artifacts.overlay import Overlay
from artline.artifacts.paths import check_path, check_paths
from artline.artifacts.references import find_references
from artline.artifacts.shards import EntryKind, Row
from artline.artifacts.walk import EmptyFolder, Link, walk
from artline.errors import SourceNotFoundError, UsageError

if TYPE_CHECKING:
    from artline.storage.content import ContentStore
    from artline.storage.writer import ContentWriter, WriteStats

__all__ = ["Progress", "Staging"]

# Paths of a folder that are checked together before their files are read.
WINDOW = 1024

# Shards of the version beneath that are kept at hand, some 20 MB.
KEPT_SHARDS = 64

# Called with how many files and bytes have been dealt with since the last call.
Progress = Callable[[int, int], object]


class Staging:
    """A draft and the content writer that goes with it. Safe to share between threads.

    A process that was forked from the one that began it may look at it, but not change or log it.
    Every method that adds either adds all or raises and adds nothing; bytes that were stored for nothing
    are collected once the writer's lease has ended.
    """

    def __init__(self, content: ContentStore) -> None:
        self.content = content
        self.draft = Overlay()
        self.bases: tuple[int, ...] = ()  # versions whose content the draft shares
        self._under_latest = False
        self._process = os.getpid()
        self._writer: ContentWriter | None = None
        self._lock = RLock()

    @property
    def writer(self) -> ContentWriter:
        """The content writer, opened (with its lease) when it is first needed."""
        if self._writer is None:
            self._writer = self.content.writer(owner=f"artifact draft of process {os.getpid()}")
        return self._writer

    @property
    def stats(self) -> WriteStats | None:
        """What the writer has stored so far; None before the first byte."""
        return self._writer.stats if self._writer is not None else None

    def close(self) -> None:
        """Give up the draft and its temporary table; idempotent, and nothing in a forked child."""
        if os.getpid() != self._process:
            return
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self.draft.close()

    def add_file(
        self, disk: str, path: str, *, overwrite: bool = False, progress: Progress | None = None
    ) -> Row:
        """Store one file's content and enter it under ``path``."""
        check_path(path)
        with self._owned():
            for blob, stat in self.writer.add_files([disk], progress):
                row = row_of(path, blob, executable=bool(stat.st_mode & 0o100))
            self.draft.add(row, overwrite=overwrite)
        return row

    def add_stream(self, stream: BinaryIO, path: str, *, overwrite: bool = False) -> Row:
        """Store what a binary stream yields and enter it under ``path``."""
        check_path(path)
        with self._owned():
            row = row_of(path, self.writer.add_stream(stream))
            self.draft.add(row, overwrite=overwrite)
        return row

    def add_folder(
        self, disk: str, prefix: str, *, overwrite: bool = False, progress: Progress | None = None
    ) -> int:
        """Store every file below a folder and enter them below ``prefix``; return how many entries."""
        if not os.path.isdir(disk):
            if os.path.lexists(disk):
                raise UsageError(f"'{disk}' is not a folder. Add a file with add_file")
            raise SourceNotFoundError(f"folder '{disk}' does not exist. Check the path")
        with self._owned():
            rows = self._folder_rows(disk, prefix, progress)
            return self.draft.add_many(rows, overwrite=overwrite)

    def add_references(
        self, uri: str, name: str, *, checksum: bool, max_objects: int, overwrite: bool = False
    ) -> int:
        """Enter references to the object at ``uri`` or to those below it; return how many."""
        rows = find_references(uri, name, self.content.algorithm, checksum=checksum, max_objects=max_objects)
        with self._owned():
            return self.draft.add_many(_batched(rows), overwrite=overwrite)

    def remove(self, path: str) -> int:
        """Take a path and all below it out of the draft; return how many entries went."""
        with self._owned():
            return self.draft.remove(path)

    def load(self, root: bytes, version_id: int, *, latest: bool = False) -> None:
        """Put a version beneath the draft, by the root of its manifest, without reading its entries.

        With ``latest`` an earlier version that was put there as the latest makes place for this one.
        """
        with self._owned():
            base = Manifest(self.content, self.content.algorithm, root, kept=KEPT_SHARDS)
            instead = latest and self._under_latest
            self.draft.put_under(base, instead=instead)
            self.bases = (*(self.bases[:-1] if instead else self.bases), version_id)
            self._under_latest = latest

    def put_on(self, root: bytes | None) -> None:
        """Put a manifest that something else keeps beneath the draft, instead of an earlier one; or none."""
        with self._owned():
            base = None
            if root is not None:
                base = Manifest(self.content, self.content.algorithm, root, kept=KEPT_SHARDS)
            self.draft.put_under(base, instead=True)

    def build(self) -> Built:
        """Write the manifest and make everything durable; the draft stays as it is."""
        with self._owned():
            builder = ManifestBuilder(self._put, self.content.algorithm)
            self.draft.write(builder)
            self._pin(builder.reused)
            built = builder.finish()
            self.writer.flush()
            return built

    def _pin(self, shards: list[bytes]) -> None:
        """Keep shards that are used again, unread, until the commit; what they name its base keeps."""
        if shards:
            missing = self.content.missing(shards, self.writer.lease)
            if missing:
                raise self.content.absent(missing.pop())

    @contextmanager
    def _owned(self) -> Iterator[None]:
        """Hold the draft for one thread, in the process that has the writer's threads and its lease."""
        if os.getpid() != self._process:
            raise UsageError(
                f"this draft was begun in process {self._process}, of which this one is a copy: what is "
                "added here would be missing there. Add files where the draft was begun, or begin one in "
                "each process and log them with incremental=True"
            )
        with self._lock:
            yield

    def _put(self, data: bytes, *, root: bool) -> bytes:
        from artline.storage.pack import Kind

        return self.writer.add_bytes(data, Kind.ROOT if root else Kind.SHARD).digest

    def _folder_rows(self, top: str, prefix: str, progress: Progress | None) -> Iterator[list[Row]]:
        names: deque[str] = deque()
        others: list[Row] = []

        def sources() -> Iterator[str]:
            found = walk(top, prefix)
            while window := list(islice(found, WINDOW)):
                files = [item for item in window if isinstance(item, tuple)]
                paths = [path for _, path in files]
                check_paths(paths)
                names.extend(paths)
                others.extend(_other_row(item) for item in window if not isinstance(item, tuple))
                for disk, _ in files:
                    yield disk

        rows: list[Row] = []
        for blob, stat in self.writer.add_files(sources(), progress):
            kind = EntryKind.EXECUTABLE if stat.st_mode & 0o100 else EntryKind.FILE
            rows.append((names.popleft(), kind, blob.size, blob.digest, blob.recipe or b"", ""))
            if len(rows) >= WINDOW:
                yield rows
                rows = []
            if len(others) >= WINDOW:
                yield others
                others = []
        yield [*rows, *others]


def _other_row(found: EmptyFolder | Link) -> Row:
    if isinstance(found, Link):
        return (found.path, EntryKind.LINK, 0, b"", b"", found.target)
    return (found.path, EntryKind.FOLDER, 0, b"", b"", "")


def _batched(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, WINDOW)):
        yield batch
