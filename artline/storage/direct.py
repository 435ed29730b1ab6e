"""Appending to a file past the page cache, where the system can: packs are written once and then synced."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
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


class DirectAppender:
    """Appends to one file after the other, through one aligned buffer; for one thread.

    Copying a large file into the page cache costs several times what handing aligned memory to the disk
    does. Where the file system refuses unbuffered writes, ordinary ones take their place. What was
    appended reaches the file when the buffer is full and with ``finish``; syncing is the caller's.
    """

    def __init__(self) -> None:
        self._view = memoryview(mmap.mmap(-1, BUFFER_SIZE))
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._view))
        self._descriptor = -1
        self._position = 0
        self._filled = 0
        self._failure: OSError | None = None

    def begin(self, descriptor: int) -> None:
        """Append to this open, empty file from now on; what the last one lacks is forgotten."""
        self._descriptor = descriptor
        self._position = 0
        self._filled = 0
        self._failure = None
        _set_direct(descriptor, True)

    def append(self, parts: Iterable[Buffer]) -> None:
        """Append buffers. Raises OSError, and raises it again until the next file begins."""
        if self._failure is not None:
            raise self._failure
        for part in parts:
            rest = memoryview(part)
            while len(rest):
                taken = min(len(rest), BUFFER_SIZE - self._filled)
                if taken >= _LARGE and not rest.readonly:
                    source = ctypes.addressof(ctypes.c_char.from_buffer(rest))
                    ctypes.memmove(self._address + self._filled, source, taken)
                else:
                    self._view[self._filled : self._filled + taken] = rest[:taken]
                self._filled += taken
                rest = rest[taken:]
                if self._filled == BUFFER_SIZE:
                    self._drain()

    def finish(self) -> None:
        """Write what is still in the buffer."""
        _set_direct(self._descriptor, False)
        self._drain()

    def _drain(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            self._write()
        except OSError as error:
            self._failure = error
            raise

    def _write(self) -> None:
        done = 0
        while done < self._filled:
            if done % _ALIGNMENT:  # a disk that fills up takes a part first
                _set_direct(self._descriptor, False)
            try:
                written = os.pwrite(self._descriptor, self._view[done : self._filled], self._position + done)
            except OSError as error:
                if error.errno == errno.EINVAL and _set_direct(self._descriptor, False):
                    continue
                raise
            done += written
        self._position += done
        self._filled = 0


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
