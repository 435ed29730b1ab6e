"""The pack format: a header, self-describing blocks, an index, a trailer (docs/format/v1.md).

Every number is little-endian. Checksums are XXH3 with 64 bits; identity is the digest in each block header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from artline.errors import IntegrityError, StoreTooNewError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artline.storage.digest import Algorithm, Buffer

__all__ = [
    "BLOCK_HEADER",
    "BLOCK_SIZE",
    "ENTRY",
    "HEADER_SIZE",
    "TRAILER_SIZE",
    "Block",
    "Codec",
    "Kind",
    "PackHeader",
    "Trailer",
    "decode_block",
    "decode_entries",
    "decode_header",
    "decode_trailer",
    "encode_block_header",
    "encode_footer",
    "encode_header",
    "object_name",
    "parse_block_header",
    "scan",
]

FORMAT_VERSION = 1
MAGIC = b"ARTPACK\n"
BLOCK_MAGIC = b"ABLK"
TRAILER_MAGIC = b"ARTPEND\n"
CHECKSUM = struct.Struct("<Q")
HEADER = struct.Struct("<8sHB5x16s16sQ")
BLOCK_HEADER = struct.Struct("<4sBB2xII32sQ")
ENTRY = struct.Struct("<32sQIIBB6x")
TRAILER = struct.Struct("<QI4xQ")
HEADER_SIZE = HEADER.size + 8
BLOCK_SIZE = BLOCK_HEADER.size + 8
TRAILER_SIZE = TRAILER.size + 16


class Kind(IntEnum):
    """What a block holds; storage itself only tells DATA and RECIPE apart."""

    DATA = 1
    RECIPE = 2
    SHARD = 3
    ROOT = 4
    COMMIT = 5


class Codec(IntEnum):
    """How a block's bytes are stored."""

    RAW = 0
    ZSTD = 1


@dataclass(frozen=True, slots=True)
class PackHeader:
    """Whose pack this is. ``created`` is in milliseconds since 1970, by the writer's clock."""

    algorithm: int
    name: str
    store_id: str
    created: int


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block lies and what it says about itself. ``position`` is that of its header in the pack."""

    digest: bytes
    position: int
    stored_size: int
    raw_size: int
    kind: int
    codec: int
    checksum: int = 0


@dataclass(frozen=True, slots=True)
class Trailer:
    """The last bytes of a pack, which locate its index."""

    position: int
    blocks: int
    checksum: int


def object_name(pack: str) -> str:
    """Return the name of a pack's object in the bucket."""
    return f"packs/{pack[:2]}/{pack}.pack"


def encode_header(header: PackHeader) -> bytes:
    """Return the 64 bytes a pack starts with."""
    body = HEADER.pack(
        MAGIC,
        FORMAT_VERSION,
        header.algorithm,
        bytes.fromhex(header.name),
        bytes.fromhex(header.store_id),
        header.created,
    )
    return body + CHECKSUM.pack(xxh3_64_intdigest(body))


def decode_header(data: bytes, place: str) -> PackHeader:
    """Read a pack's first 64 bytes. Raises IntegrityError, or StoreTooNewError for a later version."""
    if len(data) < HEADER_SIZE or data[:8] != MAGIC or not _checked(data[:HEADER_SIZE]):
        raise IntegrityError(f"{place}: the pack header is damaged or this is no pack. Run: art fsck")
    _, version, algorithm, name, store_id, created = HEADER.unpack_from(data)
    if version != FORMAT_VERSION:
        raise StoreTooNewError(
            f"{place}: pack format {version} is newer than this Artline reads ({FORMAT_VERSION})"
        )
    return PackHeader(algorithm, name.hex(), store_id.hex(), created)


def encode_block_header(kind: int, codec: int, raw_size: int, stored: Buffer, digest: bytes) -> bytes:
    """Return the 64 bytes that precede a block's stored bytes."""
    body = BLOCK_HEADER.pack(
        BLOCK_MAGIC, kind, codec, raw_size, len(stored), digest, xxh3_64_intdigest(stored)
    )
    return body + CHECKSUM.pack(xxh3_64_intdigest(body))


def parse_block_header(data: Buffer, position: int) -> Block | None:
    """Read a block header, or return None where there is none or it is damaged."""
    if len(data) < BLOCK_SIZE or data[:4] != BLOCK_MAGIC or not _checked(data[:BLOCK_SIZE]):
        return None
    _, kind, codec, raw_size, stored_size, digest, checksum = BLOCK_HEADER.unpack_from(data)
    return Block(digest, position, stored_size, raw_size, kind, codec, checksum)


