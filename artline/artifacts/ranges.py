"""Ranges of stored files: only the chunks that a range touches are read, and the last ones are kept."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from artline.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from artline.storage.content import ContentStore
    from artline.storage.recipe import Blob

__all__ = ["BlobRanges", "ChunkCache"]

WINDOW = 32 << 20  # how much of a long range is fetched at once


class ChunkCache:
    """Verified chunks, the least recently used dropped beyond ``limit`` bytes. Safe between threads.

    Chunks are what the store reads and verifies at once (about 1 MiB), so they are the blocks: a Parquet
    reader's look at the footer, then at single column chunks, costs each chunk once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._chunks: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, digest: bytes) -> bytes | None:
        """Return a chunk's content, None when it is not at hand."""
        with self._lock:
            content = self._chunks.get(digest)
            if content is not None:
                self._chunks.move_to_end(digest)
            return content

    def put(self, digest: bytes, content: bytes) -> None:
        """Keep a chunk's content."""
        with self._lock:
            if digest in self._chunks or len(content) > self._limit:
                return
            self._chunks[digest] = content
            self._size += len(content)
            while self._size > self._limit:
                self._size -= len(self._chunks.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._chunks.clear()
            self._size = 0


class BlobRanges:
    """Reads ranges of one blob."""

    def __init__(self, store: ContentStore, blob: Blob, cache: ChunkCache) -> None:
        self._store = store
        self._blob = blob
        self._cache = cache
        self._chunks: Sequence[tuple[bytes, int]] | None = None
        self._starts: list[int] = []

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` to before ``end``, fewer where the blob ends."""
        end = min(end, self._blob.size)
        if start >= end:
            return b""
        pieces = []
        for offset, content in self._touched(start, end):
            low, high = max(start - offset, 0), end - offset
            pieces.append(content if low == 0 and high >= len(content) else content[low:high])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _touched(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield where each chunk of a range begins, and its content."""
        if self._chunks is None:
            chunks = self._store.recipe(self._blob).chunks
            self._starts = [0, *itertools.accumulate(size for _, size in chunks)]
            self._chunks = chunks
        number = bisect_right(self._starts, start) - 1
        while number < len(self._chunks) and self._starts[number] < end:
            last = number + 1
            while (
                last < len(self._chunks)
                and self._starts[last] < end
                and self._starts[last + 1] - self._starts[number] <= WINDOW
            ):
                last += 1
            window = self._fetch(self._chunks[number:last])
            for place in range(number, last):
                yield self._starts[place], window[self._chunks[place][0]]
            number = last

    def _fetch(self, chunks: Sequence[tuple[bytes, int]]) -> dict[bytes, bytes]:
        found = {}
        for digest, _ in chunks:
            content = self._cache.get(digest)
            if content is not None:
                found[digest] = content
        missing = [digest for digest, _ in chunks if digest not in found]
        if missing:
            for digest, content in self._store.read_many(missing):
                found[digest] = content
                self._cache.put(digest, content)
        for digest, size in chunks:
            if len(found[digest]) != size:
                raise IntegrityError(
                    f"chunk {self._store.format(digest)} has {len(found[digest])} bytes where the recipe of "
                    f"{self._store.format(self._blob.digest)} says {size}"
                )
        return found
