"""Checkout: blobs become files, verified while they are written and renamed into place when right."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
import uuid
from collections import defaultdict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from artline.errors import AuthError, IntegrityError, StoreFullError, StoreUnavailableError
from artline.storage.arena import Arena, ArenaPool
from artline.storage.bucket import open_staged, sweep_staging
from artline.storage.reader import Stretch, fetch, payload, stretches
from artline.storage.recipe import Blob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from artline.errors import ArtlineError
    from artline.storage.content import ContentStore
    from artline.storage.digest import Buffer
    from artline.storage.index import Location

__all__ = ["Export", "ExportStats", "export", "sweep_unfinished"]

_BATCH = 2048
_BUFFERS = 4
_PART = re.compile(r"\.artline-[0-9a-f]{12}\.[0-9]+\.part")
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


class _Exporter:
    def __init__(self, store: ContentStore, progress: Callable[[int, int], object] | None) -> None:
        self.stats = ExportStats()
        self._store = store
        self._hash = store.algorithm.constructor()
        self._progress = progress
        self._pool = ArenaPool(_BUFFERS)
        self._folders: set[str] = set()
        self._suffix = uuid.uuid4().hex[:12]
        self._numbers = itertools.count()

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
            self._large(item)

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
                raise self._store.damaged(location, "its content does not match the digest")
            for item in wanted[location.digest]:
                self._write(item, content)
                files += 1
                size += len(content)
        return files, size

    def _fetched(self, wanted: Iterator[Stretch]) -> Iterator[tuple[Stretch, memoryview, Arena]]:
        """Yield stretches with their bytes and the arena to be given back; the next are on their way."""
        with ThreadPoolExecutor(1, "artline-fetch") as reader:
            ahead: deque[tuple[Stretch, Future[memoryview], Arena]] = deque()
            for stretch in wanted:
                arena = self._pool.take()
                ahead.append((stretch, reader.submit(fetch, self._store, stretch, arena.view), arena))
                if len(ahead) >= _BUFFERS - 2:
                    done, data, filled = ahead.popleft()
                    yield done, data.result(), filled
            for done, data, filled in ahead:
                yield done, data.result(), filled

    def _large(self, item: Export) -> None:
        recipe = self._store.recipe(item.blob)
        hasher = self._store.algorithm.hasher()
        with (
            self._temporary(item) as descriptor,
            ThreadPoolExecutor(1, "artline-hash") as hashing,
            ThreadPoolExecutor(1, "artline-write") as writing,
        ):
            position = 0
            busy: deque[tuple[Arena, list[Future[None]]]] = deque()
            for stretch, data, arena in self._fetched(stretches(self._in_order(recipe.chunks), sort=False)):
                start = position
                contents = [payload(self._store, stretch, data, location) for location in stretch.locations]
                position += sum(len(content) for content in contents)
                hashed = hashing.submit(_update_all, hasher, contents)
                written = writing.submit(_write_all, descriptor, contents, start)
                busy.append((arena, [hashed, written]))
                while len(busy) > 1:
                    self._finish(*busy.popleft())
                self._count(0, position - start)
            for pending in busy:
                self._finish(*pending)
            if hasher.digest() != item.blob.digest:
                self._find_culprit(recipe.chunks)
                raise IntegrityError(
                    f"the chunks of {self._store.format(item.blob.digest)} are right but not what the recipe "
                    "promises. Run: art fsck --full"
                )
        self._count(1, 0)

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
        with self._temporary(item) as descriptor:
            if os.write(descriptor, content) != len(content):
                _write_all(descriptor, [content], 0)

    @contextlib.contextmanager
    def _temporary(self, item: Export) -> Iterator[int]:
        """Give a file to write that becomes the destination when the block ends well."""
        destination = os.fspath(item.destination)
        folder = os.path.dirname(destination)
        try:
            if folder not in self._folders:
                _make_folder(folder or ".")
                self._folders.add(folder)
            name = f".artline-{self._suffix}.{next(self._numbers)}.part"
            path = f"{folder}/{name}" if folder else name
            mode = 0o666 if item.mode is None else stat.S_IMODE(item.mode)
            descriptor = open_staged(path, mode)
        except OSError as error:
            raise _destination_error(error, destination) from error
        try:
            try:
                if item.mode is not None:
                    os.fchmod(descriptor, mode)
                yield descriptor
                os.close(os.dup(descriptor))  # a network file system tells here what it could not write
                os.rename(path, destination)  # locked until it has its name
            finally:
                os.close(descriptor)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(path)
            if isinstance(error, OSError):
                raise _destination_error(error, destination) from error
            raise

    def _count(self, files: int, size: int) -> None:
        self.stats.files += files
        self.stats.bytes += size
        if self._progress is not None:
            self._progress(files, size)


def sweep_unfinished(folder: str) -> None:
    """Remove what killed exports left in a folder."""
    with contextlib.suppress(PermissionError):  # one may write to a folder that one may not list
        sweep_staging(folder, _PART)


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder)
    except FileExistsError:
        sweep_unfinished(folder)


def _update_all(hasher: object, contents: list[Buffer]) -> None:
    for content in contents:
        hasher.update(content)  # type: ignore[attr-defined]  # a Hasher


def _write_all(descriptor: int, contents: list[Buffer], start: int) -> None:
    for content in contents:
        view = memoryview(content)
        while len(view):
            done = os.pwrite(descriptor, view, start)
            start += done
            view = view[done:]


def _destination_error(error: OSError, destination: str) -> ArtlineError | OSError:
    from artline.errors import ArtlineError

    if isinstance(error, ArtlineError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(f"no space left to write '{destination}'. Free some space and try again")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return AuthError(f"not allowed to write '{destination}' ({error.strerror}). Check owner and mode")
    return StoreUnavailableError(f"cannot write '{destination}': {error.strerror}. Check the path")
