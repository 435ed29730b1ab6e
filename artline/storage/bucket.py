"""Buckets: where packs lie. A flat space of named, immutable objects; local folder, memory, or fsspec URL."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from artline.errors import AuthError, NotFoundError, StoreFullError, StoreUnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from artline.storage.digest import Buffer
    from artline.storage.retry import Patience

__all__ = ["Bucket", "LocalBucket", "MemoryBucket", "check_name", "open_bucket"]


class Bucket(Protocol):
    """Named objects. Each appears whole or not at all, and is durable when the call that puts it returns.

    Names are relative, of ``/``-separated parts. Every method raises StoreUnavailableError when the
    bucket is out of reach, AuthError when it refuses, StoreFullError when nothing more fits; reading what
    does not exist raises NotFoundError.
    """

    url: str

    def put(self, name: str, data: Buffer) -> None:
        """Store ``data`` under ``name``, replacing what was there. Idempotent."""

    def put_file(self, name: str, path: Path, *, move: bool = False) -> None:
        """Store a local file's content; with ``move`` the file is used up, or at least no longer needed."""

    def create(self, name: str, data: Buffer) -> bool:
        """Store ``data`` unless ``name`` exists already; tell whether it was stored.

        Of several callers at once, with different data, exactly one is told True. (One whose first answer was
        lost on the way recognises its own object by its content.)
        """

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Return ``length`` bytes from ``start`` on, fewer where the object ends before."""

    def read_into(self, name: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from ``start`` on; return how many bytes there were."""

    def size(self, name: str) -> int:
        """Return an object's size in bytes."""

    def exists(self, name: str) -> bool:
        """Tell whether an object exists."""

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield ``(name, size)`` of every object whose name starts with ``prefix``, in no set order."""

    def delete(self, name: str) -> None:
        """Remove an object. Idempotent: one that is gone already is no error."""

    def sweep_staging(self) -> int:
        """Remove what dead writers left unfinished, and which is no object; return how many there were."""


def open_bucket(url: str | os.PathLike[str], patience: Patience | None = None) -> Bucket:
    """Open the bucket at a path or URL: a folder, ``s3://``, or anything else fsspec knows.

    ``patience`` says how long one that is away, or silent, is waited for.
    """
    text = os.fspath(url)
    if text.startswith("file://"):
        return LocalBucket(text.removeprefix("file://"))
    if "://" not in text:
        return LocalBucket(text)
    if text.startswith(("s3://", "s3a://")):
        from artline.storage.s3 import S3Bucket

        return S3Bucket(text, patience)
    from artline.storage.remote import FsspecBucket

    return FsspecBucket(text, patience)


def check_name(name: str) -> str:
    """Return ``name``, or raise UsageError when it is no object name."""
    if not name or name.startswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
        raise UsageError(f"'{name}' is no object name")
    return name


class MemoryBucket:
    """A bucket in this process's memory, for tests."""

    def __init__(self, name: str = "") -> None:
        self.url = f"memory:{name}"
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, name: str, data: Buffer) -> None:
        with self._lock:
            self._objects[check_name(name)] = bytes(data)

    def put_file(self, name: str, path: Path, *, move: bool = False) -> None:
        self.put(name, path.read_bytes())
        if move:
            path.unlink()

    def create(self, name: str, data: Buffer) -> bool:
        with self._lock:
            return self._objects.setdefault(check_name(name), stored := bytes(data)) is stored

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        data = self._get(name)
        return data[start : len(data) if length is None else start + length]

    def read_into(self, name: str, start: int, buffer: memoryview) -> int:
        data = self.read(name, start, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def size(self, name: str) -> int:
        return len(self._get(name))

    def exists(self, name: str) -> bool:
        return check_name(name) in self._objects

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        with self._lock:
            found = [(name, len(data)) for name, data in self._objects.items() if name.startswith(prefix)]
        yield from found

    def delete(self, name: str) -> None:
        with self._lock:
            self._objects.pop(check_name(name), None)

    def sweep_staging(self) -> int:
        """Do nothing: nothing is ever unfinished here."""
        return 0

    def _get(self, name: str) -> bytes:
        try:
            return self._objects[check_name(name)]
        except KeyError:
            raise _missing(name, self.url) from None


class LocalBucket:
    """A folder. Objects are written to a temporary file, synced, renamed, and their folder synced."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser().absolute()
        self.url = str(self.root)
        self.staging = self.root / "tmp"
        self._folders: set[str] = set()

    def put(self, name: str, data: Buffer) -> None:
        with self._errors(name), self._staged() as (path, descriptor):
            _write_all(descriptor, data)
            os.fsync(descriptor)
            os.rename(path, self._place(name))
            self._sync_folder(name)

    def put_file(self, name: str, path: Path, *, move: bool = False) -> None:
        with self._errors(name):
            target = self._place(name)
            if move:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                try:
                    os.rename(path, target)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                else:
                    self._sync_folder(name)
                    return
            with self._staged() as (staged, descriptor), open(path, "rb") as source:
                while block := source.read(1 << 20):
                    _write_all(descriptor, block)
                os.fsync(descriptor)
                os.rename(staged, target)
            self._sync_folder(name)
            if move:
                os.unlink(path)

    def create(self, name: str, data: Buffer) -> bool:
        with self._errors(name), self._staged() as (path, descriptor):
            _write_all(descriptor, data)
            os.fsync(descriptor)
            try:
                os.link(path, self._place(name))
            except FileExistsError:
                return False
            self._sync_folder(name)
        return True

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        with self._errors(name), open(self._path(name), "rb", buffering=0) as file:
            wanted = os.fstat(file.fileno()).st_size - start if length is None else length
            parts = []
            while wanted > 0:
                part = os.pread(file.fileno(), wanted, start)
                if not part:
                    break
                parts.append(part)
                start += len(part)
                wanted -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_into(self, name: str, start: int, buffer: memoryview) -> int:
        with self._errors(name), open(self._path(name), "rb", buffering=0) as file:
            done = 0
            while done < len(buffer):
                count = os.preadv(file.fileno(), [buffer[done:]], start + done)
                if count == 0:
                    break
                done += count
            return done

    def size(self, name: str) -> int:
        with self._errors(name):
            return os.stat(self._path(name)).st_size

    def exists(self, name: str) -> bool:
        with self._errors(name):
            return os.path.exists(self._path(name))

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        folder = self.root / prefix.rpartition("/")[0]
        pending = [str(folder)]
        base = len(str(self.root)) + 1
        while pending:
            with self._errors(prefix):
                try:
                    entries = list(os.scandir(pending.pop()))
                except FileNotFoundError:
                    continue
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.path != str(self.staging):
                        pending.append(entry.path)
                elif entry.path[base:].startswith(prefix):
                    with contextlib.suppress(FileNotFoundError):
                        yield entry.path[base:], entry.stat().st_size

    def delete(self, name: str) -> None:
        with self._errors(name):
            try:
                os.unlink(self._path(name))
            except FileNotFoundError:
                return
            self._sync_folder(name)

    def sweep_staging(self) -> int:
        """Remove temporary files whose writer is dead; return how many."""
        return sweep_staging(self.staging)

    def _path(self, name: str) -> str:
        return f"{self.url}/{check_name(name)}"

    def _place(self, name: str) -> str:
        """Return the path of an object to be, its folders made and synced."""
        path = self._path(name)
        folder = os.path.dirname(path)
        if folder not in self._folders:
            made = []
            while not os.path.isdir(folder):
                made.append(folder)
                folder = os.path.dirname(folder)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            for one in made:
                _sync(os.path.dirname(one))
            self._folders.add(os.path.dirname(path))
        return path

    def _sync_folder(self, name: str) -> None:
        _sync(os.path.dirname(self._path(name)))

    @contextlib.contextmanager
    def _staged(self) -> Generator[tuple[str, int]]:
        """Make a temporary file, locked as long as it is in use, and remove it if it is still there then."""
        os.makedirs(self.staging, exist_ok=True)
        path = str(self.staging / uuid.uuid4().hex)
        descriptor = open_staged(path)
        try:
            yield path, descriptor
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.close(descriptor)

    @contextlib.contextmanager
    def _errors(self, name: str) -> Generator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError) as error:
            raise _missing(name, self.url) from error
        except OSError as error:
            raise storage_error(error, name, self.url) from error


def storage_error(error: OSError, name: str, url: str) -> Exception:
    """Return the error that tells what an operating system error means for the store."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(
            f"no space left for '{name}' in {url}. Free some space and try again; what was stored is safe"
        )
    if isinstance(error, PermissionError):
        return AuthError(f"not allowed to use '{name}' in {url} ({error.strerror}). Check owner and mode")
    if error.errno == errno.EROFS:
        return AuthError(f"cannot write '{name}': {url} is read-only")
    return StoreUnavailableError(f"cannot use '{name}' in {url}: {error}. Check that the storage is there")


