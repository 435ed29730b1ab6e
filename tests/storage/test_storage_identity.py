"""One bucket, one store: of several catalogs one gets a new bucket, whatever the service can do."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from artline.errors import StoreUnavailableError, UsageError
from artline.settings import load_settings
from artline.storage.bucket import Bucket, MemoryBucket, open_bucket
from artline.storage.catalog import Catalog, sqlite_url
from artline.storage.claims import create_by_claim
from artline.storage.content import ContentStore
from artline.storage.digest import Algorithm
from artline.storage.gc import collect
from artline.storage.identity import identify
from artline.storage.retry import Patience

CREATORS = 3


@pytest.fixture(params=["s3_url", "rclone_url"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    return open_bucket(request.getfixturevalue(request.param))


def test_of_several_catalogs_one_gets_the_bucket(bucket: Bucket, tmp_path: Path) -> None:
    catalogs = [Catalog.open(sqlite_url(tmp_path / f"{number}.db")) for number in range(CREATORS)]
    start = threading.Barrier(CREATORS)

    def make(catalog: Catalog) -> str:
        start.wait()
        try:
            return str(identify(catalog, bucket, Algorithm.BLAKE3)["id"])
        except UsageError:
            return ""

    with ThreadPoolExecutor(CREATORS) as pool:
        ids = list(pool.map(make, catalogs))
    stored = json.loads(bucket.read("store.json"))["id"]
    assert sorted(ids) == ["", "", stored]
    winner = catalogs[ids.index(stored)]
    assert identify(winner, bucket, Algorithm.BLAKE3)["id"] == stored
    for catalog in catalogs:
        if catalog is not winner:
            with pytest.raises(UsageError, match=r"belongs to another store.*fsck --repair"):
                identify(catalog, bucket, Algorithm.BLAKE3)
        catalog.close()


def test_a_store_that_was_cut_off_in_the_making_is_finished(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = Catalog.open(sqlite_url(tmp_path / "catalog.db"))
    bucket = open_bucket(s3_url)
    with monkeypatch.context() as patch:
        patch.setattr("artline.storage.identity.parse_identity", _crash_after(1))
        with pytest.raises(KeyboardInterrupt):
            identify(catalog, bucket, Algorithm.BLAKE3)
    with monkeypatch.context() as patch:
        real = bucket.create

        def create(name: str, data: bytes) -> bool:
            real(name, data)
            raise KeyboardInterrupt

        patch.setattr(bucket, "create", create)
        with pytest.raises(KeyboardInterrupt):
            identify(catalog, bucket, Algorithm.BLAKE3)
    stored = bucket.read("store.json")
    assert identify(catalog, bucket, Algorithm.BLAKE3)["id"] == json.loads(stored)["id"]
    catalog.close()


def test_claims_that_nobody_withdraws() -> None:
    bucket = MemoryBucket()
    bucket.put("store.json.claims/dead", b"")
    with pytest.raises(StoreUnavailableError, match=r"delete the object 'store\.json\.claims/dead'"):
        create_by_claim(bucket, "store.json", b"x", Patience(retry=0.01))
    assert [name for name, _ in bucket.list()] == ["store.json.claims/dead"]
    bucket.put("store.json", b"y")
    assert not create_by_claim(bucket, "store.json", b"x", Patience(retry=0.01))


def test_a_collection_spares_the_packs_of_another_store(s3_url: str, tmp_path: Path) -> None:
    mine = ContentStore.open(load_settings(root=tmp_path / "mine", bucket=s3_url))
    other = ContentStore.open(load_settings(root=tmp_path / "other", bucket=f"{s3_url}-other"))
    with other.writer() as writer:
        writer.add_bytes(b"somebody else's")
        writer.flush()
    ((pack, _),) = other.bucket.list("packs/")
    mine.bucket.put(pack, other.bucket.read(pack))
    mine.bucket.put("packs/00/junk.pack", b"no pack at all")
    for _ in range(2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("artline.storage.gc.LEASE_SECONDS", 0.0)
            done = collect(mine, lambda: iter(()), grace=timedelta(0), dry_run=False)
    assert [name for name, _ in mine.bucket.list("packs/")] == [pack]
    assert done.orphans == 1
    assert [sentence for sentence in done.problems if pack in sentence and "another store" in sentence]
    mine.catalog.close()
    other.catalog.close()


def _crash_after(calls: int) -> object:
    left = calls

    def crash(*_: object) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise KeyboardInterrupt

    return crash
