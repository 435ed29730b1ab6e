"""Garbage collection: nothing needed goes, everything else does, beside writers and after crashes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from artline.errors import ConflictError
from artline.settings import load_settings
from artline.storage import gc as gc_module
from artline.storage import schema
from artline.storage.content import ContentStore
from artline.storage.fsck import check_packs
from artline.storage.gc import Collection, collect

NOW = timedelta(0)
NONE: list[Sequence[bytes]] = []


def put(store: ContentStore, *contents: bytes, release: bool = True) -> list[bytes]:
    with store.writer() as writer:
        digests = [writer.add_bytes(content).digest for content in contents]
        writer.flush()
        if release:
            writer.lease.release()
    return digests


def sweep(store: ContentStore, *live: bytes, grace: timedelta = NOW, repack: bool = False) -> Collection:
    return collect(store, lambda: [list(live)], grace=grace, dry_run=False, repack=repack)


class CollectionSuite:
    def test_what_is_needed_stays_and_the_rest_goes(self, store: ContentStore) -> None:
        (kept,), (dropped,) = put(store, b"kept"), put(store, b"dropped")
        result = sweep(store, kept)
        assert (result.deleted, result.live_chunks, result.dead_chunks) == (1, 1, 1)
        assert store.read(kept) == b"kept"
        assert store.missing([kept, dropped]) == {dropped}
        assert len(list(store.bucket.list("packs/"))) == 1

    def test_dry_run_changes_nothing(self, store: ContentStore) -> None:
        (digest,) = put(store, b"x")
        result = collect(store, lambda: NONE, grace=NOW)
        assert result.dry_run
        assert (result.deleted, result.freed_bytes > 0) == (1, True)
        assert store.read(digest) == b"x"

    def test_condemned_then_revived_by_a_version(self, store: ContentStore) -> None:
        (digest,) = put(store, b"x")
        week = timedelta(days=7)
        assert sweep(store, grace=week).condemned == 1
        assert store.read(digest) == b"x"
        assert sweep(store, digest, grace=week).revived == 1
        assert sweep(store, grace=week).deleted == 0

    def test_condemned_then_revived_by_a_writer(self, store: ContentStore) -> None:
        (digest,) = put(store, b"x")
        sweep(store, grace=timedelta(days=7))
        with store.writer() as writer:
            writer.add_bytes(b"x")
            writer.flush()
            assert writer.stats.new_chunks == 0
            assert sweep(store).deleted == 0
            assert store.read(digest) == b"x"
            writer.lease.release()
        assert sweep(store).deleted == 1

    def test_open_lease_protects(self, store: ContentStore) -> None:
        with store.writer() as writer:
            blob = writer.add_bytes(b"draft")
            writer.flush()
            assert sweep(store).pinned == 1
            assert store.read(blob.digest) == b"draft"

    def test_lease_that_ends_during_the_mark_protects(self, store: ContentStore) -> None:
        """A commit between mark and sweep: the mark did not see it, and its lease is over already."""
        writer = store.writer()
        blob = writer.add_bytes(b"committed during the mark")
        writer.flush()

        def mark() -> list[list[bytes]]:
            with store.catalog.write() as connection:
                writer.lease.check(connection)
                writer.lease.release(connection)
            return []

        assert collect(store, mark, grace=NOW, dry_run=False).deleted == 0
        writer.close()
        assert store.read(blob.digest) == b"committed during the mark"
        assert sweep(store).deleted == 1

    def test_expired_lease_ends_and_its_owner_is_told(self, store: ContentStore) -> None:
        writer = store.writer()
        writer.add_bytes(b"abandoned")
        writer.flush()
        with store.catalog.write() as connection:
            connection.execute(schema.lease.update().values(expires_at=1.0))
        assert sweep(store).deleted == 1
        with pytest.raises(ConflictError, match="ended"), store.catalog.write() as connection:
            writer.lease.check(connection)
        writer.close()

    def test_the_newest_collection_wins(self, store: ContentStore) -> None:
        put(store, b"x")

        def mark() -> list[list[bytes]]:
            sweep(store, grace=timedelta(days=7))
            return []

        with pytest.raises(ConflictError, match="another collection"):
            collect(store, mark, grace=NOW, dry_run=False)

    def test_sparse_pack_is_rewritten(self, store: ContentStore) -> None:
        contents = [os.urandom(10_000) for _ in range(20)]
        digests = put(store, *contents)
        result = sweep(store, *digests[3:6], repack=True)
        assert result.repacked == 1
        assert [store.read(digest) for digest in digests] == contents  # the old pack is only condemned
        result = sweep(store, *digests[3:6], repack=True)
        assert (result.deleted, result.repacked) == (1, 0)
        assert [store.read(digest) for digest in digests[3:6]] == contents[3:6]
        assert store.usage().chunks == 3
        assert check_packs(store, full=True).clean

    def test_rewriting_leaves_no_lease_behind(self, store: ContentStore) -> None:
        digests = put(store, *[os.urandom(10_000) for _ in range(20)])
        assert sweep(store, digests[0], repack=True).repacked == 1
        with store.catalog.read() as connection:
            open_leases = schema.lease.select().where(schema.lease.c.ended_epoch.is_(None))
            assert connection.execute(open_leases).all() == []
        for _ in range(2):
            result = sweep(store, repack=True)
        assert result.pinned == 0
        assert store.usage().chunks == 0

    def test_pack_of_small_chunks_that_are_all_needed_is_not_rewritten(self, store: ContentStore) -> None:
        digests = put(store, b"a", b"b", b"c")
        result = sweep(store, *digests, repack=True)
        assert (result.repacked, result.dead_chunks) == (0, 0)

    def test_pinned_pack_is_not_rewritten(self, store: ContentStore) -> None:
        digests = put(store, *[os.urandom(10_000) for _ in range(20)], release=False)
        assert sweep(store, digests[0], repack=True).repacked == 0

    def test_orphans_go_after_a_day(self, store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
        name = f"packs/ab/{'ab' * 16}.pack"
        store.bucket.put(name, b"left by a dead writer")
        assert sweep(store).orphans == 0
        assert sweep(store).orphans == 0
        with store.catalog.write() as connection:
            connection.execute(schema.orphan.update().values(seen_at=schema.orphan.c.seen_at - 90_000))
        assert sweep(store).orphans == 1
        assert not store.bucket.exists(name)

    def test_collection_that_died_is_finished(
        self, store: ContentStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(store, b"x")
        monkeypatch.setattr(gc_module._Collector, "_delete_objects", self._die)
        with pytest.raises(KeyboardInterrupt):
            sweep(store)
        monkeypatch.undo()
        assert check_packs(store).clean
        sweep(store)
        assert list(store.bucket.list("packs/")) == []

    calls = 0

    @classmethod
    def _die(cls, *_: object) -> None:
        cls.calls += 1
        if cls.calls == 2:
            cls.calls = 0
            raise KeyboardInterrupt


class TestEmbeddedCollection(CollectionSuite):
    pass


class TestPostgresCollection(CollectionSuite):
    @pytest.fixture
    def store(self, postgres_url: str, store_root: Path) -> ContentStore:
        return ContentStore.open(load_settings(catalog=postgres_url))


def test_store_against_a_dictionary(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two writers, commits, removals, collections and repacking, against a plain dictionary."""

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.store = ContentStore.open(load_settings(root=tmp_path_factory.mktemp("machine")))
            self.writers = [self.store.writer(), self.store.writer()]
            self.drafts: list[set[bytes]] = [set(), set()]
            self.flushed: list[set[bytes]] = [set(), set()]
            self.committed: dict[bytes, bytes] = {}
            self.contents: dict[bytes, bytes] = {}

        @rule(who=st.integers(0, 1), number=st.integers(0, 12))
        def add(self, who: int, number: int) -> None:
            content = b"%d" % number * 1000
            digest = self.writers[who].add_bytes(content).digest
            self.contents[digest] = content
            self.drafts[who].add(digest)

        @rule(who=st.integers(0, 1))
        def flush(self, who: int) -> None:
            self.writers[who].flush()
            self.flushed[who] |= self.drafts[who]
            self.drafts[who] = set()

        @rule(who=st.integers(0, 1))
        def commit(self, who: int) -> None:
            self.flush(who)
            with self.store.catalog.write() as connection:
                self.writers[who].lease.check(connection)
                self.writers[who].lease.release(connection)
            self.committed |= {digest: self.contents[digest] for digest in self.flushed[who]}
            self.restart(who)

        @rule(who=st.integers(0, 1))
        def restart(self, who: int) -> None:
            self.writers[who].close()
            self.writers[who] = self.store.writer()
            self.drafts[who], self.flushed[who] = set(), set()

        @rule(data=st.data())
        def remove(self, data: st.DataObject) -> None:
            if self.committed:
                del self.committed[data.draw(st.sampled_from(sorted(self.committed)))]

        @rule(days=st.sampled_from([0, 7]), repack=st.booleans())
        def collect(self, days: int, repack: bool) -> None:
            sweep(self.store, *self.committed, grace=timedelta(days=days), repack=repack)

        @invariant()
        def everything_needed_is_there(self) -> None:
            needed = set(self.committed).union(*self.flushed)
            assert dict(self.store.read_many(needed)) == {one: self.contents[one] for one in needed}

        def teardown(self) -> None:
            for writer in self.writers:
                writer.close()
            assert check_packs(self.store, full=True).clean
            self.store.catalog.close()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