def _missing(name: str, url: str) -> NotFoundError:
    return NotFoundError(f"there is no object '{name}' in {url}. Run: art fsck")


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_leftover(path: str) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, os.O_RDWR | flags)  # network file systems want that for a lock
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags)


def open_staged(path: str, mode: int = 0o666) -> int:
    """Create a temporary file and lock it, so that a sweep can tell it from a dead writer's."""
    import fcntl

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # a sweep may hold it, for a moment
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            raise
        os.close(descriptor)  # swept before it was locked: once more


def is_staged(path: str) -> bool:
    """Tell whether a temporary file is in use: locked by its writer, or given another name by now."""
    import fcntl

    try:
        descriptor = _open_leftover(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return not os.path.samestat(os.fstat(descriptor), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: Buffer) -> None:
    view = memoryview(data)
    while len(view):
        view = view[os.write(descriptor, view) :]


def sweep_staging(folder: str | os.PathLike[str], names: re.Pattern[str] | None = None) -> int:
    """Remove temporary files (those with such names) that nobody holds the lock of; return how many."""
    import fcntl

    removed = 0
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if names is None or names.fullmatch(entry.name)]
    except FileNotFoundError:
        return 0
    for entry in entries:
        try:
            descriptor = _open_leftover(entry.path)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One that has another name by now was renamed; one about to be locked is made once more.
            if os.path.samestat(os.fstat(descriptor), os.stat(entry.path)):
                os.unlink(entry.path)
                removed += 1
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return removed
