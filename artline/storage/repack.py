"""Repacking: the chunks of a sparse pack move to a new one, block by block, without being unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from artline.storage import schema
from artline.storage.pack import BLOCK_SIZE, ENTRY, decode_block, object_name
from artline.storage.reader import fetch, stretches
from artline.storage.schema import PackState
from artline.storage.sink import PackSink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from artline.storage.content import ContentStore

__all__ = ["repack"]


def repack(
    content: ContentStore, pack_id: int, digests: Sequence[bytes], free: Callable[[Connection, int], bool]
) -> bool:
    """Move chunks from a pack to a new one, and condemn the old one; tell whether it was done.

    ``free`` is asked at the start of the deciding transaction whether the old pack may be touched, and
    keeps every lease and other collector off until it ends. The chunks left
    behind can still be read, and used again, until the old pack is deleted. Raises IntegrityError when a
    block is damaged.
    """
    content = content.uncached()  # what goes back into the bucket comes from there
    chunk = schema.chunk
    located = content.locate(digests)
    locations = {digest: found for digest, found in located.items() if found.pack_id == pack_id}
    if not locations:
        return False
    sink = PackSink(content)
    try:
        for stretch in stretches(locations.values()):
            data = fetch(content, stretch)
            place = content.pack_object(pack_id)
            for location in stretch.locations:
                start = location.position - stretch.start
                block = data[start : start + BLOCK_SIZE + location.stored_size]
                decode_block(block, location.digest, content.algorithm, place)
                sink.place(
                    location.digest,
                    location.kind,
                    location.codec,
                    location.raw_size,
                    location.stored_size,
                )
                sink.write([block]).result()
        sink.seal()
        (sealed,) = sink.take(wait=True)
    finally:
        sink.close()
    with content.catalog.write() as connection:
        done = free(connection, pack_id)
        if done:
            (new_id,) = connection.execute(
                schema.pack.insert().values(
                    name=sealed.name,
                    size=sealed.size,
                    blocks=len(locations),
                    created_at=content.catalog.now(connection),
                )
            ).inserted_primary_key or (0,)
            connection.execute(
                chunk.update()
                .where(chunk.c.digest == sa.bindparam("moved"), chunk.c.pack_id == pack_id)
                .values(pack_id=new_id, position=sa.bindparam("place")),
                [
                    {"moved": digest, "place": position}
                    for digest, position, *_ in ENTRY.iter_unpack(sealed.entries)
                ],
            )
            connection.execute(
                schema.pack.update()
                .where(schema.pack.c.id == pack_id)
                .values(state=PackState.CONDEMNED, condemned_at=content.catalog.now(connection))
            )
    if not done:
        content.bucket.delete(object_name(sealed.name))
    return done
