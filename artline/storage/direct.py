"""Appending to a file past the page cache, where the system can: packs are written once and then synced."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from artline.storage.digest import Buffer

__all__ = ["BUFFER_SIZE", "DirectAppender"]

BUFFER_SIZE = 8 << 20
# A multiple of every block size in use, for offsets, lengths and memory alike.
_ALIGNMENT = 4096
# Copies of this size and more let other threads run: a foreign call gives up the interpreter lock.
_LARGE = 64 << 10
# Two writes at once keep the disk at work while the thread of the one that ended waits for a core.
_IN_FLIGHT = 2


class DirectAppender:
    """Appends to one file after the other, through three aligned buffers; for one thread.

    Copying a large file into the page cache costs several times what handing aligned memory to the disk
    does. One buffer is filled while threads of their own write the others. Where the file system refuses
    unbuffered writes, ordinary ones take their place. What was appended reaches the file when a buffer is
    full and with ``finish``; syncing is the caller's.
    """

    def __init__(self) -> None:
        self._disk = ThreadPoolExecutor(_IN_FLIGHT, "artline-direct")
        self._buffers = [_Buffer() for _ in range(_IN_FLIGHT + 1)]
        self._descriptor = -1
        self._position = 0
        self._failure: OSError | None = None

    def begin(self, descriptor: int) -> None:
        """Append to this open, empty file from now on; what the last one lacks is forgotten."""
        for buffer in self._buffers:
            buffer.forget()
        self._descriptor = descriptor
        self._position = 0
        self._failure = None
        _set_direct(descriptor, True)

    def append(self, parts: Iterable[Buffer]) -> None:
        """Append buffers. Raises OSError, and raises it again until the next file begins."""
        self._check()
        for part in parts:
            rest = memoryview(part)
            while len(rest):
                rest = rest[self._buffers[0].fill(rest) :]
                if self._buffers[0].filled == BUFFER_SIZE:
                    self._drain()

    def finish(self) -> None:
        """Write what is still in the buffers. Raises OSError."""
        self._check()
        self._drain()
        self._settle()

    def close(self) -> None:
        """End the thread; what was not finished may be missing."""
        self._disk.shutdown(wait=True)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _drain(self) -> None:
        """Have the first buffer written, and go on with the other one once it is free."""
        buffer = self._buffers.pop(0)
        self._buffers.append(buffer)
        buffer.written = self._disk.submit(
            _write, self._descriptor, buffer.view[: buffer.filled], self._position
        )
        self._position += buffer.filled
        self._settle(self._buffers[0])

    def _settle(self, *buffers: _Buffer) -> None:
        try:
            for buffer in buffers or self._buffers:
                buffer.settle()
        except OSError as error:
            self._failure = error
            for buffer in self._buffers:
                buffer.forget()  # nothing may still be writing when the caller closes the file
            raise


class _Buffer:
    """Aligned memory, and the write that may still read from it."""

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, BUFFER_SIZE))
        self.filled = 0
        self.written: Future[None] | None = None
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self.view))

    def fill(self, data: memoryview) -> int:
        """Take as much of ``data`` as there is room for; return how much that is."""
        taken = min(len(data), BUFFER_SIZE - self.filled)
        if taken >= _LARGE and not data.readonly:
            source = ctypes.addressof(ctypes.c_char.from_buffer(data))
            ctypes.memmove(self._address + self.filled, source, taken)
        else:
            self.view[self.filled : self.filled + taken] = data[:taken]
        self.filled += taken
        return taken

    def settle(self) -> None:
        """Wait for the write, if there is one, and be empty again; raise what went wrong with it."""
        written, self.written = self.written, None
        if written is not None:
            self.filled = 0
            written.result()

    def forget(self) -> None:
        """Be empty again, whatever became of the write."""
        if self.written is not None:
            self.written.exception()
        self.written = None
        self.filled = 0


def _write(descriptor: int, data: memoryview, position: int) -> None:
    done = 0
    while done < len(data):
        if (len(data) - done) % _ALIGNMENT or done % _ALIGNMENT:  # the end, or a disk that is filling up
            _set_direct(descriptor, False)
        try:
            done += os.pwrite(descriptor, data[done:], position + done)
        except OSError as error:
            if error.errno != errno.EINVAL or not _set_direct(descriptor, False):
                raise


def _set_direct(descriptor: int, wanted: bool) -> bool:
    """Turn unbuffered writing on or off; tell whether that changed anything."""
    flag = getattr(os, "O_DIRECT", 0)
    before = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    after = before | flag if wanted else before & ~flag
    if after == before:
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, after)
    except OSError:
        return False  # not on this file system
    return True
