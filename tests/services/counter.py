"""A bucket that counts what is read from it, and can be cut off."""

from __future__ import annotations

import threading
from typing import Any

from artline.errors import StoreUnavailableError
from artline.storage.bucket import Bucket


class CountingBucket:
    """Passes every call on to a bucket. After ``allowed`` bytes, reading fails as if the network had gone."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._lock = threading.Lock()
        self.moved = 0
        self.reads = 0
        self.allowed: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        self._check()
        data = self._bucket.read(name, start, length)
        self._count(len(data))
        return data

    def read_into(self, name: str, start: int, buffer: memoryview) -> int:
        self._check()
        done = self._bucket.read_into(name, start, buffer)
        self._count(done)
        return done

    def reset(self) -> None:
        """Count from nothing again."""
        self.moved = self.reads = 0

    def _check(self) -> None:
        if self.allowed is not None and self.moved >= self.allowed:
            raise StoreUnavailableError("the bucket is out of reach: a test cut it off")

    def _count(self, size: int) -> None:
        with self._lock:
            self.moved += size
            self.reads += 1
