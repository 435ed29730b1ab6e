"""Reading: chunks by digest, neighbours fetched together, every byte verified."""

from __future__ import annotations

import io
import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from artline.errors import IntegrityError, NotFoundError, UsageError
from artline.storage.pack import BLOCK_SIZE, decode_block, expand, parse_block_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from artline.storage.content import ContentStore
    from artline.storage.digest import Buffer
    from artline.storage.index import Location
    from artline.storage.recipe import Blob

__all__ = ["Stretch", "fetch", "open_blob", "payload", "read_chunks", "recover", "stretches"]

SPAN = 8 << 20  # the most that is fetched at once, unless one chunk is larger
GAP = 64 << 10  # a gap this small is read rather than skipped
_LOOKUP = 2000


class Stretch(NamedTuple):
    """Blocks of one pack that are fetched together: ``start`` to ``end`` in the pack."""

    pack_id: int
    start: int
    end: int
    locations: list[Location]


def stretches(locations: Iterable[Location], *, sort: bool = True) -> Iterator[Stretch]:
    """Group blocks that lie close together in a pack; without ``sort``, those that come in that order."""
    if sort:
        locations = sorted(locations, key=lambda location: (location.pack_id, location.position))
    current: Stretch | None = None
    for location in locations:
        end = location.position + BLOCK_SIZE + location.stored_size
        if (
            current is not None
            and current.pack_id == location.pack_id
            and 0 <= location.position - current.end <= GAP
            and end - current.start <= SPAN
        ):
            current.locations.append(location)
            current = current._replace(end=end)
        else:
            if current is not None:
                yield current
            current = Stretch(location.pack_id, location.position, end, [location])
    if current is not None:
        yield current


def fetch(store: ContentStore, stretch: Stretch, buffer: memoryview | None = None) -> memoryview:
    """Read a stretch from the cache or the bucket, into ``buffer`` where it fits.

    What came from the cache matches its checksums; what came from the bucket may not. Raises IntegrityError
    when the pack is cut off or gone.
    """
    size = stretch.end - stretch.start
    if store.blocks is not None:
        fits = buffer is not None and len(buffer) >= size
        view = buffer[:size] if buffer is not None and fits else memoryview(bytearray(size))
        store.blocks.fill(
            store.pack_object(stretch.pack_id), stretch, view, lambda part, into: _download(store, part, into)
        )
        return view
    return _download(store, stretch, buffer)


def _download(store: ContentStore, stretch: Stretch, buffer: memoryview | None = None) -> memoryview:
    name, size = store.pack_object(stretch.pack_id), stretch.end - stretch.start
    try:
        if buffer is not None and len(buffer) >= size:
            data = buffer[: store.bucket.read_into(name, stretch.start, buffer[:size])]
        else:
            data = memoryview(store.bucket.read(name, stretch.start, size))
    except NotFoundError as error:
        raise store.damaged(stretch.locations[0], "the pack is gone") from error
    if len(data) != size:
        raise store.damaged(stretch.locations[-1], "the pack ends early")
    return data


def recover(store: ContentStore, location: Location) -> Buffer:
    """Return a chunk whose content was not what its digest says, fetched anew where it came from a cache.

    Raises IntegrityError when it is the bucket's that is damaged.
    """
    if store.blocks is None:
        raise store.damaged(location, "its content does not match the digest")
    (stretch,) = stretches([location])
    data, place = _download(store, stretch), store.pack_object(location.pack_id)
    content = decode_block(data, location.digest, store.algorithm, place)
    store.blocks.keep(place, stretch, data)
    return content


def payload(store: ContentStore, stretch: Stretch, data: memoryview, location: Location) -> Buffer:
    """Return a block's content out of a fetched stretch, yet to be compared with a digest by the caller."""
    start = location.position - stretch.start
    block = parse_block_header(data[start : start + BLOCK_SIZE], location.position)
    if block is None or block.digest != location.digest or block.stored_size != location.stored_size:
        raise store.damaged(location, "its header does not match")
    begin = start + BLOCK_SIZE
    stored = data[begin : begin + block.stored_size]
    return expand(stored, block, store.algorithm, store.pack_object(location.pack_id), hashed=True)


def read_chunks(store: ContentStore, digests: Iterable[bytes]) -> Iterator[tuple[Location, Buffer]]:
    """Yield each chunk once with its verified content, valid until the next one is asked for."""
    pending = iter(digests)
    while batch := list(dict.fromkeys(itertools.islice(pending, _LOOKUP))):
        found = store.locate(batch)
        for digest in batch:
            if digest not in found:
                raise store.absent(digest)
        for stretch in stretches(found.values()):
            data = fetch(store, stretch)
            place = store.pack_object(stretch.pack_id)
            for location in stretch.locations:
                start = location.position - stretch.start
                end = start + BLOCK_SIZE + location.stored_size
                try:
                    content = decode_block(data[start:end], location.digest, store.algorithm, place)
                except IntegrityError:
                    if store.blocks is None:
                        raise
                    content = recover(store, location)
                yield location, content


def open_blob(store: ContentStore, blob: Blob) -> BinaryIO:
    """Open a blob for reading at any position, through a buffer of 64 KiB."""
    return cast("BinaryIO", io.BufferedReader(_BlobReader(store, blob), 64 << 10))


class _BlobReader(io.RawIOBase):
    """Reads a blob chunk by chunk, keeping the last few."""

    _KEPT = 3

    def __init__(self, store: ContentStore, blob: Blob) -> None:
        self._store = store
        self._blob = blob
        self._position = 0
        self._chunks: Sequence[tuple[bytes, int]] | None = None
        self._starts: list[int] = []
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._blob.size}.get(whence)
        if base is None:
            raise UsageError(f"whence must be 0, 1 or 2, not {whence}")
        if base + offset < 0:
            raise OSError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # the base class types it as object
        if self._position >= self._blob.size or not len(view):
            return 0
        content, offset = self._chunk_at(self._position)
        count = min(len(view), len(content) - offset)
        view[:count] = content[offset : offset + count]
        self._position += count
        return count

    def _chunk_at(self, position: int) -> tuple[bytes, int]:
        """Return the chunk that holds the byte at ``position``, and where in it."""
        from bisect import bisect_right

        if self._chunks is None:
            self._chunks = self._store.recipe(self._blob).chunks
            self._starts = [0, *itertools.accumulate(size for _, size in self._chunks)]
        number = bisect_right(self._starts, position) - 1
        digest, size = self._chunks[number]
        content = self._kept.get(digest)
        if content is None:
            content = self._store.read(digest)
            if len(content) != size:
                raise IntegrityError(
                    f"chunk {self._store.format(digest)} has {len(content)} bytes where the recipe of "
                    f"{self._store.format(self._blob.digest)} says {size}"
                )
            self._kept[digest] = content
            if len(self._kept) > self._KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(digest)
        return content, position - self._starts[number]
