"""Referenced objects of any store that fsspec opens."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from artline.artifacts.references.found import Found
from artline.artifacts.references.place import BLOCK, Reading
from artline.artifacts.references.ranges import open_ranges
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.manifest import Reference

__all__ = ["WINDOW", "Objects", "connect", "join"]

WINDOW = 8 << 20  # bytes fetched at a time, where a store is asked for ranges


class Objects:
    """A place that fsspec opens. Objects are known by their ETag, where the store has one."""

    keeps_time = False

    def find(self, uri: str) -> Iterator[tuple[str, Found]]:
        """Yield the object at an address, or those below a folder."""
        fs, top = connect(uri)
        if not uri.endswith("/"):
            info = fs.info(top)
            if info["type"] != "directory":
                yield "", self.describe(uri, info)
                return
        for inside, info in self.below(fs, top):
            yield inside, self.describe(join(uri, inside), info)

    def look(self, reference: Reference) -> Found:
        """Describe an object as it is now."""
        fs, path = connect(reference.uri)
        return self.describe(reference.uri, fs.info(path))

    def read(self, reference: Reference, offset: int) -> Reading:
        """Begin to read an object."""
        found = self.look(reference)
        stream = self.open(reference, found)
        stream.seek(offset)
        return Reading(found, offset, iter(lambda: stream.read(BLOCK), b""), stream.close)

    def open(self, reference: Reference, found: Found) -> BinaryIO:
        """Open an object."""
        fs, path = connect(reference.uri)
        stream: BinaryIO = fs.open(path, "rb")
        if "::" not in reference.uri or found.size is None:
            return stream
        # An archive is closed when its file system is let go, so that is held as long as it is read.
        return open_ranges(found.size, partial(_fetch, fs, stream))

    def describe(self, uri: str, info: dict[str, Any]) -> Found:
        """Return what fsspec tells of an object as this package's own."""
        etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
        size = info.get("size")
        return Found(uri, int(size) if size is not None else None, "" if etag.startswith("W/") else etag)

    def below(self, fs: Any, top: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what lies below a folder, by its path in there. One folder's list is in memory at a time."""
        base = top.rstrip("/") + "/"
        folders = [top]
        while folders:
            folder = folders.pop()
            # fs.walk would leave out, silently, what cannot be listed.
            for info in sorted(fs.ls(folder, detail=True), key=lambda item: str(item["name"])):
                name = str(info["name"])
                if name.rstrip("/") == folder.rstrip("/"):
                    continue
                if info["type"] == "directory":
                    folders.append(name)
                elif not name.endswith("/") or info["size"]:  # else the marker some tools write for a folder
                    yield name.removeprefix(base), info


def _fetch(_held: Any, stream: BinaryIO, start: int, end: int) -> bytes:
    stream.seek(start)
    return stream.read(end - start)


def connect(uri: str, **options: Any) -> tuple[Any, str]:
    """Return the file system of an address, which remembers no listings, and the path there."""
    from fsspec.core import url_to_fs

    plain = "::" not in uri  # options would go to the outermost of chained file systems alone
    try:
        fs, path = url_to_fs(uri, **({"use_listings_cache": False, **options} if plain else {}))
    except ValueError as error:
        if "credential" in str(error) or "connection_string" in str(error):
            raise PermissionError(str(error)) from error
        raise UsageError(f"'{uri}' is not an address that can be referred to: {error}") from error
    if not plain:
        fs.invalidate_cache()
    return fs, path


def join(uri: str, inside: str) -> str:
    """Return the address of what lies below another: host, account and chained addresses stay."""
    head, chain, rest = uri.partition("::")
    return f"{head.rstrip('/')}/{inside}{chain}{rest}"
