"""A draft on top of a version: what was added and taken out, without the version's own entries.

Neither an edit nor its manifest reads more of the version than the shards that it touches.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, islice

from artline.artifacts.draft import Draft, clash, occupied, same_content
from artline.artifacts.manifest import Manifest, ManifestBuilder
from artline.artifacts.shards import EntryKind, Row
from artline.artifacts.spelling import other_spellings

__all__ = ["Overlay"]

BATCH = 2048


class Overlay:
    """The rows of a version, if there is one beneath, with a draft's own in front of them.

    Behaves as ``Draft`` would with all those rows in it. ``base`` is the manifest beneath.
    """

    def __init__(self) -> None:
        self.base: Manifest | None = None
        self._draft = Draft()
        self._gone: set[str] = set()  # what was taken out of the base, with all below it
        self._covered: set[str] = set()  # rows of the base that own ones replace
        self._folders: set[str] = set()  # folders known to be in the base
        self._aside: list[Row] = []  # empty folders of its own that have something in them in the base

    def close(self) -> None:
        """Drop the draft; it cannot be used afterwards."""
        self._draft.close()

    def put_under(self, base: Manifest | None, *, instead: bool = False) -> None:
        """Put a version beneath: its entries count where the draft has none of its own.

        ``instead`` replaces the version beneath; otherwise the entries of an earlier one become the draft's
        own. Raises InvalidPathError when paths clash, and then nothing has changed.
        """
        if self.base is not None and not instead:
            self._settle()
        if base is None:
            self.base, self._covered = None, set()
            self._folders.clear()
            self._draft.add_many([self._aside])
            self._aside = []
            return
        before, hidden, needless = (self.base, self._covered), set[str](), list[Row]()
        self.base, self._covered = base, set()
        self._folders.clear()
        try:
            for row in chain.from_iterable(self._draft.rows()):
                present = self._base_row(row[0])
                if present is not None:
                    hidden.add(row[0])
                elif not self._fits(row, hidden):
                    needless.append(row)
        except BaseException:
            self.base, self._covered = before
            self._folders.clear()
            raise
        for row in needless:
            self._draft.remove(row[0])
        self._covered, self._aside = hidden, needless

    def add(self, row: Row, *, overwrite: bool = False) -> None:
        """Add one row; see ``add_many``."""
        self.add_many([[row]], overwrite=overwrite)

    def add_many(self, batches: Iterable[Sequence[Row]], *, overwrite: bool = False) -> int:
        """Add batches of rows, all or none, and return how many there were; see ``Draft.add_many``."""
        if self.base is None:
            return self._draft.add_many(batches, overwrite=overwrite)
        count, hidden = 0, set[str]()

        def own() -> Iterator[list[Row]]:
            nonlocal count
            for batch in batches:
                count += len(batch)
                yield [row for row in batch if self._is_own(row, overwrite, hidden)]

        self._draft.add_many(own(), overwrite=overwrite)
        self._covered |= hidden
        return count

    def get(self, path: str) -> Row | None:
        """Return the row of a path, None when there is none."""
        return self._draft.get(path) or self._base_row(path)

    def remove(self, path: str) -> int:
        """Remove a path and all below it; return how many entries went."""
        count = self._draft.remove(path) + sum(1 for _ in self._base_rows(path))
        if count and self.base is not None:
            self._gone.add(path)
        return count

    def rows(self, prefix: str = "") -> Iterator[list[Row]]:
        """Yield the rows in order, in batches; only those at or below ``prefix`` if one is given."""
        if self.base is None:
            yield from self._draft.rows(prefix)
            return
        rows = merge(self._base_rows(prefix), chain.from_iterable(self._draft.rows(prefix)))
        while batch := list(islice(rows, BATCH)):
            yield batch

    def write(self, builder: ManifestBuilder) -> None:
        """Hand everything to a builder: rows where something changed, whole shards of the base elsewhere."""
        if self.base is None or not self.base.root.shards:
            for rows in self._draft.rows():
                builder.add(rows)
            return
        base, shards = self.base, self.base.root.shards
        own = _Ahead(chain.from_iterable(self._draft.rows()))
        touched = self._touched()
        files = base.root.files
        for index, shard in enumerate(shards):
            end = shard.last if index < len(shards) - 1 else None
            if not own.has(end) and index not in touched and builder.aligned:
                builder.reuse(shard)
                continue
            rows = base.load(index)
            files -= sum(row[1] != EntryKind.FOLDER for row in rows)
            if index in touched:
                rows = [row for row in rows if not self._is_gone(row[0])]
            merged = merge(rows, own.until(end))
            while batch := list(islice(merged, BATCH)):
                builder.add(batch)
        builder.count_reused(files)

    def _touched(self) -> set[int]:
        """Return the places of the shards that have lost rows."""
        assert self.base is not None
        shards = self.base.root.shards
        lasts = [shard.last for shard in shards]
        touched = set()
        for path in chain(self._gone, self._covered):
            index = bisect_left(lasts, path)
            if index < len(shards) and shards[index].first <= path:
                touched.add(index)
        for path in self._gone:
            index = bisect_left(lasts, path + "/")
            while index < len(shards) and shards[index].first < path + "0":  # '0' follows '/'
                touched.add(index)
                index += 1
        return touched

    def _is_own(self, row: Row, overwrite: bool, hidden: set[str]) -> bool:
        """Tell whether a row goes into the draft; note in ``hidden`` which rows of the base it replaces."""
        path = row[0]
        if path in hidden or self._draft.get(path) is not None:
            return True
        present = self._base_row(path)
        if present is None:
            return self._fits(row, hidden)
        if same_content(present, row):
            return False
        if not overwrite:
            raise occupied(path)
        hidden.add(path)
        return True

    def _fits(self, row: Row, hidden: set[str]) -> bool:
        """Tell whether a path that is not in the base is wanted beside it; an empty folder may not be.

        Raises InvalidPathError when it clashes with a path of the base.
        """
        base, path = self.base, row[0]
        assert base is not None
        end = path.find("/")
        while end >= 0:
            folder = path[:end]
            if folder not in self._folders:
                if not base.has_prefix(folder + "/"):
                    self._check_new_folder(folder, hidden)
                    return True
                if len(self._folders) > BATCH:
                    self._folders.clear()
                self._folders.add(folder)
            end = path.find("/", end + 1)
        if not base.has_prefix(path + "/"):
            if base.row(path) is None:
                self._check_spelling(path)
            return True
        if next(self._base_rows(path), None) is None:
            return True
        if row[1] == EntryKind.FOLDER:
            return False
        raise clash(path, path)

    def _check_new_folder(self, folder: str, hidden: set[str]) -> None:
        assert self.base is not None
        present = self.base.row(folder)
        if present is None:
            self._check_spelling(folder)
        elif present[1] == EntryKind.FOLDER:
            hidden.add(folder)  # it is no longer empty
        elif not self._is_gone(folder) and folder not in hidden:
            raise clash(folder, folder)

    def _check_spelling(self, path: str) -> None:
        # A base has each name in one spelling, so this is only asked for names that it has not.
        assert self.base is not None
        folder, slash, name = path.rpartition("/")
        base = self.base
        for other in other_spellings(folder + slash, name, base.has_prefix, base.has_between):
            if next(self._base_rows(other), None) is not None:
                raise clash(path, other)

    def _base_row(self, path: str) -> Row | None:
        if self.base is None or self._is_gone(path):
            return None
        return self.base.row(path)

    def _base_rows(self, prefix: str) -> Iterator[Row]:
        if self.base is not None:
            for row in chain.from_iterable(self.base.rows(prefix)):
                if not self._is_gone(row[0]):
                    yield row

    def _is_gone(self, path: str) -> bool:
        if path in self._gone or path in self._covered:
            return True
        if not self._gone:
            return False
        end = path.find("/")
        while end >= 0:
            if path[:end] in self._gone:
                return True
            end = path.find("/", end + 1)
        return False

    def _settle(self) -> None:
        draft = Draft()
        try:
            draft.add_many(self.rows())
        except BaseException:
            draft.close()
            raise
        self._draft.close()
        self._draft, self.base, self._gone, self._covered = draft, None, set(), set()
        self._folders.clear()


class _Ahead:
    """Rows in order, of which the next can be looked at before it is taken."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def has(self, end: str | None) -> bool:
        """Tell whether the next row is not behind ``end`` (None: whether there is one)."""
        return self._next is not None and (end is None or self._next[0] <= end)

    def until(self, end: str | None) -> Iterator[Row]:
        while self._next is not None and (end is None or self._next[0] <= end):
            row, self._next = self._next, next(self._rows, None)
            yield row
