"""The entries of an artifact that is being put together, in a private temporary SQLite table.

SQLite keeps them sorted by the bytes of their path and spills to disk, so that a draft of millions of files
stays small in memory, and finds paths that repeat, fold onto each other, or are both file and folder.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from artline.artifacts.paths import check_link_target, check_paths, fold, is_folded, parents
from artline.artifacts.shards import EntryKind, Row
from artline.errors import InvalidPathError, StoreFullError

__all__ = ["ClashError", "Draft", "clash", "occupied", "same_content"]

BATCH = 2048
CACHE_KIB = 32 * 1024

_TABLES = """
PRAGMA journal_mode=MEMORY;
PRAGMA cache_size=-{cache};
CREATE TABLE entry (
    path TEXT PRIMARY KEY, kind INTEGER, size INTEGER, digest BLOB, recipe BLOB, extra TEXT
) WITHOUT ROWID;
-- paths that differ from their folded form, by that form
CREATE TABLE odd (fold TEXT, path TEXT, PRIMARY KEY (fold, path)) WITHOUT ROWID;
-- folders with something in them
CREATE TABLE folder (fold TEXT PRIMARY KEY, path TEXT) WITHOUT ROWID;
"""

_INSERT = "INSERT OR IGNORE INTO entry VALUES (?, ?, ?, ?, ?, ?)"
_BELOW = "path >= ? || '/' AND path < ? || '0'"  # '0' follows '/'

# Each finds two paths that cannot both be restored on every system.
_CLASHES = (
    "SELECT min(path), max(path) FROM odd GROUP BY fold HAVING count(*) > 1",
    "SELECT odd.path, entry.path FROM odd CROSS JOIN entry ON entry.path = odd.fold",
    "SELECT entry.path, folder.path FROM folder CROSS JOIN entry ON entry.path = folder.fold",
    "SELECT odd.path, folder.path FROM folder CROSS JOIN odd ON odd.fold = folder.fold"
    " WHERE EXISTS (SELECT 1 FROM entry WHERE entry.path = odd.path)",
)


class ClashError(InvalidPathError):
    """A path that is there with other content, or two that cannot both be restored; ``paths`` has them."""

    def __init__(self, message: str, *paths: str) -> None:
        super().__init__(message)
        self.paths = paths


class Draft:
    """A sorted table of rows; each call that adds either adds all it was given or nothing."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(_TABLES.format(cache=CACHE_KIB))
        self._recent_folders: set[str] = set()
        self.count = 0

    def close(self) -> None:
        """Drop the table; the draft cannot be used afterwards."""
        self._db.close()

    def __del__(self) -> None:
        with suppress(AttributeError, sqlite3.ProgrammingError):  # it was never opened
            self._db.close()

    def add(self, row: Row, *, overwrite: bool = False) -> None:
        """Add one row; see ``add_many``."""
        self.add_many([[row]], overwrite=overwrite)

    def add_many(self, batches: Iterable[Sequence[Row]], *, overwrite: bool = False) -> int:
        """Add batches of rows and return how many there were.

        A row that is there already, with the same content, changes nothing; with other content it replaces
        it when ``overwrite`` is set. Otherwise, and where two paths clash, InvalidPathError names both and
        nothing of this call is kept.
        """
        before, added, clashing = self.count, 0, False
        point_checked: list[Row] = []
        with self._all_or_nothing():
            for batch in batches:
                added += len(batch)
                self._insert(batch, overwrite)
                # Few new rows beside many old ones are checked one by one, else everything at the end.
                clashing = clashing or added * 16 > before
                if not clashing:
                    point_checked.extend(batch)
            if clashing:
                self._check_everything()
            else:
                self._check_rows(point_checked)
        return added

    def get(self, path: str) -> Row | None:
        """Return the row of a path, None when there is none."""
        row: Row | None = self._db.execute("SELECT * FROM entry WHERE path = ?", (path,)).fetchone()
        return row

    def has_folder(self, path: str) -> bool:
        """Tell whether anything lies below ``path``."""
        return self._one(f"SELECT path FROM entry WHERE {_BELOW} LIMIT 1", path, path) is not None

    def remove(self, path: str) -> int:
        """Remove a path and all below it; return how many entries went."""
        folded = fold(path)
        with self._all_or_nothing():
            count = self._db.execute(f"DELETE FROM entry WHERE path = ? OR {_BELOW}", (path,) * 3).rowcount
            self._db.execute(
                f"DELETE FROM odd WHERE (fold = ? OR fold >= ? || '/' AND fold < ? || '0')"
                f" AND (path = ? OR {_BELOW})",
                (folded,) * 3 + (path,) * 3,
            )
            self._db.execute(f"DELETE FROM folder WHERE path = ? OR {_BELOW}", (path,) * 3)
            for folder in sorted(parents([path]), key=len, reverse=True):
                if self.has_folder(folder):
                    break
                self._db.execute("DELETE FROM folder WHERE fold = ? AND path = ?", (fold(folder), folder))
            self._recent_folders.clear()
            self.count -= count
        return count

    def rows(self, prefix: str = "") -> Iterator[list[Row]]:
        """Yield the rows in order, in batches; only those at or below ``prefix`` if one is given."""
        if prefix:
            cursor = self._db.execute(
                f"SELECT * FROM entry WHERE path = ? OR {_BELOW} ORDER BY path", (prefix,) * 3
            )
        else:
            cursor = self._db.execute("SELECT * FROM entry ORDER BY path")
        while batch := cursor.fetchmany(BATCH):
            yield batch

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        count = self.count
        self._db.execute("SAVEPOINT adding")
        try:
            yield
            self._db.execute("RELEASE adding")
        except BaseException as error:
            with suppress(sqlite3.OperationalError):  # a full disk may have undone it all by itself
                self._db.execute("ROLLBACK TO adding")
                self._db.execute("RELEASE adding")
            self.count = count
            self._recent_folders.clear()
            if isinstance(error, sqlite3.OperationalError):
                raise StoreFullError(
                    f"the draft's temporary table cannot grow: {error}. Free space in the folder for "
                    "temporary files, or name another one in SQLITE_TMPDIR"
                ) from error
            raise

    def _insert(self, batch: Sequence[Row], overwrite: bool) -> None:
        paths = [row[0] for row in batch]
        check_paths(paths)
        kinds = {row[1] for row in batch}
        if EntryKind.LINK in kinds:
            for row in batch:
                if row[1] == EntryKind.LINK:
                    check_link_target(row[0], row[5])
        if EntryKind.FOLDER in kinds:
            batch = [row for row in batch if row[1] != EntryKind.FOLDER or not self.has_folder(row[0])]
            paths = [row[0] for row in batch]
        before = self._db.total_changes
        self._db.executemany(_INSERT, batch)
        inserted = self._db.total_changes - before
        self.count += inserted
        if inserted < len(batch):
            self._settle_repeated(batch, overwrite)
        odd = _odd(paths)
        if odd:
            self._db.executemany("INSERT OR IGNORE INTO odd VALUES (?, ?)", odd)
        self._add_folders(paths)

    def _settle_repeated(self, batch: Sequence[Row], overwrite: bool) -> None:
        for row in batch:
            present = self.get(row[0])
            if present is None or same_content(present, row):
                continue
            if not overwrite:
                raise occupied(row[0])
            self._db.execute("REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?)", row)

    def _add_folders(self, paths: Sequence[str]) -> None:
        direct = {path.rpartition("/")[0] for path in paths} - self._recent_folders
        direct.discard("")
        if not direct:
            return
        if len(self._recent_folders) > BATCH:
            self._recent_folders.clear()
        self._recent_folders |= direct
        for folder in direct | parents(direct):
            folded = fold(folder)
            present = self._one("SELECT path FROM folder WHERE fold = ?", folded)
            if present is None:
                self._db.execute("INSERT INTO folder VALUES (?, ?)", (folded, folder))
                # An empty folder that has got something in it is no longer an entry of its own.
                gone = self._db.execute(
                    "DELETE FROM entry WHERE path = ? AND kind = ?", (folder, EntryKind.FOLDER)
                )
                if gone.rowcount:
                    self.count -= gone.rowcount
                    self._db.execute("DELETE FROM odd WHERE fold = ? AND path = ?", (folded, folder))
            elif present != folder:
                raise clash(folder, present)

    def _check_everything(self) -> None:
        for query in _CLASHES:
            found = self._db.execute(query + " LIMIT 1").fetchone()
            if found:
                raise clash(*found)

    def _check_rows(self, rows: Sequence[Row]) -> None:
        for row in rows:
            path = row[0]
            folded = fold(path)
            other = (
                self._one("SELECT path FROM entry WHERE path = ? AND path != ?", folded, path)
                or self._one("SELECT path FROM odd WHERE fold = ? AND path != ?", folded, path)
                or self._one("SELECT path FROM folder WHERE fold = ?", folded)
            )
            if other is not None and not (row[1] == EntryKind.FOLDER and other == path):
                raise clash(path, other)
            for folder in parents([path]):
                folded = fold(folder)
                other = self._one("SELECT path FROM entry WHERE path = ?", folded) or self._one(
                    "SELECT path FROM odd WHERE fold = ?", folded
                )
                if other is not None:
                    raise clash(other, folder)

    def _one(self, query: str, *values: str) -> str | None:
        found = self._db.execute(query, values).fetchone()
        return found[0] if found else None


def _odd(paths: Sequence[str]) -> list[tuple[str, str]]:
    if is_folded("\0".join([*paths, ""])):
        return []
    return [(folded, path) for path in paths if (folded := fold(path)) != path]


def same_content(row: Row, other: Row) -> bool:
    """Tell whether two rows of one path say the same, however their content is kept."""
    return (row[:4], row[5]) == (other[:4], other[5])


def occupied(path: str) -> ClashError:
    """Return the error for a path that is there already with other content."""
    return ClashError(
        f"path '{path}' is in the artifact already, with other content. Remove it first, "
        "give another name, or pass overwrite=True",
        path,
    )


def clash(path: str, other: str) -> ClashError:
    """Return the error for two paths that cannot both be restored on every system."""
    if path == other:
        return ClashError(
            f"path '{path}' is both a file and a folder in the artifact. Rename one of them",
            path,
            other,
        )
    return ClashError(
        f"paths '{path}' and '{other}' would be one on a file system that ignores case, normalises "
        "Unicode, or drops a dot or space at the end. Rename one of them",
        path,
        other,
    )
