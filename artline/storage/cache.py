"""The cache: a folder of blocks and files that can be had again, the least recently used removed first.

Nothing in it is relied on: what is read from it is checked, what is missing is fetched again, and any
process may remove anything at any moment. The time of last use is the files' access time, which is set
explicitly, whatever the file system is mounted with.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from artline.errors import AuthError, StoreUnavailableError
from artline.storage.bucket import check_name
from artline.storage.destination import sweep_unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ENTRY_FLAGS", "FILES", "PACKS", "Cache", "CacheUsage", "Removed"]

PACKS = "packs"
FILES = "files"

# Whoever may write to the folder can only have entries read that are files in it.
ENTRY_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_DEFAULT_SHARE = 10  # per cent of the disk
_DEFAULT_MOST = 50 << 30
_RESERVE_SHARE = 5  # per cent of the disk that the cache leaves free,
_RESERVE_MOST = 1 << 30  # or this, where that is less
_CHECKS = 32  # the size is looked at each time when this part of the limit has been added
_CHECK_MOST = 256 << 20
_UNIT = 64 << 10  # one byte of the tally stands for this much that was added
_MARGIN = 16 << 20  # a full disk gets this much more than what is lacking
_SECOND = 1_000_000_000
_TAG = "CACHEDIR.TAG"
_TAG_TEXT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# Artline keeps here what it can fetch again. Backups may leave it out (https://bford.info/cachedir/).\n"
)


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """What a cache holds, in entries and bytes of disk.

    ``packs`` are pieces of packs from a remote bucket, ``files`` whole files that checkouts are linked to.
    Files that a checkout shares (``linked``) take no space of their own and are not part of ``size``.
    ``oldest`` is when the entry that would go first was last used, in seconds since 1970.
    """

    size: int
    packs: int
    files: int
    linked: int
    linked_size: int
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Removed:
    """How many entries went (or would go), and how many bytes of disk that frees."""

    entries: int
    bytes: int


class _Entry(NamedTuple):
    path: str
    used: int  # nanoseconds since 1970
    size: int
    links: int


class Cache:
    """A folder with a limit, shared by any number of processes and threads.

    ``size`` is the setting: ``auto``, a share such as ``5%``, or a number of bytes. Making a Cache touches
    nothing on disk.
    """

    def __init__(self, folder: Path, size: str = "auto") -> None:
        self.folder = folder
        self._size = size
        self._limit: int | None = None
        self._ready = False
        self._crowded = False
        self._closed = False
        self._refused = 0
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """The most bytes that are kept; each process may exceed it by a thirty-second part for a moment."""
        if self._limit is None:
            if self._size == "auto":
                self._limit = min(self.disk_size() * _DEFAULT_SHARE // 100, _DEFAULT_MOST)
            elif self._size.endswith("%"):
                self._limit = int(self.disk_size() * float(self._size[:-1]) / 100)
            else:
                self._limit = int(self._size)
        return self._limit

    @property
    def enabled(self) -> bool:
        """Tell whether anything is kept at all."""
        return self._size != "0"

    def disk_size(self) -> int:
        """Return the size in bytes of the disk that the folder is on, or will be."""
        disk = _disk(self.folder)
        return disk.f_blocks * disk.f_frsize

    def free_space(self) -> int:
        """Return how many bytes of that disk are free for this user."""
        disk = _disk(self.folder)
        return disk.f_bavail * disk.f_frsize

    def path(self, place: str) -> str:
        """Return where an entry lies; ``place`` is relative, its parts separated by ``/``."""
        return f"{self.folder}/{check_name(place)}"

    def create(self, place: str) -> int:
        """Open an entry for writing, made if it is new. Raises OSError."""
        path = self.path(place)
        flags = os.O_RDWR | os.O_CREAT | ENTRY_FLAGS
        try:
            return os.open(path, flags, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return os.open(path, flags, 0o666)

    def touch(self, descriptor: int) -> None:
        """Say that an entry is in use now, which leaves its modification time alone."""
        with contextlib.suppress(OSError):  # somebody else's, whose it is to say
            os.utime(descriptor, ns=(time.time_ns(), os.fstat(descriptor).st_mtime_ns))

    def has_room(self, size: int) -> bool:
        """Tell whether so many bytes may be added, after removing old entries if the disk is nearly full."""
        if self._closed or size > self.limit or not self.prepare():
            return False
        with contextlib.suppress(OSError):
            if self._lacking(size) <= 0:
                self._crowded = False
                return True
            if not self._crowded:
                self._crowded = True  # until there is room again, there is no use in looking
                self.release(self._lacking(size) + self._interval)
                return self._lacking(size) <= 0
        return False

    def prepare(self) -> bool:
        """Make the folder, with the tag that tells backup programs to skip it; tell whether it is there."""
        if not self._ready:
            try:
                os.makedirs(self.folder, exist_ok=True)
                if not os.path.exists(self.folder / _TAG):
                    (self.folder / _TAG).write_bytes(_TAG_TEXT)
            except OSError:
                return os.path.isdir(self.folder)
            self._ready = True
        return True

    def count(self, size: int) -> None:
        """Note that so many bytes were added; remove the oldest entries when it is time to."""
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(self.folder / "tally", flags, 0o666)
            try:
                os.write(descriptor, b"+" * max(1, size // _UNIT))
                added = os.fstat(descriptor).st_size * _UNIT
            finally:
                os.close(descriptor)
            if added >= self._interval:
                self.trim()

    def trim(self) -> Removed:
        """Bring the cache a little below its limit where it exceeds it, unless another process is at it."""
        import fcntl

        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Removed(0, 0)
            with contextlib.suppress(FileNotFoundError):
                os.truncate(self.folder / "tally", 0)
            return self._evict(above=self.limit, keep=self.limit - self.limit // 16)
        finally:
            os.close(descriptor)

    def release(self, size: int) -> Removed:
        """Free at least so many bytes of disk, if the cache has them."""
        total = self.usage().size
        return self._evict(above=0, keep=max(total - size, 0))

    def give_way(self, size: int) -> bool:
        """Make room on a full disk for so many bytes of something else; tell whether there is some.

        This process adds nothing to the cache any more: it would take the room again.
        """
        self._closed = True
        with self._lock:  # one writer may have made room for another
            return self.free_space() > size or self.release(size + _MARGIN).bytes > 0

    def clean(
        self,
        *,
        size: int | None = None,
        unused_since: float | None = None,
        everything: bool = False,
        dry_run: bool = False,
    ) -> Removed:
        """Remove what exceeds ``size`` bytes, what was not used since a time, or everything; then the rest.

        The rest is what killed processes left, and what exceeds the limit. What is being read meanwhile stays
        readable for its reader. Raises AuthError when entries are others', StoreUnavailableError.
        """
        self._refused = 0
        try:
            removed = [self._remove_where(unused_since, everything, dry_run)]
            if not everything:
                most = self.limit if size is None else min(size, self.limit)
                removed.append(self._evict(above=most, keep=most, dry_run=dry_run, since=unused_since))
            if not dry_run:
                removed.append(self._tidy())
        except OSError as error:
            raise StoreUnavailableError(
                f"cannot use the cache {self.folder}: {error}. Check that the disk is there"
            ) from error
        if self._refused:
            raise AuthError(
                f"not allowed to remove {self._refused:,} entries of the cache {self.folder}. They are "
                "others': have their owners remove them"
            )
        return Removed(sum(part.entries for part in removed), sum(part.bytes for part in removed))

    def usage(self) -> CacheUsage:
        """Look through the cache and return what it holds."""
        size = linked_size = linked = 0
        oldest: int | None = None
        kinds: Counter[str] = Counter()
        start = len(str(self.folder)) + 1
        for entry in self._entries():
            kinds[entry.path[start:].partition("/")[0]] += 1
            if entry.links > 1:
                linked, linked_size = linked + 1, linked_size + entry.size
                continue
            size += entry.size
            oldest = entry.used if oldest is None else min(oldest, entry.used)
        seconds = None if oldest is None else oldest / _SECOND
        return CacheUsage(size, kinds[PACKS], kinds[FILES], linked, linked_size, seconds)

    @property
    def _interval(self) -> int:
        return min(self.limit // _CHECKS, _CHECK_MOST)

    def _lacking(self, size: int) -> int:
        """Return how many bytes too few are free to add ``size`` of them and leave the reserve alone."""
        disk = os.statvfs(self.folder)
        reserve = min(disk.f_blocks * disk.f_frsize * _RESERVE_SHARE // 100, _RESERVE_MOST)
        return size + reserve - disk.f_bavail * disk.f_frsize

    def _entries(self) -> Iterator[_Entry]:
        for path in self._paths():
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            size = status.st_blocks * 512 or status.st_size
            yield _Entry(path, status.st_atime_ns, size, status.st_nlink)

    def _paths(self) -> Iterator[str]:
        for folder in self._folders():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
                for entry in found:
                    if not entry.name.startswith(".") and not entry.is_dir(follow_symlinks=False):
                        yield entry.path

    def _folders(self) -> Iterator[str]:
        pending = [f"{self.folder}/{PACKS}", f"{self.folder}/{FILES}"]
        while pending:
            folder = pending.pop()
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
                pending += [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
            yield folder

    def _evict(self, *, above: int, keep: int, dry_run: bool = False, since: float | None = None) -> Removed:
        """Where more than ``above`` bytes are kept, remove the oldest entries until ``keep`` bytes are left.

        Memory is bounded by the seconds within which entries were used, not by the number of entries. Those
        not used ``since`` count as gone.
        """
        least = 0 if since is None else int(since * _SECOND)
        ages: Counter[int] = Counter()
        for entry in self._entries():
            if entry.links == 1 and entry.used >= least:
                ages[entry.used // _SECOND] += entry.size
        excess = sum(ages.values()) - keep
        if sum(ages.values()) <= above:
            return Removed(0, 0)
        passed = cutoff = 0
        for second in sorted(ages):
            cutoff = second
            if passed + ages[second] >= excess:
                break
            passed += ages[second]
        doomed: list[_Entry] = []
        entries = freed = 0
        for entry in self._entries():
            if entry.links > 1 or not least <= entry.used < (cutoff + 1) * _SECOND:
                continue
            if entry.used >= cutoff * _SECOND:
                doomed.append(entry)
            elif dry_run or self._remove(entry.path):
                entries, freed = entries + 1, freed + entry.size
        for entry in sorted(doomed, key=lambda entry: entry.used):
            if freed >= excess:
                break
            if dry_run or self._remove(entry.path):
                entries, freed = entries + 1, freed + entry.size
        return Removed(entries, freed)

    def _remove_where(self, unused_since: float | None, everything: bool, dry_run: bool) -> Removed:
        entries = freed = 0
        if everything or unused_since is not None:
            least = 0 if unused_since is None else int(unused_since * _SECOND)
            for entry in self._entries():
                old = everything or (entry.links == 1 and entry.used < least)
                if old and (dry_run or self._remove(entry.path)):
                    entries, freed = entries + 1, freed + (entry.size if entry.links == 1 else 0)
        return Removed(entries, freed)

    def _remove(self, path: str) -> bool:
        """Remove an entry; tell whether it was there and ours to remove."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
        except PermissionError:
            self._refused += 1
            return False
        return True

    def _tidy(self) -> Removed:
        """Remove what killed processes left."""
        count = 0
        for folder in list(self._folders()):
            if os.path.isdir(folder):
                count += sweep_unfinished(folder)
        return Removed(count, 0)


def _disk(folder: Path) -> os.statvfs_result:
    """Return the state of the disk that a folder, or the nearest one above it, is on."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return os.statvfs(place)
    raise StoreUnavailableError(
        f"the disk of the cache {folder} is not there. Set ART_CACHE to another folder"
    )
