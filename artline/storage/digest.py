"""Digests: what content is called. BLAKE3-256 by default, SHA-256 where a store was created so."""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from artline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Buffer: TypeAlias = bytes | bytearray | memoryview

__all__ = ["DIGEST_SIZE", "Algorithm", "Hasher", "format_digest", "parse_digest"]

DIGEST_SIZE = 32


class Hasher(Protocol):
    """An incremental hash; ``update`` takes any bytes-like object."""

    def update(self, data: Buffer, /) -> object:
        """Take in more bytes."""

    def digest(self) -> bytes:
        """Return the digest of everything taken in so far (32 bytes)."""


class Algorithm(Enum):
    """A digest algorithm; every one gives 32 bytes. The value is the name written in digests."""

    BLAKE3 = "blake3"
    SHA256 = "sha256"

    @property
    def code(self) -> int:
        """The number that stands for the algorithm in pack and recipe headers."""
        return 1 if self is Algorithm.BLAKE3 else 2

    def hasher(self) -> Hasher:
        """Return a new incremental hash."""
        return self.constructor()()

    def hash(self, data: Buffer) -> bytes:
        """Return the digest of ``data`` (32 bytes)."""
        return self.constructor()(data).digest()

    def constructor(self) -> Callable[..., Hasher]:
        """Return the hash's constructor, for loops where a method call counts."""
        if self is Algorithm.BLAKE3:
            from blake3 import blake3

            return blake3
        return hashlib.sha256


def format_digest(algorithm: Algorithm, raw: bytes) -> str:
    """Write a raw digest as ``"blake3:<64 hex digits>"``."""
    if len(raw) != DIGEST_SIZE:
        raise UsageError(f"a digest has {DIGEST_SIZE} bytes, not {len(raw)}")
    return f"{algorithm.value}:{raw.hex()}"


def parse_digest(text: str) -> tuple[Algorithm, bytes]:
    """Read ``"blake3:<hex>"`` or ``"sha256:<hex>"``. Raises UsageError when it is neither."""
    name, colon, digits = text.partition(":")
    try:
        algorithm = Algorithm(name.lower())
        raw = bytes.fromhex(digits)
    except ValueError:
        algorithm, raw = None, b""
    if algorithm is None or not colon or len(digits) != 2 * DIGEST_SIZE or len(raw) != DIGEST_SIZE:
        raise UsageError(
            f"'{text}' is not a digest. Write the algorithm, a colon and 64 hexadecimal digits, "
            "such as blake3:af1349b9…"
        )
    return algorithm, raw
