"""Packs that clients send: nothing of one counts before every block in it was hashed here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from artline.errors import IntegrityError, UsageError
from artline.storage.pack import (
    BLOCK_SIZE,
    HEADER_SIZE,
    TRAILER_SIZE,
    decode_block,
    decode_entries,
    decode_header,
    decode_trailer,
)

if TYPE_CHECKING:
    from artline.storage.content import ContentStore

__all__ = ["check_pack"]


def check_pack(content: ContentStore, path: Path, name: str) -> None:
    """Read a pack that was sent as ``name`` and compare every block with its digest.

    Raises IntegrityError naming the pack, UsageError when it was made for another store.
    """
    place = f"pack {name}"
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < HEADER_SIZE + TRAILER_SIZE:
            raise IntegrityError(f"{place}: {size} bytes are no pack. Send it again")
        header = decode_header(file.read(HEADER_SIZE), place)
        if header.name != name or header.store_id != content.store_id:
            raise UsageError(f"{place} says that it is pack {header.name} of store {header.store_id}")
        if header.algorithm != content.algorithm.code:
            raise UsageError(f"{place} uses another digest algorithm than this store")
        file.seek(size - TRAILER_SIZE)
        trailer = decode_trailer(file.read(TRAILER_SIZE), size, place)
        file.seek(trailer.position)
        entries = file.read(size - TRAILER_SIZE - trailer.position)
        for block in list(decode_entries(entries, trailer, place)):
            file.seek(block.position)
            data = file.read(BLOCK_SIZE + block.stored_size)
            content_of = decode_block(data, block.digest, content.algorithm, place)
            if len(content_of) != block.raw_size:
                raise IntegrityError(
                    f"{place}: a block says {block.raw_size:,} bytes and has {len(content_of):,}"
                )
