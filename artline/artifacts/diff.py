"""Differences between two versions: what was added, removed, changed and renamed."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from artline.artifacts.comparison import differences
from artline.artifacts.manifest import Entry, EntryKind, Manifest, Row
from artline.artifacts.packed import Entries, PackedRows, Pairs
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.rows import RowDiff
    from artline.storage.digest import Algorithm

__all__ = ["Diff", "diff", "diff_manifests"]

_PLACE_BITS = 40


@dataclass(frozen=True, slots=True)
class Diff:
    """What has to happen to the first version to make it the second.

    ``changed`` and ``renamed`` hold pairs, old entry and new; a file counts as renamed when the same
    content left one path and came to another. All in order of their (new) paths. They are packed: entries
    are made while one goes through them, so that a million of them stay within some 100 MB.
    """

    added: Sequence[Entry]
    removed: Sequence[Entry]
    changed: Sequence[tuple[Entry, Entry]]
    renamed: Sequence[tuple[Entry, Entry]]
    versions: tuple[Artifact, Artifact] | None = field(default=None, compare=False, repr=False)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.renamed)

    def rows(self, path: str, key: str | Sequence[str]) -> RowDiff:
        """Compare the rows of one CSV, JSON lines or Parquet file by key columns; see ``diff_rows``."""
        from artline.artifacts.rows import diff_rows

        if self.versions is None:
            raise UsageError("this is a difference of manifests. Ask for that of versions: old.diff(new)")
        return diff_rows(*self.versions, path, key)


def diff(old: Artifact, new: Artifact) -> Diff:
    """Compare two logged versions, reading only the manifest shards they do not share."""
    return replace(diff_manifests(old.manifest, new.manifest, old.algorithm), versions=(old, new))


def diff_manifests(old: Manifest, new: Manifest, algorithm: Algorithm) -> Diff:
    """Compare two manifests of one store; see ``diff``."""
    added, removed, before, after = PackedRows(), PackedRows(), PackedRows(), PackedRows()
    for left, right in differences(old, new):
        if left is not None:
            (removed if right is None else before).append(left)
        if right is not None:
            (added if left is None else after).append(right)
    for rows in (added, removed, before, after):
        rows.seal()
    came, went, only_added, only_removed = _pair_up(added, removed)
    everything = range(len(before))
    return Diff(
        added=Entries(added, only_added, algorithm),
        removed=Entries(removed, only_removed, algorithm),
        changed=Pairs(Entries(before, everything, algorithm), Entries(after, everything, algorithm)),
        renamed=Pairs(Entries(removed, went, algorithm), Entries(added, came, algorithm)),
    )


def _pair_up(
    added: PackedRows, removed: PackedRows
) -> tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]:
    """Find the same content under another path.

    Returns the places of the added rows that were renamed, those of the removed ones that they were, those
    of the other added and of the other removed ones.
    """
    came, went, only_added = array("q"), array("q"), array("q")
    taken = bytearray(len(removed))
    sources = _sources(added, removed)
    for place, source in enumerate(sources):
        if source >= 0 and _content(added[place]) == _content(removed[source]):
            came.append(place)
            went.append(source)
            taken[source] = 1
        else:
            only_added.append(place)
    only_removed = array("q", (place for place, gone in enumerate(taken) if not gone))
    return came, went, only_added, only_removed


def _sources(added: PackedRows, removed: PackedRows) -> Sequence[int]:
    """Return for each added row a removed one of the same content by its checksum, -1 where there is none.

    Of several the first goes with the first.
    """
    found = array("q", [-1]) * len(added)
    if not len(added) or not len(removed):
        return found
    left, right = _by_checksum(removed), _by_checksum(added)
    before, after = next(left, None), next(right, None)
    while before is not None and after is not None:
        if before[0] == after[0]:
            found[after[1]] = before[1]
        lower = before[0] <= after[0], after[0] <= before[0]
        before = next(left, None) if lower[0] else before
        after = next(right, None) if lower[1] else after
    return found


def _by_checksum(rows: PackedRows) -> Iterator[tuple[int, int]]:
    """Yield the checksum of each row's content and its place, in this order."""
    from xxhash import xxh3_64_intdigest

    # As one number, since a million of them are sorted. An empty file is like any other: no sign of a rename.
    keys = [
        xxh3_64_intdigest(f"{row[1]} {row[2]} {row[3].hex()} {row[5]}".encode()) << _PLACE_BITS | place
        for place, row in enumerate(rows)
        if row[1] != EntryKind.FOLDER and row[2]
    ]
    keys.sort()
    return ((key >> _PLACE_BITS, key & ((1 << _PLACE_BITS) - 1)) for key in keys)


def _content(row: Row) -> tuple[int, int, bytes, str]:
    return (row[1], row[2], row[3], row[5])
