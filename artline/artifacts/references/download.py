"""Fetching what references point to, and knowing it again on disk."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from artline.artifacts.references.checksums import new_checksum, plain_md5
from artline.artifacts.references.faults import faults
from artline.artifacts.references.found import changed, check_found, reference_of
from artline.artifacts.references.place import BLOCK, Place, Reading, place_of, scheme_of
from artline.errors import (
    ArtlineError,
    IntegrityError,
    SourceNotReadableError,
    StoreFullError,
    StoreUnavailableError,
)
from artline.storage.bucket import open_staged

if TYPE_CHECKING:
    from artline.artifacts.manifest import Entry
    from artline.storage.digest import Algorithm

__all__ = ["Progress", "check_reference", "fetch_reference", "is_fetched", "open_reference"]

ATTEMPTS = 5  # in a row without a byte more
FIRST_WAIT = 0.2  # seconds, doubled each time
KEPT = 8 << 20  # an interrupted download of so many bytes or more is resumed by the next call
STALE = 7 * 86400.0  # seconds after which nobody will resume it

Progress = Callable[[int, int], object]


def open_reference(entry: Entry) -> BinaryIO:
    """Open what a reference points to, after checking that it is still what was referred to.

    Size, ETag, version, the store's checksum and time are compared; a digest is not, since that needs the
    whole content. Raises IntegrityError when the target changed or vanished.
    """
    reference = reference_of(entry)
    place = place_of(reference.uri)
    with faults(reference.uri, entry):
        found = place.look(reference)
        check_found(entry, found)
        return place.open(reference, found)


def fetch_reference(
    entry: Entry, destination: Path, algorithm: Algorithm, progress: Progress | None = None
) -> None:
    """Copy what a reference points to into a file, which appears only when it is complete and right.

    Memory is bounded by a few MiB. A broken connection is resumed where it broke, if the server serves
    ranges, and so is, by the next call, a download of 8 MiB or more that was interrupted. Raises
    IntegrityError naming the entry, what was recorded and what was found, when the target changed or
    vanished.
    """
    reference = reference_of(entry)
    try:
        with _writing():
            part = _Part(entry, destination)
        try:
            _receive(place_of(reference.uri), entry, part, algorithm, progress)
            with _writing():
                if reference.mtime_ns:
                    os.utime(part.descriptor, ns=(reference.mtime_ns, reference.mtime_ns))
                os.replace(part.path, destination)
        except IntegrityError:
            part.discard()
            raise
        finally:
            part.close()
    except _UnwritableError as error:
        raise _disk_error(error.cause, destination) from error.cause
    if progress is not None:
        progress(1, 0)


def check_reference(entry: Entry, algorithm: Algorithm, progress: Progress | None = None) -> None:
    """Raise IntegrityError unless what a reference points to is still what was referred to.

    What the server tells of it is compared. The content is read, and kept nowhere, where a digest of it was
    recorded, or where the server does not tell the size.
    """
    reference = reference_of(entry)
    place = place_of(reference.uri)
    size = None
    if not entry.digest:
        with faults(reference.uri, entry):
            found = place.look(reference)
        check_found(entry, found)
        size = found.size
    if size is None:
        _receive(place, entry, _Unkept(), algorithm, progress)
    if progress is not None:
        progress(1, size or 0)


def is_fetched(entry: Entry, path: str, algorithm: Algorithm) -> bool | None:
    """Tell whether a file of the right size is what a reference points to; None if that cannot be told.

    It can by a digest or checksum of the content, an S3 ETag that is an MD5 (the server is asked about one
    that does not match, since of encrypted objects it is none), or a recorded modification time. A reference
    made without a checksum promises no more than its size.
    """
    reference = reference_of(entry)
    content = _Content(entry, algorithm)
    if content.can_tell:
        with open(path, "rb", buffering=0) as stream:
            while block := stream.read(BLOCK):
                content.update(block)
        if content.mismatch() is None:
            return True
        return False if entry.digest or reference.checksum else _is_md5(entry)
    if reference.mtime_ns:
        return os.stat(path).st_mtime_ns == reference.mtime_ns
    return None if reference.etag or reference.version or reference.checksum else True


def _is_md5(entry: Entry) -> bool | None:
    """Return False, for a content that is another, if the server says that its ETags are MD5s; else None."""
    reference = reference_of(entry)
    try:
        with faults(reference.uri, entry):
            return False if place_of(reference.uri).look(reference).checksum else None
    except ArtlineError:
        return None


def _receive(
    place: Place, entry: Entry, part: _Sink, algorithm: Algorithm, progress: Progress | None
) -> None:
    reference = reference_of(entry)
    content = _Content(entry, algorithm)
    offset = part.adopt(content)
    told = failures = 0
    while True:
        before, resumed = offset, offset > 0
        try:
            with faults(reference.uri, entry), contextlib.ExitStack() as stack:
                reading = place.read(reference, offset)
                stack.callback(reading.close)
                check_found(entry, reading.found)
                if reading.start != offset:
                    offset = before = 0
                    content = _Content(entry, algorithm)
                    with _writing():
                        part.restart()
                for block in reading.blocks:
                    offset += len(block)
                    if offset > entry.size:
                        raise changed(entry, "size", f"{entry.size} bytes", "more")
                    content.update(block)
                    with _writing():
                        part.write(block)
                    if progress is not None and offset > told:
                        progress(0, min(len(block), offset - told))
                        told = offset
                if offset < entry.size:
                    raise _short(entry, reading, offset)
                if not reading.bound:
                    check_found(entry, place.look(reference))
        except StoreUnavailableError:
            failures = 1 if offset > before else failures + 1
            if failures >= ATTEMPTS:
                raise
            time.sleep(FIRST_WAIT * 2 ** (failures - 1))
            continue
        problem = content.mismatch(reading.found.checksum)
        if problem is None:
            return
        if not resumed:
            raise problem
        # Perhaps what an earlier call left is damaged: once more, from the beginning.
        offset, content = 0, _Content(entry, algorithm)
        with _writing():
            part.restart()


def _short(entry: Entry, reading: Reading, received: int) -> Exception:
    if reading.found.size is None:  # the server never said how much would come
        return changed(entry, "size", f"{entry.size} bytes", f"{received} bytes")
    return ConnectionError(f"the connection ended after {received} of {entry.size} bytes")


class _UnwritableError(Exception):
    """The disk refused; kept apart from what the network does, which is tried again."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _UnwritableError(error) from error


