from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.google import GoogleStorage

from artline.artifacts.artifact import Artifact
from artline.artifacts.references import google
from artline.artifacts.references.checksums import new_checksum
from artline.artifacts.store import ArtifactStore
from artline.errors import IntegrityError, SourceNotFoundError, UsageError
from artline.settings import load_settings

LARGE = os.urandom(20 << 20)


@pytest.fixture(scope="module")
def server() -> Iterator[GoogleStorage]:
    server = GoogleStorage()
    yield server
    server.stop()


@pytest.fixture
def store(store_root: Path, server: GoogleStorage, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return ArtifactStore.open(load_settings(root=store_root))


@pytest.fixture(params=["plain", "versioned"])
def bucket(server: GoogleStorage, request: pytest.FixtureRequest) -> str:
    name = f"b{uuid.uuid4().hex[:12]}"
    server.make_bucket(name, versioned=request.param == "versioned")
    return name


def refer(store: ArtifactStore, uri: str, **options: Any) -> Artifact:
    artifact = Artifact("objects", "dataset", store=store)
    artifact.add_reference(uri, **options)
    return store.log(artifact, project="p")


def test_objects_are_known_by_generation_and_md5(
    store: ArtifactStore, server: GoogleStorage, bucket: str, tmp_path: Path
) -> None:
    generation = server.put(bucket, "set/a.txt", b"alpha")
    server.put(bucket, "set/sub/ü b#1.txt", b"beta")
    server.put(bucket, "set/", b"")
    server.put(bucket, "settled", b"not below set/")
    version = refer(store, f"gs://{bucket}/set")
    assert [(e.path, e.size, e.digest) for e in version.files()] == [
        ("a.txt", 5, ""), ("sub/ü b#1.txt", 4, "")
    ]  # fmt: skip
    entry = version.get_entry("a.txt")
    assert entry.ref == f"gs://{bucket}/set/a.txt"
    assert entry.reference is not None
    assert entry.reference.version == generation
    assert entry.reference.checksum == "md5:2c1743a391305fbf367df8e4f069f9f9"
    out = version.download(tmp_path / "out")
    assert (out / "sub" / "ü b#1.txt").read_bytes() == b"beta"
    version.verify(out)
    (out / "a.txt").write_bytes(b"ALPHA")
    assert version.compare(out).changed == ("a.txt",)
    assert [e.path for e in refer(store, f"gcs://{bucket}/set/a.txt").files()] == ["a.txt"]


def test_large_objects_are_read_in_ranges(
    store: ArtifactStore, server: GoogleStorage, bucket: str, tmp_path: Path
) -> None:
    server.put(bucket, "large", LARGE)
    version = refer(store, f"gs://{bucket}/large")
    assert (version.download(tmp_path / "out") / "large").read_bytes() == LARGE
    with version.open("large") as stream:
        stream.seek(-7, io.SEEK_END)
        assert stream.read() == LARGE[-7:]


@pytest.mark.parametrize("bucket", ["plain"], indirect=True)
def test_a_changed_object_is_named_unless_its_content_is_the_same(
    store: ArtifactStore, server: GoogleStorage, bucket: str, tmp_path: Path
) -> None:
    server.put(bucket, "a.txt", b"alpha")
    version = refer(store, f"gs://{bucket}/a.txt")
    server.put(bucket, "a.txt", b"ALPHA")
    with pytest.raises(IntegrityError, match=r"its checksum differs \(recorded md5:2c17\w+, found md5:\w+\)"):
        version.download(tmp_path / "out")
    server.put(bucket, "a.txt", b"alpha")
    version.download(tmp_path / "out")
    server.remove(bucket, "a.txt")
    with pytest.raises(IntegrityError, match=r"is gone \(recorded 5 bytes, version \d+, found nothing\)"):
        version.download(tmp_path / "again")


@pytest.mark.parametrize("bucket", ["versioned"], indirect=True)
def test_the_generation_that_was_recorded_is_the_one_that_is_read(
    store: ArtifactStore, server: GoogleStorage, bucket: str, tmp_path: Path
) -> None:
    first = server.put(bucket, "set/a.txt", b"alpha")
    version = refer(store, f"gs://{bucket}/set")
    server.put(bucket, "set/a.txt", b"ALPHA and more")
    assert (version.download(tmp_path / "out") / "a.txt").read_bytes() == b"alpha"
    with version.open("a.txt") as stream:
        assert stream.read() == b"alpha"
    old = refer(store, f"gs://{bucket}/set/a.txt#{first}")
    assert [(e.path, e.ref, e.size) for e in old.files()] == [("a.txt", f"gs://{bucket}/set/a.txt", 5)]


@pytest.mark.parametrize("bucket", ["plain"], indirect=True)
def test_a_long_listing_comes_whole_or_not_at_all(
    store: ArtifactStore, server: GoogleStorage, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(25):
        server.put(bucket, f"set/{number:02}", b"%d" % number)
    monkeypatch.setattr(google, "PAGE", 10)
    assert refer(store, f"gs://{bucket}/set").file_count == 25
    with pytest.raises(UsageError, match="more than max_objects=24 objects"):
        refer(store, f"gs://{bucket}/set", max_objects=24)
    with pytest.raises(SourceNotFoundError):
        refer(store, f"gs://{bucket}/nothing")
    with pytest.raises(SourceNotFoundError):
        refer(store, "gs://nothing-there/a")


@pytest.mark.parametrize("bucket", ["plain"], indirect=True)
def test_a_composed_object_is_known_by_its_crc32c(
    store: ArtifactStore, server: GoogleStorage, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checksum = new_checksum("crc32c")
    assert checksum is not None
    checksum.update(b"123456789")
    assert checksum.hexdigest() == "e3069283"
    real = google._described

    def composed(uri: str, item: dict[str, Any]) -> Any:
        return real(uri, {name: value for name, value in item.items() if name != "md5Hash"})

    monkeypatch.setattr(google, "_described", composed)
    server.put(bucket, "a.txt", b"alpha")
    version = refer(store, f"gs://{bucket}/a.txt")
    (entry,) = version.files()
    assert entry.reference is not None
    assert entry.reference.checksum.startswith("crc32c:")
    out = version.download(tmp_path / "out")
    version.verify(out)
    (out / "a.txt").write_bytes(b"ALPHA")
    assert version.compare(out).changed == ("a.txt",)
