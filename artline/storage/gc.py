"""The collector: packs that nothing needs go from live to condemned, and after a grace period for good.

It works beside writers, but no transaction in which it decides something runs beside one under a lease
(``COLLECTION``). A mark begins by counting up the epoch, then gathers what every version needs. A
pack may go only if the mark found none of its chunks, no lease pins it that still holds or ended after the
mark began, and it has been condemned for the grace period. A collection that learns that another one began
stops, so that the newest decides.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import sqlalchemy as sa

from artline.errors import ConflictError, IntegrityError, NotFoundError, StoreTooNewError
from artline.storage import schema
from artline.storage.lease import COLLECTION, LEASE_SECONDS, read_epoch
from artline.storage.pack import (
    BLOCK_SIZE,
    ENTRY,
    HEADER_SIZE,
    TRAILER_SIZE,
    decode_header,
    object_name,
)
from artline.storage.schema import PackState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from artline.storage.content import ContentStore

__all__ = ["GRACE", "Collection", "collect"]

GRACE = timedelta(days=7)  # longer than a lease lasts, and time to undelete
_T = TypeVar("_T")
_BATCH = 500
_PACK_NAME = 32  # hexadecimal digits
_REWRITTEN = 500_000  # the most chunks that move in one collection


@dataclass(slots=True)
class Collection:
    """What a collection did, or with ``dry_run`` would do; sizes in bytes.

    ``problems`` are sentences about damage that was met: such packs are left as they are.
    """

    dry_run: bool
    packs: int = 0
    live_chunks: int = 0
    live_bytes: int = 0
    dead_chunks: int = 0
    dead_bytes: int = 0
    condemned: int = 0
    revived: int = 0
    deleted: int = 0
    freed_bytes: int = 0
    repacked: int = 0
    orphans: int = 0
    pinned: int = 0
    problems: list[str] = field(default_factory=list)


class _Tally(NamedTuple):
    """What the mark says about a pack."""

    id: int
    name: str
    size: int
    state: int
    condemned_at: float | None
    chunks: int
    stored: int
    live_chunks: int
    live_stored: int


def collect(
    content: ContentStore,
    live: Callable[[], Iterable[Sequence[bytes]]],
    *,
    grace: timedelta = GRACE,
    dry_run: bool = True,
    repack: bool = True,
) -> Collection:
    """Condemn packs that nothing needs, and delete those condemned for longer than ``grace``.

    ``live`` returns batches of the digests of every chunk that must stay; it is called once, after the
    mark began. With ``repack``, packs less than half live are rewritten. Memory is bounded. A collection
    that dies half-way is finished by the next. Raises ConflictError when another collection began.
    """
    return _Collector(content, grace.total_seconds(), dry_run, repack).run(live)


def _sparse(tally: _Tally) -> bool:
    return tally.live_chunks > 0 and _density(tally) < 0.5


def _density(tally: _Tally) -> float:
    """Return how large a pack of what is needed would be, as a share of the pack that there is."""
    needed = HEADER_SIZE + TRAILER_SIZE + tally.live_stored + tally.live_chunks * (BLOCK_SIZE + ENTRY.size)
    return needed / tally.size


class _Collector:
    def __init__(self, content: ContentStore, grace: float, dry_run: bool, repack: bool) -> None:
        self._content = content
        self._catalog = content.catalog
        self._grace = grace
        self._repack = repack
        self._epoch = 0
        self._now = 0.0
        self._result = Collection(dry_run)
        self._live: dict[int, list[bytes]] = {}  # of the packs to be rewritten

    def run(self, live: Callable[[], Iterable[Sequence[bytes]]]) -> Collection:
        dry = self._result.dry_run
        if dry:
            with self._catalog.read() as connection:
                self._epoch = read_epoch(connection) + 1
                self._now = self._catalog.now(connection)
        else:
            self._begin()
            self._delete_objects()  # what an interrupted collection left
        tallies = self._mark(live())
        while batch := list(itertools.islice(tallies, _BATCH)):
            if dry:
                with self._catalog.read() as connection:
                    self._judge(connection, batch)
                continue
            with self._catalog.write() as connection:
                sparse = self._judge(connection, batch)
            self._delete_objects()
            if self._repack and sparse:
                self._rewrite(sparse)
        self._sweep_orphans()
        return self._result

    def _begin(self) -> None:
        lease = schema.lease
        with self._catalog.write() as connection:
            self._now = self._catalog.now(connection)
            self._catalog.serialize(connection, COLLECTION)
            self._epoch = read_epoch(connection) + 1
            upsert = self._catalog.upsert(schema.store_meta).values(key="epoch", value=str(self._epoch))
            connection.execute(
                upsert.on_conflict_do_update(index_elements=["key"], set_={"value": str(self._epoch)})
            )
            expired = sa.and_(lease.c.ended_epoch.is_(None), lease.c.expires_at < self._now)
            connection.execute(lease.update().where(expired).values(ended_epoch=self._epoch - 1))
            connection.execute(lease.delete().where(lease.c.ended_epoch < self._epoch))

    def _mark(self, batches: Iterable[Sequence[bytes]]) -> Iterator[_Tally]:
        """Gather the live digests in a temporary table; yield what they leave of each pack."""
        chunk, pack = schema.chunk.c, schema.pack.c
        postgres = self._catalog.dialect == "postgresql"
        with self._catalog.scratch() as connection:
            kind = "bytea" if postgres else "blob"
            suffix = "" if postgres else " WITHOUT ROWID"
            connection.exec_driver_sql(f"CREATE TEMPORARY TABLE mark (digest {kind} PRIMARY KEY){suffix}")
            mark = sa.table("mark", sa.column("digest", sa.LargeBinary))
            for batch in batches:
                if postgres:
                    statement = "INSERT INTO mark SELECT unnest(%s::bytea[]) ON CONFLICT DO NOTHING"
                    connection.exec_driver_sql(statement, (list(batch),))
                elif batch:
                    statement = "INSERT OR IGNORE INTO mark VALUES (?)"
                    connection.exec_driver_sql(statement, [(digest,) for digest in batch])
            tallies = (
                sa.select(
                    chunk.pack_id,
                    sa.func.count().label("chunks"),
                    sa.func.sum(chunk.stored_size).label("stored"),
                    sa.func.count(mark.c.digest).label("live_chunks"),
                    sa.func.sum(sa.case((mark.c.digest.is_(None), 0), else_=chunk.stored_size)).label("live"),
                )
                .select_from(schema.chunk.outerjoin(mark, mark.c.digest == chunk.digest))
                .group_by(chunk.pack_id)
                .subquery()
            )
            rows = connection.execute(
                sa.select(pack.id, pack.name, pack.size, pack.state, pack.condemned_at)
                .add_columns(*[sa.func.coalesce(column, 0) for column in list(tallies.c)[1:]])
                .select_from(schema.pack.outerjoin(tallies, tallies.c.pack_id == pack.id))
                .where(pack.state != PackState.DELETING)
                .order_by(pack.id)
            ).all()
            found = [_Tally(*row) for row in rows]
            if self._repack:
                chosen = self._choose(found)
                needed = sa.select(chunk.pack_id, chunk.digest).join(mark, mark.c.digest == chunk.digest)
                for pack_id, digest in connection.execute(needed.where(chunk.pack_id.in_(chosen))):
                    self._live.setdefault(pack_id, []).append(digest)
        yield from found

    def _choose(self, tallies: list[_Tally]) -> list[int]:
        """Return the packs to rewrite this time: the emptiest ones, as many as memory allows."""
        chosen: list[int] = []
        room = _REWRITTEN
        for tally in sorted(filter(_sparse, tallies), key=_density):
            room -= tally.live_chunks
            if room < 0 or len(chosen) == _BATCH:
                break
            chosen.append(tally.id)
        return chosen

    def _judge(self, connection: Connection, batch: list[_Tally]) -> list[_Tally]:
        """Decide about packs, in one transaction; return those that are worth rewriting."""
        result, table = self._result, schema.pack
        states, pinned = self._current(connection, [tally.id for tally in batch])
        condemn, revive, delete, sparse = [], [], [], []
        for tally in batch:
            if tally.id not in states:
                continue
            state, condemned_at = states[tally.id]
            result.packs += 1
            result.live_chunks += tally.live_chunks
            result.live_bytes += tally.live_stored
            result.dead_chunks += tally.chunks - tally.live_chunks
            result.dead_bytes += tally.stored - tally.live_stored
            result.pinned += tally.id in pinned
            if tally.live_chunks or tally.id in pinned:
                if state == PackState.CONDEMNED:
                    revive.append(tally.id)
                if tally.id not in pinned and _sparse(tally):
                    sparse.append(tally)
                continue
            since = self._now if state == PackState.LIVE or condemned_at is None else condemned_at
            if since + self._grace <= self._now:
                delete.append(tally)
            elif state == PackState.LIVE:
                condemn.append(tally.id)
        result.condemned += len(condemn)
        result.revived += len(revive)
        result.deleted += len(delete)
        result.freed_bytes += sum(tally.size for tally in delete)
        if result.dry_run:
            result.repacked += len(sparse) if self._repack else 0
            return []
        for ids, values in (
            (condemn, {"state": PackState.CONDEMNED, "condemned_at": self._now}),
            (revive, {"state": PackState.LIVE, "condemned_at": None}),
            ([tally.id for tally in delete], {"state": PackState.DELETING}),
        ):
            if ids:
                connection.execute(table.update().where(table.c.id.in_(ids)).values(values))
        if delete:
            gone = [tally.id for tally in delete]
            connection.execute(schema.chunk.delete().where(schema.chunk.c.pack_id.in_(gone)))
        return sparse

    def _current(
        self, connection: Connection, ids: list[int]
    ) -> tuple[dict[int, tuple[int, float | None]], set[int]]:
        """Return the state of packs, and which of them a lease pins that this mark must respect.

        Both stay so until the transaction ends.
        """
        pack, pin, lease = schema.pack.c, schema.lease_pack, schema.lease
        statement = sa.select(pack.id, pack.state, pack.condemned_at).where(pack.id.in_(ids))
        if not self._result.dry_run:
            self._catalog.serialize(connection, COLLECTION)
            if read_epoch(connection) != self._epoch:
                raise ConflictError("another collection began. Let it finish, and run this one again")
        states = {row.id: (row.state, row.condemned_at) for row in connection.execute(statement)}
        holds = sa.or_(lease.c.ended_epoch.is_(None), lease.c.ended_epoch >= self._epoch)
        if self._result.dry_run:
            holds = sa.and_(lease.c.ended_epoch.is_(None), lease.c.expires_at >= self._now)
        pinned = sa.select(pin.c.pack_id).join(lease, lease.c.id == pin.c.lease_id)
        pinned = pinned.where(pin.c.pack_id.in_(ids), holds).distinct()
        return states, set(connection.scalars(pinned))

    def _delete_objects(self) -> None:
        """Delete the objects of packs that are to go, then their rows."""
        pack = schema.pack
        with self._catalog.read() as connection:
            doomed = connection.execute(
                sa.select(pack.c.id, pack.c.name).where(pack.c.state == PackState.DELETING)
            ).all()
        for _, name in doomed:
            self._content.bucket.delete(object_name(name))
        if doomed:
            with self._catalog.write() as connection:
                for part in _parts([row.id for row in doomed]):
                    connection.execute(pack.delete().where(pack.c.id.in_(part)))

    def _rewrite(self, sparse: list[_Tally]) -> None:
        from artline.storage.repack import repack

        for tally in sparse:
            digests = self._live.pop(tally.id, None)
            if not digests:
                continue
            try:
                self._result.repacked += repack(self._content, tally.id, digests, self._free)
            except (IntegrityError, StoreTooNewError) as error:
                self._result.problems.append(error.message)

    def _free(self, connection: Connection, pack_id: int) -> bool:
        """Tell, in the transaction that moves its chunks, whether no lease pins a pack."""
        states, pinned = self._current(connection, [pack_id])
        return pack_id in states and pack_id not in pinned

    def _sweep_orphans(self) -> None:
        """Delete objects that no row names, once they have been seen for longer than any writer takes."""
        bucket, orphan = self._content.bucket, schema.orphan
        if not self._result.dry_run:
            bucket.sweep_staging()
        with self._catalog.read() as connection:
            seen = dict(iter(connection.execute(sa.select(orphan.c.name, orphan.c.seen_at))))
        objects = (name for name, _ in bucket.list("packs/"))
        strays: set[str] = set()
        while batch := list(itertools.islice(objects, _BATCH)):
            names = {name.rpartition("/")[2].removesuffix(".pack"): name for name in batch}
            with self._catalog.read() as connection:
                statement = sa.select(schema.pack.c.name).where(schema.pack.c.name.in_(list(names)))
                strays |= set(names.values()) - {names[known] for known in connection.scalars(statement)}
        patience = max(self._grace, LEASE_SECONDS)
        old = {name for name in strays if name in seen and seen[name] + patience <= self._now}
        old = {name for name in old if not self._is_foreign(name)}
        self._result.orphans += len(old)
        if self._result.dry_run:
            return
        for name in sorted(self._claim(old)):
            bucket.delete(name)
        self._delete_objects()
        settled = (set(seen) - strays) | old
        with self._catalog.write() as connection:
            for part in _parts(sorted(settled)):
                connection.execute(orphan.delete().where(orphan.c.name.in_(part)))
            fresh = sorted(strays - set(seen))
            if fresh:
                insert = self._catalog.upsert(orphan).on_conflict_do_nothing()
                connection.execute(insert, [{"name": name, "seen_at": self._now} for name in fresh])

    def _claim(self, names: set[str]) -> set[str]:
        """Give objects that are to go a row that says so, unless a writer gave them one meanwhile.

        Whoever would give them one later is told. Returns those that can have no row, by their name.
        """
        packs = {name: name.rpartition("/")[2].removesuffix(".pack") for name in names}
        others = {
            name for name, pack in packs.items() if object_name(pack) != name or len(pack) != _PACK_NAME
        }
        rows = [
            {"name": pack, "size": 0, "blocks": 0, "state": PackState.DELETING, "created_at": self._now}
            for name, pack in packs.items()
            if name not in others
        ]
        if rows:
            with self._catalog.write() as connection:
                self._catalog.serialize(connection, COLLECTION)
                connection.execute(self._catalog.upsert(schema.pack).on_conflict_do_nothing(), rows)
        return others

    def _is_foreign(self, name: str) -> bool:
        """Tell whether a pack says that it is another store's, as when two were given the same bucket."""
        try:
            header = decode_header(self._content.bucket.read(name, 0, HEADER_SIZE), name)
        except (IntegrityError, NotFoundError):
            return False
        except StoreTooNewError:
            return True
        if header.store_id == self._content.store_id:
            return False
        self._result.problems.append(
            f"pack {name} in {self._content.bucket.url} is another store's ({header.store_id}): it was left"
        )
        return True


def _parts(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Cut a list into parts that a statement has room for."""
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
