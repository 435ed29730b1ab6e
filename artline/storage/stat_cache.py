"""The stat cache: files whose content is stored already, known again by their status without reading them.

A file is the same when device, inode, size, modification time and change time all are. The change time
cannot be set by a program, so an edit that restores the modification time is seen. A file whose next change
might leave its change time as it is (see ``change_time``) is not recorded at all, and is read again the next
time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import threading
import weakref
from typing import TYPE_CHECKING, TypeVar

from xxhash import xxh3_64_intdigest

from artline.storage.digest import DIGEST_SIZE
from artline.storage.recipe import Blob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["StatCache", "known_blob", "same_file"]

_T = TypeVar("_T")
_caches: weakref.WeakSet[StatCache] = weakref.WeakSet()
_VERSION = 2  # what 1 holds may be of files written through a memory map
_STATUS = struct.Struct("<QQQqq")
_IDENTITY = _STATUS.size
_DIGEST_END = _IDENTITY + DIGEST_SIZE
_CHECK = struct.Struct("<Q")
_MASK = (1 << 64) - 1
_DAMAGE = (
    TypeError,
    ValueError,
    struct.error,
)  # what comes of rows that hold something else than they should
_BATCH = 500


def same_file(known: bytes, status: os.stat_result) -> bool:
    """Tell whether a file is what it was when it was recorded; ``known`` is what ``lookup`` found."""
    return known[:_IDENTITY] == _STATUS.pack(
        status.st_dev & _MASK, status.st_ino & _MASK, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def known_blob(known: bytes, size: int) -> Blob:
    """Return the content that was recorded of a file of ``size`` bytes."""
    return Blob(known[_IDENTITY:_DIGEST_END], size, known[_DIGEST_END:] or None)


class StatCache:
    """A small SQLite file beside the store. Losing it costs time only; a damaged one is started anew."""

    def __init__(self, path: Path, store_id: str) -> None:
        self._path = path
        self._store_id = store_id
        self._lock = threading.Lock()
        self._folders: dict[bytes, int] = {}
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        _caches.add(self)

    def lookup(self, folder: bytes, names: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what is recorded of files in one folder (an absolute path), for ``same_file``."""
        return self._attempt(lambda connection: self._lookup(connection, folder, names)) or {}

    def record(self, files: Sequence[tuple[bytes, bytes, os.stat_result, bytes, bytes | None]]) -> None:
        """Remember files: folder, name, status as of before the read, digest, recipe."""
        self._attempt(lambda connection: self._record(connection, files))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def begin_child(self) -> None:
        """Start anew in a forked child: SQLite forbids it to use, and even to close, the connection."""
        self._inherited, self._connection = self._connection, None
        self._lock = threading.Lock()
        self._folders.clear()

    def _lookup(
        self, connection: sqlite3.Connection, folder: bytes, names: Sequence[bytes]
    ) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        number = self._folder(connection, folder, add=False)
        if number is None:
            return found
        for name, value in self._rows_of(connection, number, names):
            known = value[8:]
            if xxh3_64_intdigest(name + known) == _CHECK.unpack_from(value)[0]:
                found[name] = known
        return found

    def _rows_of(
        self, connection: sqlite3.Connection, folder: int, names: Sequence[bytes]
    ) -> list[tuple[bytes, bytes]]:
        """Return the rows of names: of a folder asked for in order one stretch, read in one go."""
        statement = "SELECT name, value FROM entry WHERE folder = ? AND name BETWEEN ? AND ? LIMIT ?"
        most = 2 * len(names)
        rows = connection.execute(statement, (folder, min(names), max(names), most)).fetchall()
        if len(rows) < most:
            return rows
        rows = []  # many others lie between them
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            statement = f"SELECT name, value FROM entry WHERE folder = ? AND name IN ({_marks(batch)})"
            rows += connection.execute(statement, (folder, *batch)).fetchall()
        return rows

    def _record(
        self,
        connection: sqlite3.Connection,
        files: Sequence[tuple[bytes, bytes, os.stat_result, bytes, bytes | None]],
    ) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT OR REPLACE INTO entry (folder, name, value) VALUES (?, ?, ?)",
            self._rows(connection, files),
        )
        connection.execute("COMMIT")

    def _rows(
        self,
        connection: sqlite3.Connection,
        files: Sequence[tuple[bytes, bytes, os.stat_result, bytes, bytes | None]],
    ) -> Iterator[tuple[int | None, bytes, bytes]]:
        for folder, name, status, digest, recipe in files:
            identity = (status.st_dev & _MASK, status.st_ino & _MASK, status.st_size)
            value = _STATUS.pack(*identity, status.st_mtime_ns, status.st_ctime_ns) + digest + (recipe or b"")
            number = self._folders.get(folder) or self._folder(connection, folder, add=True)
            yield number, name, _CHECK.pack(xxh3_64_intdigest(name + value)) + value

    def _folder(self, connection: sqlite3.Connection, path: bytes, *, add: bool) -> int | None:
        number = self._folders.get(path)
        if number is None:
            if add:
                connection.execute("INSERT OR IGNORE INTO folder (path) VALUES (?)", (path,))
            row = connection.execute("SELECT id FROM folder WHERE path = ?", (path,)).fetchone()
            if row is None:
                return None
            number = int(row[0])
            if len(self._folders) > 10_000:
                self._folders.clear()
            self._folders[path] = number
        return number

    def _attempt(self, action: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """Run an action, one thread at a time; what SQLite cannot do is as if there were no cache."""
        with self._lock:
            try:
                return action(self._open())
            except (sqlite3.Error, OSError, *_DAMAGE) as error:
                self._give_up(error)
                return None
            except BaseException as error:  # Ctrl-C, perhaps within a transaction
                self._give_up(error)
                raise

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self._path, timeout=5.0, isolation_level=None, check_same_thread=False
            )
            self._connection = connection
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            known = self._identity(connection)
            if known != (_VERSION, self._store_id):
                self._create(connection, known is not None)
        return self._connection

    def _identity(self, connection: sqlite3.Connection) -> tuple[int, str] | None:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'cache'").fetchone():
            return None
        row = connection.execute("SELECT version, store FROM cache").fetchone()
        return (row[0], row[1]) if row else (0, "")

    def _create(self, connection: sqlite3.Connection, replace: bool) -> None:
        connection.execute("BEGIN IMMEDIATE")
        if replace or self._identity(connection) is None:
            for table in ("cache", "folder", "entry"):
                connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute("CREATE TABLE cache (version INTEGER, store TEXT)")
            connection.execute("CREATE TABLE folder (id INTEGER PRIMARY KEY, path BLOB UNIQUE)")
            connection.execute(
                "CREATE TABLE entry (folder INTEGER, name BLOB, value BLOB, PRIMARY KEY (folder, name)) "
                "WITHOUT ROWID"
            )
            connection.execute("INSERT INTO cache VALUES (?, ?)", (_VERSION, self._store_id))
        connection.execute("COMMIT")

    def _give_up(self, error: BaseException) -> None:
        """Forget the connection; a file that is no cache (any more) is removed, to be made anew."""
        self._folders.clear()
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        if isinstance(error, _DAMAGE) or getattr(error, "sqlite_errorname", "").startswith(
            ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")
        ):
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    os.unlink(f"{self._path}{suffix}")


def _begin_child() -> None:
    for cache in list(_caches):
        cache.begin_child()


os.register_at_fork(after_in_child=_begin_child)


def _marks(batch: Sequence[bytes]) -> str:
    return ",".join("?" * len(batch))
