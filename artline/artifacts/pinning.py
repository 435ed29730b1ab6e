"""Pinning artifacts in a lock file, moving the pins, and restoring what they name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from artline.artifacts.pins import LOCK_FILE, Lock, Pin, find_lock, pin_of, read_lock, write_lock
from artline.artifacts.refs import LATEST, Ref, parse_ref, version_number
from artline.errors import NotFoundError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.store import ArtifactStore

__all__ = ["Change", "Restored", "lock_path", "pin", "restore", "unpin", "upgrade"]


@dataclass(frozen=True, slots=True)
class Change:
    """A pin as it was (None for a new one) and as it is now (None for one taken out)."""

    before: Pin | None
    after: Pin | None


@dataclass(frozen=True, slots=True)
class Restored:
    """A pinned version and the folder that holds it now."""

    pin: Pin
    version: Artifact
    folder: Path


def lock_path() -> Path:
    """Return the lock file in force, or where a new one goes: the working folder."""
    return find_lock() or Path.cwd() / LOCK_FILE


def pin(store: ArtifactStore, refs: Sequence[str], path: Path) -> list[Change]:
    """Pin each reference to the version it names at present; idempotent.

    ``name`` and ``name:alias`` pin that alias; ``name:vN`` and ``name@digest`` pin ``latest`` to it.
    All are pinned or none. Raises ArtifactNotFoundError, UsageError.
    """
    lock = read_lock(path)
    changes = []
    for ref in refs:
        alias = _alias(parse_ref(ref))
        after = pin_of(store.get(ref), alias)
        changes.append(Change(_pin_like(lock, after), after))
        lock = lock.with_pin(after)
    write_lock(path, lock)
    return changes


def upgrade(store: ArtifactStore, refs: Sequence[str], path: Path) -> list[Change]:
    """Move the pins of these references, by default all, to what their aliases name now.

    Raises NotFoundError for a reference that is not pinned, ArtifactNotFoundError for an alias that is gone.
    """
    lock = read_lock(path)
    changes = []
    for before in _chosen(store, lock, refs, path):
        after = pin_of(store.get(before.asked), before.alias)
        changes.append(Change(before, after))
        lock = lock.with_pin(after)
    write_lock(path, lock)
    return changes


def unpin(store: ArtifactStore, refs: Sequence[str], path: Path) -> list[Change]:
    """Take the pins of these references out; raises NotFoundError for one that is not pinned."""
    lock = read_lock(path)
    chosen = _chosen(store, lock, refs, path)
    for before in chosen:
        lock = lock.without(before)
    write_lock(path, lock)
    return [Change(before, None) for before in chosen]


def restore(
    store: ArtifactStore,
    path: Path,
    folder: Path | None = None,
    *,
    watch: Callable[[Artifact], Callable[[int, int], object]] | None = None,
    link: str | None = None,
) -> list[Restored]:
    """Write every pinned version into ``<folder>/<name>-<version>``, by default in ``artifacts`` by the lock.

    Every pin is resolved before anything is written. Only what is missing or differs is written, and each
    file is verified; ``link`` is as in ``Artifact.download``. Raises NotFoundError when nothing is pinned,
    IntegrityError when a version has not the digest that was pinned.
    """
    pins = read_lock(path).pins
    if not pins:
        raise NotFoundError(f"'{path}' pins nothing. Pin artifacts: art pin NAME")
    versions = [store.get(item.ref) for item in pins]
    base = folder if folder is not None else path.parent / "artifacts"
    done = {}
    for item, version in zip(pins, versions, strict=True):
        if version.qualified_name not in done:
            place = base / f"{item.name}-{item.version}"
            progress = watch(version) if watch is not None else None
            place = version.download(place, progress=progress, link=link)
            done[version.qualified_name] = Restored(item, version, place)
    return list(done.values())


def _alias(ref: Ref) -> str:
    return LATEST if not ref.alias or version_number(ref.alias) is not None else ref.alias


def _pin_like(lock: Lock, wanted: Pin) -> Pin | None:
    return next((old for old in lock.pins if old.asked == wanted.asked), None)


def _chosen(store: ArtifactStore, lock: Lock, refs: Sequence[str], path: Path) -> list[Pin]:
    if not refs:
        return list(lock.pins)
    chosen = []
    for ref in refs:
        found = lock.find(parse_ref(ref), project=store.settings.project, entity=store.settings.entity)
        if found is None:
            known = ", ".join(item.asked for item in lock.pins) or "nothing"
            raise NotFoundError(f"'{ref}' is not pinned in {path}. Pinned: {known}")
        chosen.append(found)
    return chosen
