"""What a store holds, in figures; a store that does not exist is not made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from artline.settings import Settings

__all__ = ["Figures", "Waiting", "store_exists", "survey", "waiting_journals"]


@dataclass(frozen=True, slots=True)
class Figures:
    """A store in figures; sizes in bytes.

    ``logical_bytes`` are all versions together, ``content_bytes`` what remains without repetition,
    ``stored_bytes`` what that takes in the bucket.
    """

    id: str
    digest: str
    schema: str
    latest_schema: str
    projects: int
    artifacts: int
    versions: int
    runs: int
    logical_bytes: int
    content_bytes: int
    stored_bytes: int
    packs: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Journals that hold something no reader has met, and those that nobody writes any more."""

    journals: int
    size: int
    orphans: Sequence[Path]


def store_exists(settings: Settings) -> bool:
    """Tell whether there is a store; one that is not a folder of this machine is taken to exist."""
    return bool(settings.server) or "://" in settings.catalog_url or Path(settings.catalog_url).exists()


def survey(settings: Settings) -> Figures | None:
    """Count what the store holds; None where there is no store yet. Raises StoreUnavailableError."""
    if not store_exists(settings):
        return None
    from artline.runs.store import RunStore
    from artline.storage.catalog import latest_revision

    store = RunStore.open(settings)
    artifacts = store.artifacts
    usage = artifacts.content.usage()
    collections, versions, logical = artifacts.count()
    projects = artifacts.projects()
    entities = {project.entity for project in projects}
    return Figures(
        id=artifacts.content.store_id,
        digest=artifacts.content.algorithm.value,
        schema=store.catalog.revision,
        latest_schema=latest_revision(),
        projects=len(projects),
        artifacts=collections,
        versions=versions,
        runs=sum(store.count(entity=entity) for entity in entities),
        logical_bytes=logical,
        content_bytes=usage.logical_bytes,
        stored_bytes=usage.stored_bytes,
        packs=usage.packs,
        chunks=usage.chunks,
    )


def waiting_journals(settings: Settings) -> Waiting:
    """Count what waits in the journals under the root.

    A journal counts as an orphan when there is something in it to take in and it has not grown for ten
    heartbeats.
    """
    if not (settings.root / "journal").is_dir():
        return Waiting(0, 0, ())
    if not store_exists(settings):  # then nothing of any journal has been taken in
        from artline.runs.journals import find_journals

        files = list(find_journals(settings.root / "journal"))
        limit = _orphan_limit(settings)
        gone = tuple(file.path for file in files if file.modified < limit)
        return Waiting(len(files), sum(file.size for file in files), gone)
    from artline.runs.store import RunStore

    found = [journal for journal in RunStore.open(settings).journals() if journal.waiting > 0]
    limit = _orphan_limit(settings)
    orphans = [journal.path for journal in found if _changed(journal.path) < limit]
    return Waiting(len(found), sum(journal.waiting for journal in found), tuple(orphans))


def _orphan_limit(settings: Settings) -> float:
    return time.time() - max(300.0, 10 * settings.heartbeat_interval)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # taken in meanwhile
        return float("inf")
