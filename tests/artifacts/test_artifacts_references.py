from __future__ import annotations

import contextlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from artline.artifacts.artifact import Artifact
from artline.artifacts.audit import audit_content
from artline.artifacts.paths import check_path
from artline.artifacts.references import listing
from artline.artifacts.store import ArtifactStore
from artline.errors import (
    AuthError,
    IntegrityError,
    InvalidPathError,
    MissingExtraError,
    SourceNotFoundError,
    UsageError,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data with space"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("alpha")
    (folder / "sub" / "b.txt").write_text("beta")
    return folder


def refer(store: ArtifactStore, uri: str, **options: Any) -> Artifact:
    artifact = Artifact("refs", "dataset", store=store)
    artifact.add_reference(uri, **options)
    return store.log(artifact, project="p")


@pytest.mark.parametrize("form", ["as_uri", "plain"])
def test_files_are_referred_to_without_being_stored(
    store: ArtifactStore, data: Path, tmp_path: Path, form: str
) -> None:
    version = refer(store, data.as_uri() if form == "as_uri" else f"file://{data}", name="raw")
    assert [entry.path for entry in version.files()] == ["raw/a.txt", "raw/sub/b.txt"]
    entry = version.get_entry("raw/a.txt")
    assert (entry.ref, entry.size, entry.blob) == (f"file://{data}/a.txt", 5, None)
    assert entry.digest.startswith("blake3:")
    assert version.size == 9
    out = version.download(tmp_path / "out")
    assert (out / "raw" / "sub" / "b.txt").read_text() == "beta"
    version.verify(out)
    with version.open("raw/a.txt") as stream:
        assert stream.read() == b"alpha"


def test_a_single_object_gets_its_own_name(store: ArtifactStore, data: Path) -> None:
    assert [e.path for e in refer(store, f"file://{data}/a.txt").files()] == ["a.txt"]
    assert [e.path for e in refer(store, f"file://{data}/a.txt", name="x/y").files()] == ["x/y"]


@pytest.mark.parametrize("checksum", [True, False])
def test_a_changed_target_is_named(store: ArtifactStore, data: Path, tmp_path: Path, checksum: bool) -> None:
    version = refer(store, f"file://{data}", checksum=checksum)
    os.utime(data / "a.txt", ns=(1, 1))
    if checksum:
        version.download(tmp_path / "touched")
    (data / "a.txt").write_text("ALPHA")
    with pytest.raises(IntegrityError, match=r"a\.txt', which entry 'a.txt' refers to, has changed"):
        version.download(tmp_path / "out")
    assert not (tmp_path / "out" / "a.txt").exists()
    assert os.listdir(tmp_path / "out") in ([], ["sub"])


def test_a_vanished_target_is_named_or_left_out(store: ArtifactStore, data: Path, tmp_path: Path) -> None:
    version = refer(store, f"file://{data}")
    (data / "a.txt").unlink()
    with pytest.raises(IntegrityError, match=r"a\.txt', which entry 'a.txt' refers to, is gone"):
        version.download(tmp_path / "out")
    with pytest.raises(IntegrityError, match="is gone"):
        version.open("a.txt")
    with pytest.warns(
        UserWarning, match="1 of the referenced objects is gone and not written, first 'a.txt'"
    ):
        out = version.download(tmp_path / "out", allow_missing_references=True)
    assert (out / "sub" / "b.txt").read_text() == "beta"
    assert not (out / "a.txt").exists()
    (data / "a.txt").write_text("other")
    with pytest.raises(IntegrityError, match=r"which entry .* refers to, has changed"):
        version.download(tmp_path / "out", allow_missing_references=True)


@pytest.mark.parametrize("checksum", [True, False])
def test_an_audit_looks_at_what_is_referred_to(store: ArtifactStore, data: Path, checksum: bool) -> None:
    draft = Artifact("mixed", "dataset", store=store)
    draft.add_reference(f"file://{data}", checksum=checksum)
    draft.add_stream(io.BytesIO(b"stored"), "b")
    version = store.log(draft, project="p")
    done: list[tuple[int, int]] = []
    audit = audit_content(version, lambda files, size: done.append((files, size)))
    assert (audit.files, audit.size, audit.references, audit.faults) == (1, 6, 2, ())
    assert (sum(files for files, _ in done), sum(size for _, size in done)) == (3, 15)
    (data / "a.txt").write_text("ALPHA")  # of the same size
    (data / "sub" / "b.txt").unlink()
    first, second = audit_content(version).faults
    assert (first.path, second.path) == ("a.txt", "sub/b.txt")
    assert ("its content differs" if checksum else "its modification time differs") in first.reason
    assert "is gone" in second.reason


def test_objects_without_an_etag_are_recognised_by_their_content(
    store: ArtifactStore, tmp_path: Path
) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe({"/set/a": b"alpha", "/set/sub/b": b"beta"})
    version = refer(store, "memory://set")
    assert [(e.path, e.ref, e.size) for e in version.files()] == [
        ("a", "memory://set/a", 5),
        ("sub/b", "memory://set/sub/b", 4),
    ]
    assert version.get_entry("a").digest.startswith("blake3:")
    version.verify(version.download(tmp_path / "out"))
    with version.open("sub/b") as stream:
        assert stream.read() == b"beta"
    assert [e.path for e in refer(store, "memory://set/sub/b").files()] == ["b"]
    fs.pipe({"/set/a": b"ALPHA"})
    with pytest.raises(IntegrityError, match="its content differs"):
        version.download(tmp_path / "again")
    fs.pipe({"/set/a": b"longer"})
    with pytest.raises(IntegrityError, match="its size differs"):
        version.open("a")
    fs.rm("/set", recursive=True)


def test_nothing_to_refer_to_is_an_error(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="nowhere"):
        refer(store, f"file://{tmp_path}/nowhere")
    with pytest.raises(SourceNotFoundError, match="nowhere"):
        refer(store, "memory://nowhere/at/all")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(SourceNotFoundError, match="no objects"):
        refer(store, f"file://{tmp_path}/hollow")
    with pytest.raises(UsageError, match="is not an address"):
        refer(store, "nonsense://x")
    with pytest.raises(InvalidPathError):
        refer(store, f"file://{tmp_path}", name="../x")


def test_the_limit_on_objects_is_stated(store: ArtifactStore, data: Path) -> None:
    with pytest.raises(UsageError, match="more than max_objects=1 objects"):
        refer(store, f"file://{data}", max_objects=1)
    artifact = Artifact("refs", "dataset", store=store)
    assert artifact.add_reference(f"file://{data}", max_objects=2) == 2


def test_s3_objects_are_recognised_by_their_etag(store: ArtifactStore, s3_url: str, tmp_path: Path) -> None:
    import fsspec

    def put(name: str, text: str) -> None:
        fs, path = fsspec.url_to_fs(f"{s3_url}/{name}")
        with fs.open(path, "wb") as stream:
            stream.write(text.encode())

    put("set/a.txt", "alpha")
    put("set/sub/b.txt", "beta")
    version = refer(store, f"{s3_url}/set", name="s3")
    entry = version.get_entry("s3/a.txt")
    assert [e.path for e in version.files()] == ["s3/a.txt", "s3/sub/b.txt"]
    assert entry.ref == f"{s3_url}/set/a.txt"
    assert entry.reference is not None
    assert entry.reference.etag
    assert entry.digest == ""
    out = version.download(tmp_path / "out")
    assert (out / "s3" / "sub" / "b.txt").read_text() == "beta"
    put("set/a.txt", "ALPHA")
    with pytest.raises(IntegrityError, match="its ETag differs"):
        version.download(tmp_path / "again", path_prefix="s3/a.txt")
    fs, path = fsspec.url_to_fs(f"{s3_url}/set/sub/b.txt")
    fs.rm(path)
    with pytest.raises(IntegrityError, match="is gone"):
        version.download(tmp_path / "again", path_prefix="s3/sub")


@pytest.mark.parametrize("locked", ["/tree/sub", "/tree/sub/deep"])
def test_a_folder_that_cannot_be_listed_is_an_error_not_left_out(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, locked: str
) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/tree/a": b"1", "/tree/sub/b": b"2", "/tree/sub/deep/c": b"3"})
    listing = MemoryFileSystem.ls

    def ls(self: Any, path: str, *rest: Any, **options: Any) -> Any:
        if path.rstrip("/") == locked:
            raise PermissionError("AccessDenied")
        return listing(self, path, *rest, **options)

    try:
        draft = Artifact("refs", "dataset", store=store)
        assert draft.add_reference("memory://tree") == 3
        assert [entry.path for entry in draft.files()] == ["a", "sub/b", "sub/deep/c"]
        monkeypatch.setattr(MemoryFileSystem, "ls", ls)
        other = Artifact("refs", "dataset", store=store)
        with pytest.raises(AuthError, match="'memory://tree' may not be read"):
            other.add_reference("memory://tree")
        assert list(other.files()) == []
    finally:
        monkeypatch.undo()
        memory.rm("/tree", recursive=True)


def test_a_fetched_file_has_the_permissions_that_the_umask_leaves(
    store: ArtifactStore, data: Path, tmp_path: Path
) -> None:
    version = refer(store, f"file://{data}")
    before = os.umask(0o027)
    try:
        out = version.download(tmp_path / "out")
    finally:
        os.umask(before)
    assert (out / "a.txt").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in out.iterdir()) == ["a.txt", "sub"]


