from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobBlock, BlobServiceClient, ContainerClient
from services.azurite import Azurite

from artline.artifacts.artifact import Artifact
from artline.artifacts.references import azure
from artline.artifacts.store import ArtifactStore
from artline.errors import AuthError, IntegrityError, SourceNotFoundError, UsageError
from artline.settings import load_settings

LARGE = os.urandom(12 << 20)


@pytest.fixture(scope="module")
def server() -> Iterator[Azurite]:
    server = Azurite()
    yield server
    server.stop()


@pytest.fixture
def container(server: Azurite) -> Iterator[ContainerClient]:
    with (
        BlobServiceClient.from_connection_string(server.connection) as service,
        service.create_container(f"c{uuid.uuid4().hex[:12]}") as container,
    ):
        yield container


@pytest.fixture
def store(store_root: Path, server: Azurite, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", server.connection)
    return ArtifactStore.open(load_settings(root=store_root))


def refer(store: ArtifactStore, uri: str, **options: Any) -> Artifact:
    artifact = Artifact("blobs", "dataset", store=store)
    artifact.add_reference(uri, **options)
    return store.log(artifact, project="p")


@pytest.mark.parametrize("scheme", ["az", "abfs"])
def test_blobs_are_known_by_their_md5(
    store: ArtifactStore, container: ContainerClient, tmp_path: Path, scheme: str
) -> None:
    container.upload_blob("set/a.txt", b"alpha")
    container.upload_blob("set/sub/ü b.txt", b"beta")
    container.upload_blob("set/sub", b"", metadata={"hdi_isfolder": "true"})
    container.upload_blob("settled", b"not below set/")
    version = refer(store, f"{scheme}://{container.container_name}/set")
    assert [(e.path, e.size) for e in version.files()] == [("a.txt", 5), ("sub/ü b.txt", 4)]
    entry = version.get_entry("a.txt")
    assert entry.ref == f"{scheme}://{container.container_name}/set/a.txt"
    assert entry.reference is not None
    assert entry.reference.checksum == "md5:2c1743a391305fbf367df8e4f069f9f9"
    out = version.download(tmp_path / "out")
    assert (out / "sub" / "ü b.txt").read_bytes() == b"beta"
    version.verify(out)
    # What is said about a blob is not its content.
    container.get_blob_client("set/a.txt").set_blob_metadata({"seen": "yes"})
    version.download(tmp_path / "again")
    single = refer(store, f"{scheme}://{container.container_name}/set/a.txt")
    assert [(e.path, e.reference) for e in single.files()] == [("a.txt", entry.reference)]


def test_a_changed_or_vanished_blob_is_named(
    store: ArtifactStore, container: ContainerClient, tmp_path: Path
) -> None:
    container.upload_blob("a.txt", b"alpha")
    version = refer(store, f"az://{container.container_name}/a.txt")
    container.upload_blob("a.txt", b"ALPHA", overwrite=True)
    with pytest.raises(IntegrityError, match=r"its checksum differs \(recorded md5:2c17\w+, found md5:\w+\)"):
        version.download(tmp_path / "out")
    container.delete_blob("a.txt")
    with pytest.raises(IntegrityError, match=r"is gone \(recorded 5 bytes, found nothing\)"):
        version.download(tmp_path / "out")
    with pytest.raises(SourceNotFoundError):
        refer(store, f"az://{container.container_name}/nothing")


def test_a_blob_without_an_md5_is_known_by_its_etag(
    store: ArtifactStore, container: ContainerClient, tmp_path: Path
) -> None:
    def put() -> None:
        blob = container.get_blob_client("large")
        blob.stage_block("one", LARGE)
        blob.commit_block_list([BlobBlock("one")])

    put()
    version = refer(store, f"az://{container.container_name}/large")
    (entry,) = version.files()
    assert entry.reference is not None
    assert (entry.reference.checksum, bool(entry.reference.etag)) == ("", True)
    assert (version.download(tmp_path / "out") / "large").read_bytes() == LARGE
    with version.open("large") as stream:
        stream.seek(-7, io.SEEK_END)
        assert stream.read() == LARGE[-7:]
    put()
    with pytest.raises(IntegrityError, match=r"its ETag differs \(recorded \w+, found \w+\)"):
        version.download(tmp_path / "again")


def test_a_long_listing_comes_whole_or_not_at_all(
    store: ArtifactStore, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(25):
        container.upload_blob(f"set/{number:02}", b"%d" % number)
    monkeypatch.setattr(azure, "PAGE", 10)
    uri = f"az://{container.container_name}/set/"
    assert refer(store, uri).file_count == 25
    assert refer(store, f"az://{container.container_name}").file_count == 25
    with pytest.raises(UsageError, match="more than max_objects=24 objects"):
        refer(store, uri, max_objects=24)


def test_an_account_has_to_be_named(
    store: ArtifactStore, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    fsspec.get_filesystem_class("az").clear_instance_cache()
    with pytest.raises((AuthError, UsageError)):
        refer(store, f"az://{container.container_name}/a")
