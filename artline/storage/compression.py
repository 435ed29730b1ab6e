"""zstd for the chunks where it pays, found out by a probe that noise makes rarer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artline.storage.digest import Buffer

__all__ = ["LARGEST_FRAME", "Compressor", "decompress"]

LEVEL = 1
# A block is compressed when that saves at least one part in ten; a smaller saving is not worth reading back.
WORTH = 0.9
MINIMUM = 128
# A larger block (a manifest's root, a recipe of millions of chunks) is stored as it is, so that what a reader
# decompresses before it can know what it is never takes more memory than this.
LARGEST_FRAME = 64 << 20
_PROBE = 16 << 10
_WINDOW = 8 << 20

_local = threading.local()


def decompress(data: Buffer, raw_size: int) -> bytes | None:
    """Return what one zstd frame holds, or None when it is damaged or not ``raw_size`` bytes long.

    Takes no more memory for it than ``raw_size``, and 8 MiB for a frame that does not state its size.
    """
    import zstandard

    decompressor = getattr(_local, "decompressor", None)
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    try:
        # The frame's own word decides how much the library takes, whatever it is told: look at that first.
        frame = zstandard.get_frame_parameters(data)
        if frame.content_size == zstandard.CONTENTSIZE_UNKNOWN:
            if frame.window_size > max(raw_size, _WINDOW):
                return None
        elif frame.content_size != raw_size:
            return None
        content = decompressor.decompress(data, max_output_size=raw_size, allow_extra_data=False)
    except zstandard.ZstdError:
        return None
    return bytes(content) if len(content) == raw_size else None


def _context() -> Any:
    """Return this thread's compressor; one must not be used by two threads at once."""
    context = getattr(_local, "compressor", None)
    if context is None:
        import zstandard

        context = _local.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False)
    return context


class Compressor:
    """Compresses blocks that shrink by a tenth. Threads may share it: what it counts need not be exact.

    After blocks that did not shrink, fewer and fewer of the following ones are tried (at least one in
    sixteen), so that photographs, archives and noise cost next to nothing.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._skip = 0

    def compress(self, data: memoryview) -> bytes | None:
        """Return the zstd frame of ``data``, or None where it should be stored as it is."""
        size = len(data)
        if not MINIMUM <= size <= LARGEST_FRAME:
            return None
        if self._skip:
            self._skip -= 1
            return None
        context = _context()
        if size > 4 * _PROBE:
            middle = size // 2
            sample = context.compress(data[middle : middle + _PROBE])
            if len(sample) > WORTH * _PROBE:
                self._refuse()
                return None
        frame: bytes = context.compress(data)
        if len(frame) > WORTH * size:
            self._refuse()
            return None
        self._failures = 0
        return frame

    def _refuse(self) -> None:
        self._failures += 1
        self._skip = min(self._failures - 1, 15)