def _disk_error(error: OSError, destination: Path) -> ArtlineError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(f"the disk is full while writing '{destination}'. Free space and call again")
    if isinstance(error, PermissionError):
        return SourceNotReadableError(f"'{destination}' may not be written. Change its permissions")
    return StoreUnavailableError(f"'{destination}' cannot be written: {error}. Check the disk")


class _Content:
    """Digest and checksum of a content, computed as it passes, beside those that were recorded."""

    def __init__(self, entry: Entry, algorithm: Algorithm) -> None:
        reference = reference_of(entry)
        self._entry = entry
        self._digest = algorithm.hasher() if entry.digest else None
        self._wanted, self._checksum = "", None
        kept = reference.checksum
        if not kept and scheme_of(reference.uri) in ("s3", "s3a") and plain_md5(reference.etag):
            kept = f"md5:{reference.etag}"
        if kept:
            self._wanted, self._checksum = kept, new_checksum(kept.partition(":")[0])
        self._name = algorithm.value

    @property
    def can_tell(self) -> bool:
        return self._digest is not None or self._checksum is not None

    def update(self, block: bytes) -> None:
        if self._digest is not None:
            self._digest.update(block)
        if self._checksum is not None:
            self._checksum.update(block)

    def mismatch(self, found: str | None = None) -> IntegrityError | None:
        """Return the error if the content is another; an ETag counts as MD5 if ``found`` says it is one."""
        entry = self._entry
        if self._digest is not None:
            digest = f"{self._name}:{self._digest.digest().hex()}"
            if digest != entry.digest:
                return changed(entry, "content", entry.digest, digest)
        if self._checksum is not None:
            checksum = f"{self._wanted.partition(':')[0]}:{self._checksum.hexdigest()}"
            sure = found is None or bool(reference_of(entry).checksum) or found == self._wanted
            if sure and checksum != self._wanted:
                return changed(entry, "content", self._wanted, checksum)
        return None


