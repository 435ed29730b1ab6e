"""Rows of a table file in two versions compared by key: added, removed, changed and duplicate ones."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from weakref import finalize

from artline.artifacts.row_files import RowFile, open_rows
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact

__all__ = ["DuplicateKey", "RowChange", "RowDiff", "diff_rows"]

CACHE_KIB = 64 << 10
_ABSENT = object()
_END = 1 << 62


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row that was added, removed or changed.

    ``old`` and ``new`` hold its cells by column, None on the side that lacks it; ``columns`` are those whose
    cells differ.
    """

    kind: Literal["added", "removed", "changed"]
    key: Mapping[str, Any]
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DuplicateKey:
    """A key that several rows of one version have, and how many in each; they are not told apart.

    ``differs`` tells whether those rows, taken together, are others in the new version.
    """

    key: Mapping[str, Any]
    old: int
    new: int
    differs: bool


class RowDiff:
    """What has to happen to the old rows to make them the new ones, apart from their order.

    True when anything differs. ``columns_added`` and ``columns_removed`` are named once and make no row a
    changed one. What was found lies in a private temporary database on disk until the object goes.
    """

    def __init__(self, path: str, key: tuple[str, ...], old: RowFile, new: RowFile) -> None:
        self.path = path
        self.key = key
        self._files = {"old": old, "new": new}
        self._columns: dict[str, dict[str, None]] = {"old": {}, "new": {}}
        # A temporary file that only SQLite sees; whichever thread drops the object closes it.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self.close: Callable[[], object] = finalize(self, self._db.close)
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE row (key BLOB, side INTEGER, number INTEGER, hash INTEGER)")
        self._db.execute("BEGIN")
        for number, side in enumerate(("old", "new")):
            self._db.executemany(f"INSERT INTO row VALUES (?, {number}, ?, ?)", self._hashes(side))
        self._db.execute("COMMIT")
        self.columns_added = tuple(c for c in self._columns["new"] if c not in self._columns["old"])
        self.columns_removed = tuple(c for c in self._columns["old"] if c not in self._columns["new"])
        self._match()
        for side in ("old", "new"):
            self._fetch(side)
        self._settle()
        counts = dict(self._db.execute("SELECT kind, count(*) FROM found GROUP BY kind"))
        self.added: int = counts.get("added", 0)
        self.removed: int = counts.get("removed", 0)
        self.changed: int = counts.get("changed", 0)
        self.duplicates, self._differing = self._db.execute(
            "SELECT count(*), coalesce(sum(differs), 0) FROM duplicate"
        ).fetchone()

    def __bool__(self) -> bool:
        rows = self.added or self.removed or self.changed or self._differing
        return bool(rows or self.columns_added or self.columns_removed)

    def changes(self) -> Iterator[RowChange]:
        """Yield the rows that were removed, then those added, then those changed, in their files' order."""
        for kind in ("removed", "added", "changed"):
            query = (
                "SELECT o.cells, n.cells, f.columns FROM found f "
                "LEFT JOIN cell o ON o.side = 'old' AND o.number = f.old "
                "LEFT JOIN cell n ON n.side = 'new' AND n.number = f.new WHERE f.kind = ? "
                "ORDER BY coalesce(f.new, f.old)"
            )
            for before, after, columns in self._db.execute(query, (kind,)):
                old = None if before is None else pickle.loads(before)  # made by this object, a moment ago
                new = None if after is None else pickle.loads(after)
                present: Mapping[str, Any] = new if new is not None else old or {}
                key = {name: present[name] for name in self.key}
                yield RowChange(kind, key, old, new, pickle.loads(columns) if columns else ())

    def duplicate_keys(self) -> Iterator[DuplicateKey]:
        """Yield the keys that more than one row of a version has, in order of their first row."""
        query = (
            "SELECT coalesce(n.cells, o.cells), d.olds, d.news, d.differs FROM duplicate d "
            "LEFT JOIN cell o ON o.side = 'old' AND o.number = d.old "
            "LEFT JOIN cell n ON n.side = 'new' AND n.number = d.new ORDER BY coalesce(d.new, d.old)"
        )
        for cells, olds, news, differs in self._db.execute(query):
            row = pickle.loads(cells)
            yield DuplicateKey({name: row[name] for name in self.key}, olds, news, bool(differs))

    def _hashes(self, side: str) -> Iterator[tuple[bytes, int, int]]:
        """Yield each row's key as a hash, its number, and a hash of all of it: equal ones are equal rows."""
        from xxhash import xxh3_64_intdigest, xxh3_128_digest

        written = self._written_json if self._files[side].columns is None else self._written
        for start, keys, rows in written(side):
            for number, (key, row) in enumerate(zip(keys, rows, strict=True), start):
                yield (
                    xxh3_128_digest(key.encode("utf-8", "surrogatepass")),
                    number,
                    xxh3_64_intdigest(row.encode("utf-8", "surrogatepass")) - (1 << 63),
                )

    def _written(self, side: str) -> Iterator[tuple[int, list[str], list[str]]]:
        """Yield batches of rows as text, their keys and the cells of the columns that both files have."""
        file, other = self._files[side], self._files["new" if side == "old" else "old"]
        columns = file.columns or []
        self._columns[side] = dict.fromkeys(columns)
        for name in self.key:
            if name not in columns:
                raise UsageError(f"{file.place} has no column '{name}'. It has: {', '.join(columns)}")
        keys = [columns.index(name) for name in self.key]
        kept = sorted((name, place) for place, name in enumerate(columns) if name in (other.columns or ()))
        alike = columns == other.columns
        for start, rows in file.batches(lambda low, high: True):
            if len(keys) == 1:
                (only,) = keys
                names = [repr(_plain(row[only])) for row in rows]
            else:
                names = [repr([_plain(row[place]) for place in keys]) for row in rows]
            if alike:
                yield start, names, [repr(row) for row in rows]
            else:
                yield start, names, [repr([row[place] for _, place in kept]) for row in rows]

    def _written_json(self, side: str) -> Iterator[tuple[int, list[str], list[str]]]:
        """Yield batches of rows that name their own cells as text, their keys and all of their cells."""
        file, seen = self._files[side], self._columns[side]
        for start, rows in file.batches(lambda low, high: True):
            names, whole = [], []
            for number, row in enumerate(rows, start + 1):
                if not seen.keys() >= row.keys():
                    seen.update(dict.fromkeys(row))
                try:
                    key = [_plain(row[name]) for name in self.key]
                except KeyError as missing:
                    raise UsageError(f"{file.place}: row {number} has no {missing} for a key") from None
                names.append(repr(key))
                whole.append(repr(sorted(row.items())))
            yield start, names, whole

    def _match(self) -> None:
        """Bring the rows of each key together, and list those that are not one and the same on both sides."""
        run = self._db.execute
        low, high = "hash & 4294967295", "hash >> 32"  # summed apart, so that no sum overflows
        run(
            "CREATE TABLE odd AS SELECT sum(side = 0) AS olds, sum(side) AS news, "
            "min(CASE side WHEN 0 THEN number END) AS old, min(CASE side WHEN 1 THEN number END) AS new, "
            f"sum(CASE side WHEN 0 THEN {low} ELSE -({low}) END) <> 0 OR "
            f"sum(CASE side WHEN 0 THEN {high} ELSE -({high}) END) <> 0 OR sum(side = 0) <> sum(side) "
            "AS differs FROM row GROUP BY key HAVING count(*) <> 2 OR olds <> 1 OR min(hash) <> max(hash)"
        )
        run("DROP TABLE row")
        run(
            "CREATE TABLE duplicate AS SELECT old, new, olds, news, differs FROM odd "
            "WHERE olds > 1 OR news > 1"
        )
        run(
            "CREATE TABLE found AS SELECT CASE WHEN old IS NULL THEN 'added' WHEN new IS NULL THEN 'removed' "
            "ELSE 'changed' END AS kind, old, new, NULL AS columns FROM odd WHERE olds < 2 AND news < 2"
        )

    def _fetch(self, side: str) -> None:
        """Read the cells of the listed rows."""
        run = self._db.execute
        run(
            "CREATE TABLE IF NOT EXISTS cell (side TEXT, number INTEGER, cells BLOB, "
            "PRIMARY KEY (side, number)) WITHOUT ROWID"
        )
        numbers = self._db.execute(
            f"SELECT {side} FROM found WHERE {side} IS NOT NULL "
            f"UNION SELECT {side} FROM duplicate WHERE {side} IS NOT NULL ORDER BY 1"
        )
        run("BEGIN")
        self._db.executemany(
            f"INSERT INTO cell VALUES ('{side}', ?, ?)", self._picked(self._files[side], numbers)
        )
        run("COMMIT")

    def _picked(self, file: RowFile, numbers: Iterator[tuple[int]]) -> Iterator[tuple[int, bytes]]:
        following: int = next(numbers, (_END,))[0]

        def wanted(low: int, high: int) -> bool:
            return following < high

        if following == _END:
            return
        for start, rows in file.batches(wanted):
            while following < start + len(rows):
                row = rows[following - start]
                cells = row if file.columns is None else dict(zip(file.columns, row, strict=True))
                yield following, pickle.dumps(cells, pickle.HIGHEST_PROTOCOL)
                following = next(numbers, (_END,))[0]
            if following == _END:
                return

    def _settle(self) -> None:
        """Find the columns that differ; a pair whose cells are equal by value after all is no change."""
        one_sided = {*self.columns_added, *self.columns_removed}
        pairs = self._db.execute(
            "SELECT f.rowid, o.cells, n.cells FROM found f "
            "JOIN cell o ON o.side = 'old' AND o.number = f.old "
            "JOIN cell n ON n.side = 'new' AND n.number = f.new WHERE f.kind = 'changed'"
        )
        self._db.execute("CREATE TABLE difference (id INTEGER PRIMARY KEY, columns BLOB)")
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT INTO difference VALUES (?, ?)",
            (
                (number, pickle.dumps(names, pickle.HIGHEST_PROTOCOL) if names else None)
                for number, before, after in pairs
                for names in [_differing(pickle.loads(before), pickle.loads(after), one_sided)]
            ),
        )
        self._db.execute("DELETE FROM found WHERE rowid IN (SELECT id FROM difference WHERE columns IS NULL)")
        self._db.execute(
            "UPDATE found SET columns = (SELECT d.columns FROM difference d WHERE d.id = found.rowid) "
            "WHERE kind = 'changed'"
        )
        self._db.execute("COMMIT")