def test_links_and_empty_folders_of_a_folder_are_kept(
    store: ArtifactStore, data: Path, tmp_path: Path
) -> None:
    (data / "hollow").mkdir()
    (data / "again").symlink_to("sub/b.txt")
    version = refer(store, f"file://{data}")
    kinds = {entry.path: entry.kind.name for entry in version.files()}
    assert kinds == {
        "a.txt": "REFERENCE", "again": "LINK", "hollow": "FOLDER", "sub/b.txt": "REFERENCE"
    }  # fmt: skip
    out = version.download(tmp_path / "out")
    assert os.readlink(out / "again") == "sub/b.txt"
    version.verify(out)


def test_a_file_known_by_its_time_is_fetched_with_it(
    store: ArtifactStore, data: Path, tmp_path: Path
) -> None:
    first = refer(store, f"file://{data}/a.txt", checksum=False)
    out = first.download(tmp_path / "out")
    assert (out / "a.txt").stat().st_mtime_ns == (data / "a.txt").stat().st_mtime_ns
    (data / "a.txt").write_text("ALPHA")
    os.utime(data / "a.txt", ns=(1, 10**18))
    second = refer(store, f"file://{data}/a.txt", checksum=False)
    assert second.compare(out).changed == ("a.txt",)
    assert (second.download(out) / "a.txt").read_text() == "ALPHA"
    assert second.compare(out).ok


