"""Reading a SQLite catalog that may not be written: on a read-only disk, or somebody else's.

SQLite writes even to read: a database in WAL mode has an index of its log in shared memory, which is a file
beside it. Where that cannot be made, the database is read as a file that nobody changes, and whether anybody
did is looked at afterwards. A log that has not been worked into the database is worked into a copy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from artline.errors import AuthError, StoreLockedError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["ReadOnlyFile", "may_not_write"]

_State = tuple[tuple[int, int, int] | None, ...]


def may_not_write(path: str) -> bool:
    """Tell whether a database is there that this process may not write."""
    folder = os.path.dirname(path) or "."
    return os.path.exists(path) and not all(
        os.access(place, os.W_OK, effective_ids=True) for place in (path, folder)
    )


class ReadOnlyFile:
    """A SQLite database that this process may read and not write. Safe to share between threads."""

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._copied: _State = ()

    def connect(self) -> sqlite3.Connection:
        """Open the database in the way that its present state asks for."""
        log, index = f"{self.path}-wal", f"{self.path}-shm"
        if not _filled(log):
            return self._open(self.path, "mode=ro&immutable=1")
        if os.path.exists(index):
            return self._open(self.path, "mode=ro")
        return self._open(self._copied_path(), "mode=rw")

    @contextlib.contextmanager
    def steady(self) -> Generator[None]:
        """Raise StoreLockedError when somebody changes the database in the meantime, when that matters."""
        before = self._state()
        live = _filled(f"{self.path}-wal")  # then SQLite itself, or the copy, sees to it
        try:
            yield
        except Exception as error:
            if not live and self._state() != before:
                raise self._changed() from error
            raise
        if not live and self._state() != before:
            raise self._changed()

    def refuse(self) -> AuthError:
        """Return the error for an attempt to write."""
        return AuthError(
            f"the store may be read here and not written: {self.path} is read-only. Write where its disk is "
            "mounted for writing, as a user who may write it"
        )

    def close(self) -> None:
        """Remove the copy, if one was made."""
        with self._lock:
            if self._copy is not None:
                self._copy.cleanup()
                self._copy = None

    def _open(self, path: str, mode: str) -> sqlite3.Connection:
        uri = f"file:{quote(os.path.abspath(path))}?{mode}"
        return sqlite3.connect(uri, uri=True, timeout=self._timeout, check_same_thread=False)

    def _copied_path(self) -> str:
        with self._lock:
            state = self._state()
            if self._copy is None or self._copied != state:
                if self._copy is not None:
                    self._copy.cleanup()
                self._copy = tempfile.TemporaryDirectory(prefix="artline-catalog-")
                for suffix in ("", "-wal"):
                    shutil.copyfile(self.path + suffix, Path(self._copy.name) / f"catalog.db{suffix}")
                self._copied = state
                if self._state() != state:
                    raise self._changed()
            return os.path.join(self._copy.name, "catalog.db")

    def _state(self) -> _State:
        return _stat(self.path), _stat(f"{self.path}-wal")

    def _changed(self) -> StoreLockedError:
        return StoreLockedError(
            f"the catalog {self.path} was changed by somebody while it was read here, where it is read-only. "
            "Try again"
        )


def _stat(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _filled(path: str) -> bool:
    found = _stat(path)
    return found is not None and found[1] > 0
