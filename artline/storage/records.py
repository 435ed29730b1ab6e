"""Record objects: what a lost catalog is rebuilt from. Packs with blocks of kind COMMIT, in a place apart.

``records/<catalog id>/changes/`` holds what changed lately, ``records/<catalog id>/checkpoints/`` all there
was at one moment. This room knows lines of bytes, not what they mean.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from artline.errors import IntegrityError, StoreTooNewError
from artline.storage import schema
from artline.storage.compression import Compressor
from artline.storage.pack import (
    BLOCK_SIZE,
    ENTRY,
    HEADER_SIZE,
    TRAILER_SIZE,
    Codec,
    Kind,
    PackHeader,
    decode_block,
    decode_entries,
    decode_header,
    decode_trailer,
    encode_block_header,
    encode_footer,
    encode_header,
    scan,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from artline.storage.content import ContentStore

__all__ = [
    "CHANGES",
    "CHECKPOINTS",
    "RecordObject",
    "catalog_id",
    "forget_records",
    "is_noted",
    "list_records",
    "name_catalog",
    "note_records",
    "read_record",
    "write_record",
]

RECORDS = "records/"
CHANGES = "changes"
CHECKPOINTS = "checkpoints"
_BLOCK = 1 << 20  # bytes of lines that make a block
_NAMES = 500


class RecordObject(NamedTuple):
    """An object that holds records: of which catalog, and whether changes or a checkpoint."""

    name: str
    catalog: str
    kind: str

    @property
    def stem(self) -> str:
        """The last part of the name, which tells when it was written."""
        return self.name.rpartition("/")[2]


def catalog_id(connection: Connection) -> str:
    """Return what tells this catalog from one before it or after it, "" before it has its name."""
    key = schema.store_meta.c.key == "catalog"
    return connection.scalar(sa.select(schema.store_meta.c.value).where(key)) or ""


def name_catalog(content: ContentStore) -> str:
    """Give the catalog its name unless it has one, and return that. Names of later catalogs sort higher."""
    with content.catalog.write() as connection:
        insert = content.catalog.upsert(schema.store_meta).values(key="catalog", value=_draw_name())
        connection.execute(insert.on_conflict_do_nothing())
        return catalog_id(connection)


def write_record(content: ContentStore, catalog: str, kind: str, lines: Iterable[bytes]) -> str:
    """Write lines (without line feeds in them) as one object; durable when it returns. Return its name.

    Names begin with the time in milliseconds, so that later objects sort higher.
    """
    name = _draw_name()
    now = int(name[:12], 16)
    compressor = Compressor()
    pack = bytearray(encode_header(PackHeader(content.algorithm.code, name, content.store_id, now)))
    entries = bytearray()
    for raw in _blocks(lines):
        frame = compressor.compress(memoryview(raw))
        codec, stored = (Codec.RAW, raw) if frame is None else (Codec.ZSTD, frame)
        digest = content.algorithm.hash(raw)
        entries += ENTRY.pack(digest, len(pack), len(raw), len(stored), Kind.COMMIT, codec)
        pack += encode_block_header(Kind.COMMIT, codec, len(raw), stored, digest) + stored
    pack += encode_footer(entries, len(pack))
    place = f"{RECORDS}{catalog}/{kind}/{name}.records"
    content.bucket.put(place, pack)
    return place


def note_records(content: ContentStore, connection: Connection, names: Iterable[str]) -> None:
    """Write down names of record objects that are in the bucket, which may list them late. Idempotent."""
    insert = content.catalog.upsert(schema.record_object).on_conflict_do_nothing()
    connection.execute(insert, [{"name": name} for name in names])


def forget_records(connection: Connection, names: Sequence[str]) -> None:
    """Take away the names of record objects that are gone. Idempotent."""
    column = schema.record_object.c.name
    for start in range(0, len(names), _NAMES):
        part = names[start : start + _NAMES]
        connection.execute(schema.record_object.delete().where(column.in_(part)))


def is_noted(content: ContentStore, name: str) -> bool:
    """Tell whether the catalog has the name of a record object, which ought to be there then."""
    column = schema.record_object.c.name
    with content.catalog.read() as connection:
        return connection.scalar(sa.select(column).where(column == name)) is not None


def list_records(content: ContentStore) -> list[RecordObject]:
    """Return the record objects that the bucket lists or the catalog names, those of earlier catalogs first.

    Lists of some buckets are late: one of them may be gone by now.
    """
    names = {name for name, _ in content.bucket.list(RECORDS)}
    with content.catalog.read() as connection:
        names.update(connection.scalars(sa.select(schema.record_object.c.name)))
    found = []
    for name in names:
        parts = name.split("/")
        if len(parts) == 4 and parts[2] in (CHANGES, CHECKPOINTS) and parts[3].endswith(".records"):
            found.append(RecordObject(name, parts[1], parts[2]))
    return sorted(found, key=lambda record: (record.catalog, record.stem))


def read_record(content: ContentStore, name: str, problems: list[str]) -> Iterator[bytes]:
    """Yield the lines of a record object, as far as its blocks are sound; say what is not in ``problems``.

    Raises NotFoundError when it is gone, IntegrityError when it belongs to another store.
    """
    data = content.bucket.read(name)
    expected = name.rpartition("/")[2].removesuffix(".records")
    try:
        header = decode_header(data[:HEADER_SIZE], name)
    except IntegrityError as error:
        problems.append(error.message)
    else:
        if header.store_id != content.store_id or header.name != expected:
            raise IntegrityError(
                f"{name} says it is {header.name} of store {header.store_id}: it was left alone"
            )
    try:
        trailer = decode_trailer(data[-TRAILER_SIZE:], len(data), name)
        blocks = list(decode_entries(data[trailer.position : -TRAILER_SIZE], trailer, name))
    except IntegrityError as error:
        problems.append(error.message)
        blocks = list(scan(data))
    for block in blocks:
        end = block.position + BLOCK_SIZE + block.stored_size
        try:
            raw = decode_block(memoryview(data)[block.position : end], block.digest, content.algorithm, name)
        except (IntegrityError, StoreTooNewError) as error:
            problems.append(error.message)
            continue
        yield from bytes(raw).splitlines()


def _draw_name() -> str:
    return f"{int(time.time() * 1000):012x}{uuid.uuid4().hex[:20]}"


def _blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Gather lines, each with a line feed, into blocks of about 1 MiB; at least one block."""
    gathered: list[bytes] = []
    size = 0
    for line in lines:
        gathered.append(line)
        size += len(line) + 1
        if size >= _BLOCK:
            yield b"\n".join(gathered) + b"\n"
            gathered, size = [], 0
    if gathered:
        yield b"\n".join(gathered) + b"\n"
