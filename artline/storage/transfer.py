"""What is sent to a bucket and what comes from it, piece by piece: bounded memory, and no endless waits."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from artline.errors import StoreUnavailableError

__all__ = ["TRICKLE", "CutError", "PartBody", "Transfer"]

_PIECE = 256 << 10
TRICKLE = 64 << 10  # what has to come within one time-out


class CutError(ConnectionError):
    """A response ended, or all but stopped, before all of it came."""


class PartBody:
    """A stretch of a file, or of memory, as a file to be sent; it reads ahead, as small reads cost time."""

    def __init__(
        self, size: int, *, view: memoryview | None = None, descriptor: int = -1, offset: int = 0
    ) -> None:
        self._size = size
        self._view = view
        self._descriptor = descriptor
        self._offset = offset
        self._position = 0

    def __len__(self) -> int:
        return self._size

    def read(self, count: int = -1) -> bytes:
        left = self._size - self._position
        # The sender asks for 16 KiB at a time. It sends what it gets.
        wanted = left if count < 0 else min(left, max(count, _PIECE))
        if self._view is not None:
            data = bytes(self._view[self._position : self._position + wanted])
        else:
            data = os.pread(self._descriptor, wanted, self._offset + self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position


@dataclass(slots=True)
class Transfer:
    """How far the reading of a range has come; ``end`` is None until an answer tells how long it is."""

    position: int
    end: int | None
    sink: Callable[[bytes], object]

    @property
    def range(self) -> str:
        if self.end is None:
            return f"bytes={self.position}-" if self.position else ""
        return f"bytes={self.position}-{self.end - 1}"

    def run(self, answer: dict[str, Any], timeout: float) -> None:
        """Take in what one answer brings. Raises OSError when it ends early or trickles."""
        stream = answer["Body"]
        try:
            # Some services answer a range with 200, and still with what was asked for.
            given = str(answer.get("ContentRange") or "bytes 0-")
            if not given.startswith(f"bytes {self.position}-"):
                raise StoreUnavailableError(
                    f"a range from byte {self.position} on was asked for, and the answer was '{given}'. Use "
                    "a service, or a proxy before it, that knows ranges"
                )
            ends = self.position + int(answer["ContentLength"])
            self.end = min(ends, self.end or sys.maxsize)
            # The stream's own read() waits for as much as it was asked for, however slowly that comes.
            self._receive(stream._raw_stream, timeout)
            if self.end == ends:
                stream._raw_stream.release_conn()
                return
        except BaseException:
            stream.close()
            raise
        stream.close()  # what is still to come must not be taken for the next answer

    def _receive(self, raw: Any, timeout: float) -> None:
        assert self.end is not None
        mark, since = self.position, time.monotonic()
        while self.position < self.end:
            piece = raw.read1(min(_PIECE, self.end - self.position))
            if not piece:
                raise CutError(f"{self.end - self.position} bytes of the answer did not come")
            self.sink(piece)
            self.position += len(piece)
            now = time.monotonic()
            if now - since > timeout:
                if self.position - mark < TRICKLE:
                    raise CutError(f"only {self.position - mark} bytes came in {now - since:.0f} s")
                mark, since = self.position, now
