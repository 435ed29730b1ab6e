"""Checkout: blobs become files, verified while they are written and renamed into place when right."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from artline.errors import IntegrityError, StoreFullError
from artline.storage.arena import Arena, ArenaPool, cores
from artline.storage.bucket import LocalBucket
from artline.storage.destination import Destinations
from artline.storage.reader import Stretch, fetch, payload, recover, stretches
from artline.storage.recipe import Blob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from artline.storage.content import ContentStore
    from artline.storage.digest import Buffer
    from artline.storage.index import Location
    from artline.storage.recipe import Recipe

__all__ = ["Export", "ExportStats", "export"]

_BATCH = 2048
_REMOTE_READERS = 6  # one request waits most of its time
_ATTEMPTS = 4  # others may take the room that was made
_EXPANDERS = 4
_WRITERS = 2  # creating a file is the kernel's work, and it has more than one core


@dataclass(frozen=True, slots=True)
class Export:
    """A blob to be written to ``destination``, with these permission bits (None: what the umask leaves)."""

    blob: Blob
    destination: Path
    mode: int | None = None


@dataclass(slots=True)
class ExportStats:
    """What was written."""

    files: int = 0
    bytes: int = 0


def export(
    store: ContentStore, items: Iterable[Export], progress: Callable[[int, int], object] | None = None
) -> ExportStats:
    """Write blobs to files, making parent folders, replacing files that are there.

    A destination shows the old file or the complete, verified new one, whenever the process dies. Small
    files are written in the order they lie in the packs. ``progress`` is called with the number of files
    and bytes since the last call, from any thread. Raises IntegrityError naming the damaged chunk,
    StoreFullError, AuthError.
    """
    exporter = _Exporter(store, progress)
    pending = iter(items)
    while batch := list(itertools.islice(pending, _BATCH)):
        exporter.run(batch)
    return exporter.stats


class _WrongContentError(Exception):
    """The chunks that were put together do not have the digest of the file."""


class _Exporter:
    def __init__(self, store: ContentStore, progress: Callable[[int, int], object] | None) -> None:
        self.stats = ExportStats()
        self._store = store
        self._hash = store.algorithm.constructor()
        self._progress = progress
        self._readers = 1 if isinstance(store.bucket, LocalBucket) else _REMOTE_READERS
        self._buffers = self._readers + 4  # being read, one that waits, and three being hashed and written
        self._pool = ArenaPool(self._buffers)
        self._destinations = Destinations()

    def run(self, batch: list[Export]) -> None:
        small: defaultdict[bytes, list[Export]] = defaultdict(list)
        large = []
        for item in batch:
            if item.blob.recipe is None:
                small[item.blob.digest].append(item)
            else:
                large.append(item)
        if small:
            self._small(small)
        for item in large:
            self._with_room(item, partial(self._large, item))

    def _small(self, wanted: dict[bytes, list[Export]]) -> None:
        found = self._store.locate(list(wanted))
        for digest in wanted:
            if digest not in found:
                raise self._store.absent(digest)
        with ThreadPoolExecutor(_WRITERS, "artline-write") as writers:
            for stretch, data, arena in self._fetched(stretches(found.values())):
                share = -(-len(stretch.locations) // _WRITERS)
                tasks = [
                    writers.submit(self._write_part, wanted, stretch, data, start, start + share)
                    for start in range(0, len(stretch.locations), share)
                ]
                done = [task.result() for task in tasks]
                self._pool.give(arena)
                self._count(sum(files for files, _ in done), sum(size for _, size in done))

    def _write_part(
        self, wanted: dict[bytes, list[Export]], stretch: Stretch, data: memoryview, start: int, end: int
    ) -> tuple[int, int]:
        """Write the files of some blocks of a stretch; return how many, and their bytes."""
        files = size = 0
        for location in stretch.locations[start:end]:
            content = payload(self._store, stretch, data, location)
            if self._hash(content).digest() != location.digest:
                content = recover(self._store, location)
            for item in wanted[location.digest]:
                self._with_room(item, partial(self._write, item, content))
                files += 1
                size += len(content)
        return files, size

    def _fetched(self, wanted: Iterator[Stretch]) -> Iterator[tuple[Stretch, memoryview, Arena]]:
        """Yield stretches with their bytes and the arena to be given back; the next are on their way."""
        with ThreadPoolExecutor(self._readers, "artline-fetch") as reader:
            ahead: deque[tuple[Stretch, Future[memoryview], Arena]] = deque()
            for stretch in wanted:
                arena = self._pool.take()
                ahead.append((stretch, reader.submit(fetch, self._store, stretch, arena.view), arena))
                if len(ahead) > self._readers:
                    done, data, filled = ahead.popleft()
                    yield done, data.result(), filled
            for done, data, filled in ahead:
                yield done, data.result(), filled

    def _large(self, item: Export) -> None:
        recipe = self._store.recipe(item.blob)
        for _ in range(2):  # what a cache had wrong is right the second time
            before = self.stats.bytes
            try:
                return self._assemble(item, recipe)
            except _WrongContentError:
                self._count(0, before - self.stats.bytes)
                self._find_culprit(recipe.chunks)
            except StoreFullError:
                self._count(0, before - self.stats.bytes)
                self._pool = ArenaPool(self._buffers)  # the arenas that were under way are lost
                raise
        raise IntegrityError(
            f"the chunks of {self._store.format(item.blob.digest)} are right but not what the recipe "
            "promises. Run: art fsck --full"
        )

    def _assemble(self, item: Export, recipe: Recipe) -> None:
        """Write a file from its chunks. Raises _WrongContentError when they do not make up its digest."""
        hasher = self._store.algorithm.hasher()
        position = 0
        with (
            self._destinations.temporary(os.fspath(item.destination), item.mode) as descriptor,
            ThreadPoolExecutor(min(_EXPANDERS, cores()), "artline-expand") as expanding,
            ThreadPoolExecutor(1, "artline-hash") as hashing,
            ThreadPoolExecutor(1, "artline-write") as writing,
        ):
            busy: deque[tuple[Arena, list[Future[None]]]] = deque()
            for stretch, data, arena in self._fetched(stretches(self._in_order(recipe.chunks), sort=False)):
                size = sum(location.raw_size for location in stretch.locations)
                contents = expanding.submit(self._contents, stretch, data)
                hashed = hashing.submit(_update_all, hasher, contents)
                written = writing.submit(_write_all, descriptor, contents, position)
                position += size
                busy.append((arena, [hashed, written]))
                while len(busy) > 2:
                    self._finish(*busy.popleft())
                self._count(0, size)
            for pending in busy:
                self._finish(*pending)
            if hasher.digest() != item.blob.digest:
                raise _WrongContentError
        self._count(1, 0)

    def _contents(self, stretch: Stretch, data: memoryview) -> list[Buffer]:
        """Return what the blocks of a stretch hold, which are as long as the index says."""
        contents = []
        for location in stretch.locations:
            content = payload(self._store, stretch, data, location)
            if len(content) != location.raw_size:
                raise self._store.damaged(location, "its size is not the index's")
            contents.append(content)
        return contents

    def _finish(self, arena: Arena, tasks: list[Future[None]]) -> None:
        for task in tasks:
            task.result()
        self._pool.give(arena)

    def _in_order(self, chunks: tuple[tuple[bytes, int], ...]) -> Iterator[Location]:
        """Yield the location of each chunk in turn."""
        for start in range(0, len(chunks), _BATCH):
            part = [digest for digest, _ in chunks[start : start + _BATCH]]
            found = self._store.locate(part)
            for digest in part:
                if digest not in found:
                    raise self._store.absent(digest)
                yield found[digest]

    def _find_culprit(self, chunks: tuple[tuple[bytes, int], ...]) -> None:
        """Read every chunk by itself, which raises for the one whose content does not match."""
        for digest, _ in chunks:
            self._store.read(digest)

    def _write(self, item: Export, content: Buffer) -> None:
        with self._destinations.temporary(os.fspath(item.destination), item.mode) as descriptor:
            _write(descriptor, content, 0)

    def _with_room(self, item: Export, write: Callable[[], None]) -> None:
        """Write a file; on a full disk again after the cache has given way."""
        for attempt in range(_ATTEMPTS):
            try:
                return write()
            except StoreFullError:
                if attempt == _ATTEMPTS - 1 or not self._store.make_room(item.destination, item.blob.size):
                    raise
        return None

    def _count(self, files: int, size: int) -> None:
        self.stats.files += files
        self.stats.bytes += size
        if self._progress is not None:
            self._progress(files, size)


def _update_all(hasher: object, contents: Future[list[Buffer]]) -> None:
    for content in contents.result():
        hasher.update(content)  # type: ignore[attr-defined]  # a Hasher


def _write_all(descriptor: int, contents: Future[list[Buffer]], start: int) -> None:
    for content in contents.result():
        start += _write(descriptor, content, start)


def _write(descriptor: int, content: Buffer, start: int) -> int:
    """Write all of ``content`` at ``start``; return how much it is."""
    done = os.pwrite(descriptor, content, start)
    while done < len(content):
        done += os.pwrite(descriptor, memoryview(content)[done:], start + done)
    return done