def decode_block(data: Buffer, digest: bytes, algorithm: Algorithm, place: str) -> Buffer:
    """Return the content of the block that ``data`` (header and stored bytes) is, verified.

    The result may share memory with ``data``. Raises IntegrityError naming digest and place.
    """
    block = parse_block_header(data, 0)
    if block is None or block.digest != digest:
        raise damaged(digest, algorithm, place, "its header does not match")
    stored = memoryview(data)[BLOCK_SIZE : BLOCK_SIZE + block.stored_size]
    if len(stored) != block.stored_size:
        raise damaged(digest, algorithm, place, "the pack ends early")
    content = expand(stored, block, algorithm, place)
    if algorithm.hash(content) != digest:
        raise damaged(digest, algorithm, place, "its content does not match the digest")
    return content


def expand(
    stored: memoryview, block: Block, algorithm: Algorithm, place: str, *, hashed: bool = False
) -> Buffer:
    """Return a block's content from its stored bytes, which must match the block's checksum.

    With ``hashed`` the caller compares the content with a digest, and what is stored as it is need not be
    looked at twice; what is compressed must be what was written before it is expanded.
    """
    known = hashed and block.codec == Codec.RAW
    if not known and xxh3_64_intdigest(stored) != block.checksum:
        raise damaged(block.digest, algorithm, place, "its checksum does not match")
    if block.codec == Codec.RAW:
        if block.raw_size != block.stored_size:
            raise damaged(block.digest, algorithm, place, "its sizes do not agree")
        return stored
    if block.codec != Codec.ZSTD:
        raise StoreTooNewError(f"{place}: codec {block.codec} is newer than this Artline reads")
    from artline.storage.compression import LARGEST_FRAME, decompress

    content = decompress(stored, block.raw_size) if block.raw_size <= LARGEST_FRAME else None
    if content is None:
        raise damaged(block.digest, algorithm, place, "it does not decompress to what it claims")
    return content


def damaged(digest: bytes, algorithm: Algorithm, place: str, why: str) -> IntegrityError:
    """Return the error for a block that is not what it should be."""
    return IntegrityError(
        f"chunk {algorithm.value}:{digest.hex()} in {place} is damaged: {why}. Run: art fsck --full"
    )


def encode_footer(entries: Buffer, position: int) -> bytes:
    """Return the index and trailer that end a pack whose blocks end at ``position``."""
    body = TRAILER.pack(position, len(entries) // ENTRY.size, xxh3_64_intdigest(entries))
    return bytes(entries) + body + CHECKSUM.pack(xxh3_64_intdigest(body)) + TRAILER_MAGIC


def decode_trailer(data: bytes, size: int, place: str) -> Trailer:
    """Read the last 40 bytes of a pack of ``size`` bytes. Raises IntegrityError."""
    if len(data) == TRAILER_SIZE and data[-8:] == TRAILER_MAGIC and _checked(data[:-8]):
        position, blocks, checksum = TRAILER.unpack_from(data)
        if position + blocks * ENTRY.size + TRAILER_SIZE == size:
            return Trailer(position, blocks, checksum)
    raise IntegrityError(
        f"{place}: the pack trailer is damaged or the pack is truncated. Run: art fsck --full"
    )


def decode_entries(data: Buffer, trailer: Trailer, place: str) -> Iterator[Block]:
    """Read a pack's index. Raises IntegrityError when it does not match its checksum or cannot be true.

    Blocks follow each other from the header to the index: no two overlap, and none lies elsewhere.
    """
    if xxh3_64_intdigest(data) != trailer.checksum:
        raise IntegrityError(f"{place}: the pack index is damaged. Run: art fsck --full")
    end = HEADER_SIZE
    for block in entries(data):
        start, end = end, block.position + BLOCK_SIZE + block.stored_size
        if block.position < start or end > trailer.position:
            raise IntegrityError(
                f"{place}: the pack index lists a block at {block.position:,} that cannot lie there. "
                "Run: art fsck --full"
            )
    return entries(data)


def entries(data: Buffer) -> Iterator[Block]:
    """Yield the blocks that index entries describe."""
    for digest, position, raw_size, stored_size, kind, codec in ENTRY.iter_unpack(data):
        yield Block(digest, position, stored_size, raw_size, kind, codec)


def scan(data: Buffer, start: int = HEADER_SIZE) -> Iterator[Block]:
    """Find every block in a pack's bytes by the blocks themselves, needing no index.

    Damaged block headers are stepped over: the scan goes on at the next intact one. The content of the
    blocks is not looked at.
    """
    view, position = memoryview(data), start
    whole = data if isinstance(data, bytes | bytearray) else None
    while position + BLOCK_SIZE <= len(view):
        block = parse_block_header(view[position : position + BLOCK_SIZE], position)
        if block is not None and position + BLOCK_SIZE + block.stored_size <= len(view):
            yield block
            position += BLOCK_SIZE + block.stored_size
            continue
        if whole is None:
            whole = bytes(view)
        position = whole.find(BLOCK_MAGIC, position + 1)
        if position < 0:
            return


def _checked(data: Buffer) -> bool:
    (checksum,) = CHECKSUM.unpack_from(data, len(data) - 8)
    return xxh3_64_intdigest(memoryview(data)[:-8]) == int(checksum)
