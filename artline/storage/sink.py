"""Packs in the making: blocks are appended to a temporary file, and a full pack moves to the bucket."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from artline.errors import ArtlineError
from artline.storage.bucket import LocalBucket, open_staged, storage_error, sweep_staging
from artline.storage.direct import DirectAppender
from artline.storage.index import SealedPack
from artline.storage.pack import (
    BLOCK_SIZE,
    ENTRY,
    HEADER_SIZE,
    PackHeader,
    encode_footer,
    encode_header,
    object_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artline.storage.content import ContentStore
    from artline.storage.digest import Buffer

__all__ = ["PACK_BLOCKS", "PACK_SIZE", "PackSink"]

PACK_SIZE = 64 << 20
PACK_BLOCKS = 1 << 16


class _Growing:
    """A pack that blocks are being appended to."""

    def __init__(self, store: ContentStore, folder: Path) -> None:
        self.name = uuid.uuid4().hex
        self.path = str(folder / f"{self.name}.pack")
        self.position = HEADER_SIZE
        self.entries = bytearray()
        self.written: Future[None] | None = None
        self.header = encode_header(
            PackHeader(store.algorithm.code, self.name, store.store_id, int(time.time() * 1000))
        )
        os.makedirs(folder, exist_ok=True)
        self.descriptor = open_staged(self.path)

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


class PackSink:
    """Appends blocks to packs. Writing, and sealing full packs, happen on threads of its own."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._bucket = store.bucket
        self._folder = store.staging()
        sweep_staging(self._folder)
        local = isinstance(store.bucket, LocalBucket)
        self._disk = ThreadPoolExecutor(1, "artline-pack-write")
        self._sealer = ThreadPoolExecutor(1 if local else 3, "artline-pack-seal")
        self._waiting = 2 if local else 4
        self._appender = DirectAppender()  # only the disk thread uses it
        self._pack: _Growing | None = None
        self._sealing: deque[Future[SealedPack]] = deque()
        self._sealed: list[SealedPack] = []

    def place(self, digest: bytes, kind: int, codec: int, raw_size: int, stored_size: int) -> None:
        """Record that the next block written is this one. Call ``full`` before."""
        pack = self._pack
        if pack is None:
            pack = self._begin()
        pack.entries += ENTRY.pack(digest, pack.position, raw_size, stored_size, kind, codec)
        pack.position += BLOCK_SIZE + stored_size

    @property
    def full(self) -> bool:
        """Whether the pack has as much as it should; what is placed must be written before it is sealed."""
        pack = self._pack
        return pack is not None and (
            pack.position >= PACK_SIZE or len(pack.entries) >= PACK_BLOCKS * ENTRY.size
        )

    def write(self, parts: Sequence[Buffer]) -> Future[None]:
        """Append buffers, which must stay unchanged until the result is there."""
        pack = self._pack or self._begin()
        pack.written = self._disk.submit(self._write, parts)
        return pack.written

    def seal(self) -> None:
        """End the current pack: what is placed is written, then the index; then it moves to the bucket."""
        pack, self._pack = self._pack, None
        if pack is None:
            return
        footer = encode_footer(pack.entries, pack.position)
        now = self._store.clock()
        ended = self._disk.submit(self._end, footer, pack.written)
        self._sealing.append(self._sealer.submit(self._seal, pack, ended, pack.position + len(footer), now))
        while len(self._sealing) > self._waiting:
            self._sealed.append(self._sealing.popleft().result())

    def take(self, *, wait: bool) -> list[SealedPack]:
        """Return the packs that reached the bucket since the last call; with ``wait``, every sealed one."""
        while self._sealing and (wait or self._sealing[0].done()):
            self._sealed.append(self._sealing.popleft().result())
        taken, self._sealed = self._sealed, []
        return taken

    def close(self, unregistered: Sequence[SealedPack] = ()) -> None:
        """Drop what is not sealed, and the objects of packs that nobody took or that were given back.

        An object that cannot be removed now is left to the collector, which finds that no row names it.
        """
        self._disk.shutdown(wait=True)
        self._sealer.shutdown(wait=True)
        if self._pack is not None:
            self._pack.discard()
            self._pack = None
        unwanted = [*unregistered, *self._sealed]
        unwanted += [future.result() for future in self._sealing if future.exception() is None]
        self._sealing.clear()
        self._sealed.clear()
        with contextlib.suppress(ArtlineError):
            for pack in unwanted:
                self._bucket.delete(object_name(pack.name))

    def _begin(self) -> _Growing:
        try:
            pack = _Growing(self._store, self._folder)
        except OSError as error:
            raise storage_error(error, "a new pack", str(self._folder)) from error
        self._pack = pack
        pack.written = self._disk.submit(self._start, pack)
        return pack

    def _start(self, pack: _Growing) -> None:
        self._appender.begin(pack.descriptor)
        self._write([pack.header])

    def _write(self, parts: Sequence[Buffer]) -> None:
        try:
            self._appender.append(parts)
        except OSError as error:
            raise storage_error(error, "a pack", str(self._folder)) from error

    def _end(self, footer: bytes, written: Future[None] | None) -> None:
        if written is not None:
            written.result()
        self._write([footer])
        try:
            self._appender.finish()
        except OSError as error:
            raise storage_error(error, "a pack", str(self._folder)) from error

    def _seal(self, pack: _Growing, ended: Future[None], size: int, now: float) -> SealedPack:
        try:
            ended.result()
            self._bucket.put_file(object_name(pack.name), Path(pack.path), move=True)
        except BaseException:
            pack.discard()
            raise
        os.close(pack.descriptor)
        return SealedPack(pack.name, size, pack.entries, time.monotonic(), now)
