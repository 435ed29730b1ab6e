"""Checkouts that share bytes with the cache: read-only hard links to whole files in it, or reflinks of them.

A file in the cache is named by its digest and looked at before it is shared: one that is not what its name
says, or may be written, is dropped and made anew.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import stat
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from artline.errors import UsageError
from artline.storage.cache import ENTRY_FLAGS, FILES
from artline.storage.destination import Destinations, destination_error
from artline.storage.export import Export

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from artline.storage.content import ContentStore

    Progress = Callable[[int, int], object]

__all__ = ["LINKS", "LinkedFiles", "linked_files"]

LINKS = ("copy", "reflink", "hardlink")

_FICLONE = getattr(fcntl, "FICLONE", 0x40049409)
_WORTH = 1 << 20  # smaller files are written as fast as they are cloned
_BATCH = 512
_BATCH_BYTES = 256 << 20
_BLOCK = 1 << 20
_ATTEMPTS = 3  # somebody may empty the cache between making a file in it and linking it
_WRITERS = 2
_CANNOT = (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EPERM)


def linked_files(content: ContentStore, destination: Path, link: str | None) -> LinkedFiles | None:
    """Return what writes files into ``destination`` (a folder) as ``link`` says, None for plain copies.

    ``link`` is ``copy``, ``reflink``, ``hardlink``, or None: reflinks of large files where the bucket is
    remote and the file system can, else copies. Raises UsageError where what is asked for cannot be done.
    """
    if link is not None and link not in LINKS:
        raise UsageError(f"link '{link}' is not known. Use {', '.join(map(repr, LINKS))}")
    if link == "copy" or (link is None and content.blocks is None):
        return None
    content.cache.prepare()
    if link is None:
        try:
            _try_clone(content.cache.folder, destination)
        except OSError:
            return None
        return LinkedFiles(content, "reflink", least=_WORTH, most=content.cache.limit)
    if not content.cache.enabled:
        raise UsageError(f"a {link} leads into the cache, which cache_size = 0 turns off. Use link='copy'")
    try_link = _try_clone if link == "reflink" else _try_hardlink
    try:
        try_link(content.cache.folder, destination)
    except OSError as error:
        raise _refusal(content.cache.folder, destination, link, error) from error
    return LinkedFiles(content, "reflink" if link == "reflink" else "hardlink")


class LinkedFiles:
    """Writes files that share their bytes with the cache: those of ``least`` to ``most`` bytes."""

    def __init__(
        self,
        content: ContentStore,
        link: Literal["reflink", "hardlink"],
        *,
        least: int = 0,
        most: int = sys.maxsize,
    ) -> None:
        self._content = content
        self._cache = content.cache
        self._algorithm = content.algorithm
        self._link = link
        self._least = least
        self._most = most
        self._destinations = Destinations()
        self._allowed: int | None = None

    def has(self, path: str, digest: bytes, *, executable: bool) -> bool:
        """Tell whether a file, whose content is right, is a hard link to the cache."""
        try:
            return os.path.samefile(path, self._entry(digest, executable))
        except OSError:
            return False

    def export(self, items: Iterable[Export], progress: Progress | None = None) -> None:
        """Write blobs to files as ``ContentStore.export`` does, shared with the cache where that is worth it.

        Raises what that raises, and UsageError where a folder lies on a disk that cannot share.
        """
        for batch in _batches(items):
            shared = [item for item in batch if self._least <= item.blob.size <= self._most]
            plain = [item for item in batch if not self._least <= item.blob.size <= self._most]
            if plain:
                self._content.export(plain, progress)
            if shared:
                self._share(shared, progress)

    def _share(self, items: list[Export], progress: Progress | None) -> None:
        made: set[str] = set()
        size = 0
        told: set[str] = set()  # files whose bytes were counted while they were made
        with ThreadPoolExecutor(_WRITERS, "artline-link") as writers:
            for attempt in range(_ATTEMPTS):
                done = list(writers.map(self._deliver, items, itertools.repeat(made)))
                for item, shared in zip(items, done, strict=True):
                    if shared and progress is not None:
                        path = self._path(item)
                        progress(1, 0 if path in told else item.blob.size)
                        told.discard(path)
                items = [item for item, shared in zip(items, done, strict=True) if not shared]
                if not items or attempt == _ATTEMPTS - 1:
                    break
                made = self._make(items, progress)
                told |= made
                size += sum({self._path(item): item.blob.size for item in items}.values())
        if items:
            alone = [replace(item, mode=self._mode(item)) for item in items]
            self._content.export(alone if self._link == "hardlink" else items, progress)
        if size:
            self._cache.count(size)  # only now, as it may remove what no checkout has yet

    def _make(self, items: list[Export], progress: Progress | None) -> set[str]:
        """Make files in the cache, read-only; return their paths."""
        wanted = {self._path(item): item for item in items}
        told = None if progress is None else lambda files, size: progress(0, size)
        self._content.export(
            [Export(item.blob, Path(path), self._mode(item)) for path, item in wanted.items()], told
        )
        return set(wanted)

    def _deliver(self, item: Export, made: set[str]) -> bool:
        """Share a file of the cache with its destination; tell whether it was there and what it should be."""
        path = self._path(item)
        try:
            descriptor = os.open(path, os.O_RDONLY | ENTRY_FLAGS)
        except FileNotFoundError:
            return False
        except OSError:
            _drop(path)
            return False
        try:
            status = os.fstat(descriptor)
            if not _is_file_of(status, item):
                _drop(path)
                return False
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_SH)  # no sweep takes the link for what a dead process left
            self._cache.touch(descriptor)
            share = self._hardlink if self._link == "hardlink" else self._clone
            done = share(descriptor, status, path, item, path in made)
            if done is False:
                _drop(path)
            return bool(done)
        finally:
            os.close(descriptor)

    def _hardlink(
        self, descriptor: int, status: os.stat_result, path: str, item: Export, fresh: bool
    ) -> bool | None:
        """Link the file that is open; False when it is not right, None when the cache has another by now."""
        if not fresh and not self._is_right(descriptor, item):
            return False
        destination = os.fspath(item.destination)
        try:
            part = self._destinations.part(destination)
            os.link(path, part)
            try:
                if not os.path.samestat(os.lstat(part), status):
                    return None
                os.rename(part, destination)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(part)  # renaming one link to a file over another does nothing
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EMLINK:
                return False
            raise self._fault(error, destination) from error
        return True

    def _clone(
        self, descriptor: int, status: os.stat_result, path: str, item: Export, fresh: bool
    ) -> bool | None:
        """Clone an open file, then check the clone, which no other can write; False when it is not right."""
        destination = os.fspath(item.destination)
        try:
            with self._destinations.temporary(destination, item.mode) as clone:
                try:
                    fcntl.ioctl(clone, _FICLONE, descriptor)
                except OSError as error:
                    raise self._fault(error, destination) from error
                if not fresh and not self._is_right(clone, item):
                    raise _WrongContentError
        except _WrongContentError:
            return False
        return True

    def _is_right(self, descriptor: int, item: Export) -> bool:
        hasher = self._algorithm.hasher()
        block = memoryview(bytearray(min(_BLOCK, item.blob.size)))
        position = 0
        try:
            while position < item.blob.size:
                count = os.preadv(descriptor, [block], position)
                if count == 0:
                    return False
                hasher.update(block[:count])
                position += count
        except OSError:
            return False
        return hasher.digest() == item.blob.digest

    def _fault(self, error: OSError, destination: str) -> Exception:
        if error.errno in _CANNOT:
            return _refusal(self._cache.folder, destination, self._link, error)
        return destination_error(error, destination)

    def _mode(self, item: Export) -> int:
        """Return the permission bits of a file in the cache: to be read by whom the umask lets."""
        if self._allowed is None:
            part = self._destinations.part(self._cache.path(f"{FILES}/mode"))
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o777)
            self._allowed = stat.S_IMODE(os.fstat(descriptor).st_mode)
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):  # a sweep was quicker
                os.unlink(part)
        return self._allowed & (0o555 if _is_executable(item) else 0o444)

    def _path(self, item: Export) -> str:
        return self._entry(item.blob.digest, _is_executable(item))

    def _entry(self, digest: bytes, executable: bool) -> str:
        name = digest.hex()
        end = ".x" if executable else ""
        return self._cache.path(f"{FILES}/{self._algorithm.value}/{name[:2]}/{name}{end}")


class _WrongContentError(Exception):
    """A clone has not the digest that the file in the cache is named by."""


def _batches(items: Iterable[Export]) -> Iterator[list[Export]]:
    batch: list[Export] = []
    size = 0
    for item in items:
        batch.append(item)
        size += item.blob.size
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _is_executable(item: Export) -> bool:
    return bool((item.mode or 0) & 0o100)


def _is_file_of(status: os.stat_result, item: Export) -> bool:
    """Tell whether a file in the cache can be an item's: nobody may write it, and its size is right."""
    mode = status.st_mode
    return (
        stat.S_ISREG(mode)
        and not mode & 0o222
        and bool(mode & 0o100) == _is_executable(item)
        and status.st_size == item.blob.size
    )


def _drop(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _refusal(folder: Path, destination: object, link: str, error: OSError) -> UsageError:
    if error.errno == errno.EXDEV:
        remedy = "They are on two disks: set ART_CACHE to a folder on the same one, or use link='copy'"
    else:
        remedy = "Use link='copy'" + (", or link='hardlink'" if link == "reflink" else "")
    return UsageError(
        f"no {link} from the cache {folder} to '{destination}' can be made: {error.strerror}. {remedy}"
    )


def _try_clone(source: Path, target: Path) -> None:
    """Raise OSError unless files of one folder can be cloned into another."""
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, "reflinks are made on Linux only")
    with tempfile.TemporaryFile(dir=source) as original, tempfile.TemporaryFile(dir=target) as clone:
        original.write(bytes(4096))
        original.flush()
        fcntl.ioctl(clone.fileno(), _FICLONE, original.fileno())


def _try_hardlink(source: Path, target: Path) -> None:
    """Raise OSError unless files of one folder can be linked into another."""
    part = Destinations().part(f"{target}/probe")
    with tempfile.NamedTemporaryFile(dir=source, prefix=".artline-") as original:
        os.link(original.name, part)
        with contextlib.suppress(FileNotFoundError):  # a sweep was quicker
            os.unlink(part)