def test_both_sides_are_named(store: ArtifactStore, data: Path, tmp_path: Path) -> None:
    version = refer(store, f"file://{data}/a.txt", checksum=False)
    (data / "a.txt").write_text("longer")
    with pytest.raises(IntegrityError, match=r"its size differs \(recorded 5 bytes, found 6 bytes\)"):
        version.download(tmp_path / "out")
    (data / "a.txt").write_text("ALPHA")
    os.utime(data / "a.txt", ns=(1, 10**18))
    with pytest.raises(IntegrityError, match=r"recorded 20\d\d-.*, found 2001-09-09T01:46:40.000\+00:00"):
        version.download(tmp_path / "out")


@pytest.mark.parametrize(("scheme", "extra"), [("gs", "gs"), ("gcs", "gs"), ("az", "az"), ("abfs", "az")])
def test_an_extra_that_is_not_installed_is_named(store: ArtifactStore, scheme: str, extra: str) -> None:
    with pytest.raises(MissingExtraError, match=rf"Install it: pip install 'artline\[{extra}\]'"):
        refer(store, f"{scheme}://bucket/set")


def test_an_address_that_says_a_password_is_refused(store: ArtifactStore) -> None:
    with pytest.raises(UsageError, match="says a password") as failure:
        refer(store, "sftp://me:secret@host/data")
    assert "secret" not in str(failure.value)


def test_objects_inside_an_archive(store: ArtifactStore, data: Path, tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("set/a.txt", "alpha")
        stream.writestr("set/sub/b.txt", "beta")
    version = refer(store, f"zip://set::file://{archive}")
    assert [(e.path, e.ref) for e in version.files()] == [
        ("a.txt", f"zip://set/a.txt::file://{archive}"),
        ("sub/b.txt", f"zip://set/sub/b.txt::file://{archive}"),
    ]
    out = version.download(tmp_path / "out")
    assert (out / "sub" / "b.txt").read_text() == "beta"
    version.verify(out)
    with version.open("a.txt") as stream:
        assert stream.read() == b"alpha"


@given(path=st.text(st.characters(codec="utf-8"), max_size=40) | st.text("./%2eEfF\\\0:", max_size=20))
def test_whatever_an_address_ends_with_names_one_entry_or_none(path: str) -> None:
    with contextlib.suppress(UsageError):
        name = listing.own_name(f"https://host/{path}")
        check_path(name)
        assert "/" not in name
        assert os.path.dirname(os.path.normpath(os.path.join("/top", name))) == "/top"
