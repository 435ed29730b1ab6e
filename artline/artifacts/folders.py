"""A version's folders, found in its sorted manifest by reading only the shards at their edges."""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from artline.artifacts.manifest import check_rows
from artline.artifacts.shards import Columns, EntryKind, Row, Shard, ascend

if TYPE_CHECKING:
    from artline.artifacts.manifest import Manifest

__all__ = ["Child", "Folders"]

MAX_LINKS = 40
KEPT_SHARDS = 8


@dataclass(frozen=True, slots=True)
class Child:
    """What a path of a version is: ``row`` of the entry that it leads to, None for a folder.

    ``path`` is the one that was asked for, ``real`` the one that it leads to through links. The row of a
    link that leads nowhere is its own.
    """

    path: str
    real: str
    row: Row | None
    linked: bool = False


class Folders:
    """Answers what is at a path and what is directly in a folder. Safe to share between threads."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._lasts = [shard.last for shard in manifest.root.shards]
        self._kept: OrderedDict[int, tuple[list[str], list[Row]]] = OrderedDict()
        self._lock = Lock()

    def find(self, path: str) -> Child | None:
        """Return what is at ``path`` (empty: the root), links followed; None when nothing is."""
        real, linked = path, False
        for _ in range(MAX_LINKS):
            row = self._row(real)
            if row is None or row[1] == EntryKind.FOLDER:
                if row is not None or self._is_folder(real):
                    return Child(path, real, None, linked)
                through = self._link_above(real)
                if through is None:
                    return None
                target, rest = through
            elif row[1] == EntryKind.LINK:
                target, rest = row, ""
            else:
                return Child(path, real, row, linked)
            linked = True
            real = posixpath.normpath(posixpath.join(posixpath.dirname(target[0]), target[5], rest))
            real = "" if real == "." else real
        return None

    def children(self, folder: Child) -> list[Child]:
        """Return what is directly in a folder, in order of names.

        Links show as what they lead to. In a folder that was itself reached through a link, links to
        folders are left out, so that no walk is endless.
        """
        found = []
        for name, row in self._names(folder.real):
            path, real = _join(folder.path, name), _join(folder.real, name)
            if row is None or row[1] == EntryKind.FOLDER:
                found.append(Child(path, real, None, folder.linked))
            elif row[1] != EntryKind.LINK:
                found.append(Child(path, real, row, folder.linked))
            else:
                target = self.find(real)
                if target is None:
                    found.append(Child(path, real, row, True))
                elif target.row is not None or not folder.linked:
                    found.append(Child(path, target.real, target.row, True))
        return found

    def _names(self, folder: str) -> list[tuple[str, Row | None]]:
        prefix = folder + "/" if folder else ""
        # '0' follows '/', so this is the first path behind everything in the folder.
        start, stop = bisect_left(self._lasts, prefix), len(self._lasts)
        if folder:
            stop = bisect_left(self._manifest.root.shards, folder + "0", key=lambda shard: shard.first)
        names = self._near(prefix) if stop - start <= KEPT_SHARDS else self._far(prefix, start, stop)
        return sorted(names, key=lambda item: item[0])

    def _near(self, prefix: str) -> Iterator[tuple[str, Row | None]]:
        """Yield what is in a folder of a few shards, which are kept at hand."""
        row = self._first(prefix)
        while row is not None and row[0].startswith(prefix):
            name, slash, _ = row[0][len(prefix) :].partition("/")
            yield name, None if slash else row
            row = self._first(f"{prefix}{name}0" if slash else row[0] + "\0")

    def _far(self, prefix: str, start: int, stop: int) -> Iterator[tuple[str, Row | None]]:
        """Yield what is in a large folder, making no rows of what is further down in it."""
        shards, before = self._manifest.root.shards, ""
        wanted = [at for at in range(start, stop) if not _sole_folder(shards[at], prefix)]
        read = self._manifest.columns(wanted)
        for at in range(start, stop):
            name = _sole_folder(shards[at], prefix)
            found = iter([(name, None)]) if name else _in_columns(next(read), prefix.encode())
            for name, row in found:
                if name != before:
                    yield name, row
                before = name

    def _row(self, path: str) -> Row | None:
        row = self._first(path) if path else None
        return row if row is not None and row[0] == path else None

    def _is_folder(self, path: str) -> bool:
        if not path:
            return True
        row = self._first(path + "/")
        return row is not None and row[0].startswith(path + "/")

    def _link_above(self, path: str) -> tuple[Row, str] | None:
        """Return the first link among the folders above a path, and the rest of the path behind it."""
        parts = path.split("/")
        for count in range(1, len(parts)):
            row = self._row("/".join(parts[:count]))
            if row is not None:
                return (row, "/".join(parts[count:])) if row[1] == EntryKind.LINK else None
        return None

    def _first(self, path: str) -> Row | None:
        """Return the first row that is not before ``path``."""
        index = bisect_left(self._lasts, path)
        if index == len(self._lasts):
            return None
        paths, rows = self._shard(index)
        return rows[bisect_left(paths, path)]

    def _shard(self, index: int) -> tuple[list[str], list[Row]]:
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        rows = self._manifest.load_shard(self._manifest.root.shards[index])
        shard = [row[0] for row in rows], rows
        with self._lock:
            self._kept[index] = shard
            if len(self._kept) > KEPT_SHARDS:
                self._kept.popitem(last=False)
        return shard


def _sole_folder(shard: Shard, prefix: str) -> str:
    """Return the folder, directly in another one, that holds a whole shard; empty where none does."""
    if not shard.first.startswith(prefix):
        return ""
    name, slash, _ = shard.first[len(prefix) :].partition("/")
    return name if slash and shard.last.startswith(f"{prefix}{name}/") else ""


def _in_columns(columns: Columns, prefix: bytes) -> Iterator[tuple[str, Row | None]]:
    names = columns.names
    ascend(names)
    at = bisect_left(names, prefix)
    rows: list[Row] = []
    found: list[tuple[str, Row | None]] = []
    while at < len(names) and names[at].startswith(prefix):
        name, slash, _ = names[at][len(prefix) :].partition(b"/")
        row = columns.row(at)
        rows.append(row)
        found.append((name.decode(), None if slash else row))
        at = bisect_left(names, prefix + name + b"0", at) if slash else at + 1
    check_rows(rows)
    yield from found


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
