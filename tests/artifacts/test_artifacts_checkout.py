from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from artline.artifacts.artifact import Artifact
from artline.artifacts.checkout import check_out
from artline.artifacts.manifest import Manifest, Row
from artline.artifacts.shards import EntryKind
from artline.artifacts.store import ArtifactStore
from artline.errors import (
    ConflictError,
    EntryNotFoundError,
    IntegrityError,
    InvalidPathError,
    StoreUnavailableError,
)
from artline.storage.bucket import open_staged


@pytest.fixture
def version(store: ArtifactStore, tree: Path) -> Artifact:
    artifact = Artifact("peds", "dataset", store=store)
    artifact.add_dir(tree)
    return store.log(artifact, project="p")


def test_only_what_is_missing_or_differs_is_written(version: Artifact, tmp_path: Path) -> None:
    out = version.download(tmp_path / "out")
    stamps = {path: path.lstat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    inodes = {path: path.lstat().st_ino for path in stamps}
    (out / "a.txt").write_text("ALPHA")
    (out / "sub" / "b.bin").unlink()
    (out / "sub" / "run.sh").chmod(0o644)
    (out / "sub" / "link").unlink()
    (out / "sub" / "link").symlink_to("b.bin")
    (out / "mine").write_text("kept")
    assert version.download(out) == out
    assert (out / "a.txt").read_text() == "alpha"
    assert (out / "mine").read_text() == "kept"
    unchanged = [out / "empty", out / "sub" / "deep" / "日本語.txt", out / "sub" / "run.sh"]
    assert [path.lstat().st_ino for path in unchanged] == [inodes[path] for path in unchanged]
    (out / "mine").unlink()
    version.verify(out)


def test_progress_tells_every_file(version: Artifact, tmp_path: Path) -> None:
    for _ in range(2):
        told = [0, 0]

        def progress(files: int, size: int, told: list[int] = told) -> None:
            told[0] += files
            told[1] += size

        version.download(tmp_path / "out", progress=progress)
        assert told == [version.file_count, version.size]


def test_a_prefix_selects_a_folder_or_a_file(version: Artifact, tmp_path: Path) -> None:
    version.download(tmp_path / "out", path_prefix="sub/deep/")
    version.download(tmp_path / "out", path_prefix="a.txt")
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
    assert files == {"a.txt", "sub", "sub/deep", "sub/deep/日本語.txt"}
    with pytest.raises(EntryNotFoundError, match="'su'"):
        version.download(tmp_path / "out", path_prefix="su")
    with pytest.raises(InvalidPathError):
        version.download(tmp_path / "out", path_prefix="../out")


def test_files_are_not_written_through_a_link_in_place_of_a_folder(version: Artifact, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "sub").symlink_to(outside)
    with pytest.raises(InvalidPathError, match=r"out/sub' is a symbolic link"):
        version.download(out)
    assert list(outside.iterdir()) == []


def test_a_link_in_place_of_a_file_is_replaced_not_followed(version: Artifact, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("alpha")
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.txt").symlink_to(victim)
    (out / "empty").symlink_to(tmp_path / "made")
    version.download(out)
    assert victim.read_text() == "alpha"
    assert not (tmp_path / "made").exists()
    assert not (out / "a.txt").is_symlink()
    version.verify(out)


@pytest.mark.parametrize("path", ["a.txt", "sub/link"])
def test_a_folder_in_place_of_a_file_is_refused(version: Artifact, tmp_path: Path, path: str) -> None:
    (tmp_path / "out" / path / "x").mkdir(parents=True)
    with pytest.raises(ConflictError, match="is a folder where"):
        version.download(tmp_path / "out")


@pytest.mark.parametrize("path", ["sub", "hollow"])
def test_a_file_in_place_of_a_folder_is_refused(version: Artifact, tmp_path: Path, path: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / path).write_text("x")
    with pytest.raises(ConflictError, match="is a file where a folder belongs"):
        version.download(tmp_path / "out")


def test_a_destination_that_cannot_be_a_folder_is_named(version: Artifact, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConflictError, match="file' is a file where a folder belongs"):
        version.download(tmp_path / "file")
    with pytest.raises(StoreUnavailableError, match="cannot be written"):
        version.download(tmp_path / "file" / "below")


class Forged(Manifest):
    """A manifest with rows that no writer would write."""

    def __init__(self, genuine: Manifest, rows: list[Row]) -> None:
        self.__dict__.update(genuine.__dict__)
        self.forged = rows

    def rows(self, prefix: str = "", skip: Iterable[bytes] = ()) -> Iterator[list[Row]]:
        yield self.forged


def test_a_forged_link_or_path_below_a_link_writes_nothing_outside(
    version: Artifact, store: ArtifactStore, tmp_path: Path
) -> None:
    file = version.manifest.row("a.txt")
    assert file is not None
    escape: Row = ("l", EntryKind.LINK, 0, b"", b"", "..")
    inside: Row = ("l", EntryKind.LINK, 0, b"", b"", "sub")
    for rows in ([escape], [inside, ("l/x", *file[1:])]):
        out = tmp_path / f"out{len(rows)}"
        (out / "sub").mkdir(parents=True)
        with pytest.raises(InvalidPathError):
            check_out(store.content, Forged(version.manifest, rows), out)
        assert list((out / "sub").iterdir()) == []


def test_a_comparison_names_every_difference(version: Artifact, tmp_path: Path) -> None:
    out = version.download(tmp_path / "out")
    assert version.compare(out).ok
    (out / "a.txt").write_text("alphA")
    (out / "empty").unlink()
    (out / "hollow").rmdir()
    (out / "sub" / "run.sh").chmod(0o644)
    (out / "sub" / "more").mkdir()
    (out / "sub" / "more" / "x").touch()
    (out / "vacant").mkdir()
    found = version.compare(out)
    assert found.missing == ("empty", "hollow")
    assert found.changed == ("a.txt", "sub/run.sh")
    assert found.extra == ("sub/more/x", "vacant")
    with pytest.raises(IntegrityError, match=r"missing 'empty', .*changed 'a.txt', .*extra 'sub/more/x'"):
        version.verify(out)
    with pytest.raises(IntegrityError, match=r"missing 'a\.txt'"):
        version.verify(tmp_path / "nowhere")


def test_a_checkout_leaves_nothing_else_in_the_folder(version: Artifact, tmp_path: Path) -> None:
    out = version.download(tmp_path / "out")
    (out / "sub" / "more" / "deep").mkdir(parents=True)
    (out / "sub" / "more" / "x").touch()
    (out / "hollow" / "y").touch()
    (out / "stray").symlink_to(tmp_path)
    version.checkout(out)
    version.verify(out)
    assert (tmp_path / "out").is_dir()


def test_damaged_content_never_appears(version: Artifact, store: ArtifactStore, tmp_path: Path) -> None:
    for pack in sorted((store.content.root / "bucket").rglob("*.pack")):
        pack.chmod(0o644)
        data = bytearray(pack.read_bytes())
        place = data.find(bytes(range(256)))
        if place >= 0:
            data[place + 100] ^= 1
            pack.write_bytes(data)
    row = version.manifest.row("sub/b.bin")
    assert row is not None
    with pytest.raises(IntegrityError, match=row[3].hex()[:16]):
        version.download(tmp_path / "out")
    assert not (tmp_path / "out" / "sub" / "b.bin").exists()
    assert not [name for name in os.listdir(tmp_path / "out" / "sub") if "tmp" in name]


def test_a_shard_that_is_gone_is_an_error_that_names_it(version: Artifact, store: ArtifactStore) -> None:
    shard = replace(version.manifest.root.shards[0], digest=b"\1" * 32)
    version.manifest.root = replace(version.manifest.root, shards=(shard,))
    with pytest.raises(IntegrityError, match="01" * 32):
        list(version.files())


def test_large_files_come_back_and_are_chunked(store: ArtifactStore, tmp_path: Path) -> None:
    import random

    data = random.Random(1).randbytes(20 << 20)
    artifact = Artifact("big", "dataset", store=store)
    artifact.add_stream(io.BytesIO(data), "big")
    store.log(artifact, project="p")
    edited = Artifact("big", "dataset", store=store)
    edited.add_stream(io.BytesIO(data[:1000] + b"inserted" + data[1000:]), "big")
    stats = edited.stats
    assert stats is not None
    store.log(edited, project="p")
    assert stats.new_bytes < 10 << 20
    assert (artifact.download(tmp_path / "out") / "big").read_bytes() == data
    with edited.open("big") as stream:
        stream.seek(15 << 20)
        assert stream.read(100) == data[(15 << 20) - 8 :][:100]


def test_folders_deeper_than_the_recursion_limit_are_written(store: ArtifactStore, tmp_path: Path) -> None:
    deep = "/".join(["d"] * 1_100)
    draft = Artifact("deep", "dataset", store=store)
    draft.add_stream(io.BytesIO(b"1"), f"{deep}/f")
    version = store.log(draft, project="p")
    try:
        out = version.download(tmp_path / "out")
        assert (out / deep / "f").read_bytes() == b"1"
        version.verify(out)
    finally:  # shutil.rmtree, with which the temporary folder goes, gets no deeper than that limit
        subprocess.run(["rm", "-rf", tmp_path / "out"], check=True)


@pytest.mark.parametrize("left", [b"", b"half"])
def test_what_a_killed_download_left_goes_though_nothing_is_to_be_written(
    version: Artifact, tmp_path: Path, left: bytes
) -> None:
    out = version.download(tmp_path / "out")
    folders = [out, *(path for path in out.rglob("*") if path.is_dir() and not path.is_symlink())]
    assert len(folders) > 1
    for folder in folders:
        (folder / ".artline-0123456789ab.1.part").write_bytes(left)
    with pytest.raises(IntegrityError, match="part"):
        version.verify(out)
    version.download(out)
    version.verify(out)


@pytest.mark.parametrize("name", [".artline-0123456789ab.1.part", f".artline-{'0' * 32}.fetch"])
def test_what_a_live_download_is_at_is_neither_extra_nor_swept(
    version: Artifact, tmp_path: Path, name: str
) -> None:
    out = version.download(tmp_path / "out")
    live = open_staged(str(out / "sub" / name))
    try:
        version.verify(out)
        version.checkout(out)
        assert (out / "sub" / name).exists()
    finally:
        os.close(live)
    with pytest.raises(IntegrityError, match=f"extra 'sub/{name}'"):
        version.verify(out)
    version.checkout(out)
    assert not (out / "sub" / name).exists()