def diff_rows(old: Artifact, new: Artifact, path: str, key: str | Sequence[str]) -> RowDiff:
    """Compare the rows of one CSV, JSON lines or Parquet file of two versions by their key columns.

    Keys are numbers or text that tell rows apart; a key that several rows have is reported as such. Cells
    are compared by value; those of CSV are text. Memory stays bounded whatever the size: hashes, and the
    cells of rows that differ, go to a temporary file. Raises EntryNotFoundError, and UsageError for a key
    column that is not there or a file that is not one of rows.
    """
    names = (key,) if isinstance(key, str) else tuple(key)
    if not names:
        raise UsageError("rows are compared by at least one key column. Name it")
    return RowDiff(path, names, open_rows(old, path), open_rows(new, path))


def _differing(old: Mapping[str, Any], new: Mapping[str, Any], apart: set[str]) -> tuple[str, ...]:
    return tuple(
        name
        for name in dict.fromkeys([*old, *new])
        if name not in apart and not _same(old.get(name, _ABSENT), new.get(name, _ABSENT))
    )


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, bool) is not isinstance(new, bool):
        return False
    return bool(old == new) or repr(old) == repr(new)  # NaN is NaN


def _plain(value: Any) -> Any:
    """Return a key's cell such that equal numbers are written alike."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
