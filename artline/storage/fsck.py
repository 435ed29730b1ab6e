"""Checking packs against the catalog, and rebuilding the chunk index from the packs alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from artline.errors import IntegrityError, NotFoundError, StoreTooNewError
from artline.storage import index, schema
from artline.storage.identity import parse_identity, read_identity
from artline.storage.lease import COLLECTION, Lease
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
    from collections.abc import Callable, Iterator, Sequence

    from artline.storage.content import ContentStore

__all__ = [
    "DamagedChunk",
    "PackReport",
    "Rebuilt",
    "check_packs",
    "forget_damaged",
    "quarantine",
    "rebuild_index",
]


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
    """What a rebuild put back, and the objects it could not read (fully).

    Objects in which nothing could be read are ``unusable``; ``broken`` are packs whose header, trailer or
    index is damaged, and of which blocks could be found.
    """

    packs: int = 0
    chunks: int = 0
    problems: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def check_packs(
    content: ContentStore, *, full: bool = False, progress: Callable[[int, int], object] | None = None
) -> PackReport:
    """Compare the catalog with the packs in the bucket.

    By default: every pack is there, with the right size, header, trailer and index, and holds what the
    chunk index says. With ``full`` every block is read and its digest computed anew. Writers and
    collectors may work meanwhile. ``progress`` is called with the number of packs and bytes since the
    last call.
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
    report.orphans = sorted(filter(content.bucket.exists, objects))  # lists of some buckets are late
    return report


def _check_identity(content: ContentStore, report: PackReport) -> None:
    try:
        identity = parse_identity(read_identity(content.bucket), content.bucket.url)
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
    with content.catalog.read() as connection:
        chunk = schema.chunk
        columns = [chunk.c[field] for field in index.Location._fields]
        statement = sa.select(*columns).where(chunk.c.pack_id == pack_id).order_by(chunk.c.position)
        wanted = {row.digest: index.Location(*row) for row in connection.execute(statement)}
    problems: list[str] = []
    damaged: list[DamagedChunk] = []
    try:
        data = content.bucket.read(place) if report.full else b""
        size = content.bucket.size(place) if size is None else size
        blocks, data = _look(content, name, size, data, problems)
    except NotFoundError:
        if not _registered(content, pack_id):
            return  # a collection has taken it meanwhile
        problems.append(f"pack {place} is missing from {content.bucket.url}")
        damaged += [DamagedChunk(digest, place, "the pack is gone") for digest in wanted]
    else:
        if size != expected:
            problems.insert(0, f"pack {place} has {size} bytes instead of {expected}")
        for digest, location in wanted.items():
            reason = _compare(location, blocks.get(digest))
            if not reason and data:
                reason = _reread(content, location, data, place)
            if reason:
                damaged.append(DamagedChunk(digest, place, reason))
    report.packs += 1
    report.bytes += expected
    report.chunks += len(wanted)
    report.problems += problems
    report.damaged += damaged


def _registered(content: ContentStore, pack_id: int) -> bool:
    """Tell whether a pack is in the catalog and there to stay."""
    pack = schema.pack.c
    with content.catalog.read() as connection:
        state = connection.scalar(sa.select(pack.state).where(pack.id == pack_id))
    return state is not None and state != PackState.DELETING


def _look(
    content: ContentStore, name: str, size: int, data: bytes, problems: list[str]
) -> tuple[dict[bytes, Block], bytes]:
    """Return the blocks that a pack says it has, and its bytes where they had to be read (``data``)."""
    place = object_name(name)
    try:
        header = decode_header(data[:HEADER_SIZE] or content.bucket.read(place, 0, HEADER_SIZE), place)
        if header.name != name or header.store_id != content.store_id:
            problems.append(f"pack {place} says it is pack {header.name} of store {header.store_id}")
        return {block.digest: block for block in read_index(content, place, size)}, data
    except StoreTooNewError as error:
        problems.append(error.message)
        data = data or content.bucket.read(place)
        return {block.digest: block for block in scan(data)}, data
    except IntegrityError as error:
        problems.append(f"{_finding(error)}. Run: art fsck --repair")
        data = data or content.bucket.read(place)
        return {block.digest: block for block in scan(data)}, data


