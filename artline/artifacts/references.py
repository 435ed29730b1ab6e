"""References: entries whose bytes stay where they are, recognised by size, ETag, version or checksum."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote

from artline.artifacts.manifest import Entry, Reference, encode_reference
from artline.artifacts.shards import EntryKind, Row
from artline.artifacts.walk import walk
from artline.errors import (
    ArtlineError,
    AuthError,
    IntegrityError,
    MissingExtraError,
    SourceNotFoundError,
    SourceNotReadableError,
    StoreUnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from artline.storage.digest import Algorithm

__all__ = ["MAX_OBJECTS", "fetch_reference", "find_references", "open_reference"]

MAX_OBJECTS = 10_000_000
BLOCK = 1 << 20


def find_references(
    uri: str, name: str, algorithm: Algorithm, *, checksum: bool = True, max_objects: int = MAX_OBJECTS
) -> Iterator[Row]:
    """Yield a row for the object at ``uri``, or for each object below it when it is a folder or prefix.

    With ``checksum`` the object's ETag (and version id, where the store has them) is kept, or the digest of
    its content where there is no ETag, as for ``file://``; without it only size, and a file's time. Nothing
    is copied. Raises SourceNotFoundError, UsageError above ``max_objects``.
    """
    if uri.startswith("file://") or "://" not in uri:
        rows = _local(uri, name, algorithm, checksum)
    else:
        rows = _remote(uri, name, algorithm, checksum)
    count = 0
    for row in rows:
        count += 1
        if count > max_objects:
            raise UsageError(
                f"'{uri}' has more than max_objects={max_objects} objects. Raise it or refer to a part"
            )
        yield row
    if not count:
        raise SourceNotFoundError(f"'{uri}' has no objects to refer to. Check the address")


def open_reference(entry: Entry) -> BinaryIO:
    """Open what a reference points to, after checking that it is still what was referred to.

    Size, ETag, version and time are compared; a checksum is not, since that needs the whole content.
    Raises IntegrityError when the target changed or vanished.
    """
    reference = _reference(entry)
    with _faults(entry.path, reference.uri):
        _check_unchanged(entry)
        if _is_local(reference.uri):
            return open(_local_path(reference.uri), "rb")
        fs, path = _filesystem(reference.uri)
        stream: BinaryIO = fs.open(path, "rb")
        return stream


def fetch_reference(
    entry: Entry,
    destination: Path,
    algorithm: Algorithm,
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Copy what a reference points to into a file, which appears only when it is complete and right.

    Raises IntegrityError naming the entry when its target changed or vanished.
    """
    reference = _reference(entry)
    hasher = algorithm.hasher()
    temporary = os.path.join(destination.parent, f".artline-{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        size = 0
        with (
            open(handle, "wb") as target,
            open_reference(entry) as source,
            _faults(entry.path, reference.uri),
        ):
            while block := source.read(BLOCK):
                hasher.update(block)
                target.write(block)
                size += len(block)
                if progress is not None:
                    progress(0, len(block))
            _check_unchanged(entry)
        if size != entry.size or (entry.digest and hasher.digest().hex() != entry.digest.partition(":")[2]):
            raise _changed(entry.path, reference.uri, "its content")
        os.replace(temporary, destination)
    except BaseException:
        os.unlink(temporary)
        raise
    if progress is not None:
        progress(1, 0)


def _local(uri: str, name: str, algorithm: Algorithm, checksum: bool) -> Iterator[Row]:
    top = _local_path(uri)
    found: Iterator[tuple[str, str]]
    if os.path.isdir(top):
        found = (item for item in walk(top, name) if isinstance(item, tuple))
    elif os.path.exists(top):
        found = iter([(top, name or os.path.basename(top))])
    else:
        raise SourceNotFoundError(f"'{uri}' does not exist. Check the path")
    for disk, path in found:
        try:
            digest = _hash_file(disk, algorithm) if checksum else b""
            stat = os.stat(disk)
        except FileNotFoundError:
            raise SourceNotFoundError(f"'{disk}' does not exist. Check the path") from None
        except PermissionError:
            raise SourceNotReadableError(f"'{disk}' may not be read. Change its permissions") from None
        reference = Reference("file://" + disk, mtime_ns=0 if checksum else stat.st_mtime_ns)
        yield (path, EntryKind.REFERENCE, stat.st_size, digest, b"", encode_reference(reference))


def _remote(uri: str, name: str, algorithm: Algorithm, checksum: bool) -> Iterator[Row]:
    with _faults("", uri):
        fs, top = _filesystem(uri)
        protocol = uri.partition("://")[0]
        try:
            info = fs.info(top)
        except FileNotFoundError:
            raise SourceNotFoundError(f"'{uri}' does not exist. Check the address") from None
        if info["type"] != "directory":
            yield _remote_row(fs, protocol, info, name or top.rpartition("/")[2], algorithm, checksum)
            return
        base = top.rstrip("/") + "/"
        for item in _objects(fs, top):
            key = item["name"]
            inside = key[len(base) :] if key.startswith(base) else key.rpartition("/")[2]
            if not inside or inside.endswith("/"):
                continue  # the marker some tools write for a folder
            path = f"{name}/{inside}" if name else inside
            yield _remote_row(fs, protocol, item, path, algorithm, checksum)


def _objects(fs: Any, top: str) -> Iterator[dict[str, Any]]:
    """Yield what lies below a folder. ``fs.walk`` would leave out, silently, what cannot be listed."""
    folders = [top]
    while folders:
        folder = folders.pop()
        found = sorted(fs.ls(folder, detail=True), key=lambda item: str(item["name"]))
        for item in found:
            if item["name"].rstrip("/") == folder.rstrip("/"):
                continue
            if item["type"] == "directory":
                folders.append(item["name"])
            else:
                yield item


def _remote_row(
    fs: Any, protocol: str, info: dict[str, Any], path: str, algorithm: Algorithm, checksum: bool
) -> Row:
    etag, version = _identity(info) if checksum else ("", "")
    digest = b""
    if checksum and not etag:
        hasher = algorithm.hasher()
        with fs.open(info["name"], "rb") as stream:
            while block := stream.read(BLOCK):
                hasher.update(block)
        digest = hasher.digest()
    reference = Reference(f"{protocol}://{info['name'].lstrip('/')}", etag=etag, version=version)
    return (path, EntryKind.REFERENCE, int(info["size"] or 0), digest, b"", encode_reference(reference))


def _identity(info: dict[str, Any]) -> tuple[str, str]:
    etag = info.get("ETag") or info.get("etag") or ""
    version = info.get("VersionId") or info.get("version_id") or info.get("generation") or ""
    return str(etag).strip('"'), "" if version == "null" else str(version)


def _check_unchanged(entry: Entry) -> None:
    reference = _reference(entry)
    if _is_local(reference.uri):
        stat = os.stat(_local_path(reference.uri))
        if stat.st_size != entry.size:
            raise _changed(entry.path, reference.uri, "its size")
        if reference.mtime_ns and stat.st_mtime_ns != reference.mtime_ns:
            raise _changed(entry.path, reference.uri, "its modification time")
        return
    fs, path = _filesystem(reference.uri)
    fs.invalidate_cache()
    info = fs.info(path)
    etag, version = _identity(info)
    if int(info["size"] or 0) != entry.size:
        raise _changed(entry.path, reference.uri, "its size")
    if reference.etag and etag != reference.etag:
        raise _changed(entry.path, reference.uri, "its ETag")
    if reference.version and version and version != reference.version:
        raise _changed(entry.path, reference.uri, "its version")


@contextmanager
def _faults(path: str, uri: str) -> Iterator[None]:
    """Say in this package's terms what went wrong with a referenced object."""
    try:
        yield
    except ArtlineError:
        raise
    except FileNotFoundError:
        if not path:
            raise SourceNotFoundError(f"'{uri}' does not exist. Check the address") from None
        raise IntegrityError(
            f"'{uri}', which entry '{path}' refers to, is gone. Put it back, or pass "
            "allow_missing_references=True to do without"
        ) from None
    except PermissionError as error:
        raise AuthError(f"'{uri}' may not be read: {error}. Check the credentials") from error
    except ImportError as error:
        raise MissingExtraError(
            f"'{uri}' needs a package that is not installed ({error}). For s3: pip install 'artline[s3]'"
        ) from error
    except OSError as error:
        raise StoreUnavailableError(f"'{uri}' is out of reach: {error}. Try again later") from error


def _changed(path: str, uri: str, what: str) -> IntegrityError:
    return IntegrityError(
        f"'{uri}', which entry '{path}' refers to, has changed: {what} differs. "
        "Restore it, or log a new version that refers to what is there now"
    )


def _reference(entry: Entry) -> Reference:
    if entry.reference is None:
        raise UsageError(f"entry '{entry.path}' is not a reference")
    return entry.reference


def _is_local(uri: str) -> bool:
    return uri.startswith("file://")


def _local_path(uri: str) -> str:
    path = uri.removeprefix("file://")
    if not os.path.exists(path) and os.path.exists(unquote(path)):
        path = unquote(path)
    return os.path.abspath(path)


def _filesystem(uri: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(uri)
    except ValueError as error:
        raise UsageError(f"'{uri}' is not an address that can be referred to: {error}") from error
    return fs, path


def _hash_file(disk: str, algorithm: Algorithm) -> bytes:
    hasher = algorithm.hasher()
    with open(disk, "rb") as stream:
        while block := stream.read(BLOCK):
            hasher.update(block)
    return hasher.digest()
