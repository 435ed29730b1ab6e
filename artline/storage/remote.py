"""Buckets behind fsspec: S3 (through s3fs) and every other protocol it knows."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from artline.errors import AuthError, MissingExtraError, NotFoundError, StoreUnavailableError, UsageError
from artline.storage.bucket import check_name, storage_error

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from artline.storage.digest import Buffer

__all__ = ["FsspecBucket"]

_EXTRAS = {
    "s3": "artline[s3]",
    "s3a": "artline[s3]",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
}


class FsspecBucket:
    """A prefix of anything fsspec reaches. Credentials come from where the protocol's own tools find them."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url.rstrip("/")
        protocol = url.partition("://")[0]
        self.staging: Path | None = None
        if protocol in ("s3", "s3a"):
            options = {"config_kwargs": {"signature_version": "s3v4"}, **options}
        self._protocol = protocol
        self._filesystem: Any = None
        self._process = 0
        self._inherited: Any = None
        self._options = {"use_listings_cache": False, "skip_instance_cache": True, **options}
        self._root = ""

    def put(self, name: str, data: Buffer) -> None:
        path = self._path(name)
        with self._errors(name):
            self._make_folder(path)
            self._fs.pipe_file(path, bytes(data))

    def put_file(self, name: str, path: Path, *, move: bool = False) -> None:
        target = self._path(name)
        with self._errors(name):
            self._make_folder(target)
            self._fs.put_file(str(path), target)
            if move:
                path.unlink()

    def create(self, name: str, data: Buffer) -> bool:
        path = self._path(name)
        with self._errors(name):
            self._make_folder(path)
            try:
                self._fs.pipe_file(path, bytes(data), mode="create")
            except OSError as error:
                if isinstance(error, FileExistsError) or _code(error) == "PreconditionFailed":
                    return False
                raise
        return True

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        if length == 0:
            self.size(name)
            return b""
        end = None if length is None else start + length
        path = self._path(name)
        with self._errors(name):
            try:
                return bytes(self._fs.cat_file(path, start=start or None, end=end))
            except OSError as error:
                if _code(error) == "InvalidRange":  # it starts at or after the end
                    return b""
                raise

    def read_into(self, name: str, start: int, buffer: memoryview) -> int:
        data = self.read(name, start, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def size(self, name: str) -> int:
        path = self._path(name)
        with self._errors(name):
            return int(self._fs.info(path)["size"])

    def exists(self, name: str) -> bool:
        try:
            self.size(name)
        except NotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        with self._errors(prefix):
            folder = "/".join([self._base, *prefix.split("/")[:-1]])
            try:
                found = self._fs.find(folder, detail=True)
            except FileNotFoundError:
                return
        for path, info in found.items():
            name = path[len(self._base) + 1 :]
            if name.startswith(prefix) and info["type"] == "file" and not name.endswith("/"):
                yield name, int(info["size"])

    def delete(self, name: str) -> None:
        path = self._path(name)
        with self._errors(name), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(path)

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
            package = _EXTRAS.get(self._protocol, f"the fsspec package for {self._protocol}://")
            raise MissingExtraError(
                f"the bucket {self.url} needs {package}. Install it: pip install '{package}'"
            ) from error
        except ValueError as error:
            raise UsageError(f"cannot open the bucket '{self.url}': {error}") from error
        return filesystem, root.rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self._base}/{check_name(name)}"

    def _make_folder(self, path: str) -> None:
        if self._protocol not in ("s3", "s3a", "gs", "gcs"):
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)

    @contextlib.contextmanager
    def _errors(self, name: str) -> Generator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if _code(error) == "NoSuchBucket":
                raise NotFoundError(f"the bucket of {self.url} does not exist. Create it first") from error
            raise NotFoundError(f"there is no object '{name}' in {self.url}. Run: art fsck") from error
        except OSError as error:
            raise storage_error(error, name, self.url) from error
        except _client_errors() as error:
            text = " ".join(str(error).split())
            if "redential" in text or "AccessDenied" in text or "Forbidden" in text:
                raise AuthError(f"the bucket {self.url} refused: {text}. Check the credentials") from error
            raise StoreUnavailableError(
                f"the bucket {self.url} is out of reach: {text}. Check the network and the endpoint"
            ) from error


def _code(error: Exception) -> str:
    """Return the S3 error code behind an error that s3fs translated, or nothing."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _client_errors() -> tuple[type[Exception], ...]:
    """Return what the client libraries raise besides OSError, of those that are loaded."""
    kinds: list[type[Exception]] = [TimeoutError]
    if (botocore := sys.modules.get("botocore.exceptions")) is not None:
        kinds += [botocore.BotoCoreError, botocore.ClientError]
    if (aiohttp := sys.modules.get("aiohttp")) is not None:
        kinds.append(aiohttp.ClientError)
    return tuple(kinds)
