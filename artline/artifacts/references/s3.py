"""Referenced objects of S3 and of what speaks its protocol, read in exactly the version that was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from artline.artifacts.references.checksums import plain_md5
from artline.artifacts.references.found import Found
from artline.artifacts.references.objects import connect, join
from artline.artifacts.references.place import BLOCK, Reading

if TYPE_CHECKING:
    from artline.artifacts.manifest import Reference

__all__ = ["S3", "call"]

# Objects encrypted with keys of the customer's have ETags that look like an MD5 and are none.
_KEYED = ("aws:kms", "aws:kms:dsse")


class S3:
    """A place that knows objects by ETag and, in buckets that keep versions, by version id."""

    keeps_time = False

    def find(self, uri: str) -> Iterator[tuple[str, Found]]:
        """Yield the object at an address (``?versionId=`` names a version), or those below a prefix."""
        fs, bucket, key, version = _connect(uri)
        address = uri.partition("?versionId=")[0] if version else uri
        if key and not address.endswith("/"):
            try:
                yield "", _described(address, _head(fs, bucket, key, version))
                return
            except FileNotFoundError:
                if version:
                    raise
        prefix = key.rstrip("/") + "/" if key else ""
        for item in self._list(fs, bucket, prefix):
            inside = str(item["Key"])[len(prefix) :]
            if inside and (not inside.endswith("/") or item["Size"]):  # else the marker of a folder
                yield inside, _described(join(address, inside), item)

    def look(self, reference: Reference) -> Found:
        """Describe the version that was recorded; the latest if that is gone."""
        fs, bucket, key, _ = _connect(reference.uri)
        if reference.version:
            try:
                return _described(reference.uri, _head(fs, bucket, key, reference.version))
            except FileNotFoundError:
                pass
        return _described(reference.uri, _head(fs, bucket, key, ""))

    def read(self, reference: Reference, offset: int) -> Reading:
        """Begin to read an object with one request, whose answer says which object and version it is."""
        fs, bucket, key, _ = _connect(reference.uri)
        try:
            answer = _get(fs, bucket, key, reference.version, offset)
        except FileNotFoundError:
            if not reference.version:
                raise
            answer = _get(fs, bucket, key, "", offset)
        body, start, size = answer["Body"], 0, answer["ContentLength"]
        if offset and answer.get("ContentRange"):
            start, size = offset, int(str(answer["ContentRange"]).rpartition("/")[2])
        found = _described(reference.uri, answer | {"ContentLength": size})
        return Reading(found, start, _blocks(fs, body), lambda: _end(fs, body), bound=True)

    def open(self, reference: Reference, found: Found) -> BinaryIO:
        """Open the version that was found; it, and no other, is read."""
        fs, bucket, key, _ = _connect(reference.uri)
        options = {"version_id": found.version} if found.version else {}
        stream: BinaryIO = fs.open(f"{bucket}/{key}", "rb", block_size=BLOCK, **options)
        return stream

    def _list(self, fs: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        """Yield the objects below a prefix in pages of 1,000, with versions where the bucket keeps them."""
        if self._is_versioned(fs, bucket):
            try:
                yield from _versions(fs, bucket, prefix)
                return
            except PermissionError:  # to list versions takes a permission of its own
                for item in _latest(fs, bucket, prefix):
                    head = _head(fs, bucket, item["Key"], "")
                    yield {"Key": item["Key"], "Size": head["ContentLength"], **head}
                return
        yield from _latest(fs, bucket, prefix)

    def _is_versioned(self, fs: Any, bucket: str) -> bool:
        try:
            return bool(fs.is_bucket_versioned(bucket))
        except (PermissionError, NotImplementedError):
            return True  # may be: whoever may not ask may be told with each object
        except OSError:
            return False  # a server that does not know the question keeps no versions


def call(fs: Any, method: str, **options: Any) -> Any:
    """Send one request; the client tries again by itself what may be tried again."""
    return fs.call_s3(method, fs.req_kw, **options)


def _connect(uri: str) -> tuple[Any, str, str, str]:
    fs, path = connect(uri, version_aware=True)
    bucket, key, version = fs.split_path(path)
    return fs, bucket, key, version or ""


def _head(fs: Any, bucket: str, key: str, version: str) -> dict[str, Any]:
    options = {"VersionId": version} if version else {}
    found: dict[str, Any] = call(fs, "head_object", Bucket=bucket, Key=key, **options)
    return found


def _get(fs: Any, bucket: str, key: str, version: str, offset: int) -> dict[str, Any]:
    options = {"VersionId": version} if version else {}
    if offset:
        options["Range"] = f"bytes={offset}-"
    found: dict[str, Any] = call(fs, "get_object", Bucket=bucket, Key=key, **options)
    return found


def _latest(fs: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    more: dict[str, str] = {}
    while True:
        page = call(fs, "list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
        yield from page.get("Contents", ())
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _versions(fs: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    more: dict[str, str] = {}
    while True:
        page = call(fs, "list_object_versions", Bucket=bucket, Prefix=prefix, **more)
        yield from (item for item in page.get("Versions", ()) if item["IsLatest"])
        if not page.get("IsTruncated"):
            return
        more = {"KeyMarker": page["NextKeyMarker"]}
        if page.get("NextVersionIdMarker"):
            more["VersionIdMarker"] = page["NextVersionIdMarker"]


def _described(uri: str, item: dict[str, Any]) -> Found:
    etag = str(item.get("ETag") or "").strip('"')
    version = str(item.get("VersionId") or "")
    size = item.get("ContentLength", item.get("Size"))
    answered = "ResponseMetadata" in item  # a listing does not say how an object is encrypted
    keyed = item.get("ServerSideEncryption") in _KEYED or item.get("SSECustomerAlgorithm")
    checksum = f"md5:{etag}" if answered and plain_md5(etag) and not keyed else ""
    return Found(uri, size, etag, "" if version == "null" else version, checksum, ranges=True)


def _end(fs: Any, body: Any) -> None:
    from fsspec.asyn import sync

    async def close() -> None:  # in the loop that the connection belongs to
        body.close()

    sync(fs.loop, close)


def _blocks(fs: Any, body: Any) -> Iterator[bytes]:
    from fsspec.asyn import sync

    while block := sync(fs.loop, body.read, BLOCK):
        yield block