def _finding(error: IntegrityError) -> str:
    """Return what an error says is damaged, without the remedy, which would be this very check."""
    return error.message.partition(". Run:")[0]


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
        return error.message.partition(" is damaged: ")[2].partition(". Run:")[0] or error.message
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
    copy of a chunk takes their place. Packs put back are pinned for a day, as their writers may be about to
    rely on them. Writers and collectors may work meanwhile.
    """
    result = Rebuilt()
    lease = Lease(content.catalog, "rebuild")
    objects = dict(content.bucket.list("packs/"))
    _forget_lost(content, objects)
    for place, size in sorted(objects.items()):
        name = place.rpartition("/")[2].removesuffix(".pack")
        before = len(result.problems)
        try:
            blocks = _salvage(content, place, size, result.problems)
            broken = len(result.problems) > before
            if broken and not blocks:
                result.unusable.append(place)
                continue
            found = _restore(content, lease, name, size, blocks)
            result.broken += [place] if broken else []
        except (IntegrityError, StoreTooNewError) as error:
            result.problems.append(error.message)
            continue
        except NotFoundError:
            continue  # a collection has taken it meanwhile
        result.packs += found > 0
        result.chunks += found
        if progress is not None:
            progress(1, size)
    if not lease.pinned:
        lease.release()
    return result


def _salvage(content: ContentStore, place: str, size: int, problems: list[str]) -> list[Block]:
    """Return the blocks of a pack, found one by one where its index is damaged; say what is in ``problems``.

    Raises IntegrityError for a pack that is another's, NotFoundError for one that is gone.
    """
    try:
        header = decode_header(content.bucket.read(place, 0, HEADER_SIZE), place)
    except IntegrityError as error:
        problems.append(_finding(error))  # its blocks say themselves what they are
    else:
        if (object_name(header.name), header.store_id) != (place, content.store_id):
            raise IntegrityError(f"pack {place} belongs elsewhere: it was left alone")
    try:
        return list(read_index(content, place, size))
    except IntegrityError as error:
        problems.append(_finding(error))
        return list(scan(content.bucket.read(place)))


def _restore(content: ContentStore, lease: Lease, name: str, size: int, blocks: list[Block]) -> int:
    """Put back the rows of a pack; return how many chunks were unknown. Raises NotFoundError."""
    state = schema.pack.c.state
    unique = {block.digest: block for block in blocks}.values()
    with lease.hold() as connection:
        known = connection.scalar(sa.select(state).where(schema.pack.c.name == name))
        if known == PackState.DELETING:
            return 0
        if known is None:
            content.bucket.size(object_name(name))  # a collection may have taken it, row and all
        entries = b"".join(
            ENTRY.pack(one.digest, one.position, one.raw_size, one.stored_size, one.kind, one.codec)
            for one in unique
        )
        sealed = index.SealedPack(name, size, entries, 0.0)
        rows = index.insert_packs(connection, [sealed], content.catalog.now(connection))
        if known is None:
            lease.pin(connection, {int(row[1]) for row in rows})
        return index.insert_chunks(connection, rows)


def forget_damaged(content: ContentStore, report: PackReport) -> int:
    """Take damaged chunks out of the index, so that adding their files again stores them anew.

    Returns how many were taken out. What needs them cannot be read until then.
    """
    chunk = schema.chunk
    with content.catalog.write() as connection:
        content.catalog.serialize(connection, COLLECTION)
        for start in range(0, len(report.damaged), 500):
            part = [damaged.digest for damaged in report.damaged[start : start + 500]]
            connection.execute(chunk.delete().where(chunk.c.digest.in_(part)))
    return len(report.damaged)


def quarantine(content: ContentStore, names: Sequence[str]) -> Iterator[str]:
    """Move objects below ``quarantine/``, where nothing looks for them; yield their new names."""
    for name in names:
        try:
            content.bucket.put(f"quarantine/{name}", content.bucket.read(name))
        except NotFoundError:
            continue  # a collection, or another repair, has taken it meanwhile
        content.bucket.delete(name)
        yield f"quarantine/{name}"
    if names:
        _forget_lost(content, dict(content.bucket.list("packs/")))


def _forget_lost(content: ContentStore, objects: dict[str, int]) -> None:
    """Drop the rows of packs whose object is gone."""
    pack, chunk = schema.pack, schema.chunk
    with content.catalog.write() as connection:
        content.catalog.serialize(connection, COLLECTION)
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
