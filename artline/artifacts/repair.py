"""Repair: everything that can be brought back is, and what is damaged is put aside and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artline.artifacts.fsck import Report, check
from artline.artifacts.records import checkpoint
from artline.artifacts.restore import Restored, restore_records, unclaimed_manifests

if TYPE_CHECKING:
    from artline.artifacts.store import ArtifactStore
    from artline.storage.fsck import Rebuilt
    from artline.storage.salvage import Salvaged

__all__ = ["Repair", "repair"]


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair did: chunks and versions put back, damaged chunks taken out of the index.

    ``salvaged`` tells of packs that were written anew, as their header, trailer or index was damaged.
    ``quarantined`` names objects that were moved below ``quarantine/``, ``unclaimed`` the roots of
    manifests that no version has: what was never finished, or versions whose record is lost. ``report`` is
    what a check found afterwards.
    """

    rebuilt: Rebuilt
    salvaged: Salvaged
    restored: Restored
    forgotten: int
    quarantined: tuple[str, ...]
    unclaimed: tuple[str, ...]
    report: Report


def repair(store: ArtifactStore, *, progress: Callable[[int, int], object] | None = None) -> Repair:
    """Rebuild what the catalog lacks from the bucket and take out of it what is damaged; idempotent.

    In order: the store's own file, the chunk index, packs that are damaged around their blocks (written
    anew), artifacts with their versions, aliases and history from the records. Then every byte is read
    again, damaged chunks leave the index, a checkpoint of everything is written, and objects that hold
    nothing to be read are put aside. Writers may work meanwhile.
    """
    from artline.storage.fsck import forget_damaged, quarantine, rebuild_index
    from artline.storage.identity import restore_identity
    from artline.storage.records import forget_records
    from artline.storage.salvage import salvage

    content = store.content
    restore_identity(content)
    rebuilt = rebuild_index(content)
    salvaged = salvage(content, rebuilt.broken)
    restored = restore_records(content)
    report = check(store, full=True, progress=progress, records=False)
    forgotten = salvaged.lost + forget_damaged(content, report.packs)
    unclaimed = tuple(content.format(digest) for digest in unclaimed_manifests(content))
    checkpoint(content)
    with content.catalog.write() as conn:
        forget_records(conn, [*restored.gone, *restored.damaged])
    aside = (*salvaged.quarantined, *quarantine(content, [*rebuilt.unusable, *restored.damaged]))
    return Repair(rebuilt, salvaged, restored, forgotten, aside, unclaimed, report)