class _Sink(Protocol):
    def adopt(self, content: _Content) -> int: ...

    def write(self, block: bytes) -> None: ...

    def restart(self) -> None: ...


class _Unkept:
    """Where a content goes that is only looked at."""

    def adopt(self, content: _Content) -> int:
        return 0

    def write(self, block: bytes) -> None:
        pass

    def restart(self) -> None:
        pass


class _Part:
    """A download in the making, beside its destination, locked as long as this process is at it.

    A large one has a name that says what it is of, so that the next call finds it; others have the name of
    an unfinished export, and are swept like those when their process was killed.
    """

    def __init__(self, entry: Entry, destination: Path) -> None:
        folder = os.fspath(destination.parent)
        self.path = os.path.join(folder, f".artline-{uuid.uuid4().hex[:12]}.0.part")
        self._keep = False
        self._found = False
        if entry.size >= KEPT and _is_certain(entry):
            _sweep(folder)
            kept = os.path.join(folder, f".artline-{_name(entry)}.fetch")
            descriptor = _lock(kept)
            if descriptor is not None:
                self.path, self.descriptor, self._keep, self._found = kept, descriptor, True, True
                return
        self.descriptor = open_staged(self.path)

    def adopt(self, content: _Content) -> int:
        """Take over what an earlier call received; return how many bytes."""
        if not self._found:
            return 0
        size = 0
        while block := os.read(self.descriptor, BLOCK):
            content.update(block)
            size += len(block)
        return size

    def write(self, block: bytes) -> None:
        view = memoryview(block)
        while len(view):
            view = view[os.write(self.descriptor, view) :]

    def restart(self) -> None:
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        os.ftruncate(self.descriptor, 0)

    def discard(self) -> None:
        """Keep nothing for a next call."""
        self._keep = False

    def close(self) -> None:
        """Let go; what nobody will resume is removed."""
        with contextlib.suppress(FileNotFoundError):
            status = os.fstat(self.descriptor)
            if os.path.samestat(status, os.stat(self.path)) and not (self._keep and status.st_size >= BLOCK):
                os.unlink(self.path)
        os.close(self.descriptor)


def _is_certain(entry: Entry) -> bool:
    """Tell whether parts of two downloads of an entry are certain to be of one content."""
    reference = reference_of(entry)
    return bool(entry.digest or reference.etag or reference.version or reference.checksum)


def _name(entry: Entry) -> str:
    from xxhash import xxh3_128_hexdigest

    from artline.artifacts.manifest import encode_reference

    return xxh3_128_hexdigest(f"{entry.digest} {entry.size} {encode_reference(reference_of(entry))}".encode())


def _lock(path: str) -> int | None:
    """Open a file that is kept, and lock it; None while another process is at it."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # else it was finished meanwhile
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _sweep(folder: str) -> None:
    """Remove downloads that were interrupted long ago."""
    now = time.time()
    with os.scandir(folder) as entries:
        old = [
            entry.path
            for entry in entries
            if entry.name.startswith(".artline-")
            and entry.name.endswith(".fetch")
            and entry.stat(follow_symlinks=False).st_mtime < now - STALE
        ]
    for path in old:
        descriptor = _lock(path)
        if descriptor is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.close(descriptor)
