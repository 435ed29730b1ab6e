"""Differences between two versions: what was added, removed, changed and renamed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from artline.artifacts.comparison import differences
from artline.artifacts.manifest import Entry, EntryKind, Manifest, Row, check_rows, entry_of
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.rows import RowDiff
    from artline.storage.digest import Algorithm

__all__ = ["Diff", "diff", "diff_manifests"]


@dataclass(frozen=True, slots=True)
class Diff:
    """What has to happen to the first version to make it the second.

    ``changed`` and ``renamed`` hold pairs, old entry and new; a file counts as renamed when the same
    content left one path and came to another. All in order of their (new) paths.
    """

    added: tuple[Entry, ...]
    removed: tuple[Entry, ...]
    changed: tuple[tuple[Entry, Entry], ...]
    renamed: tuple[tuple[Entry, Entry], ...]
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
    added: list[Row] = []
    removed: list[Row] = []
    changed: list[tuple[Row, Row]] = []
    for before, after in differences(old, new):
        if before is None:
            assert after is not None
            added.append(after)
        elif after is None:
            removed.append(before)
        else:
            changed.append((before, after))
    for rows in (added, removed, [row for pair in changed for row in pair]):
        check_rows(rows)
    renamed, added, removed = _pair_up(added, removed, algorithm)
    return Diff(
        added=tuple(entry_of(row, algorithm) for row in added),
        removed=tuple(entry_of(row, algorithm) for row in removed),
        changed=tuple((entry_of(a, algorithm), entry_of(b, algorithm)) for a, b in changed),
        renamed=tuple(renamed),
    )


def _pair_up(
    added: list[Row], removed: list[Row], algorithm: Algorithm
) -> tuple[list[tuple[Entry, Entry]], list[Row], list[Row]]:
    by_content: defaultdict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in reversed(removed):
        if row[1] != EntryKind.FOLDER and row[2]:  # empty files are all alike: no sign of a rename
            by_content[(*row[1:4], row[5])].append(row)
    renamed: list[tuple[Entry, Entry]] = []
    kept: list[Row] = []
    gone: set[str] = set()
    for row in added:
        candidates = by_content.get((*row[1:4], row[5]))
        if candidates:
            source = candidates.pop()
            gone.add(source[0])
            renamed.append((entry_of(source, algorithm), entry_of(row, algorithm)))
        else:
            kept.append(row)
    return renamed, kept, [row for row in removed if row[0] not in gone]
