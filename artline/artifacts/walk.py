"""Walking a folder that is to become part of an artifact: files, links, empty folders, in steady order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from artline.artifacts.paths import check_link_target
from artline.errors import (
    InvalidPathError,
    SourceChangedError,
    SourceNotFoundError,
    SourceNotReadableError,
)

__all__ = ["EmptyFolder", "Link", "walk"]

# Names of one folder that are sorted and walked at a time, so that a folder of millions stays cheap.
WINDOW = 32_768


@dataclass(frozen=True, slots=True)
class EmptyFolder:
    """A folder with nothing in it, by its path inside the artifact."""

    path: str


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link to be kept as one, by its path inside the artifact."""

    path: str
    target: str


@dataclass(slots=True)
class _Level:
    names: Iterator[os.DirEntry[str]]
    path: str
    followed: tuple[str, ...]  # real paths of the top and of links to folders on the way here
    empty: bool = True


def walk(top: str, prefix: str = "") -> Iterator[tuple[str, str] | EmptyFolder | Link]:
    """Yield ``(file on disk, path inside)`` for each file below ``top``, and what else there is.

    A symbolic link to something below ``top`` is yielded as a link; one that leads elsewhere is followed,
    so that a folder of links into a shared cache is kept with its content. Raises SourceNotFoundError for
    a dangling link, InvalidPathError for one that leads round in a circle and for devices, sockets and
    pipes, SourceNotReadableError for a folder that may not be listed, SourceChangedError for one that
    vanishes.
    """
    real_top = os.path.realpath(top)
    stack = [_Level(_names(top), prefix, (real_top,))]
    while stack:
        level = stack[-1]
        inside = level.path + "/" if level.path else ""
        for entry in level.names:
            level.empty = False
            path = inside + entry.name
            if entry.is_file(follow_symlinks=False):
                yield entry.path, path
                continue
            followed = level.followed
            if entry.is_symlink():
                real = _resolve(entry)
                if len(followed) == 1 and real.startswith(real_top + "/"):
                    yield Link(path, _target(entry.path, path, real))
                    continue
                if os.path.isfile(real):
                    yield entry.path, path
                    continue
                if any(seen == real or seen.startswith(real + "/") for seen in (*followed, _folder(entry))):
                    raise InvalidPathError(
                        f"symbolic link '{entry.path}' leads back to a folder it lies in. Remove it"
                    )
                followed = (*followed, real)
            if not os.path.isdir(entry.path):
                raise _odd_thing(entry.path)
            stack.append(_Level(_names(entry.path), path, followed))
            break
        else:
            stack.pop()
            if level.empty and level.path:
                yield EmptyFolder(level.path)


def _names(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            while window := sorted(islice(entries, WINDOW), key=lambda entry: entry.name):
                yield from window
    except PermissionError:
        raise SourceNotReadableError(f"folder '{folder}' may not be listed. Change its permissions") from None
    except (FileNotFoundError, NotADirectoryError):
        raise SourceChangedError(f"folder '{folder}' vanished while it was read. Add it again") from None


def _folder(entry: os.DirEntry[str]) -> str:
    return os.path.realpath(os.path.dirname(entry.path))


def _resolve(entry: os.DirEntry[str]) -> str:
    real = os.path.realpath(entry.path)
    if not os.path.exists(real):
        raise SourceNotFoundError(
            f"symbolic link '{entry.path}' points to '{os.readlink(entry.path)}', which does not exist. "
            "Remove or mend the link"
        )
    return real


def _target(disk: str, path: str, real: str) -> str:
    """Return the link's own target if its form is allowed, else the same place climbing first."""
    target = os.readlink(disk)
    folder = os.path.dirname(disk)
    try:
        check_link_target(path, target)
    except InvalidPathError:
        return os.path.relpath(real, os.path.realpath(folder))
    return target


def _odd_thing(disk: str) -> InvalidPathError | SourceChangedError:
    if not os.path.lexists(disk):
        return SourceChangedError(f"'{disk}' vanished while its folder was read. Add it again")
    return InvalidPathError(
        f"'{disk}' is neither file, folder nor link, but a device, pipe or socket. Remove it, or add the "
        "files one by one"
    )
