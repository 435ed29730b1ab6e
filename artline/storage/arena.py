"""What large content passes through: reused memory, and as many threads as there are cores.

Files are read behind room for their block headers, so that a full arena is one write.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["RESERVE", "WINDOW", "Arena", "ArenaPool", "cores"]

WINDOW = 8 << 20
RESERVE = 4 << 20


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Arena:
    """A buffer of RESERVE + WINDOW bytes, and the write that may still read from it."""

    __slots__ = ("busy", "view")

    def __init__(self) -> None:
        # Fresh memory is slow to touch page by page: ask for huge pages, and keep what was touched.
        memory = mmap.mmap(-1, RESERVE + WINDOW, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        self.view = memoryview(memory)
        self.busy: Future[None] | None = None


class ArenaPool:
    """A bounded number of arenas, each made only when all others are in use."""

    def __init__(self, count: int) -> None:
        self._free: deque[Arena] = deque()
        self._unmade = count

    def take(self) -> Arena:
        """Return an arena that nothing reads from any more; raise what went wrong with its last write."""
        free = self._free
        if self._unmade and not (free and (free[0].busy is None or free[0].busy.done())):
            self._unmade -= 1
            return Arena()
        arena = free.popleft()
        busy, arena.busy = arena.busy, None
        if busy is not None:
            busy.result()
        return arena

    def give(self, arena: Arena) -> None:
        """Take an arena back; its ``busy`` write may still be going on."""
        self._free.append(arena)

    def close(self) -> None:
        """Let go of the memory."""
        self._free.clear()
