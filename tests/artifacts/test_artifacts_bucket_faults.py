"""Put, get, collect and check on failing buckets: nothing acknowledged is lost, nothing dangles."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from services.rclone import Rclone
from services.seaweed import Seaweed

from artline.artifacts.artifact import Artifact
from artline.artifacts.fsck import check
from artline.artifacts.repair import repair
from artline.artifacts.retention import collect
from artline.artifacts.store import ArtifactStore
from artline.errors import ArtlineError
from artline.settings import load_settings
from artline.storage.bucket import Bucket
from artline.testing.faults import BucketFault, FaultBucket, LateListBucket
from artline.testing.proxy import FaultProxy, WireFault, every

PROJECT = "p"
FILES = 28
STALLS = (WireFault.STALL_REQUEST, WireFault.STALL_ANSWER)
WIRE = [fault for fault in WireFault if fault is not WireFault.TRICKLE]


def content(version: int, size: int) -> dict[str, bytes]:
    """Return files of about so many bytes each, most of them as in the version before."""
    seeds = [number + (100 * version if number < version else 0) for number in range(FILES)]
    return {f"f{number}": random.Random(seed).randbytes(size + number) for number, seed in enumerate(seeds)}


class Acts:
    """What a user does with a store, and what was acknowledged."""

    def __init__(self, store: ArtifactStore, folder: Path, size: int = 2000) -> None:
        self.size = size
        self.store = store
        self.folder = folder
        self.kept: dict[str, int] = {}  # versions that were acknowledged and not deleted, and what is in them
        self.doubtful: list[int] = []  # made, said the error, though not all of what follows was
        self.failures: list[ArtlineError] = []
        self._numbers = itertools.count()

    def run(self, rounds: int = 3) -> None:
        for version in range(rounds):
            self.put(version)
            self.get()
        self.delete(min(self.kept, default=""))
        for _ in range(2):
            self.attempt(lambda: collect(self.store, grace=timedelta(0), dry_run=False))
        self.put(rounds)
        self.get()
        self.attempt(lambda: check(self.store, full=True))

    def attempt(self, act: Callable[[], object]) -> bool:
        """Do something; tell whether it failed though what was asked for had been done by then."""
        try:
            act()
        except ArtlineError as error:
            self.failures.append(error)
            return error.message.startswith("the change is made")
        return False

    def put(self, number: int) -> None:
        def log() -> None:
            draft = Artifact("data", "dataset", store=self.store)
            for path, data in content(number, self.size).items():
                draft.add_stream(io.BytesIO(data), path)
            self.kept[self.store.log(draft, project=PROJECT).version] = number

        if self.attempt(log):
            self.doubtful.append(number)

    def get(self) -> None:
        for version, number in self.kept.items():
            self.attempt(lambda version=version, number=number: self._compare(version, number))

    def delete(self, version: str) -> None:
        def remove() -> None:
            if version:
                self.store.delete(f"data:{version}", project=PROJECT, force=True)
                del self.kept[version]

        if self.attempt(remove):
            del self.kept[version]

    def assert_sound(self) -> None:
        """Check that all that was acknowledged is there, and nothing else is visible."""
        report = check(self.store, full=True)
        assert report.ok, report
        listed = [record for record in self.store.versions(PROJECT, "data") if record.deleted_at is None]
        doubtful = {f"v{record.number}" for record in listed} - set(self.kept)
        assert len(doubtful) == len(listed) - len(self.kept) == len(self.doubtful)
        whole = self.kept | dict(
            zip(sorted(doubtful, key=lambda name: int(name[1:])), self.doubtful, strict=True)
        )
        for version, number in whole.items():
            self._compare(version, number)

    def _compare(self, version: str, number: int) -> None:
        target = self.folder / f"out{next(self._numbers)}"
        self.store.use(f"data:{version}", project=PROJECT).download(target)
        found = {path.name: path.read_bytes() for path in target.iterdir()}
        assert found == content(number, self.size)


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make parts as small as services allow, and packs smaller; read everything from the bucket."""
    monkeypatch.setattr("artline.storage.sink.PACK_SIZE", 20_000)
    monkeypatch.setattr("artline.storage.s3.PART_SIZE", 5 << 20)
    monkeypatch.setenv("ART_CACHE_SIZE", "0")


@pytest.mark.parametrize(
    ("server", "fault"),
    [("seaweed", fault) for fault in WIRE]
    + [("rclone", fault) for fault in (WireFault.CUT_REQUEST, WireFault.DROP_ANSWER, WireFault.DUPLICATE)],
)
def test_a_bad_network_is_not_noticed(
    server: str,
    fault: WireFault,
    request: pytest.FixtureRequest,
    s3_url: str,
    store_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service: Seaweed | Rclone = request.getfixturevalue(server)
    monkeypatch.setattr("artline.storage.sink.PACK_SIZE", 32 << 20)
    monkeypatch.setenv("ART_BUCKET_TIMEOUT", "0.3" if fault in STALLS else "10")
    with FaultProxy(service.endpoint, every(6 if fault in STALLS else 3, fault)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        acts = Acts(ArtifactStore.open(load_settings(bucket=s3_url)), tmp_path, size=200_000)
        acts.run(2)
        assert [request for request in proxy.requests if "partNumber" in request.query]
        assert proxy.faults[fault] > 3
        assert not acts.failures
        assert len(acts.kept) == 2
        proxy.script = lambda _: None
        acts.assert_sound()
        acts.store.content.catalog.close()


def broken(store: ArtifactStore, fault: BucketFault, count: int) -> FaultBucket:
    """Let every ``count``-th call to the store's bucket fail, beyond all retries."""
    calls = itertools.count(1)
    bucket = FaultBucket(store.content.bucket, lambda *_: None if next(calls) % count else fault)
    store.content.bucket = bucket
    return bucket


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("fault", list(BucketFault))
def test_a_bucket_that_fails_for_good(
    fault: BucketFault, count: int, store: ArtifactStore, tmp_path: Path
) -> None:
    acts = Acts(store, tmp_path)
    acts.put(9)
    bucket = broken(store, fault, count)
    acts.run()
    assert bucket.made > 5
    assert acts.failures or fault in (BucketFault.TWICE, BucketFault.FLIPPED)
    store.content.bucket = bucket.bucket
    acts.assert_sound()


@pytest.mark.parametrize("lag", [1, 100])
def test_a_bucket_that_lists_late(lag: int, store: ArtifactStore, tmp_path: Path) -> None:
    own: Bucket = store.content.bucket
    store.content.bucket = LateListBucket(own, lag)
    acts = Acts(store, tmp_path)
    acts.run()
    assert not acts.failures
    acts.assert_sound()
    assert repair(store).report.ok
    acts.assert_sound()
    collect(store, dry_run=False)
    acts.assert_sound()
    store.content.bucket = own
    acts.assert_sound()
