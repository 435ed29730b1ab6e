"""Reused memory: files are read behind room for their block headers, so that a full arena is one write."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["RESERVE", "WINDOW", "Arena", "ArenaRing"]

WINDOW = 8 << 20
RESERVE = (4 << 20) + 4096


class Arena:
    """A buffer and the write that still reads from it. Fresh memory is slow to touch; this stays."""

    __slots__ = ("busy", "view")

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, WINDOW + RESERVE))
        self.busy: Future[None] | None = None

    def wait(self) -> None:
        """Wait until nothing reads from the buffer; raise what went wrong meanwhile."""
        busy, self.busy = self.busy, None
        if busy is not None:
            busy.result()


class ArenaRing:
    """A few arenas, used in turn."""

    def __init__(self, count: int) -> None:
        self._arenas: list[Arena] = []
        self._count = count
        self._next = 0

    def take(self) -> Arena:
        """Return the arena used longest ago, when it is free."""
        if len(self._arenas) < self._count:
            self._arenas.append(Arena())
            return self._arenas[-1]
        arena = self._arenas[self._next]
        self._next = (self._next + 1) % self._count
        arena.wait()
        return arena

    def close(self) -> None:
        """Give the memory back (once nothing refers to it any more)."""
        self._arenas.clear()
