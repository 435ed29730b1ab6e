"""Referenced files of this machine, or of a file system that it has mounted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

from artline.artifacts.references.found import Found
from artline.artifacts.references.place import BLOCK, Reading
from artline.artifacts.walk import EmptyFolder, Link, walk
from artline.errors import SourceNotFoundError

if TYPE_CHECKING:
    from artline.artifacts.manifest import Reference

__all__ = ["Files", "local_path", "tree"]


class Files:
    """A place that knows files by size and modification time, or by the digest of their content."""

    keeps_time = True

    def find(self, uri: str) -> Iterator[tuple[str, Found]]:
        """Yield the file at an address; what lies below a folder is ``tree``'s to say."""
        yield "", _found(local_path(uri))

    def look(self, reference: Reference) -> Found:
        """Describe a file as it is now."""
        return _found(local_path(reference.uri))

    def read(self, reference: Reference, offset: int) -> Reading:
        """Begin to read a file."""
        path = local_path(reference.uri)
        found = _found(path)
        stream = open(path, "rb", buffering=0)  # noqa: SIM115 (the reading closes it)
        stream.seek(offset)
        return Reading(found, offset, iter(lambda: stream.read(BLOCK), b""), stream.close)

    def open(self, reference: Reference, found: Found) -> BinaryIO:
        """Open a file."""
        return open(local_path(reference.uri), "rb")


def tree(uri: str, name: str) -> Iterator[tuple[str, str] | EmptyFolder | Link]:
    """Yield the file at a path of this machine, or what ``walk`` finds below it."""
    top = local_path(uri)
    if os.path.isdir(top):
        yield from walk(top, name)
    elif os.path.exists(top):
        yield top, name or os.path.basename(top)
    else:
        raise SourceNotFoundError(f"'{uri}' does not exist. Check the path")


def local_path(uri: str) -> str:
    """Return the path that ``file://`` or plain text names; escapes such as %20 are optional."""
    path = uri.removeprefix("file://")
    if not os.path.exists(path) and os.path.exists(unquote(path)):
        path = unquote(path)
    return os.path.abspath(path)


def _found(path: str) -> Found:
    stat = os.stat(path)
    return Found("file://" + path, stat.st_size, mtime_ns=stat.st_mtime_ns, ranges=True)
