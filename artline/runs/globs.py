"""Which files a pattern names, what they are called in a run's folder, and how they get there."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from artline.errors import UsageError

__all__ = ["Source", "base_of", "find_sources", "place_source", "snapshot_source"]

SNAPSHOT = 16 << 20  # bytes that are copied while the caller waits, where a copy shares no blocks
_FICLONE = 0x40049409


@dataclass(frozen=True, slots=True)
class Source:
    """A file to keep: where it is, and its POSIX name below the run's folder."""

    path: str
    name: str


def base_of(pattern: str, base: str | None, folder: str) -> str:
    """Return the folder from which the names of what ``pattern`` (absolute) matches count.

    Without ``base``, of an absolute pattern one folder stays in the names, and none of what lies in the
    run's folder already.
    """
    if base is not None:
        return os.path.abspath(base)
    if _below(pattern, folder):
        return folder
    place = os.path.dirname(os.path.dirname(pattern))
    while glob.has_magic(place):
        place = os.path.dirname(place)
    return place


def find_sources(pattern: str, base: str, folder: Path, root: Path) -> Iterator[Source]:
    """Yield the files that an absolute pattern matches, and those in folders that it matches.

    What the store itself has (``root``) is left out, but for the run's folder. Raises UsageError when one is
    not below ``base``.
    """
    for found in sorted(glob.glob(pattern, recursive=True)):
        for path in _files(found):
            if _below(path, str(root)) and not _below(path, str(folder)):
                continue
            name = os.path.relpath(path, base)
            if name == os.pardir or name.startswith(os.pardir + os.sep):
                raise UsageError(f"save: '{path}' is not below '{base}'. Pass a base_path that it is below")
            yield Source(path, name.replace(os.sep, "/"))


def place_source(source: Source, folder: Path) -> Path:
    """Link a file into the run's folder, unless it is there; return its place. Raises OSError."""
    target = folder / source.name
    if os.path.abspath(source.path) == str(target):
        return target
    if target.is_symlink() and os.readlink(target) == source.path:
        return target
    _replace(target, lambda place: os.symlink(source.path, place))
    return target


def snapshot_source(source: Source, folder: Path) -> Path:
    """Put a file as it is now into the run's folder; return its place. Raises OSError.

    The copy shares its blocks where the file system can. Where it cannot, a large file is linked.
    """
    target = folder / source.name
    if os.path.abspath(source.path) == str(target):
        return target
    copied = False

    def copy(place: Path) -> None:
        nonlocal copied
        copied = _clone(source.path, place)
        if not copied and os.path.getsize(source.path) <= SNAPSHOT:
            shutil.copyfile(source.path, place)
            copied = True
        if copied:
            shutil.copystat(source.path, place)
        else:
            place.unlink(missing_ok=True)
            os.symlink(source.path, place)

    _replace(target, copy)
    return target


def _files(found: str) -> Iterator[str]:
    if not os.path.isdir(found):
        yield found
        return
    for parent, _, names in os.walk(found):
        yield from (os.path.join(parent, name) for name in sorted(names))


def _below(path: str, folder: str) -> bool:
    return os.path.abspath(path).startswith(os.path.join(os.path.abspath(folder), ""))


def _replace(target: Path, make: Callable[[Path], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)
        make(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _clone(path: str, place: Path) -> bool:
    """Copy a file by sharing its blocks; tell whether that worked."""
    import fcntl

    with open(path, "rb") as source, open(place, "wb") as target, contextlib.suppress(OSError):
        fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        return True
    return False
