from __future__ import annotations

import io
import os
import uuid
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from artline.artifacts.artifact import Artifact
from artline.artifacts.references import download, s3
from artline.artifacts.store import ArtifactStore
from artline.errors import IntegrityError, SourceNotFoundError, UsageError

MIB = 1 << 20


class Bucket:
    """A bucket of its own, which keeps versions if it is told to."""

    def __init__(self, *, versioned: bool) -> None:
        self.client = botocore.session.get_session().create_client("s3")
        self.name = f"b{uuid.uuid4().hex[:12]}"
        self.url = f"s3://{self.name}"
        self.client.create_bucket(Bucket=self.name)
        if versioned:
            self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})

    def put(self, key: str, content: bytes) -> str:
        """Write an object and return its version id."""
        made = self.client.put_object(Bucket=self.name, Key=key, Body=content)
        return str(made.get("VersionId", ""))

    def put_in_parts(self, key: str, parts: list[bytes]) -> None:
        """Write an object in parts, so that its ETag is not the MD5 of its content."""
        where = {"Bucket": self.name, "Key": key}
        upload = self.client.create_multipart_upload(**where)["UploadId"]
        done = []
        for number, part in enumerate(parts, 1):
            made = self.client.upload_part(**where, UploadId=upload, PartNumber=number, Body=part)
            done.append({"PartNumber": number, "ETag": made["ETag"]})
        self.client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": done})


@pytest.fixture
def bucket(s3_url: str) -> Bucket:
    return Bucket(versioned=False)


@pytest.fixture
def versions(s3_url: str) -> Bucket:
    return Bucket(versioned=True)


def refer(store: ArtifactStore, uri: str, **options: Any) -> Artifact:
    artifact = Artifact("objects", "dataset", store=store)
    artifact.add_reference(uri, **options)
    return store.log(artifact, project="p")


def test_a_version_that_was_recorded_is_the_one_that_is_read(
    store: ArtifactStore, versions: Bucket, tmp_path: Path
) -> None:
    first = versions.put("set/a.txt", b"alpha")
    versions.put("set/sub/b.txt", b"beta")
    version = refer(store, f"{versions.url}/set")
    assert [(e.path, e.size) for e in version.files()] == [("a.txt", 5), ("sub/b.txt", 4)]
    entry = version.get_entry("a.txt")
    assert entry.ref == f"{versions.url}/set/a.txt"
    assert entry.reference is not None
    assert (entry.reference.version, bool(entry.reference.etag)) == (first, True)
    second = versions.put("set/a.txt", b"ALPHA and more")
    versions.client.delete_object(Bucket=versions.name, Key="set/sub/b.txt")
    out = version.download(tmp_path / "out")
    assert (out / "a.txt").read_bytes() == b"alpha"
    assert (out / "sub" / "b.txt").read_bytes() == b"beta"
    with version.open("a.txt") as stream:
        assert stream.read() == b"alpha"
    later = refer(store, f"{versions.url}/set")
    assert [(e.path, e.reference and e.reference.version) for e in later.files()] == [("a.txt", second)]
    old = refer(store, f"{versions.url}/set/a.txt?versionId={first}")
    assert [(e.path, e.ref, e.size) for e in old.files()] == [("a.txt", f"{versions.url}/set/a.txt", 5)]
    assert (old.download(tmp_path / "old") / "a.txt").read_bytes() == b"alpha"


def test_a_version_that_is_gone_is_named_unless_its_content_is_there_again(
    store: ArtifactStore, versions: Bucket, tmp_path: Path
) -> None:
    first = versions.put("a.txt", b"alpha")
    version = refer(store, f"{versions.url}/a.txt")
    second = versions.put("a.txt", b"ALPHA")
    versions.client.delete_object(Bucket=versions.name, Key="a.txt", VersionId=first)
    with pytest.raises(IntegrityError, match=r"its (checksum|ETag) differs \(recorded \w+, found \w+\)"):
        version.download(tmp_path / "out")
    versions.put("a.txt", b"alpha")
    assert (version.download(tmp_path / "out") / "a.txt").read_bytes() == b"alpha"
    for listed in versions.client.list_object_versions(Bucket=versions.name)["Versions"]:
        versions.client.delete_object(Bucket=versions.name, Key="a.txt", VersionId=listed["VersionId"])
    assert second
    with pytest.raises(IntegrityError, match=rf"is gone \(recorded 5 bytes, ETag \w+, version {first}"):
        version.download(tmp_path / "again")
    with pytest.raises(SourceNotFoundError):
        refer(store, f"{versions.url}/a.txt?versionId={first}")


