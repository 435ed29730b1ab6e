"""Finding what lies at an address, and what to know it by."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from artline.artifacts.manifest import Reference, encode_reference
from artline.artifacts.references.faults import faults
from artline.artifacts.references.files import Files, tree
from artline.artifacts.references.place import BLOCK, Place, place_of, scheme_of
from artline.artifacts.shards import EntryKind, Row
from artline.artifacts.walk import EmptyFolder, Link
from artline.errors import SourceChangedError, SourceNotFoundError, SourceNotReadableError, UsageError

if TYPE_CHECKING:
    from artline.artifacts.references.found import Found
    from artline.storage.digest import Algorithm

__all__ = ["MAX_OBJECTS", "find_references", "own_name"]

MAX_OBJECTS = 10_000_000


def find_references(
    uri: str, name: str, algorithm: Algorithm, *, checksum: bool = True, max_objects: int = MAX_OBJECTS
) -> Iterator[Row]:
    """Yield a row for the object at ``uri``, or for each object below it when it is a folder or prefix.

    With ``checksum`` what the store gives to know the content by is kept (ETag, version, generation, MD5);
    where it gives nothing the object is read once, and the digest of its content kept. Without it only the
    size is, and of files and web pages the modification time. Of a folder of this machine, links and empty
    folders are entries of their own. Nothing is copied. Raises SourceNotFoundError, and UsageError as soon
    as there are more than ``max_objects``.
    """
    place = place_of(uri)
    rows = (
        _local(uri, name, algorithm, checksum)
        if isinstance(place, Files)
        else _remote(place, uri, name, algorithm, checksum)
    )
    references = 0
    for count, row in enumerate(rows, 1):
        references += row[1] == EntryKind.REFERENCE
        if count > max_objects:
            raise UsageError(
                f"'{uri}' has more than max_objects={max_objects} objects. Raise it or refer to a part"
            )
        yield row
    if not references:
        raise SourceNotFoundError(f"'{uri}' has no objects to refer to. Check the address")


def _local(uri: str, name: str, algorithm: Algorithm, checksum: bool) -> Iterator[Row]:
    for found in tree(uri, name):
        if isinstance(found, Link):
            yield (found.path, EntryKind.LINK, 0, b"", b"", found.target)
            continue
        if isinstance(found, EmptyFolder):
            yield (found.path, EntryKind.FOLDER, 0, b"", b"", "")
            continue
        disk, path = found
        try:
            digest, stat = _hash_file(disk, algorithm) if checksum else (b"", os.stat(disk))
        except FileNotFoundError:
            raise SourceNotFoundError(f"'{disk}' does not exist. Check the path") from None
        except PermissionError:
            raise SourceNotReadableError(f"'{disk}' may not be read. Change its permissions") from None
        reference = Reference("file://" + disk, mtime_ns=0 if checksum else stat.st_mtime_ns)
        yield (path, EntryKind.REFERENCE, stat.st_size, digest, b"", encode_reference(reference))


def _remote(place: Place, uri: str, name: str, algorithm: Algorithm, checksum: bool) -> Iterator[Row]:
    with faults(uri):
        for inside, found in place.find(uri):
            path = "/".join(part for part in (name, inside) if part) or own_name(found.uri)
            yield _row(place, found, path, algorithm, checksum)


def _row(place: Place, found: Found, path: str, algorithm: Algorithm, checksum: bool) -> Row:
    digest, size = b"", found.size
    if not checksum:
        reference = Reference(found.uri, mtime_ns=found.mtime_ns if place.keeps_time else 0)
        if size is None:
            raise UsageError(
                f"the server of '{found.uri}' does not say how large it is, so that without a checksum "
                "nothing would be known of it. Refer to it with checksum=True"
            )
    elif (found.etag or found.checksum) and size is not None:
        # A checksum is of the content; an ETag beside it would change with the object's metadata.
        etag = "" if found.checksum and scheme_of(found.uri) not in ("s3", "s3a") else found.etag
        kept = found.checksum if not etag else ""
        reference = Reference(found.uri, etag, found.version, checksum=kept)
    else:
        reference = Reference(found.uri)
        digest, size = _hash_object(place, reference, algorithm)
    return (path, EntryKind.REFERENCE, size, digest, b"", encode_reference(reference))


def own_name(uri: str) -> str:
    """Return the last name in an address, which becomes the entry's; UsageError where it cannot."""
    address = uri.partition("::")[0]
    if scheme_of(uri) in ("http", "https"):
        name = unquote(urlsplit(address).path.rpartition("/")[2])
    else:
        name = address.rpartition("/")[2]
    if not name or "/" in name:
        raise UsageError(
            f"'{uri}' does not end with a name for the entry. Give it one: add_reference(…, name=…)"
        )
    return name


def _hash_object(place: Place, reference: Reference, algorithm: Algorithm) -> tuple[bytes, int]:
    hasher, size = algorithm.hasher(), 0
    reading = place.read(reference, 0)
    try:
        for block in reading.blocks:
            hasher.update(block)
            size += len(block)
    finally:
        reading.close()
    return hasher.digest(), size


def _hash_file(disk: str, algorithm: Algorithm) -> tuple[bytes, os.stat_result]:
    hasher, size = algorithm.hasher(), 0
    with open(disk, "rb", buffering=0) as stream:
        before = os.fstat(stream.fileno())
        while block := stream.read(BLOCK):
            hasher.update(block)
            size += len(block)
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or size != after.st_size:
        raise SourceChangedError(f"'{disk}' changed while it was read. Refer to it when nothing writes it")
    return hasher.digest(), after
