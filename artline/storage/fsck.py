"""Checking packs against the catalog, and rebuilding the chunk index from the packs alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from artline.errors import IntegrityError, NotFoundError, StoreTooNewError
from artline.storage import index, schema
from artline.storage.content import STORE_FILE, parse_identity
from artline.storage.pack import (
    BLOCK_SIZE,
    ENTRY,
    HEADER_SIZE,
    TRAILER_SIZE,
    Block,
    decode_block,
    decode_entries,
    decode_header,
    decode_trailer,
    object_name,
    scan,
)
from artline.storage.schema import PackState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artline.storage.content import ContentStore

__all__ = ["DamagedChunk", "PackReport", "Rebuilt", "check_packs", "forget_damaged", "rebuild_index"]


@dataclass(frozen=True, slots=True)
class DamagedChunk:
    """A chunk of the index that cannot be read back: its digest, its pack's object, and why."""

    digest: bytes
    place: str
    reason: str


@dataclass(slots=True)
class PackReport:
    """What a check found. ``problems`` are sentences about packs; ``orphans`` are harmless."""

    packs: int = 0
    chunks: int = 0
    bytes: int = 0
    full: bool = False
    problems: list[str] = field(default_factory=list)
    damaged: list[DamagedChunk] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every chunk of the index can be relied on, as far as was looked."""
        return not self.problems and not self.damaged


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild put back, and the objects it could not read (fully)."""

    packs: int = 0
    chunks: int = 0
    problems: list[str] = field(default_factory=list)


def check_packs(
    content: ContentStore, *, full: bool = False, progress: Callable[[int, int], object] | None = None
) -> PackReport:
    """Compare the catalog with the packs in the bucket.

    By default: every pack is there, with the right size, header, trailer and index, and holds what the
    chunk index says. With ``full`` every block is read and its digest computed anew. ``progress`` is
    called with the number of packs and bytes since the last call.
    """
    report = PackReport(full=full)
    _check_identity(content, report)
    objects = dict(content.bucket.list("packs/"))
    last = 0
    while True:
        with content.catalog.read() as connection:
            pack = schema.pack.c
            rows = connection.execute(
                sa.select(pack.id, pack.name, pack.size, pack.state)
                .where(pack.id > last)
                .order_by(pack.id)
                .limit(100)
            ).all()
        if not rows:
            break
        for row in rows:
            last = row.id
            size = objects.pop(object_name(row.name), None)
            if row.state == PackState.DELETING:
                continue  # an interrupted collection; the next one finishes it
            _check_pack(content, row.id, row.name, row.size, size, report)
            if progress is not None:
                progress(1, row.size)
    with content.catalog.read() as connection:  # packs may have been registered meanwhile
        names = [name.rpartition("/")[2].removesuffix(".pack") for name in objects]
        for start in range(0, len(names), 500):
            known = sa.select(schema.pack.c.name).where(schema.pack.c.name.in_(names[start : start + 500]))
            for name in connection.scalars(known):
                del objects[object_name(name)]
    report.orphans = sorted(objects)
    return report


def _check_identity(content: ContentStore, report: PackReport) -> None:
    try:
        identity = parse_identity(content.bucket.read(STORE_FILE).decode(), content.bucket.url)
    except (NotFoundError, IntegrityError, StoreTooNewError) as error:
        report.problems.append(error.message)
        return
    if identity["id"] != content.store_id:
        report.problems.append(
            f"the bucket {content.bucket.url} belongs to another store than {content.catalog.place}"
        )


def _check_pack(
    content: ContentStore, pack_id: int, name: str, expected: int, size: int | None, report: PackReport
) -> None:
    place = object_name(name)
    report.packs += 1
    report.bytes += expected
    with content.catalog.read() as connection:
        chunk = schema.chunk
        columns = [chunk.c[field] for field in index.Location._fields]
        statement = sa.select(*columns).where(chunk.c.pack_id == pack_id).order_by(chunk.c.position)
        wanted = {row.digest: index.Location(*row) for row in connection.execute(statement)}
    report.chunks += len(wanted)
    if size is None and not content.bucket.exists(place):
        report.problems.append(f"pack {place} is missing from {content.bucket.url}")
        report.damaged += [DamagedChunk(digest, place, "the pack is gone") for digest in wanted]
        return
    data = content.bucket.read(place) if report.full else b""
    size = content.bucket.size(place) if size is None else size
    if size != expected:
        report.problems.append(f"pack {place} has {size} bytes instead of {expected}")
    blocks: dict[bytes, Block] = {}
    try:
        header = decode_header(data[:HEADER_SIZE] or content.bucket.read(place, 0, HEADER_SIZE), place)
        if header.name != name or header.store_id != content.store_id:
            report.problems.append(f"pack {place} says it is pack {header.name} of store {header.store_id}")
        blocks = {block.digest: block for block in read_index(content, place, size)}
    except (IntegrityError, StoreTooNewError) as error:
        report.problems.append(error.message)
        if not report.full:
            data = content.bucket.read(place)
        blocks = {block.digest: block for block in scan(data)}
    for digest, location in wanted.items():
        reason = _compare(location, blocks.get(digest))
        if not reason and data:
            reason = _reread(content, location, data, place)
        if reason:
            report.damaged.append(DamagedChunk(digest, place, reason))


