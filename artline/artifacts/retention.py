"""What versions need, and collecting what no version needs any more."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from artline.artifacts.shards import EntryKind, Row, decode_root, decode_shard
from artline.errors import IntegrityError, StoreFullError

if TYPE_CHECKING:
    from datetime import timedelta

    from artline.artifacts.drafts import DraftRecord
    from artline.artifacts.rules import Verdict
    from artline.artifacts.sealed_files import SealedSweep
    from artline.artifacts.store import ArtifactStore
    from artline.storage.content import ContentStore
    from artline.storage.gc import Collection
    from artline.storage.recipe import Blob

__all__ = ["Freed", "Retention", "collect", "live_chunks", "row_chunks", "version_chunks"]

BATCH = 4096


@dataclass(frozen=True, slots=True)
class Freed:
    """A deleted version whose content goes: its size, and the bytes of its files that no other has."""

    name: str
    deleted_at: float
    size: int
    unshared: int


@dataclass(frozen=True, slots=True)
class Retention:
    """What a collection freed, or would free: by version, and in the store as a whole.

    ``expired`` are the versions that a retention rule lets go, and those that stay nevertheless; ``drafts``
    are the distributed drafts that are given up; ``histories`` is what became of the files that histories of
    runs are sealed in.
    """

    versions: tuple[Freed, ...]
    collection: Collection
    histories: SealedSweep
    expired: tuple[Verdict, ...] = ()
    drafts: tuple[DraftRecord, ...] = ()


def collect(
    store: ArtifactStore,
    *,
    grace: timedelta | None = None,
    dry_run: bool = True,
    repack: bool = True,
    progress: Callable[[int, int], object] | None = None,
) -> Retention:
    """Delete what retention rules let go and give up expired drafts, and collect the content that no version
    and no draft has; dry by default.

    Nothing goes before it was found unneeded for ``grace`` (7 days by default); until then ``undelete``
    brings a version back. Safe beside writers. Memory stays bounded: what is needed is kept in a temporary
    table on disk. Raises IntegrityError, before anything goes, when a version's manifest cannot be read.
    """
    from artline.artifacts.drafts import expire_drafts
    from artline.artifacts.records import checkpoint
    from artline.artifacts.rules import expire
    from artline.artifacts.sealed_files import sweep_sealed
    from artline.storage.gc import GRACE
    from artline.storage.gc import collect as collect_chunks

    grace = GRACE if grace is None else grace
    expired = tuple(expire(store, dry_run=dry_run))
    drafts = tuple(expire_drafts(store, dry_run=dry_run))
    going = {verdict.id for verdict in expired if verdict.goes} if dry_run else set()
    with closing(_DigestSet()) as needed:

        def live() -> Iterator[list[bytes]]:
            for batch in live_chunks(store, without=going, without_drafts=drafts if dry_run else ()):
                needed.add(batch)
                if progress is not None:
                    progress(len(batch), 0)
                yield batch

        deleted = list(_deleted(store))
        if dry_run:
            collection = collect_chunks(store.content, live, grace=grace, repack=repack)
            freed = _freed(store, deleted, needed)
            own = _freed(store, list(_named(store, sorted(going))), needed)
        else:
            # What goes is named while it can still be read.
            for _ in live():
                pass
            own = freed = _freed(store, deleted, needed)
            collection = collect_chunks(store.content, live, grace=grace, dry_run=False, repack=repack)
            checkpoint(store.content)
    histories = sweep_sealed(store.content, grace=grace, dry_run=dry_run)
    unshared = {version.name: version.unshared for version in own}
    expired = tuple(replace(v, unshared=unshared.get(v.name, 0)) if v.goes else v for v in expired)
    return Retention(tuple(freed), collection, histories, expired, drafts)


def live_chunks(
    store: ArtifactStore, *, without: Set[int] = frozenset(), without_drafts: Sequence[DraftRecord] = ()
) -> Iterator[list[bytes]]:
    """Yield, in batches and each at least once, the chunks that versions in use, open drafts and runs need.

    Versions with an id in ``without`` count as if they were deleted, ``without_drafts`` as if given up.

    All are those of one moment, so that a draft that becomes a version is there as one or the other; what
    is committed later is protected by its writer's lease.
    """
    import sqlalchemy as sa

    from artline.artifacts.drafts import contribution_roots
    from artline.artifacts.run_files import kept_files
    from artline.artifacts.schema import artifact_version

    version = artifact_version.c
    query = sa.select(version.id, version.root).where(version.deleted_at.is_(None))
    with store.catalog.read() as conn:
        roots = {bytes(root): None for version_id, root in conn.execute(query) if version_id not in without}
        roots.update(dict.fromkeys(contribution_roots(conn, without=without_drafts)))
    with closing(_DigestSet()) as seen:
        for root in roots:
            yield from version_chunks(store.content, root, seen.new)
    for batch in kept_files(store.catalog):
        yield from _blob_chunks(store.content, [file.blob for file in batch])


def version_chunks(
    content: ContentStore, root: bytes, select: Callable[[Sequence[bytes]], Sequence[bytes]] | None = None
) -> Iterator[list[bytes]]:
    """Yield every chunk that a manifest needs: root, shards, and content with its recipes.

    ``select`` picks the shards to go into, so that those shared with another version need not be read again.
    """
    shards = [shard.digest for shard in decode_root(content.read(root)).shards]
    yield [root]
    chosen = list(dict.fromkeys(select(shards) if select is not None else shards))
    for start in range(0, len(chosen), 64):
        part = chosen[start : start + 64]
        yield part
        for _, data in content.read_many(part):
            yield from row_chunks(content, decode_shard(data))


def row_chunks(content: ContentStore, rows: Sequence[Row]) -> Iterator[list[bytes]]:
    """Yield the chunks that rows of a manifest need, recipes included."""
    from artline.storage.recipe import Blob

    files = [row for row in rows if row[1] <= EntryKind.EXECUTABLE]
    yield from _blob_chunks(content, [Blob(row[3], row[2], row[4] or None) for row in files])


def _blob_chunks(content: ContentStore, blobs: Sequence[Blob]) -> Iterator[list[bytes]]:
    plain = [blob.digest for blob in blobs if blob.recipe is None]
    if plain:
        yield plain
    for blob in blobs:
        if blob.recipe is not None:
            yield content.chunks(blob)


def _deleted(store: ArtifactStore) -> Iterable[tuple[str, float, int, bytes]]:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version

    version = artifact_version.c
    query = sa.select(version.id).where(version.deleted_at.is_not(None)).order_by(version.id)
    with store.catalog.read() as conn:
        ids = list(conn.execute(query).scalars())
    return _named(store, ids)


def _named(store: ArtifactStore, ids: Sequence[int]) -> Iterable[tuple[str, float, int, bytes]]:
    """Yield name, time of deletion (0 before it), size and root of versions."""
    from artline.artifacts.versions import load_versions

    with store.catalog.read() as conn:
        for record in load_versions(conn, ids):
            yield record.qualified_name, record.deleted_at or 0.0, record.size, record.root


def _freed(
    store: ArtifactStore, deleted: Sequence[tuple[str, float, int, bytes]], needed: _DigestSet
) -> list[Freed]:
    freed = []
    for name, deleted_at, size, root in deleted:
        try:
            unshared = _unshared(store.content, root, needed)
        except IntegrityError:
            continue  # collected before
        freed.append(Freed(name, deleted_at, size, unshared))
    return sorted(freed, key=lambda version: version.name)


def _unshared(content: ContentStore, root: bytes, needed: _DigestSet) -> int:
    total = 0
    shards = [shard.digest for shard in decode_root(content.read(root)).shards]
    with closing(_DigestSet()) as counted:
        for _, data in content.read_many(shards):
            files = [row for row in decode_shard(data) if row[1] <= EntryKind.EXECUTABLE]
            sizes = {row[4] or row[3]: row[2] for row in files}  # each by a chunk that it has for itself
            total += sum(sizes[digest] for digest in counted.new(needed.without(list(sizes))))
    return total


class _DigestSet:
    """Digests in a temporary table on disk."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA cache_size=-16384;"
            "CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID; BEGIN;"
        )

    def close(self) -> None:
        self._db.close()

    def add(self, digests: Iterable[bytes]) -> None:
        try:
            self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?)", zip(digests, strict=False))
        except sqlite3.OperationalError as error:
            raise StoreFullError(
                f"the temporary table of what is needed cannot grow: {error}. Free space in the folder for "
                "temporary files, or name another one in SQLITE_TMPDIR"
            ) from error

    def new(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return those that were not there, and add them."""
        fresh = list(dict.fromkeys(self.without(digests)))
        self.add(fresh)
        return fresh

    def without(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return those that are not there."""
        present: set[bytes] = set()
        pending = iter(digests)
        while part := list(islice(pending, 500)):
            marks = ",".join("?" * len(part))
            present.update(
                d for (d,) in self._db.execute(f"SELECT digest FROM seen WHERE digest IN ({marks})", part)
            )
        return [digest for digest in digests if digest not in present]
