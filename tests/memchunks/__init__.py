"""Chunks of a manifest kept in memory, for tests that count how many are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

__all__ = ["Chunks"]


class Chunks:
    """Chunks in a dict; ``reads`` counts those read."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self.reads = 0

    def put(self, data: bytes, *, root: bool) -> bytes:
        digest = hashlib.sha256(data).digest()
        self.data[digest] = data
        return digest

    def read(self, digest: bytes) -> bytes:
        self.reads += 1
        return self.data[digest]

    def read_many(self, digests: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for digest in reversed(list(digests)):  # a store gives them in an order of its own
            yield digest, self.read(digest)
