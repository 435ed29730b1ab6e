"""Salvage: the sound blocks of a damaged pack move to a new one, and the damaged object is put aside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from artline.errors import IntegrityError, NotFoundError, StoreTooNewError
from artline.storage import index, schema
from artline.storage.lease import COLLECTION
from artline.storage.pack import BLOCK_SIZE, Block, decode_block, object_name, scan
from artline.storage.schema import PackState
from artline.storage.sink import PackSink

if TYPE_CHECKING:
    from collections.abc import Iterable

    from artline.storage.content import ContentStore
    from artline.storage.index import SealedPack

__all__ = ["Salvaged", "salvage"]


@dataclass(slots=True)
class Salvaged:
    """What was saved of damaged packs: how many chunks, and how many could not be (``lost``).

    ``quarantined`` names the objects below ``quarantine/``.
    """

    packs: int = 0
    chunks: int = 0
    lost: int = 0
    quarantined: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def salvage(content: ContentStore, places: Iterable[str]) -> Salvaged:
    """Write packs whose header, trailer or index is damaged anew, from those of their blocks that are sound.

    ``places`` are objects of packs that the catalog has. Every block is hashed; chunks whose block is not
    sound leave the index. No transaction under a lease, and no collector's, runs beside the one that
    moves the index over, and whoever claims the old pack claims the new one after it. A pack with blocks
    of a later format is left as it is, and told of in ``problems``. Idempotent.
    """
    content = content.uncached()  # what goes back into the bucket comes from there
    result = Salvaged()
    for place in places:
        try:
            data = content.bucket.read(place)
            sound = _sound(content, data, place)
        except NotFoundError:
            continue  # a collection, or another repair, has taken it meanwhile
        except StoreTooNewError as error:
            result.problems.append(error.message)
            continue
        sealed = _write(content, data, sound)
        content.bucket.put(f"quarantine/{place}", data)
        moved = _move(content, place.rpartition("/")[2].removesuffix(".pack"), sealed)
        if moved is None:
            if sealed is not None:
                content.bucket.delete(object_name(sealed.name))
            continue
        content.bucket.delete(place)
        result.packs += 1
        result.chunks += moved[0]
        result.lost += moved[1]
        result.quarantined.append(f"quarantine/{place}")
    return result


def _sound(content: ContentStore, data: bytes, place: str) -> list[Block]:
    """Return the blocks whose content is what their digest says, less those that lie in other packs too."""
    sound: dict[bytes, Block] = {}
    for block in scan(data):
        end = block.position + BLOCK_SIZE + block.stored_size
        try:
            decode_block(memoryview(data)[block.position : end], block.digest, content.algorithm, place)
        except IntegrityError:
            continue
        sound[block.digest] = block
    pack = schema.pack.c
    name = place.rpartition("/")[2].removesuffix(".pack")
    with content.catalog.read() as connection:
        own = connection.scalar(sa.select(pack.id).where(pack.name == name))
        holders = index.owners(connection, list(sound))
    return [block for digest, block in sound.items() if holders.get(digest, own) == own]


def _write(content: ContentStore, data: bytes, blocks: list[Block]) -> SealedPack | None:
    """Write blocks of a pack into a new one, which no row names yet."""
    if not blocks:
        return None
    sink = PackSink(content)
    try:
        for block in blocks:
            sink.place(block.digest, block.kind, block.codec, block.raw_size, block.stored_size)
            end = block.position + BLOCK_SIZE + block.stored_size
            sink.write([memoryview(data)[block.position : end]]).result()
        sink.seal()
        (sealed,) = sink.take(wait=True)
    finally:
        sink.close()
    return sealed


def _move(content: ContentStore, name: str, sealed: SealedPack | None) -> tuple[int, int] | None:
    """Let a new pack take a damaged one's place in the catalog; return how many chunks moved and were lost.

    Returns None, and changes nothing, when the old pack is not there any more, or about to go.
    """
    pack, chunk, pin = schema.pack, schema.chunk, schema.lease_pack
    with content.catalog.write() as connection:
        content.catalog.serialize(connection, COLLECTION)
        known = sa.select(pack.c.id).where(pack.c.name == name, pack.c.state != PackState.DELETING)
        old = connection.scalar(known)
        if old is None:
            return None
        held = set(connection.scalars(sa.select(chunk.c.digest).where(chunk.c.pack_id == old)))
        connection.execute(chunk.delete().where(chunk.c.pack_id == old))
        saved = 0
        if sealed is not None:
            rows = index.insert_packs(connection, [sealed], content.catalog.now(connection))
            saved = index.insert_chunks(connection, rows)
            held -= {row[0] for row in rows}
            claims = sa.select(pin.c.lease_id, sa.literal(rows[0][1])).where(pin.c.pack_id == old)
            connection.execute(pin.insert().from_select(["lease_id", "pack_id"], claims))
        connection.execute(pack.delete().where(pack.c.id == old))
    return saved, len(held)
