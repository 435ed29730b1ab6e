"""``art.lock``: which versions the code beside it works with, by number and digest."""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from artline.artifacts.refs import LATEST, Ref, parse_ref, version_number
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.versions import VersionRecord

__all__ = ["LOCK_FILE", "Lock", "Pin", "find_lock", "pin_of", "pinned_ref", "read_lock", "write_lock"]

LOCK_FILE = "art.lock"
FORMAT = 1

_HEADING = (
    "# Versions of artifacts that this code works with. Written by 'art pin'; commit it with the code.\n"
)


@dataclass(frozen=True, slots=True, order=True)
class Pin:
    """What ``entity/project/name:alias`` stands for under the lock: a version, with its digest."""

    entity: str
    project: str
    name: str
    alias: str
    version: str
    digest: str

    @property
    def ref(self) -> str:
        """Return the reference that names the pinned version and insists on its digest."""
        return f"{self.entity}/{self.project}/{self.name}:{self.version}@{self.digest}"

    @property
    def asked(self) -> str:
        """Return the reference that the pin answers."""
        return f"{self.entity}/{self.project}/{self.name}:{self.alias}"


@dataclass(frozen=True, slots=True)
class Lock:
    """The pins of a lock file, sorted; one for each name and alias."""

    pins: tuple[Pin, ...] = ()

    def find(self, ref: Ref, *, project: str, entity: str) -> Pin | None:
        """Return the pin that answers a reference, None when there is none.

        A reference that names a version or digest itself needs no pin.
        """
        alias = ref.alias or LATEST
        if ref.digest or version_number(alias) is not None:
            return None
        wanted = (ref.entity or entity, ref.project or project, ref.name, alias)
        for pin in self.pins:
            if (pin.entity, pin.project, pin.name, pin.alias) == wanted:
                return pin
        return None

    def with_pin(self, pin: Pin) -> Lock:
        """Return the lock with one pin set, in place of another for the same reference."""
        return Lock(tuple(sorted([*(old for old in self.pins if old.asked != pin.asked), pin])))

    def without(self, pin: Pin) -> Lock:
        """Return the lock with one pin taken out."""
        return Lock(tuple(old for old in self.pins if old.asked != pin.asked))

    def pins_version(self, record: VersionRecord) -> bool:
        """Tell whether a pin names this version."""
        wanted = (record.entity, record.project, record.name, record.version)
        return any((pin.entity, pin.project, pin.name, pin.version) == wanted for pin in self.pins)


def find_lock(start: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the nearest ``art.lock`` at or above ``start`` (the working folder), None without one."""
    here = Path(start) if start is not None else Path.cwd()
    for folder in (here, *here.parents):
        if (folder / LOCK_FILE).is_file():
            return folder / LOCK_FILE
    return None


def read_lock(path: str | os.PathLike[str]) -> Lock:
    """Read a lock file; an absent one has no pins. Raises UsageError naming what is wrong with it."""
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Lock()
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read {path}: {error}. Mend it, or write it anew: art pin") from error
    if document.get("version") != FORMAT:
        raise UsageError(
            f"{path} is of format {document.get('version')!r}, this Artline reads {FORMAT}. Upgrade Artline"
        )
    names = [field.name for field in fields(Pin)]
    pins = []
    for table in document.get("pin", []):
        if not isinstance(table, dict) or any(not isinstance(table.get(name), str) for name in names):
            raise UsageError(f"{path}: a [[pin]] lacks one of {', '.join(names)}. Write it anew: art pin")
        pin = Pin(**{name: table[name] for name in names})
        parse_ref(pin.ref)
        pins.append(pin)
    return Lock(tuple(sorted(pins)))


def write_lock(path: str | os.PathLike[str], lock: Lock) -> None:
    """Write a lock file whole or not at all; the same pins give the same bytes."""
    path = Path(path)
    parts = [_HEADING, f"version = {FORMAT}\n"]
    for pin in lock.pins:
        lines = [f"{field.name} = {json.dumps(getattr(pin, field.name))}" for field in fields(Pin)]
        parts.append("\n".join(["", "[[pin]]", *lines, ""]))
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".art.lock-")
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            stream.write("".join(parts))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def pin_of(version: Artifact, alias: str = LATEST) -> Pin:
    """Return the pin that makes ``alias`` of an artifact mean this version."""
    record = version.record
    return Pin(record.entity, record.project, record.name, alias, record.version, version.digest)


def pinned_ref(
    ref: str, *, project: str, entity: str, start: str | os.PathLike[str] | None = None
) -> tuple[str, Pin | None]:
    """Return what a reference means under the lock at hand, and the pin that says so if one does.

    Resolving the returned reference raises IntegrityError when the version has another digest.
    """
    path = find_lock(start)
    pin = read_lock(path).find(parse_ref(ref), project=project, entity=entity) if path else None
    return (pin.ref, pin) if pin else (ref, None)
