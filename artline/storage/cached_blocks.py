"""Blocks of packs that came from a remote bucket, kept at the same place in sparse files of the same name.

No index is needed: the catalog says where a chunk lies in its pack, and there the cache has either its
block, with header, checksum and digest, or a hole. So blocks that are torn, flipped or gone are as good as
never fetched, and any number of processes may write, read and remove them at once.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from artline.storage.cache import ENTRY_FLAGS
from artline.storage.pack import BLOCK_SIZE, parse_block_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from artline.storage.cache import Cache
    from artline.storage.index import Location
    from artline.storage.reader import Stretch

__all__ = ["BlockCache"]


class BlockCache:
    """Blocks of packs in the folder of a cache. Safe to share between threads and processes."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def fill(
        self,
        place: str,
        stretch: Stretch,
        view: memoryview,
        download: Callable[[Stretch, memoryview], object],
    ) -> None:
        """Fill ``view`` with a stretch of a pack: what is not kept intact is downloaded, and kept."""
        from artline.storage.reader import stretches

        for part in stretches(self._absent(place, stretch, view), sort=False):
            into = view[part.start - stretch.start : part.end - stretch.start]
            download(part, into)
            self.keep(place, part, into)

    def keep(self, place: str, stretch: Stretch, data: memoryview) -> None:
        """Keep those blocks of a downloaded stretch that match their checksums, if there is room for them."""
        runs: list[tuple[int, int]] = []
        for location in stretch.locations:
            if not _intact(data, stretch.start, location):
                continue
            start = location.position
            end = start + BLOCK_SIZE + location.stored_size
            if runs and runs[-1][1] == start:
                runs[-1] = runs[-1][0], end
            else:
                runs.append((start, end))
        size = sum(end - start for start, end in runs)
        if not runs or not self._cache.has_room(size):
            return
        # A disk that is full, or a folder that others own, only means that nothing is kept.
        with contextlib.suppress(OSError):
            descriptor = self._cache.create(place)
            try:
                for start, end in runs:
                    _write_at(descriptor, data[start - stretch.start : end - stretch.start], start)
                self._cache.touch(descriptor)
            finally:
                os.close(descriptor)
            self._cache.count(size)

    def _absent(self, place: str, stretch: Stretch, view: memoryview) -> list[Location]:
        """Read what is kept of a stretch; return the blocks that are not there, or not what they were."""
        path = self._cache.path(place)
        try:
            descriptor = os.open(path, os.O_RDONLY | ENTRY_FLAGS)
        except OSError:
            return stretch.locations
        try:
            done = 0
            while done < len(view):
                count = os.preadv(descriptor, [view[done:]], stretch.start + done)
                if count == 0:
                    break
                done += count
            self._cache.touch(descriptor)
        except OSError:  # the disk cannot read it: other blocks of the disk are to take its place
            with contextlib.suppress(OSError):
                os.unlink(path)
            return stretch.locations
        finally:
            os.close(descriptor)
        kept = view[:done]
        return [location for location in stretch.locations if not _intact(kept, stretch.start, location)]


def _intact(data: memoryview, start: int, location: Location) -> bool:
    """Tell whether a block in bytes that begin at ``start`` of its pack is there and matches its checksum."""
    position = location.position - start
    begin = position + BLOCK_SIZE
    block = parse_block_header(data[position:begin], location.position)
    return (
        block is not None
        and block.digest == location.digest
        and block.stored_size == location.stored_size
        and begin + block.stored_size <= len(data)
        and xxh3_64_intdigest(data[begin : begin + block.stored_size]) == block.checksum
    )


def _write_at(descriptor: int, data: memoryview, position: int) -> None:
    while len(data):
        done = os.pwrite(descriptor, data, position)
        data = data[done:]
        position += done
