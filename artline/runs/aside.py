"""Putting damaged journals aside whose writers are gone, once what is sound in them was taken in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from artline.errors import ArtlineError
from artline.runs.ingest import JournalDamage
from artline.runs.journal import JournalReader
from artline.runs.journals import open_journal
from artline.runs.liveness import is_alive
from artline.storage.bucket import storage_error

__all__ = ["PutAside", "put_aside"]


@dataclass(frozen=True, slots=True)
class PutAside:
    """A journal that was moved: its damage, where it lies now, and how many of its bytes are not taken in."""

    damage: JournalDamage
    path: Path
    unread: int


def put_aside(root: Path, damages: Iterable[JournalDamage]) -> Iterator[PutAside]:
    """Move journals that a drain found damaged below ``quarantine/`` of ``root``; yield those moved.

    What lies before the damage must have been taken in. A journal stays whose writer lives or cannot be
    looked at from here, that does not say who writes it, or whose bytes are sound though this Artline or
    the catalog cannot take them. Raises AuthError, StoreUnavailableError when it cannot be moved.
    """
    for damage in damages:
        try:
            if not _is_over(damage):
                continue
            unread = os.stat(damage.path).st_size - damage.offset  # nobody writes it any more
            target = _free(root / "quarantine" / damage.path.relative_to(root))
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(damage.path, target)
        except FileNotFoundError:
            continue  # another repair has moved it
        except OSError as error:
            raise storage_error(error, "a damaged journal", str(root / "quarantine")) from error
        yield PutAside(damage, target, max(0, unread))


def _is_over(damage: JournalDamage) -> bool:
    """Tell whether a journal's bytes are damaged where reading stopped, and nobody writes it any more."""
    try:
        journal = open_journal(damage.path)
        if journal is None or is_alive(journal.start.process) is not False:
            return False
        reader = JournalReader(damage.path, damage.offset, None)
        return next(iter(reader), None) is None and bool(reader.damage)
    except ArtlineError:
        return False


def _free(path: Path) -> Path:
    """Return ``path``, or the like of it that nothing lies at: what was put aside before stays."""
    number, target = 0, path
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.{number}")
    return target
