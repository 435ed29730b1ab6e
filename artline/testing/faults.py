"""Buckets that fail on purpose, around any other: for the tests of a store, or of what is built upon one."""

from __future__ import annotations

import threading
from enum import Enum
from typing import TYPE_CHECKING, TypeVar, cast

from artline.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artline.storage.bucket import Bucket
    from artline.storage.digest import Buffer

__all__ = ["BucketFault", "FaultBucket", "LateListBucket"]

_T = TypeVar("_T")


class BucketFault(Enum):
    """What can become of a call."""

    REFUSED = "nothing is done, and the bucket is said to be out of reach"
    UNANSWERED = "it is done, and the bucket is said to be out of reach"
    TWICE = "it is done twice"
    SHORT = "a read returns half of what it should; other calls are refused"
    FLIPPED = "a read returns one wrong bit; other calls are done as they should"


class FaultBucket:
    """A bucket whose calls fail as ``script`` says; beyond all retries, as what it raises is final.

    ``script`` gets the method's name and the object's and returns the fault to be made, or None. It may be
    replaced at any time.
    """

    def __init__(self, bucket: Bucket, script: Callable[[str, str], BucketFault | None]) -> None:
        self.url = bucket.url
        self.bucket = bucket
        self.script = script
        self.made = 0

    def put(self, name: str, data: Buffer) -> None:
        self._call("put", name, lambda: self.bucket.put(name, data))

    def put_file(self, name: str, path: Path, *, move: bool = False) -> None:
        self._call("put_file", name, lambda: self.bucket.put_file(name, path))
        if move:
            path.unlink()

    def create(self, name: str, data: Buffer) -> bool:
        return self._call("create", name, lambda: self.bucket.create(name, data))

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        return self._call("read", name, lambda: self.bucket.read(name, start, length))

    def read_into(self, name: str, start: int, buffer: memoryview) -> int:
        data = self.read(name, start, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def size(self, name: str) -> int:
        return self._call("size", name, lambda: self.bucket.size(name))

    def exists(self, name: str) -> bool:
        return self._call("exists", name, lambda: self.bucket.exists(name))

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        return iter(self._call("list", prefix, lambda: [*self.bucket.list(prefix)]))

    def delete(self, name: str) -> None:
        self._call("delete", name, lambda: self.bucket.delete(name))

    def sweep_staging(self) -> int:
        return self.bucket.sweep_staging()

    def _call(self, operation: str, name: str, act: Callable[[], _T]) -> _T:
        fault = self.script(operation, name)
        if fault is None:
            return act()
        self.made += 1
        if fault is BucketFault.REFUSED or (fault is BucketFault.SHORT and operation != "read"):
            raise self._away(name)
        result = act()
        if fault is BucketFault.UNANSWERED:
            raise self._away(name)
        if fault is BucketFault.TWICE:
            result = act()
        elif isinstance(result, bytes) and result:
            middle = len(result) // 2
            wrong = bytes([result[middle] ^ 1])
            spoiled = result[:middle]
            if fault is BucketFault.FLIPPED:
                spoiled += wrong + result[middle + 1 :]
            return cast("_T", spoiled)
        return result

    def _away(self, name: str) -> StoreUnavailableError:
        return StoreUnavailableError(f"the bucket {self.url} is out of reach with '{name}': a scripted fault")


class LateListBucket:
    """A bucket whose lists lag ``lag`` changes behind, as those of services that are eventually consistent.

    What was put last is not listed yet, and what was deleted last still is. Everything else is up to date.
    """

    def __init__(self, bucket: Bucket, lag: int = 3) -> None:
        self.url = bucket.url
        self.bucket = bucket
        self.lag = lag
        self._states: list[dict[str, int]] = [dict(bucket.list())]
        self._lock = threading.Lock()

    def put(self, name: str, data: Buffer) -> None:
        self.bucket.put(name, data)
        self._changed()

    def put_file(self, name: str, path: Path, *, move: bool = False) -> None:
        self.bucket.put_file(name, path, move=move)
        self._changed()

    def create(self, name: str, data: Buffer) -> bool:
        stored = self.bucket.create(name, data)
        self._changed()
        return stored

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        return self.bucket.read(name, start, length)

    def read_into(self, name: str, start: int, buffer: memoryview) -> int:
        return self.bucket.read_into(name, start, buffer)

    def size(self, name: str) -> int:
        return self.bucket.size(name)

    def exists(self, name: str) -> bool:
        return self.bucket.exists(name)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        with self._lock:
            state = self._states[0]
        return iter([(name, size) for name, size in state.items() if name.startswith(prefix)])

    def delete(self, name: str) -> None:
        self.bucket.delete(name)
        self._changed()

    def sweep_staging(self) -> int:
        return self.bucket.sweep_staging()

    def _changed(self) -> None:
        with self._lock:
            self._states.append(dict(self.bucket.list()))
            del self._states[: -self.lag - 1]