def test_a_long_listing_comes_whole_or_not_at_all(store: ArtifactStore, bucket: Bucket) -> None:
    for number in range(25):
        bucket.put(f"set/{number % 3}/{number:02}", b"%d" % number)
    bucket.put("set/", b"")
    bucket.put("settled", b"not below set/")

    real, asked = s3.call, []

    def small(fs: Any, method: str, **options: Any) -> Any:
        asked.append(method)
        return real(fs, method, **options, **({"MaxKeys": 10} if method.startswith("list") else {}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3, "call", small)
        version = refer(store, f"{bucket.url}/set/")
        assert version.file_count == 25
        assert asked.count("list_objects_v2") == 3
        asked.clear()
        with pytest.raises(UsageError, match="more than max_objects=8 objects"):
            refer(store, f"{bucket.url}/set", max_objects=8)
        assert asked.count("list_objects_v2") == 1
    assert [e.path for e in refer(store, f"{bucket.url}/settled").files()] == ["settled"]


def test_versions_are_found_one_by_one_where_they_may_not_be_listed(
    store: ArtifactStore, versions: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = versions.put("set/a.txt", b"alpha")
    real = s3.call

    def refuse(fs: Any, method: str, **options: Any) -> Any:
        if method == "list_object_versions":
            raise PermissionError("AccessDenied")
        return real(fs, method, **options)

    monkeypatch.setattr(s3, "call", refuse)
    (entry,) = refer(store, f"{versions.url}/set").files()
    assert entry.reference is not None
    assert (entry.reference.version, entry.size) == (first, 5)


def test_an_object_put_in_parts_is_read_again_as_its_etag_tells_no_content(
    store: ArtifactStore, bucket: Bucket, tmp_path: Path
) -> None:
    parts = [os.urandom(5 * MIB), b"end"]
    bucket.put_in_parts("large", parts)
    version = refer(store, f"{bucket.url}/large")
    out = version.download(tmp_path / "out")
    assert (out / "large").read_bytes() == b"".join(parts)
    (out / "large").write_bytes(b"".join(parts)[::-1])
    version.download(out)
    assert (out / "large").read_bytes() == b"".join(parts)


def test_a_folder_of_another_version_is_not_taken_for_right(
    store: ArtifactStore, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("a.txt", b"alpha")
    first = refer(store, f"{bucket.url}/a.txt")
    first.download(tmp_path / "out")
    bucket.put("a.txt", b"ALPHA")
    second = refer(store, f"{bucket.url}/a.txt")
    assert not second.compare(tmp_path / "out").ok
    second.download(tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"ALPHA"
    assert second.compare(tmp_path / "out").ok


def test_a_broken_connection_goes_on_where_it_broke(
    store: ArtifactStore, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(10 * MIB)
    bucket.put("large", content)
    bucket.put("empty", b"")
    version = refer(store, bucket.url)
    real, ranges = s3.call, []

    class Torn(io.BytesIO):
        async def read(self, size: int = -1) -> bytes:  # type: ignore[override]
            if self.tell() >= 3 * MIB:
                raise ConnectionError("torn")
            return super().read(size)

    def tear(fs: Any, method: str, **options: Any) -> Any:
        answer = real(fs, method, **options)
        if method == "get_object" and options["Key"] == "large":
            ranges.append(options.get("Range"))
            if len(ranges) < 3:
                start = int(ranges[-1][6:-1]) if ranges[-1] else 0
                answer["Body"] = Torn(content[start:])
        return answer

    monkeypatch.setattr(s3, "call", tear)
    monkeypatch.setattr(download, "FIRST_WAIT", 0.001)
    out = version.download(tmp_path / "out")
    assert (out / "large").read_bytes() == content
    assert (out / "empty").read_bytes() == b""
    assert ranges == [None, f"bytes={3 * MIB}-", f"bytes={6 * MIB}-"]
    with version.open("large") as stream:
        stream.seek(-5, io.SEEK_END)
        assert stream.read() == content[-5:]


def test_content_that_is_not_what_its_etag_says_is_refused(
    store: ArtifactStore, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("a.txt", b"alpha")
    version = refer(store, f"{bucket.url}/a.txt")
    real = s3.call

    class Wrong(io.BytesIO):
        async def read(self, size: int = -1) -> bytes:  # type: ignore[override]
            return super().read(size)

    def damage(fs: Any, method: str, **options: Any) -> Any:
        answer = real(fs, method, **options)
        if method == "get_object":
            answer["Body"] = Wrong(b"alphA")
        return answer

    monkeypatch.setattr(s3, "call", damage)
    with pytest.raises(IntegrityError, match=r"its content differs \(recorded md5:\w+, found md5:\w+\)"):
        version.download(tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_a_bucket_that_is_not_there(store: ArtifactStore, bucket: Bucket) -> None:
    with pytest.raises(SourceNotFoundError):
        refer(store, f"s3://nothing{uuid.uuid4().hex}/a")
    with pytest.raises(ClientError):
        bucket.client.head_bucket(Bucket="nothing-there")
