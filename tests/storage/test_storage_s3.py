"""The S3 bucket: the conformance suite with and without conditional writes, and a network that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from services.seaweed import Seaweed

from artline.errors import AuthError, NotFoundError, StoreUnavailableError, UsageError
from artline.storage.retry import Attempts, Patience
from artline.storage.s3 import S3Bucket
from artline.testing.buckets import BucketSuite
from artline.testing.proxy import FaultProxy, WireFault, every


class TestS3Bucket(BucketSuite):
    @pytest.fixture
    def bucket(self, s3_url: str) -> S3Bucket:
        return S3Bucket(s3_url)


class TestS3WithoutConditions(BucketSuite):
    @pytest.fixture
    def bucket(self, rclone_url: str) -> S3Bucket:
        return S3Bucket(rclone_url)


PART = 5 << 20  # services refuse smaller ones
CONTENT = os.urandom(PART + 17)
HASTE = Patience(timeout=0.25, retry=60)


@pytest.fixture
def proxy(seaweed: Seaweed, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(seaweed.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.mark.parametrize("fault", [fault for fault in WireFault if fault is not WireFault.TRICKLE])
def test_everything_succeeds_on_a_bad_network(
    fault: WireFault, proxy: FaultProxy, s3_url: str, tmp_path: Path
) -> None:
    bucket = S3Bucket(s3_url, HASTE, part_size=PART)
    bucket.put("warm", b"up")
    stalls = fault in (WireFault.STALL_REQUEST, WireFault.STALL_ANSWER)
    proxy.script = every(3 if stalls else 2, fault)
    (tmp_path / "file").write_bytes(CONTENT)
    bucket.put_file("large", tmp_path / "file", move=True)
    bucket.put("small", b"x" * 1000)
    assert bucket.create("once", b"mine")
    assert not bucket.create("once", b"another's")
    assert bucket.read("large") == CONTENT
    assert bucket.read("large", 1000, PART) == CONTENT[1000 : 1000 + PART]
    buffer = bytearray(PART)
    assert bucket.read_into("large", PART, memoryview(buffer)) == 17
    assert bucket.read("once") == b"mine"
    bucket.delete("small")
    bucket.delete("small")
    assert proxy.faults[fault] > 2
    proxy.script = lambda _: None
    found = {name: size for name, size in bucket.list() if "claims" not in name and "probe" not in name}
    assert found == {"warm": 2, "large": len(CONTENT), "once": 4}


def test_a_trickle_is_given_up(proxy: FaultProxy, s3_url: str) -> None:
    bucket = S3Bucket(s3_url, HASTE)
    bucket.put("a", CONTENT)
    proxy.script = every(2, WireFault.TRICKLE)
    assert bucket.read("a", 0, 100_000) == CONTENT[:100_000]
    assert bucket.read("a", 0, 100_000) == CONTENT[:100_000]
    assert proxy.faults[WireFault.TRICKLE] == 1


def test_a_range_goes_on_where_it_stalled(proxy: FaultProxy, s3_url: str) -> None:
    bucket = S3Bucket(s3_url, HASTE)
    bucket.put("a", CONTENT)
    proxy.clear()
    stalls = iter([WireFault.STALL_ANSWER] * 3)
    proxy.script = lambda request: next(stalls, None)
    assert bucket.read("a") == CONTENT
    assert proxy.count("GET") == 4
    asked = [request.range for request in proxy.requests]
    assert [text.partition("-")[0] for text in asked[:2]] == ["", f"bytes={len(CONTENT) // 2}"]


def test_what_stays_away_is_named_with_a_remedy(proxy: FaultProxy, s3_url: str) -> None:
    bucket = S3Bucket(s3_url, Patience(timeout=0.1, retry=0.3))
    bucket.put("a", b"x")
    for fault in (WireFault.SLOW_DOWN, WireFault.RESET, WireFault.STALL_ANSWER):
        proxy.script = every(1, fault)
        with pytest.raises(StoreUnavailableError) as caught:
            bucket.read("packs/a")
        text = caught.value.message
        assert f"{s3_url} is out of reach: 'packs/a' failed" in text
        assert "ART_BUCKET_RETRY" in text


def test_an_address_that_never_answered_is_given_up_soon(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreUnavailableError, match="AWS_ENDPOINT_URL"):
        S3Bucket(s3_url, Patience(1, 0.2)).put("a", b"x")
    waits: list[float] = []
    clock = iter(range(1000))
    attempts = Attempts(Patience(), known=False, wait=waits.append, clock=lambda: float(next(clock)))
    while attempts.again():
        pass
    assert len(waits) == 10


@pytest.mark.parametrize("least", [0.0, 4.0])
def test_waits_grow_with_jitter_up_to_a_limit(least: float) -> None:
    waits: list[float] = []
    attempts = Attempts(Patience(retry=1e9), wait=waits.append, clock=lambda: sum(waits))
    for _ in range(200):
        assert attempts.again(least)
    assert all(least <= wait <= max(least, min(10, 0.1 * 2**number)) for number, wait in enumerate(waits))
    assert len(set(waits)) > 100
    assert sum(waits[100:]) / 100 > 3
    attempts.progressed()
    assert attempts.again()
    assert waits[-1] <= 0.1


def test_patience_ends() -> None:
    waits: list[float] = []
    attempts = Attempts(Patience(retry=30), wait=waits.append, clock=lambda: sum(waits))
    while attempts.again():
        pass
    assert sum(waits) == pytest.approx(30)


def test_wrong_credentials_and_names_are_said_at_once(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError, match=r"bucket of .* does not exist\. Create it first"):
        S3Bucket("s3://there-is-no-such-bucket/x").read("a")
    with pytest.raises(UsageError, match="names no bucket"):
        S3Bucket("s3://")
    with pytest.raises(UsageError, match="Invalid bucket name"):
        S3Bucket("s3://no such/x").put("a", b"x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(AuthError, match=r"SignatureDoesNotMatch.*Check the credentials"):
        S3Bucket(s3_url).put("a", b"x")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AuthError, match="Unable to locate credentials"):
        S3Bucket(s3_url).put("a", b"x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "not a url")
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL"):
        S3Bucket(s3_url).put("a", b"x")


def test_uploads_that_were_cut_off_are_swept(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = S3Bucket(s3_url)
    client = bucket._connection().client
    where = {"Bucket": s3_url.split("/")[2], "Key": f"{s3_url.split('/')[3]}/packs/aa/x.pack"}
    upload = client.create_multipart_upload(**where)["UploadId"]
    client.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"x")
    assert bucket.sweep_staging() == 0
    monkeypatch.setattr("artline.storage.s3._ABANDONED", -60.0)
    assert bucket.sweep_staging() == 1
    assert bucket.sweep_staging() == 0


def test_parts_need_little_memory(s3_url: str, tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(80 << 20)
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom artline.storage.s3 import S3Bucket\n"
        "bucket = S3Bucket(sys.argv[1])\nbucket.put('small', b'x')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "bucket.put_file('large', Path(sys.argv[2]))\n"
        "assert bucket.size('large') == 80 << 20\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", code, s3_url, str(tmp_path / "sparse")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 24 << 10
