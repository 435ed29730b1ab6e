"""Bring everything that waits into the store: its own journals, or those of another root or folder.

What ``art sync`` does. Running it twice, from two shells at once, or killing it midway neither repeats nor
loses anything: frames carry their writer and number, and files are replaced as a whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from artline.artifacts.sealed_files import name_run
from artline.errors import NotFoundError
from artline.runs.ingest import Ingestion, JournalDamage
from artline.runs.notices import warn
from artline.runs.sealed import ChunkFiles
from artline.runs.store import RunStore
from artline.runs.transfer import Transfer, copy_content, copy_runs
from artline.settings import Settings
from artline.storage.bucket import LocalBucket
from artline.storage.catalog import Catalog

__all__ = ["SyncReport", "sync"]


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did: records and journal bytes taken in, runs touched, files brought over.

    ``clashing`` runs are in the other store's catalog and were left there, since a different run of the
    same id is here. ``remaining`` journals are those of runs that still go on, or are damaged
    (``damages`` says where).
    """

    records: int
    size: int
    runs: tuple[str, ...]
    files: int
    remaining: int
    damages: tuple[JournalDamage, ...] = field(default=())
    clashing: tuple[str, ...] = field(default=())


def sync(store: RunStore, path: str | os.PathLike[str] | None = None) -> SyncReport:
    """Drain the store's own journals, or move the runs of another root, folder or journal file into it.

    Of another root, runs that its own catalog has taken in already are copied; artifacts stay there.
    Idempotent. Raises NotFoundError when ``path`` does not exist, StoreLockedError.
    """
    root = store.settings.root
    source = root if path is None else Path(path).expanduser().absolute()
    if path is not None and not source.exists():
        raise NotFoundError(
            f"{source} does not exist. Give a store's root, a folder of journals, or a journal"
        )
    folder = source / "journal" if (source / "journal").is_dir() else source
    if path is None or folder == root / "journal":
        drained = store.drain()
        files = store.take_folders(everything=True)
        return SyncReport(
            records=drained.frames,
            size=drained.size,
            runs=tuple(sorted("/".join(run) for run in drained.runs)),
            files=files,
            remaining=len(store.journals()),
            damages=tuple(drained.damages),
        )
    # First, so that the journals of a run that was partly taken in over there go on where that ended.
    transfer = _copy_catalog(source, store)
    ingestion = Ingestion(store.catalog, folder, heartbeat_interval=store.settings.heartbeat_interval)
    drained = ingestion.drain(folder)
    files = 0
    for place in _run_folders(source):
        target = root / "runs" / place.parent.name / place.name
        live = any((source / "journal" / place.parent.name / place.name).glob("*.journal"))
        files += _move_files(place, target, root / "tmp", keep=live)
    store.take_folders(everything=True)
    return SyncReport(
        records=drained.frames,
        size=drained.size,
        runs=tuple(sorted({*transfer.copied, *("/".join(run) for run in drained.runs)})),
        files=files,
        remaining=len(ingestion.waiting()),
        damages=tuple(drained.damages),
        clashing=transfer.clashing,
    )


def _copy_catalog(source: Path, store: RunStore) -> Transfer:
    file = source / "catalog.db"
    if not file.is_file():
        return Transfer((), ())
    catalog = Catalog.open(str(file), lock_timeout=store.settings.lock_timeout)
    try:
        files = ChunkFiles(lambda: LocalBucket(source / "bucket"), lambda name: name_run(catalog, name))
        done = copy_runs(catalog, store.catalog, files)
    finally:
        catalog.close()
    other = RunStore.open(Settings(root=source, lock_timeout=store.settings.lock_timeout))
    try:
        for problem in copy_content(other, store)[1]:
            warn(problem)
    finally:
        other.close()
    return done


def _run_folders(source: Path) -> Iterator[Path]:
    """Yield ``runs/<project>/<run_id>`` below another root."""
    for project in sorted((source / "runs").glob("*")):
        yield from (folder for folder in sorted(project.glob("*")) if folder.is_dir())


def _move_files(source: Path, target: Path, scratch: Path, *, keep: bool) -> int:
    """Bring files over, each as a whole; with ``keep`` (the run goes on) leave them where they are too."""
    moved = 0
    for parent, _, names in os.walk(source, topdown=False):
        for name in sorted(names):
            file = Path(parent, name)
            place = target / file.relative_to(source)
            with contextlib.suppress(FileNotFoundError):  # another sync was quicker
                if not _equal(file, place):
                    _copy(file, place, scratch)
                    moved += 1
                if not keep:
                    file.unlink()
        if not keep:
            with contextlib.suppress(OSError):
                os.rmdir(parent)
    return moved


def _equal(one: Path, other: Path) -> bool:
    try:
        first, second = one.stat(), other.stat()
    except FileNotFoundError:
        if not one.exists():
            raise
        return False
    return (first.st_size, first.st_mtime_ns) == (second.st_size, second.st_mtime_ns)


def _copy(file: Path, place: Path, scratch: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(parents=True, exist_ok=True)
    partial = scratch / f"sync-{uuid4().hex}"
    try:
        shutil.copy2(file, partial)
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
