"""Clocks that jump, and machines that sleep: what a collector takes for old may be a writer's newest pack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from artline.artifacts.fsck import check
from artline.artifacts.retention import collect as collect_artifacts
from artline.artifacts.store import ArtifactStore
from artline.errors import ConflictError
from artline.settings import load_settings
from artline.storage import gc
from artline.storage.catalog import Catalog
from artline.storage.content import ContentStore
from artline.storage.fsck import check_packs
from artline.storage.gc import Collection, collect
from artline.storage.writer import ContentWriter
from proof import workload
from proof.powerloss import read_everything

DAY = 86400.0


def sweep(store: ContentStore) -> Collection:
    return collect(store, list, grace=timedelta(0), dry_run=False)


def end_packs(writer: ContentWriter) -> None:
    """Bring what a writer has into the bucket, without rows yet: as after every full pack."""
    writer._store_arena()
    assert writer._sink is not None
    writer._sink.seal()
    writer._unregistered += writer._sink.take(wait=True)


class ClockSuite:
    """What holds with either catalog."""

    @pytest.fixture
    def store(self, url: str | None) -> Iterator[ContentStore]:
        store = ContentStore.open(load_settings(catalog=url))
        yield store
        store.catalog.close()

    @pytest.fixture
    def jump(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        """Return a function that moves the catalog's clock, and no monotonic one."""
        offset = 0.0
        now = Catalog.now

        def move(seconds: float) -> None:
            nonlocal offset
            offset += seconds

        monkeypatch.setattr(Catalog, "now", lambda self, connection: now(self, connection) + offset)
        monkeypatch.setattr(Catalog, "read_clock", lambda self: time.time() + offset)
        return move

    def test_packs_collected_while_the_writer_slept_are_not_acknowledged(
        self, store: ContentStore, jump: Callable[[float], None]
    ) -> None:
        with store.writer() as writer:
            writer.add_bytes(b"in the bucket, not in the catalog yet")
            end_packs(writer)
            sweep(store)
            jump(8 * DAY)
            assert sweep(store).orphans == 1
            with pytest.raises(ConflictError, match="collected"):
                writer.flush()
        assert check_packs(store, full=True).clean
        assert store.usage().chunks == 0

    def test_packs_that_are_still_there_after_a_jump_are_kept(
        self, store: ContentStore, jump: Callable[[float], None]
    ) -> None:
        with store.writer() as writer:
            digest = writer.add_bytes(b"in the bucket").digest
            end_packs(writer)
            sweep(store)
            jump(8 * DAY)
            writer.flush()
            assert sweep(store).orphans == 0
            assert store.read(digest) == b"in the bucket"
        assert check_packs(store, full=True).clean

    def test_a_pack_that_gets_its_row_during_the_sweep_stays(
        self, store: ContentStore, jump: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with store.writer() as writer:
            digest = writer.add_bytes(b"late").digest
            end_packs(writer)
            sweep(store)
            jump(8 * DAY)
            judged = gc._Collector._is_foreign

            def meanwhile(collector: gc._Collector, name: str) -> bool:
                writer.flush()  # after the collector has found it without a row, and old
                return judged(collector, name)

            monkeypatch.setattr(gc._Collector, "_is_foreign", meanwhile)
            sweep(store)
            monkeypatch.undo()
            assert store.read(digest) == b"late"
        assert check_packs(store, full=True).clean

    def test_a_jump_back_ends_nothing(self, store: ContentStore, jump: Callable[[float], None]) -> None:
        with store.writer() as writer:
            digest = writer.add_bytes(b"x").digest
            writer.flush()
            jump(-400 * DAY)
            for _ in range(3):
                assert sweep(store).pinned == 1
            writer.lease.renew()
            assert store.read(digest) == b"x"


class TestEmbeddedClock(ClockSuite):
    @pytest.fixture
    def url(self) -> None:
        return None


class TestPostgresClock(ClockSuite):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url


def test_processes_whose_clocks_are_set_to_and_fro(faketime: str, store_root: Path, tmp_path: Path) -> None:
    """Two at once, each at another time from one operation to the next, on one store."""
    workload.prepare(store_root)
    ContentStore.open(load_settings(root=store_root)).catalog.close()
    children = []
    for seed in (1, 2):
        clock = tmp_path / f"clock{seed}"
        clock.write_text("+0")
        environment = {
            "LD_PRELOAD": faketime,
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, "-m", "proof.skew", str(store_root), str(clock), str(seed)]
        children.append(
            subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
        )
    for child in children:
        told = json.loads(child.communicate()[0])
        assert child.returncode == 0
        assert told["days"] > 2  # the clocks did jump
        kinds = {one.partition(": ")[2] for one in told["refusals"]}
        # What the other deleted is not there; what was collected cannot come back; leases end.
        assert kinds <= {"artifact_not_found", "integrity", "conflict"}, told
    store = ArtifactStore.open(load_settings(root=store_root))
    for _ in range(2):
        assert check(store, full=True).ok
        read_everything(store, workload.visible(store))
        collect_artifacts(store, grace=timedelta(0), dry_run=False)
