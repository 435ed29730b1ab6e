"""Large content: read, cut, hashed and written side by side, through a few reused buffers."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from artline.errors import ArtlineError
from artline.storage.arena import RESERVE, WINDOW, Arena, ArenaPool, cores
from artline.storage.chunker import Cutter
from artline.storage.compression import Compressor
from artline.storage.pack import Codec, Kind, encode_block_header
from artline.storage.source import changed, same, source_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from artline.storage.content import ContentStore
    from artline.storage.digest import Buffer
    from artline.storage.writer import ContentWriter

    Progress = Callable[[int, int], object]  # called with the files and bytes since the last call

__all__ = ["BUFFERS", "EncodedBlock", "FileSource", "Source", "StreamSource", "encode_chunk", "store_chunks"]

_WORKERS = 4
_AHEAD = 2  # windows each stage may lag behind the one before it
BUFFERS = 2 * _AHEAD + 4  # two queues, the window being read, the one after it, and two being written


class EncodedBlock(NamedTuple):
    """A block ready to be appended to a pack."""

    digest: bytes
    kind: int
    codec: int
    raw_size: int
    header: bytes
    stored: Buffer


class Source(Protocol):
    """Where large content comes from."""

    def fill(self, buffer: memoryview) -> int:
        """Fill the buffer; return how much there was, less than its length only at the end."""


class FileSource:
    """An open file that must end up as it began."""

    def __init__(
        self, descriptor: int, status: os.stat_result, path: str, progress: Progress | None = None
    ) -> None:
        self._descriptor = descriptor
        self._status = status
        self._path = path
        self._progress = progress
        self._position = 0
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def fill(self, buffer: memoryview) -> int:
        done = 0
        try:
            while done < len(buffer):
                got = os.preadv(self._descriptor, [buffer[done:]], self._position)
                if got == 0:
                    self._finish()
                    break
                done += got
                self._position += got
        except OSError as error:
            if isinstance(error, ArtlineError):
                raise
            raise source_error(error, self._path) from error
        if self._position > self._status.st_size:
            raise changed(self._path)
        if self._progress is not None:
            self._progress(0, done)
        return done

    def _finish(self) -> None:
        status = os.fstat(self._descriptor)
        if self._position != self._status.st_size or not same(self._status, status):
            raise changed(self._path)


class StreamSource:
    """What was read of a stream already, then the rest of it."""

    def __init__(self, head: memoryview, stream: BinaryIO) -> None:
        self._head = bytes(head)
        self._stream = stream

    def fill(self, buffer: memoryview) -> int:
        done = min(len(self._head), len(buffer))
        buffer[:done] = self._head[:done]
        self._head = self._head[done:]
        while done < len(buffer):
            data = self._stream.read(min(1 << 20, len(buffer) - done))
            if not data:
                break
            buffer[done : done + len(data)] = data
            done += len(data)
        return done


@dataclass(slots=True)
class _Window:
    arena: Arena
    cut: Future[list[_Span]]
    hashed: Future[None]
    encoded: list[Future[EncodedBlock]]


class _Span(NamedTuple):
    """A chunk in a window, and its digest to come."""

    start: int
    end: int
    digest: Future[bytes]


def encode_chunk(compressor: Compressor, data: memoryview, digest: bytes, kind: int) -> EncodedBlock:
    """Compress one chunk where that pays, and make its block header."""
    frame = compressor.compress(data)
    codec, stored = (Codec.RAW, data) if frame is None else (Codec.ZSTD, frame)
    return EncodedBlock(
        digest, kind, codec, len(data), encode_block_header(kind, codec, len(data), stored, digest), stored
    )


def store_chunks(
    writer: ContentWriter, store: ContentStore, pool: ArenaPool, source: Source
) -> tuple[bytes, list[tuple[bytes, int]]]:
    """Store a source's chunks; return the digest of all of it, and its chunks in order.

    The stages, each a step behind the one before: read; hash the whole, cut it, and hash chunks; ask
    which chunks are missing; compress those; write. All but the question release the interpreter lock.
    """
    pipeline = None
    try:
        with (
            ThreadPoolExecutor(1, "artline-hash") as whole,
            ThreadPoolExecutor(min(_WORKERS, cores()), "artline-chunk") as workers,
            ThreadPoolExecutor(1, "artline-cut") as cutter,
        ):
            pipeline = _Pipeline(writer, store, pool, source, whole, cutter, workers)
            return pipeline.run()
    finally:
        if pipeline is not None:
            pipeline.give_up()


class _Pipeline:
    def __init__(
        self,
        writer: ContentWriter,
        store: ContentStore,
        pool: ArenaPool,
        source: Source,
        whole: ThreadPoolExecutor,
        cutter: ThreadPoolExecutor,
        workers: ThreadPoolExecutor,
    ) -> None:
        self._writer = writer
        self._source = source
        self._whole, self._cutter, self._workers = whole, cutter, workers
        self._hasher = store.algorithm.hasher()
        self._hash = store.algorithm.constructor()
        self._cut = Cutter(store.chunker).cut
        self._compressor = Compressor()
        self._pool = pool
        self._claimed: set[bytes] = set()  # to be written, but not handed to the pack yet
        self._taken: list[Arena] = []
        self._carry = 0  # bytes that wait in front of the next window; only the cutting thread uses it
        self._chunks: list[tuple[bytes, int]] = []
        self._cutting: deque[_Window] = deque()
        self._encoding: deque[_Window] = deque()

    def run(self) -> tuple[bytes, list[tuple[bytes, int]]]:
        arena, last = self._take(), False
        while not last:
            try:
                got = self._source.fill(arena.view[RESERVE : RESERVE + WINDOW])
            except Exception as error:
                self._writer.spare(error)
                raise
            last = got < WINDOW
            following = arena if last else self._take()
            view = arena.view
            hashed = self._whole.submit(self._update, view[RESERVE : RESERVE + got])
            cut = self._cutter.submit(self._cut_window, view, RESERVE + got, last, following.view)
            self._cutting.append(_Window(arena, cut, hashed, []))
            arena = following
            self._advance(_AHEAD)
        self._advance(0)
        return self._hasher.digest(), self._chunks

    def give_up(self) -> None:
        """After the threads have ended: take back what was to be written, and give back the arenas."""
        self._writer.abandon(self._claimed)
        for arena in self._taken:
            self._pool.give(arena)

    def _take(self) -> Arena:
        arena = self._pool.take()
        self._taken.append(arena)
        return arena

    def _advance(self, behind: int) -> None:
        """Move windows on to the next stage until no stage holds more than ``behind`` of them."""
        while len(self._cutting) > behind:
            window = self._cutting.popleft()
            spans = [(start, end, digest.result()) for start, end, digest in window.cut.result()]
            self._chunks += [(digest, end - start) for start, end, digest in spans]
            self._writer.stats.chunks += len(spans)
            missing = self._writer.claim([digest for _, _, digest in spans])
            self._claimed |= missing
            for start, end, digest in spans:
                if digest in missing:
                    missing.remove(digest)
                    chunk = window.arena.view[start:end]
                    task = self._workers.submit(encode_chunk, self._compressor, chunk, digest, Kind.DATA)
                    window.encoded.append(task)
            self._encoding.append(window)
        while len(self._encoding) > behind:
            window = self._encoding.popleft()
            blocks = [task.result() for task in window.encoded]
            window.hashed.result()
            if blocks:
                window.arena.busy = self._writer.put_blocks(blocks)
            self._pool.give(window.arena)
            self._taken.remove(window.arena)
            self._claimed.difference_update(block.digest for block in blocks)

    def _digest(self, chunk: memoryview) -> bytes:
        digest: bytes = self._hash(chunk).digest()
        return digest

    def _update(self, data: memoryview) -> None:
        self._hasher.update(data)

    def _cut_window(self, view: memoryview, end: int, last: bool, following: memoryview) -> list[_Span]:
        """Cut a window and what the one before left over; leave the rest in front of the following one."""
        start = RESERVE - self._carry
        spans = [
            _Span(
                start + first,
                start + past,
                self._workers.submit(self._digest, view[start + first : start + past]),
            )
            for first, past in self._cut(view[start:end], last=last)
        ]
        done = spans[-1].end if spans else start
        self._carry = end - done
        if not last:
            following[RESERVE - self._carry : RESERVE] = view[done:end]
        return spans
