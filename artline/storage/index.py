"""The chunk index: which pack holds which digest, asked and filled in batches."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from artline.errors import ConflictError
from artline.storage import schema
from artline.storage.lease import LEASE_SECONDS
from artline.storage.pack import ENTRY
from artline.storage.schema import PackState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from artline.storage.digest import Buffer

__all__ = [
    "Location",
    "SealedPack",
    "insert_chunks",
    "insert_chunks_kept",
    "insert_packs",
    "locate",
    "lock_packs",
    "owners",
]

_BATCH = 500
_INSERT_PACK = sa.text(
    "INSERT INTO pack (name, size, blocks, created_at) VALUES (:name, :size, :blocks, :now) "
    "ON CONFLICT (name) DO NOTHING RETURNING id"
)


class Location(NamedTuple):
    """Where a chunk lies; ``position`` is that of its block's header in the pack."""

    digest: bytes
    pack_id: int
    position: int
    stored_size: int
    raw_size: int
    kind: int
    codec: int


class SealedPack(NamedTuple):
    """A pack whose object is in the bucket; ``entries`` are the index entries as in its footer.

    ``sealed_at`` is by the monotonic clock, ``sealed_time`` by the catalog's, before it entered the bucket.
    """

    name: str
    size: int
    entries: Buffer
    sealed_at: float
    sealed_time: float = 0.0

    def aged(self, now: float) -> bool:
        """Tell whether it has waited for its rows so long that a collector may have taken the object.

        A collector removes objects without rows, but none that it has not known for as long as a lease lasts.
        How long that is the catalog's clock says (``now``), which may have jumped, or gone on while this
        machine slept.
        """
        limit = LEASE_SECONDS / 2
        return time.monotonic() - self.sealed_at > limit or abs(now - self.sealed_time) > limit


def locate(connection: Connection, digests: Sequence[bytes]) -> Iterator[Location]:
    """Yield the location of each of ``digests`` that is in the index, in no set order."""
    yield from map(Location._make, _select(connection, ", ".join(Location._fields), digests))


def owners(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, int]:
    """Return the pack id of each of ``digests`` that is in the index."""
    return dict(_select(connection, "digest, pack_id", digests))


def _select(connection: Connection, columns: str, digests: Sequence[bytes]) -> Iterator[Any]:
    if connection.dialect.name == "postgresql":
        statement = f"SELECT {columns} FROM chunk WHERE digest = ANY(%s::bytea[])"
        yield from connection.exec_driver_sql(statement, (list(digests),))
        return
    for start in range(0, len(digests), _BATCH):
        batch = tuple(digests[start : start + _BATCH])
        marks = ",".join("?" * len(batch))
        statement = f"SELECT {columns} FROM chunk WHERE digest IN ({marks})"
        yield from connection.exec_driver_sql(statement, batch).fetchall()


def lock_packs(connection: Connection, packs: Iterable[int]) -> set[int]:
    """Return which of ``packs`` are there to be relied on, and lock them until the transaction ends.

    It must run under a lease, which keeps chunks where they are. The order of the locks is the same for
    every writer, so that none deadlock.
    """
    statement = (
        sa.select(schema.pack.c.id)
        .where(schema.pack.c.id.in_(sorted(set(packs))), schema.pack.c.state != PackState.DELETING)
        .order_by(schema.pack.c.id)
        .with_for_update()
    )
    return set(connection.scalars(statement))


def insert_packs(connection: Connection, packs: Sequence[SealedPack], now: float) -> list[tuple[Any, ...]]:
    """Write the rows of packs; return the rows of the chunk table that their indexes call for.

    A pack that is known already is taken as it is: whoever found its object may have rebuilt the index, or
    the answer to the commit that wrote it was lost. It must run under a lease. Raises ConflictError for a
    pack that a collector has taken since.
    """
    rows: list[tuple[Any, ...]] = []
    for sealed in packs:
        values = {"name": sealed.name, "size": sealed.size, "now": now}
        pack_id = connection.scalar(_INSERT_PACK, values | {"blocks": len(sealed.entries) // ENTRY.size})
        if pack_id is None:
            pack = schema.pack.c
            known = sa.select(pack.id).where(pack.name == sealed.name, pack.state != PackState.DELETING)
            pack_id = connection.scalar(known)
        if pack_id is None:
            raise ConflictError("what this draft stored was collected. Add the files again in a new draft")
        rows += [
            (digest, pack_id, position, stored, raw, kind, codec)
            for digest, position, raw, stored, kind, codec in ENTRY.iter_unpack(sealed.entries)
        ]
    rows.sort()  # neighbours in the tree, and one order for every writer, so that none deadlock
    return rows


def insert_chunks_kept(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> set[int]:
    """Insert rows of the chunk table; return the packs that hold those whose chunks were known already.

    Chunks that are known keep their place, as others may rely on it; the packs returned are locked. A row
    that names a pack which is not there is replaced. It must run under a lease.
    """
    if insert_chunks(connection, rows) == len(rows):
        return set()
    mine = {row[0]: row[1] for row in rows}
    held = owners(connection, list(mine))
    others = {pack for digest, pack in held.items() if mine[digest] != pack}
    kept = lock_packs(connection, others)
    lost = others - kept
    if not lost:
        return kept
    again = [row for row in rows if held.get(row[0]) in lost]
    chunk = schema.chunk.c
    statement = schema.chunk.delete().where(
        chunk.digest == sa.bindparam("lost"), chunk.pack_id == sa.bindparam("pack")
    )
    connection.execute(statement, [{"lost": row[0], "pack": held[row[0]]} for row in again])
    return kept | insert_chunks_kept(connection, again)


def insert_chunks(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert rows of the chunk table, skipping digests that are there; return how many were inserted."""
    if not rows:
        return 0
    columns = ", ".join(Location._fields)
    if connection.dialect.name == "postgresql":
        kinds = ("bytea", "int", "bigint", "int", "int", "smallint", "smallint")
        arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
        statement = f"INSERT INTO chunk ({columns}) SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"
        parameters = tuple([list(column) for column in zip(*rows, strict=True)])
        return connection.exec_driver_sql(statement, parameters).rowcount
    statement = f"INSERT INTO chunk ({columns}) VALUES (?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
    return connection.exec_driver_sql(statement, list(rows)).rowcount
