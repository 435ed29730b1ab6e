"""Collections, checks and repairs that meet writers half-way."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from artline.errors import ArtlineError, ConflictError, StoreLockedError
from artline.settings import load_settings
from artline.storage import fsck, index, schema
from artline.storage.catalog import sqlite_url
from artline.storage.content import ContentStore
from artline.storage.fsck import check_packs, rebuild_index
from artline.storage.gc import Collection, collect
from artline.storage.index import SealedPack
from artline.storage.lease import Lease
from artline.storage.pack import BLOCK_SIZE, ENTRY, HEADER_SIZE, Codec, Kind
from artline.storage.writer import ContentWriter

NOW = timedelta(0)


def put(store: ContentStore, *contents: bytes) -> list[bytes]:
    with store.writer() as writer:
        digests = [writer.add_bytes(content).digest for content in contents]
        writer.flush()
        writer.lease.release()
    return digests


def sweep(store: ContentStore, *live: bytes, repack: bool = False) -> Collection:
    return collect(store, lambda: [list(live)], grace=NOW, dry_run=False, repack=repack)


def end_packs(writer: ContentWriter) -> None:
    """Bring what a writer has into the bucket, without rows yet: as after every full pack."""
    writer._store_arena()
    assert writer._sink is not None
    writer._sink.seal()
    writer._unregistered += writer._sink.take(wait=True)


def pack_of(*digests: bytes) -> SealedPack:
    """Return a pack with another copy of chunks; nobody reads it."""
    entries = b"".join(ENTRY.pack(digest, HEADER_SIZE, 1, 1, Kind.DATA, Codec.RAW) for digest in digests)
    size = HEADER_SIZE + BLOCK_SIZE + 1
    return SealedPack(os.urandom(16).hex(), size, entries, time.monotonic(), time.time())


class InterleavingSuite:
    """What holds with either catalog."""

    @pytest.fixture
    def collector(self, store: ContentStore, url: str, tmp_path: Path) -> ContentStore:
        """Return the same store, opened by another client that has no patience."""
        return ContentStore.open(
            load_settings(
                root=tmp_path / "collector",
                catalog=url,
                bucket=str(store.root / "bucket"),
                lock_timeout=0.2,
            )
        )

    @pytest.fixture
    def interrupt(
        self, collector: ContentStore, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., Callable[[], None]]:
        """Return a function that lets a collection try to run between finding chunks and locking packs."""

        def arrange(*live: bytes) -> Callable[[], None]:
            lock = index.lock_packs

            def late(connection: sa.Connection, packs: Sequence[int]) -> set[int]:
                with suppress(StoreLockedError):
                    sweep(collector, *live, repack=True)
                return lock(connection, packs)

            monkeypatch.setattr(index, "lock_packs", late)
            return monkeypatch.undo

        return arrange

    def test_chunk_does_not_move_while_its_pack_is_being_pinned(
        self, store: ContentStore, interrupt: Callable[..., Callable[[], None]]
    ) -> None:
        contents = [os.urandom(10_000) for _ in range(20)]
        digests = put(store, *contents)
        undo = interrupt(digests[0])
        with store.writer() as writer:
            assert store.missing(digests[:1], writer.lease) == set()
            undo()
            for _ in range(3):
                sweep(store, repack=True)  # only the lease needs it now
            writer.lease.renew()
            assert store.read(digests[0]) == contents[0]

    def test_chunk_does_not_move_while_a_pack_is_registered(
        self, store: ContentStore, interrupt: Callable[..., Callable[[], None]]
    ) -> None:
        contents = [os.urandom(10_000) for _ in range(20)]
        digests = put(store, *contents)
        undo = interrupt(digests[0])
        lease = Lease(store.catalog)
        store.register(lease, [pack_of(digests[0])])
        undo()
        for _ in range(3):
            sweep(store, repack=True)
        lease.renew()
        assert store.read(digests[0]) == contents[0]

    def test_first_collection_does_not_begin_during_a_commit(
        self, store: ContentStore, collector: ContentStore
    ) -> None:
        with store.writer() as writer:
            digest = writer.add_bytes(b"being committed").digest
            writer.flush()
            with store.catalog.write() as connection:
                writer.lease.check(connection)
                writer.lease.release(connection)
                with pytest.raises(StoreLockedError):
                    sweep(collector)
        sweep(store, digest)
        assert store.read(digest) == b"being committed"

    def test_writer_goes_on_after_a_rebuild_took_its_packs(self, store: ContentStore) -> None:
        with store.writer() as writer:
            digest = writer.add_bytes(b"sealed").digest
            end_packs(writer)
            assert rebuild_index(store).chunks == 1
            assert sweep(store).pinned == 1  # rebuilt packs stay, whatever the grace
            writer.flush()
            assert store.read(digest) == b"sealed"
        assert check_packs(store, full=True).clean

    def test_writer_is_told_that_a_rebuilt_pack_went(self, store: ContentStore) -> None:
        with store.writer() as writer:
            writer.add_bytes(b"sealed")
            end_packs(writer)
            rebuild_index(store)
            with store.catalog.write() as connection:
                connection.execute(schema.pack.update().values(state=schema.PackState.DELETING))
            with pytest.raises(ConflictError, match="collected"):
                writer.flush()

    def test_rebuild_that_finds_nothing_new_pins_nothing(self, store: ContentStore) -> None:
        put(store, b"known")
        rebuild_index(store)
        assert sweep(store).deleted == 1

    def test_check_beside_a_collection(self, store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
        put(store, b"dropped")
        check = fsck._check_pack

        def late(*arguments: object) -> None:
            sweep(store)
            check(*arguments)  # type: ignore[arg-type]  # passed through as they are

        monkeypatch.setattr(fsck, "_check_pack", late)
        for full in (False, True):
            (kept,) = put(store, b"dropped")
            report = check_packs(store, full=full)
            assert (report.clean, report.packs, report.chunks, report.bytes) == (True, 0, 0, 0)
            assert store.missing([kept]) == {kept}

    def test_rebuild_beside_a_collection(self, store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
        put(store, b"dropped")
        forget = fsck._forget_lost

        def late(content: ContentStore, objects: dict[str, int]) -> None:
            sweep(store)
            forget(content, objects)

        monkeypatch.setattr(fsck, "_forget_lost", late)
        result = rebuild_index(store)
        assert (result.packs, result.chunks, result.problems) == (0, 0, [])
        assert check_packs(store).clean

    def test_chunk_row_without_a_pack_is_replaced(self, store: ContentStore) -> None:
        lost, kept = put(store, b"lost", b"kept")
        with store.catalog.write() as connection:
            where = schema.chunk.c.digest == lost
            connection.execute(schema.chunk.update().where(where).values(pack_id=12345))
        with store.writer() as writer:
            assert [writer.add_bytes(content).digest for content in (b"lost", b"kept")] == [lost, kept]
            writer.flush()
            assert writer.stats.new_chunks == 1
        assert store.read(lost) == b"lost"
        assert check_packs(store, full=True).clean

    def test_damaged_pack_is_left_alone_and_the_others_are_not(self, store: ContentStore) -> None:
        spoilt = put(store, *[os.urandom(10_000) for _ in range(20)])
        sound = put(store, *[os.urandom(10_000) for _ in range(20)])
        put(store, b"dropped")
        stray = f"packs/ab/{'ab' * 16}.pack"
        store.bucket.put(stray, b"left by a dead writer")
        location = store.locate(spoilt[:1])[spoilt[0]]
        name = store.pack_object(location.pack_id)
        data = bytearray(store.bucket.read(name))
        data[location.position + BLOCK_SIZE] ^= 1
        store.bucket.put(name, bytes(data))
        result = sweep(store, spoilt[0], sound[0], repack=True)
        (problem,) = result.problems
        assert spoilt[0].hex() in problem
        assert (result.repacked, result.deleted) == (1, 1)
        assert store.read(spoilt[1])  # what is sound in it can still be read
        with store.catalog.read() as connection:
            assert connection.scalar(sa.select(schema.orphan.c.name)) == stray

    def test_any_number_of_orphans_settles(self, store: ContentStore) -> None:
        rows = [{"name": f"packs/{number}", "seen_at": 1.0} for number in range(70_000)]
        with store.catalog.write() as connection:
            connection.execute(schema.orphan.insert(), rows)
        sweep(store)
        with store.catalog.read() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(schema.orphan)) == 0

    def test_lease_whose_first_commit_was_not_acknowledged(self, store: ContentStore) -> None:
        (digest,) = put(store, b"x")
        lease = Lease(store.catalog)
        lease.renew()
        lease.expires_at, lease.pinned = 0.0, set()  # what it knows when the answer did not come
        assert store.missing([digest], lease) == set()
        assert sweep(store).pinned == 1
        assert store.read(digest) == b"x"

    def test_registration_that_was_not_acknowledged(self, store: ContentStore) -> None:
        with store.writer() as writer:
            digest = writer.add_bytes(b"x").digest
            end_packs(writer)
            packs = list(writer._unregistered)
            writer.flush()
            writer._unregistered = packs
            writer.flush()
            assert store.read(digest) == b"x"
        assert check_packs(store, full=True).clean


class TestEmbeddedInterleaving(InterleavingSuite):
    @pytest.fixture
    def url(self, store_root: Path) -> str:
        return sqlite_url(store_root / "catalog.db")

    def test_errors_of_other_databases_are_not_blamed_on_the_catalog(
        self, store: ContentStore, tmp_path: Path
    ) -> None:
        (tmp_path / "other").write_bytes(b"no database" * 1000)
        other = sqlite3.connect(tmp_path / "other")
        with pytest.raises(sqlite3.DatabaseError) as caught, store.catalog.read():
            other.execute("SELECT * FROM sqlite_master")
        assert not isinstance(caught.value, ArtlineError)
        other.close()


class TestPostgresInterleaving(InterleavingSuite):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url

    @pytest.fixture
    def store(self, url: str, store_root: Path) -> ContentStore:
        return ContentStore.open(load_settings(catalog=url))

    def test_commit_and_collection_do_not_wait_for_each_other(self, store: ContentStore) -> None:
        """The collection wants to end the very lease that the commit is about to release."""
        sweep(store)
        waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        with store.writer() as writer, ThreadPoolExecutor(1) as background:
            digest = writer.add_bytes(b"late").digest
            writer.flush()
            with store.catalog.write() as connection:
                connection.execute(schema.lease.update().values(expires_at=1.0))
            with store.catalog.write() as connection:
                writer.lease.check(connection)
                collection = background.submit(sweep, store, digest)
                while not connection.scalar(waiting) and not collection.done():
                    pass
                writer.lease.release(connection)
            assert collection.result().live_chunks == 1
        assert store.read(digest) == b"late"

    def test_writers_do_not_wait_for_each_other(self, store: ContentStore) -> None:
        with store.writer() as one, store.writer() as other:
            digests = [writer.add_bytes(b"x").digest for writer in (one, other)]
            other.flush()
            with one.lease.hold():
                other.lease.renew()
            one.flush()
        assert digests[0] == digests[1]
        assert store.read(digests[0]) == b"x"
