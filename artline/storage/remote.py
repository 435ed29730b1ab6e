"""Buckets behind fsspec: every protocol it knows but S3 and local files, which have buckets of their own."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any

from artline.errors import (
    AuthError,
    MissingExtraError,
    NotFoundError,
    StoreUnavailableError,
    UsageError,
)
from artline.storage.bucket import check_name, storage_error
from artline.storage.claims import create_by_claim
from artline.storage.retry import TRANSIENT_STATUS, Attempts, Patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artline.storage.digest import Buffer

__all__ = ["FsspecBucket"]

_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "s3": "artline[s3]"}
_FLAT = ("s3", "s3a", "gs", "gcs")  # these need no folders
_NETWORK = {
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ETIMEDOUT,
}


class FsspecBucket:
    """A prefix of anything fsspec reaches. Credentials come from where the protocol's own tools find them.

    What may pass (lost connections, time-outs, throttling, answers of 500 and more) is tried again. Where the
    protocol's implementation is asynchronous, an act may take as long as the time-out, and that again for
    each MiB; elsewhere its own time-outs hold.
    """

    def __init__(self, url: str, patience: Patience | None = None, **options: Any) -> None:
        self.url = url.rstrip("/")
        protocol = url.partition("://")[0]
        self.staging: Path | None = None
        self._protocol = protocol
        self._patience = patience or Patience()
        self._answered = False
        self._filesystem: Any = None
        self._process = 0
        self._inherited: Any = None
        self._options = {"use_listings_cache": False, "skip_instance_cache": True, **options}
        self._root = ""

    def put(self, name: str, data: Buffer) -> None:
        path = self._place(name)
        content = bytes(data)
        self._do("pipe_file", name, path, content, size=len(content))

    def put_file(self, name: str, path: Path, *, move: bool = False) -> None:
        target = self._place(name)
        self._do("put_file", name, str(path), target, size=path.stat().st_size)
        if move:
            path.unlink()

    def create(self, name: str, data: Buffer) -> bool:
        # That a protocol's exclusive mode asks and writes in one act is nothing to rely on.
        return not self.exists(name) and create_by_claim(self, name, data, self._patience)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        if length == 0:
            self.size(name)
            return b""
        end = None if length is None else start + length
        size = self.size(name) if length is None else length
        try:
            return bytes(
                self._do("cat_file", name, self._path(name), size=size, start=start or None, end=end)
            )
        except _EmptyRangeError:
            return b""

    def read_into(self, name: str, start: int, buffer: memoryview) -> int:
        data = self.read(name, start, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def size(self, name: str) -> int:
        return int(self._do("info", name, self._path(name))["size"])

    def exists(self, name: str) -> bool:
        try:
            self.size(name)
        except NotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        folder = "/".join([self._base, *prefix.split("/")[:-1]])
        try:
            found = self._do("find", prefix, folder, size=1 << 30, detail=True)
        except NotFoundError:
            return
        for path, info in found.items():
            name = path[len(self._base) + 1 :]
            if name.startswith(prefix) and info["type"] == "file" and not name.endswith("/"):
                yield name, int(info["size"])

    def delete(self, name: str) -> None:
        try:
            self._do("rm_file", name, self._path(name))
        except NotFoundError:
            return

    def sweep_staging(self) -> int:
        """Do nothing: what these protocols keep of uploads that were cut off is for their own rules."""
        return 0

    @property
    def _fs(self) -> Any:
        if self._process != os.getpid():
            # A forked child connects anew. The parent's connections are kept: closing them is the parent's.
            self._inherited = self._filesystem
            self._filesystem, self._root = self._connect()
            self._process = os.getpid()
        return self._filesystem

    @property
    def _base(self) -> str:
        _ = self._fs
        return self._root

    def _connect(self) -> tuple[Any, str]:
        import fsspec

        try:
            filesystem, root = fsspec.core.url_to_fs(self.url, **self._options)
        except ImportError as error:
            package = _PACKAGES.get(self._protocol, f"the fsspec package for {self._protocol}://")
            raise MissingExtraError(
                f"the bucket {self.url} needs {package}. Install it: pip install '{package}'"
            ) from error
        except ValueError as error:
            raise UsageError(f"cannot open the bucket '{self.url}': {error}") from error
        return filesystem, root.rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self._base}/{check_name(name)}"

    def _place(self, name: str) -> str:
        """Return the path of an object to be, its folder made."""
        path = self._path(name)
        if self._protocol not in _FLAT:
            self._do("makedirs", name, path.rpartition("/")[0], exist_ok=True)
        return path

    def _do(self, operation: str, name: str, *arguments: Any, size: int = 0, **options: Any) -> Any:
        """Have the file system do something with about ``size`` bytes, again where that may help."""
        attempts = Attempts(self._patience, known=self._answered)
        while True:
            filesystem = self._fs
            try:
                if filesystem.async_impl and not filesystem.asynchronous:
                    from fsspec.asyn import sync

                    method = getattr(filesystem, f"_{operation}")
                    limit = self._patience.timeout * (1 + (size >> 20))
                    result = sync(filesystem.loop, method, *arguments, timeout=limit, **options)
                else:
                    result = getattr(filesystem, operation)(*arguments, **options)
            except Exception as error:  # every protocol's client has errors of its own
                final = self._final(error, name)
                if final is None and not attempts.again():
                    final = StoreUnavailableError(
                        f"the bucket {self.url} is out of reach: '{name}' failed {attempts.failures} times "
                        f"in {attempts.elapsed:.0f} s, at last with: {_text(error)}. Check the network, or "
                        "wait longer with ART_BUCKET_RETRY"
                    )
                if final is not None:
                    raise final from error
            else:
                self._answered = True
                return result

    def _final(self, error: Exception, name: str) -> Exception | None:
        """Return what a failure means, or None where the same act may succeed later."""
        code, status = _answer(error)
        text = _text(error)
        if code == "InvalidRange" or status == 416:
            return _EmptyRangeError(f"the range starts at or after the end of '{name}' in {self.url}")
        if code == "NoSuchBucket":
            return NotFoundError(f"the bucket of {self.url} does not exist. Create it first")
        if isinstance(error, FileNotFoundError):
            return NotFoundError(f"there is no object '{name}' in {self.url}. Run: art fsck")
        if isinstance(error, NotImplementedError):
            return UsageError(
                f"{self._protocol}:// cannot do what a bucket must: {text or 'not implemented'}"
            )
        if status in (401, 403) or "redential" in text:
            return AuthError(f"the bucket {self.url} refused '{name}': {text}. Check the credentials")
        if status in TRANSIENT_STATUS or isinstance(error, _passing()):
            return None
        if isinstance(error, OSError):
            return None if error.errno in _NETWORK else storage_error(error, name, self.url)
        return StoreUnavailableError(
            f"the bucket {self.url} failed with '{name}': {type(error).__name__}: {text}. Check its address "
            "and the options of its protocol"
        )


class _EmptyRangeError(Exception):
    """A range that starts at or after the end of an object; it never leaves this file."""


def _answer(error: Exception) -> tuple[str, int]:
    """Return the service's error code and HTTP status behind an error, as far as there are any."""
    for one in (error, error.__cause__):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return str(response.get("Error", {}).get("Code", "")), int(status)
        for field in ("status_code", "status", "code"):
            value = getattr(one, field, None)
            if isinstance(value, int):
                return "", value
    return "", 0


def _passing() -> tuple[type[Exception], ...]:
    """Return what client libraries raise when a connection is lost, of those that are loaded."""
    kinds: list[type[Exception]] = [TimeoutError, ConnectionError]
    if (botocore := sys.modules.get("botocore.exceptions")) is not None:
        kinds += [botocore.ConnectionError, botocore.HTTPClientError, botocore.IncompleteReadError]
    if (aiohttp := sys.modules.get("aiohttp")) is not None:
        kinds += [aiohttp.ClientConnectionError, aiohttp.ClientPayloadError]
    if (requests := sys.modules.get("requests")) is not None:
        kinds += [requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError]
    return tuple(kinds)


def _text(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
