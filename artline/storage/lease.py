"""Leases: a writer's claim on packs that no version names yet, so that the collector leaves them alone."""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import TYPE_CHECKING

import sqlalchemy as sa

from artline.errors import ConflictError
from artline.storage import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from artline.storage.catalog import Catalog

__all__ = ["COLLECTION", "LEASE_SECONDS", "Lease", "read_epoch"]

# What transactions serialize on that decide which packs and chunks there are: those of a collector alone,
# those that run under a lease shared with each other. So neither sees the other half done.
COLLECTION = "artline collection"

# A draft may stay open this long without a sign of life before a collector may end its lease.
LEASE_SECONDS = 24 * 3600.0
_RENEW_AFTER = LEASE_SECONDS / 8


class Lease:
    """A claim on packs. It holds until it is released, or until a collector finds it expired and ends it.

    Whether a lease protected a pack during a mark is decided by epochs, which the collector counts up,
    never by comparing clocks. ``expires_at`` (seconds since 1970) is 0 before anything was claimed.
    """

    def __init__(self, catalog: Catalog, owner: str = "") -> None:
        self.id = uuid.uuid4().hex
        self.owner = owner
        self.expires_at = 0.0
        self.pinned: set[int] = set()
        self._catalog = catalog
        self._renewed = 0.0
        self._claimed: set[int] = set()

    @classmethod
    def again(cls, catalog: Catalog, id: str, owner: str = "", *, held: bool = False) -> Lease:
        """Return the lease that a client named, as the catalog has it.

        ``held`` says that the client was told before that it holds: one that is not there any more has ended.
        """
        lease = cls(catalog, owner)
        lease.id = id
        with catalog.read() as connection:
            expires = connection.scalar(sa.select(schema.lease.c.expires_at).where(schema.lease.c.id == id))
            now = catalog.now(connection)
        if expires is not None:
            lease.expires_at = float(expires)
            lease._renewed = time.monotonic() - max(0.0, LEASE_SECONDS - (lease.expires_at - now))
        elif held:
            lease.expires_at = now
            lease._renewed = time.monotonic()
        return lease

    @contextlib.contextmanager
    def hold(self) -> Iterator[Connection]:
        """Run a transaction under the lease, which is written or prolonged by it where that is due.

        Raises ConflictError when the lease ended.
        """
        self._claimed = set()
        expires = self.expires_at
        with self._catalog.write() as connection:
            self.check(connection)
            due = not expires or time.monotonic() - self._renewed > _RENEW_AFTER
            if due:
                expires = self._prolong(connection)
            yield connection
        if due:
            self.expires_at, self._renewed = expires, time.monotonic()
        self.pinned |= self._claimed

    def check(self, connection: Connection) -> None:
        """Make sure, in the transaction that relies on it, that the lease holds until that transaction ends.

        Until then no collector decides about anything. Call it before any row is locked. Raises
        ConflictError when the lease ended: what was stored under it may be gone.
        """
        self._catalog.serialize(connection, COLLECTION, shared=True)
        if not self.expires_at:
            return
        row = connection.execute(
            sa.select(schema.lease.c.ended_epoch).where(schema.lease.c.id == self.id)
        ).one_or_none()
        if row is None or row.ended_epoch is not None:
            raise ConflictError(
                f"the lease of this draft ({self.owner or self.id}) has ended, and what it stored may have "
                "been collected. Add the files again in a new draft"
            )

    def renew(self) -> None:
        """Prolong the lease by a day from now. Raises ConflictError when it ended."""
        self._renewed = float("-inf")
        with self.hold():
            pass

    def pin(self, connection: Connection, packs: set[int]) -> None:
        """Protect packs, which must exist, and revive those that are condemned. Call it inside ``hold``."""
        new = sorted(packs - self.pinned)
        if not new:
            return
        insert = self._catalog.upsert(schema.lease_pack).on_conflict_do_nothing()
        connection.execute(insert, [{"lease_id": self.id, "pack_id": pack} for pack in new])
        connection.execute(
            schema.pack.update()
            .where(schema.pack.c.id.in_(new), schema.pack.c.state == schema.PackState.CONDEMNED)
            .values(state=schema.PackState.LIVE, condemned_at=None)
        )
        self._claimed |= set(new)

    def release(self, connection: Connection | None = None) -> None:
        """End the lease, best in the transaction that makes its content reachable. Idempotent."""
        if connection is None:
            if self.expires_at:
                with self._catalog.write() as own:
                    self.release(own)
            return
        self._catalog.serialize(connection, COLLECTION, shared=True)
        connection.execute(
            schema.lease.update()
            .where(schema.lease.c.id == self.id, schema.lease.c.ended_epoch.is_(None))
            .values(ended_epoch=read_epoch(connection))
        )

    def _prolong(self, connection: Connection) -> float:
        now = self._catalog.now(connection)
        expires = now + LEASE_SECONDS
        insert = self._catalog.upsert(schema.lease).values(
            id=self.id, owner=self.owner, created_at=now, expires_at=expires
        )
        # It may be there though nobody said so: the answer to the commit that wrote it can be lost.
        connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_={"expires_at": expires}))
        return expires


def read_epoch(connection: Connection) -> int:
    """Return the number of the latest mark, 0 before the first one."""
    statement = sa.select(schema.store_meta.c.value).where(schema.store_meta.c.key == "epoch")
    return int(connection.scalar(statement) or 0)
