"""A seekable stream over ranges that are fetched as they are read."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import BinaryIO, cast

__all__ = ["open_ranges"]

AHEAD = 1 << 20


class _Ranges(io.RawIOBase):
    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # the base class types it as object
        end = min(self._at + len(view), self._size)
        if self._at >= end:
            return 0
        data = self._fetch(self._at, end)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_ranges(size: int, fetch: Callable[[int, int], bytes]) -> BinaryIO:
    """Return a stream of ``size`` bytes; ``fetch(start, end)`` returns what it asks for, a MiB or more."""
    return cast(BinaryIO, io.BufferedReader(_Ranges(size, fetch), AHEAD))
