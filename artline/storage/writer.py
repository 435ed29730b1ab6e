"""The content writer: files, streams and bytes become chunks in packs."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from artline.errors import ArtlineError, StoreLockedError, StoreUnavailableError, UsageError
from artline.storage.arena import RESERVE, WINDOW, Arena, ArenaPool
from artline.storage.change_time import settled
from artline.storage.compression import Compressor
from artline.storage.pack import BLOCK_SIZE, ENTRY, Codec, Kind, encode_block_header
from artline.storage.recipe import Blob, encode_recipe
from artline.storage.sink import PackSink
from artline.storage.source import OPEN_FLAGS, changed, check_regular, same, source_error
from artline.storage.stat_cache import known_blob, same_file
from artline.storage.stream import BUFFERS, FileSource, StreamSource, encode_chunk, store_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from types import TracebackType
    from typing import BinaryIO, Self

    from artline.storage.content import ContentStore
    from artline.storage.digest import Buffer
    from artline.storage.index import SealedPack
    from artline.storage.stream import EncodedBlock, Progress, Source

    Learned = list[tuple[bytes, bytes, os.stat_result, bytes, bytes | None]]

__all__ = ["ContentWriter", "WriteStats"]

_CAPACITY = WINDOW + RESERVE
_FILES_AT_ONCE = 4096
_BLOCKS_AT_ONCE = 4096
_REGISTER_BLOCKS = 50_000
_REGISTER_PACKS = 8
_ATTEMPTS = 3
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


@dataclass(slots=True)
class WriteStats:
    """What a writer has seen and stored so far; sizes in bytes.

    ``new_bytes`` is the content that the store lacked, without recipes and manifests; ``stored_bytes`` is
    what was written to packs.
    """

    files: int = 0
    bytes: int = 0
    new_bytes: int = 0
    stored_bytes: int = 0
    chunks: int = 0
    new_chunks: int = 0
    packs: int = 0


class ContentWriter:
    """Stores content under a lease. For one thread; use it in a ``with`` block or close it.

    What was added can be read after ``flush``. Closing keeps what was flushed until the lease ends and
    drops the rest. After an error other than one about a single source, close the writer: it refuses to go
    on where what it holds is no longer whole, and also after Ctrl-C in the midst of its bookkeeping.
    """

    def __init__(self, store: ContentStore, *, owner: str = "") -> None:
        self.lease = store.lease(owner)
        self.stats = WriteStats()
        self._store = store
        self._hash: Callable[[Buffer], Any] = store.algorithm.constructor()
        self._threshold = store.chunker.threshold
        self._compressor = Compressor()
        self._pool = ArenaPool(BUFFERS)
        self._arena: Arena | None = None
        self._items: list[tuple[bytes, int, int, int]] = []  # digest, kind, start and end in the arena
        self._end = 0
        self._fresh: set[bytes] = set()  # digests on their way: in the arena, or in packs without rows yet
        self._sink: PackSink | None = None
        self._unregistered: list[SealedPack] = []
        self._folder_name = ""
        self._folder_path = b""
        self._failure: BaseException | None = None
        self._source_failure: BaseException | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_file(self, path: str | os.PathLike[str]) -> Blob:
        """Store one file; symbolic links are followed. The digest is that of the very bytes stored.

        Raises SourceNotFoundError, SourceNotReadableError, SourceChangedError (it changed while it was
        read), UsageError (no regular file), StoreFullError and the like.
        """
        for blob, _ in self.add_files([os.fspath(path)]):
            return blob
        raise AssertionError("unreachable")

    def add_files(
        self, paths: Iterable[str], progress: Callable[[int, int], object] | None = None
    ) -> Iterator[tuple[Blob, os.stat_result]]:
        """Store files; yield each one's blob and status, in order. Raises what ``add_file`` raises.

        Files that the stat cache knows, unchanged, and whose content the store still has, are not read.
        ``progress`` is called with the number of files and bytes since the last call.
        """
        pending = iter(paths)
        while batch := list(itertools.islice(pending, _FILES_AT_ONCE)):
            self._check()
            known = self._known(batch)
            learned: Learned = []
            done: list[tuple[Blob, os.stat_result]] = []
            count = size = 0
            for path in batch:
                result = known.get(path) or self._add_path(path, learned, progress)
                done.append(result)
                count += 1
                if result[0].recipe is None or path in known:  # a large one has told of each window
                    size += result[0].size
                if progress is not None and (count == 128 or size > WINDOW):
                    progress(count, size)
                    count = size = 0
            if learned:
                self._store.stat_cache.record(learned)
            self.stats.files += len(done)
            self.stats.bytes += sum(blob.size for blob, _ in done)
            if progress is not None and count:
                progress(count, size)
            yield from done

    def add_stream(self, stream: BinaryIO) -> Blob:
        """Store everything a binary stream yields. Memory stays bounded whatever its length."""
        self._check()
        arena, end = self._room(self._threshold)
        start = end + BLOCK_SIZE
        filled = start
        while filled < start + self._threshold:
            data = stream.read(min(1 << 20, start + self._threshold - filled))
            if not data:
                break
            arena.view[filled : filled + len(data)] = data
            filled += len(data)
        if filled - start < self._threshold:
            blob = self._keep(arena, start, filled, Kind.DATA)
        else:
            blob = self._add_large(StreamSource(arena.view[start:filled], stream))
        self.stats.files += 1
        self.stats.bytes += blob.size
        return blob

    def add_bytes(self, data: Buffer, kind: Kind = Kind.DATA) -> Blob:
        """Store bytes as one chunk, or as a blob with a recipe when they are DATA of 8 MiB and more."""
        self._check()
        size = len(data)
        if size >= self._threshold:
            if kind is Kind.DATA:
                return self.add_stream(io.BytesIO(data))
            return self._add_block(data, kind)
        arena, end = self._room(size)
        start = end + BLOCK_SIZE
        arena.view[start : start + size] = data
        return self._keep(arena, start, start + size, kind)

    def flush(self) -> None:
        """Make everything added so far durable, readable, and pinned by the lease. Idempotent."""
        self._check()
        with self._fatal():
            self._store_arena()
            if self._sink is not None:
                self._sink.seal()
                self._unregistered += self._sink.take(wait=True)
            try:
                self._register()
            except StoreLockedError as error:
                self.spare(error)  # nothing is lost: it may be tried again
                raise

    def close(self) -> None:
        """Stop: what was not flushed is dropped, what was stays until the lease ends. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._sink is not None:
            self._sink.close(self._unregistered)
        self._unregistered = []
        self._arena = None
        self._pool.close()

    # Small files

    def _add_path(self, path: str, learned: Learned, tell: Progress | None) -> tuple[Blob, os.stat_result]:
        now = time.time_ns()
        try:
            descriptor = os.open(path, OPEN_FLAGS)
        except OSError as error:
            raise source_error(error, path) from error
        try:
            for _ in range(_ATTEMPTS):
                status = os.fstat(descriptor)
                check_regular(status, path)
                steady = settled(descriptor, status, now)
                size = status.st_size
                if size >= self._threshold:
                    blob = self._add_large(FileSource(descriptor, status, path, tell))
                    break
                arena, end = self._room(size + 1)
                start = end + BLOCK_SIZE
                # One byte more than there should be: a short read is the end of the file, and tells so.
                got = os.preadv(descriptor, (arena.view[start : start + size + 1],), 0)
                if got == size and same(status, os.fstat(descriptor)):
                    blob = self._keep(arena, start, start + size, Kind.DATA)
                    break
            else:
                raise changed(path)
        except OSError as error:
            if isinstance(error, ArtlineError):
                raise
            raise source_error(error, path) from error
        finally:
            os.close(descriptor)
        if steady:
            name = path.rfind("/") + 1
            folder = self._absolute(path[:name])
            learned.append((folder, os.fsencode(path[name:]), status, blob.digest, blob.recipe))
        return blob, status

    def _room(self, size: int) -> tuple[Arena, int]:
        """Return an arena with room for a block of ``size`` bytes, and where its blocks end."""
        arena = self._arena
        if arena is None or self._end + BLOCK_SIZE + size > _CAPACITY:
            with self._fatal():
                self._store_arena()
                self._end = 0
                arena = self._arena = self._pool.take()
        return arena, self._end

    def _keep(self, arena: Arena, start: int, end: int, kind: Kind) -> Blob:
        """Hash what was put into the arena; keep it there unless it is on its way already."""
        digest = self._hash(arena.view[start:end]).digest()
        if digest not in self._fresh:
            try:  # as _fatal, which costs more, and this is done for every small file
                self._items.append((digest, kind, start, end))
                self._end = end
                self._fresh.add(digest)
                if len(self._items) >= _BLOCKS_AT_ONCE:
                    self._store_arena()
            except BaseException as error:
                self._failure = error
                raise
        self.stats.chunks += 1
        return Blob(digest, end - start)

    def _store_arena(self) -> None:
        """Write the blocks in the arena that the store lacks, and let go of the arena."""
        with self._fatal():
            arena, self._arena = self._arena, None
            items, self._items = self._items, []
            if arena is None:
                return
            missing = self._store.missing([item[0] for item in items], self.lease)
            parts = self._encode(arena.view, items, missing)
            if parts:
                arena.busy = self._pack_sink().write(parts)
            self._pool.give(arena)
            self._roll()

    def _encode(
        self, view: memoryview, items: Sequence[tuple[bytes, int, int, int]], missing: set[bytes]
    ) -> list[Buffer]:
        """Write block headers into the arena; return the stretches of it, and frames, to be written."""
        parts: list[Buffer] = []
        if not missing:
            self._fresh.difference_update(item[0] for item in items)
            return []
        place, compress = self._pack_sink().place, self._compressor.compress
        first = last = new = stored = count = 0  # the stretch first:last of the arena is to be written
        for digest, kind, start, end in items:
            if digest not in missing:
                self._fresh.discard(digest)
                continue
            payload = view[start:end]
            size = end - start
            frame = compress(payload)
            if frame is None:
                head = start - BLOCK_SIZE
                view[head:start] = encode_block_header(kind, Codec.RAW, size, payload, digest)
                if head != last or first == last:
                    if first < last:
                        parts.append(view[first:last])
                    first = head
                last = end
                place(digest, kind, Codec.RAW, size, size)
                stored += size
            else:
                if first < last:
                    parts.append(view[first:last])
                first = last = 0
                parts += (encode_block_header(kind, Codec.ZSTD, size, frame, digest), frame)
                place(digest, kind, Codec.ZSTD, size, len(frame))
                stored += len(frame)
            new += size if kind == Kind.DATA else 0
            count += 1
        if first < last:
            parts.append(view[first:last])
        self.stats.new_bytes += new
        self.stats.stored_bytes += stored + count * BLOCK_SIZE
        self.stats.new_chunks += count
        return parts

    # Large content

    def _add_large(self, source: Source) -> Blob:
        """Store content of several chunks, and its recipe."""
        self._store_arena()
        with self._fatal():
            digest, chunks = store_chunks(self, self._store, self._pool, source)
        recipe = encode_recipe(self._store.algorithm, digest, chunks)
        return Blob(digest, sum(size for _, size in chunks), self._add_block(recipe, Kind.RECIPE).digest)

    def _add_block(self, data: Buffer, kind: Kind) -> Blob:
        """Store one block of any size."""
        if BLOCK_SIZE + len(data) <= _CAPACITY:
            arena, end = self._room(len(data))
            start = end + BLOCK_SIZE
            arena.view[start : start + len(data)] = data
            return self._keep(arena, start, start + len(data), kind)
        self._store_arena()
        digest = self._hash(data).digest()
        self.stats.chunks += 1
        with self._fatal():
            if self.claim([digest]):
                self.put_blocks([encode_chunk(self._compressor, memoryview(data), digest, kind)]).result()
        return Blob(digest, len(data))

    def claim(self, digests: Sequence[bytes]) -> set[bytes]:
        """Return which of ``digests`` are to be written now: neither in the store nor on their way."""
        wanted = set(digests) - self._fresh
        missing = self._store.missing(list(wanted), self.lease) if wanted else set()
        self._fresh |= missing
        return missing

    def abandon(self, digests: set[bytes]) -> None:
        """Take back claims on chunks that will not be written after all."""
        self._fresh -= digests

    def spare(self, error: Exception) -> None:
        """Take note that this error is the source's: it does not end the writer."""
        self._source_failure = error

    def put_blocks(self, blocks: Sequence[EncodedBlock]) -> Future[None]:
        """Append encoded blocks; their memory must stay unchanged until the result is there."""
        sink = self._pack_sink()
        parts: list[Buffer] = []
        for block in blocks:
            sink.place(block.digest, block.kind, block.codec, block.raw_size, len(block.stored))
            parts += (block.header, block.stored)
            self.stats.new_bytes += block.raw_size if block.kind == Kind.DATA else 0
            self.stats.stored_bytes += BLOCK_SIZE + len(block.stored)
        self.stats.new_chunks += len(blocks)
        written = sink.write(parts)
        self._roll()
        return written

    # Packs and their rows

    def _pack_sink(self) -> PackSink:
        if self._sink is None:
            self._sink = PackSink(self._store)
        return self._sink

    def _roll(self) -> None:
        """Seal the pack when it has enough; write rows when enough of them wait."""
        sink = self._sink
        if sink is not None and sink.full:
            sink.seal()
            self._unregistered += sink.take(wait=False)
            blocks = sum(len(pack.entries) for pack in self._unregistered) // ENTRY.size
            if blocks >= _REGISTER_BLOCKS or len(self._unregistered) >= _REGISTER_PACKS:
                self._register()

    def _register(self) -> None:
        """Write the rows of the packs that are in the bucket, and pin them. Call it inside ``_fatal``."""
        packs, self._unregistered = self._unregistered, []
        if not packs:
            return
        try:
            self._store.register(self.lease, packs)
        except StoreLockedError:
            self._unregistered = packs  # certainly without rows; after other errors they may have some
            raise
        self.stats.packs += len(packs)
        for pack in packs:
            self._fresh.difference_update(entry[0] for entry in ENTRY.iter_unpack(pack.entries))

    # Files known by their status

    def _known(self, paths: Sequence[str]) -> dict[str, tuple[Blob, os.stat_result]]:
        """Return the files that the stat cache vouches for and whose content the store still has."""
        found: dict[str, tuple[Blob, os.stat_result]] = {}
        folders: dict[str, list[str]] = {}
        for path in paths:
            folders.setdefault(path[: path.rfind("/") + 1], []).append(path)
        for folder, members in folders.items():
            names = [path[len(folder) :].encode(_ENCODING, _ERRORS) for path in members]
            recorded = self._store.stat_cache.lookup(self._absolute(folder), names)
            for name, path in zip(names, members, strict=True) if recorded else ():
                known = recorded.get(name)
                try:
                    status = os.stat(path)
                except OSError:
                    continue  # reading it says what is wrong
                if known is not None and same_file(known, status):
                    found[path] = known_blob(known, status.st_size), status
        if not found:
            return found
        single = [blob.digest for blob, _ in found.values() if blob.recipe is None]
        missing = self._store.missing(single, self.lease) - self._fresh if single else set()
        for path, (blob, _) in list(found.items()):
            if blob.digest in missing or (blob.recipe is not None and not self._has_recipe(blob)):
                del found[path]
        self.stats.chunks += len(found)
        return found

    def _has_recipe(self, blob: Blob) -> bool:
        """Tell whether the store has every chunk of a blob, and pin them."""
        assert blob.recipe is not None
        if blob.recipe in self._fresh:
            return True  # this writer stored it a moment ago
        if self._store.missing([blob.recipe], self.lease):
            return False
        try:
            chunks = self._store.chunks(blob)
        except ArtlineError:
            return False  # a damaged recipe: reading the file makes it anew
        return not self._store.missing(chunks, self.lease)

    def _absolute(self, folder: str) -> bytes:
        """Return the absolute path of a folder, given with its closing slash, or empty for this one."""
        if folder != self._folder_name or not self._folder_path:
            self._folder_name, self._folder_path = folder, os.fsencode(os.path.abspath(folder or "."))
        return self._folder_path

    # Failures

    def _check(self) -> None:
        if self._closed:
            raise UsageError("the writer is closed. Start a new one: store.writer()")
        if self._failure is not None:
            raise StoreUnavailableError(
                f"this writer failed before ({self._failure or type(self._failure).__name__}). "
                "Close it and start a new one"
            ) from self._failure

    @contextlib.contextmanager
    def _fatal(self) -> Generator[None]:
        """Remember a failure of the store (not of a source): what this writer holds is no longer whole."""
        try:
            yield
        except BaseException as error:
            if error is not self._source_failure:
                self._failure = error
            raise
