"""Blobs and recipes: a file's content as one chunk, or as a list of chunks."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from artline.errors import IntegrityError, StoreTooNewError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artline.storage.digest import Algorithm, Buffer

__all__ = ["Blob", "Recipe", "decode_recipe", "encode_recipe"]

MAGIC = b"ARTRCPE\n"
VERSION = 1
HEADER = struct.Struct("<8sHBxIQ32s")
ENTRY = struct.Struct("<32sI")


class Blob(NamedTuple):
    """Stored content: its digest, its size in bytes, and when it has several chunks its recipe's digest."""

    digest: bytes
    size: int
    recipe: bytes | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """The chunks, in order, that make up a blob: ``(digest, size)`` each."""

    digest: bytes
    size: int
    chunks: tuple[tuple[bytes, int], ...]


def encode_recipe(algorithm: Algorithm, digest: bytes, chunks: Sequence[tuple[bytes, int]]) -> bytes:
    """Return a recipe's bytes; the same content cut the same way gives the same bytes."""
    size = sum(length for _, length in chunks)
    head = HEADER.pack(MAGIC, VERSION, algorithm.code, len(chunks), size, digest)
    return head + b"".join(ENTRY.pack(*chunk) for chunk in chunks)


def decode_recipe(data: Buffer, place: str) -> Recipe:
    """Read a recipe. Raises IntegrityError, or StoreTooNewError for a later version."""
    if len(data) < HEADER.size or data[:8] != MAGIC:
        raise IntegrityError(f"{place} is no recipe. Run: art fsck --full")
    _, version, _, count, size, digest = HEADER.unpack_from(data)
    if version != VERSION:
        raise StoreTooNewError(f"{place}: recipe format {version} is newer than this Artline reads")
    if len(data) != HEADER.size + count * ENTRY.size:
        raise IntegrityError(f"{place}: the recipe is cut short. Run: art fsck --full")
    chunks = tuple(ENTRY.iter_unpack(memoryview(data)[HEADER.size :]))
    if sum(length for _, length in chunks) != size:
        raise IntegrityError(f"{place}: the recipe does not add up. Run: art fsck --full")
    return Recipe(digest, size, chunks)