def _compare(location: index.Location, block: Block | None) -> str:
    if block is None:
        return "the pack does not list it"
    fields = (block.position, block.stored_size, block.raw_size, block.codec)
    if fields != (location.position, location.stored_size, location.raw_size, location.codec):
        return "the pack lists it with another place or size than the catalog"
    return ""


def _reread(content: ContentStore, location: index.Location, data: bytes, place: str) -> str:
    end = location.position + BLOCK_SIZE + location.stored_size
    try:
        decode_block(memoryview(data)[location.position : end], location.digest, content.algorithm, place)
    except (IntegrityError, StoreTooNewError) as error:
        return error.message
    return ""


def read_index(content: ContentStore, place: str, size: int) -> Iterator[Block]:
    """Return the blocks that a pack's index lists. Raises IntegrityError when index or trailer is damaged."""
    bucket = content.bucket
    trailer = decode_trailer(bucket.read(place, max(0, size - TRAILER_SIZE), TRAILER_SIZE), size, place)
    data = bucket.read(place, trailer.position, trailer.blocks * ENTRY.size)
    return decode_entries(data, trailer, place)


def rebuild_index(content: ContentStore, *, progress: Callable[[int, int], object] | None = None) -> Rebuilt:
    """Put packs and chunks that the catalog does not know back into it, from the packs alone. Idempotent.

    Each pack's own index is used where it is intact, else its blocks are found one by one. Rows that are
    there already stay, unless their pack is gone from the bucket: those are dropped first, so that another
    copy of a chunk takes their place.
    """
    result = Rebuilt()
    objects = dict(content.bucket.list("packs/"))
    _forget_lost(content, objects)
    for place, size in sorted(objects.items()):
        name = place.rpartition("/")[2].removesuffix(".pack")
        try:
            header = decode_header(content.bucket.read(place, 0, HEADER_SIZE), place)
            if header.name != name or header.store_id != content.store_id:
                raise IntegrityError(f"pack {place} belongs elsewhere: it was left alone")
        except (IntegrityError, StoreTooNewError, NotFoundError) as error:
            result.problems.append(error.message)
            continue
        try:
            blocks = list(read_index(content, place, size))
        except IntegrityError as error:
            result.problems.append(error.message)
            blocks = list(scan(content.bucket.read(place)))
        result.packs += 1
        result.chunks += _restore(content, name, size, blocks)
        if progress is not None:
            progress(1, size)
    return result


def _restore(content: ContentStore, name: str, size: int, blocks: list[Block]) -> int:
    pack = schema.pack
    with content.catalog.write() as connection:
        known = connection.execute(
            sa.select(pack.c.id, pack.c.state).where(pack.c.name == name)
        ).one_or_none()
        if known is not None and known.state == PackState.DELETING:
            return 0
        if known is None:
            inserted = connection.execute(
                pack.insert().values(
                    name=name, size=size, blocks=len(blocks), created_at=content.catalog.now(connection)
                )
            )
            (pack_id,) = inserted.inserted_primary_key or (0,)
        else:
            pack_id = known.id
        unique = {block.digest: block for block in blocks}.values()
        rows = sorted(
            (one.digest, pack_id, one.position, one.stored_size, one.raw_size, one.kind, one.codec)
            for one in unique
        )
        return index.insert_chunks(connection, rows)


def forget_damaged(content: ContentStore, report: PackReport) -> int:
    """Take damaged chunks out of the index, so that adding their files again stores them anew.

    Returns how many were taken out. What needs them cannot be read until then.
    """
    chunk = schema.chunk
    with content.catalog.write() as connection:
        for start in range(0, len(report.damaged), 500):
            part = [damaged.digest for damaged in report.damaged[start : start + 500]]
            connection.execute(chunk.delete().where(chunk.c.digest.in_(part)))
    return len(report.damaged)


def _forget_lost(content: ContentStore, objects: dict[str, int]) -> None:
    """Drop the rows of packs whose object is gone."""
    pack, chunk = schema.pack, schema.chunk
    with content.catalog.write() as connection:
        rows = connection.execute(sa.select(pack.c.id, pack.c.name)).all()
        lost = [
            row.id
            for row in rows
            if object_name(row.name) not in objects and not content.bucket.exists(object_name(row.name))
        ]
        for start in range(0, len(lost), 500):
            part = lost[start : start + 500]
            connection.execute(chunk.delete().where(chunk.c.pack_id.in_(part)))
            connection.execute(pack.delete().where(pack.c.id.in_(part)))
