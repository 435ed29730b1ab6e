"""Referenced objects of Google Cloud Storage, read in exactly the generation that was recorded."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from artline.artifacts.references.found import Found
from artline.artifacts.references.objects import WINDOW, connect, join
from artline.artifacts.references.place import Reading
from artline.artifacts.references.ranges import open_ranges

if TYPE_CHECKING:
    from artline.artifacts.manifest import Reference

__all__ = ["PAGE", "Google"]

PAGE = 1000

_GENERATION = re.compile(r"#([0-9]+)$")


class Google:
    """A place that knows objects by generation and by MD5, or by CRC32C where they were composed.

    Their ETag is not kept: it changes with an object's metadata.
    """

    keeps_time = False

    def find(self, uri: str) -> Iterator[tuple[str, Found]]:
        """Yield the object at an address (``#generation`` names one), or those below a prefix."""
        named = _GENERATION.search(uri)
        address = uri[: named.start()] if named else uri
        fs, bucket, key = _connect(address)
        if key and not address.endswith("/"):
            try:
                yield "", _described(address, _item(fs, bucket, key, named[1] if named else ""))
                return
            except FileNotFoundError:
                if named:
                    raise
        prefix = key.rstrip("/") + "/" if key else ""
        for item in _list(fs, bucket, prefix):
            inside = str(item["name"])[len(prefix) :]
            if inside and (not inside.endswith("/") or int(item["size"])):  # else the marker of a folder
                yield inside, _described(join(address, inside), item)

    def look(self, reference: Reference) -> Found:
        """Describe the generation that was recorded; the latest if that is gone."""
        fs, bucket, key = _connect(reference.uri)
        try:
            return _described(reference.uri, _item(fs, bucket, key, reference.version))
        except FileNotFoundError:
            if not reference.version:
                raise
        return _described(reference.uri, _item(fs, bucket, key, ""))

    def read(self, reference: Reference, offset: int) -> Reading:
        """Begin to read a generation."""
        found = self.look(reference)
        fs, bucket, key = _connect(reference.uri)
        size = found.size or 0

        def blocks() -> Iterator[bytes]:
            for start in range(offset, size, WINDOW):
                yield _fetch(fs, bucket, key, found.version, start, min(start + WINDOW, size))

        return Reading(found, offset, blocks(), lambda: None, bound=True)

    def open(self, reference: Reference, found: Found) -> BinaryIO:
        """Open the generation that was found; it, and no other, is read."""
        fs, bucket, key = _connect(reference.uri)
        return open_ranges(
            found.size or 0, lambda start, end: _fetch(fs, bucket, key, found.version, start, end)
        )


def _connect(uri: str) -> tuple[Any, str, str]:
    fs, path = connect(uri)
    bucket, _, key = path.strip("/").partition("/")
    return fs, bucket, key


def _item(fs: Any, bucket: str, key: str, generation: str) -> dict[str, Any]:
    options = {"generation": generation} if generation else {}
    found: dict[str, Any] = fs.call("GET", "b/{}/o/{}", bucket, key, json_out=True, **options)
    return found


def _list(fs: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    more: dict[str, str] = {}
    while True:
        page = fs.call("GET", "b/{}/o", bucket, prefix=prefix, maxResults=PAGE, json_out=True, **more)
        yield from page.get("items", ())
        if not page.get("nextPageToken"):
            return
        more = {"pageToken": page["nextPageToken"]}


def _fetch(fs: Any, bucket: str, key: str, generation: str, start: int, end: int) -> bytes:
    # cat_file would first ask, by gRPC, what kind of bucket it is.
    options = {"generation": generation} if generation else {}
    wanted = {"Range": f"bytes={start}-{end - 1}"}
    _, data = fs.call("GET", "b/{}/o/{}", bucket, key, alt="media", headers=wanted, **options)
    return bytes(data)


def _described(uri: str, item: dict[str, Any]) -> Found:
    checksum = ""
    for field, algorithm in (("md5Hash", "md5"), ("crc32c", "crc32c")):
        if item.get(field) and not checksum:
            checksum = f"{algorithm}:{b64decode(item[field]).hex()}"
    version = str(item.get("generation") or "")
    return Found(uri, int(item.get("size") or 0), "", version, checksum, ranges=True)
