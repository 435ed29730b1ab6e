"""The files of a run are in the content store: they outlive its folder, and the collector knows them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from rundata import DEAD, Writer

from artline.artifacts import retention
from artline.artifacts.fsck import check
from artline.errors import SourceNotFoundError, UsageError
from artline.runs import files as run_files
from artline.runs.api import Api
from artline.runs.store import RunStore
from artline.runs.sync import sync
from artline.settings import Settings

LARGE = bytes(range(256)) * (36 * 1024)  # 9 MiB: cut into chunks, so it has a recipe


@pytest.fixture
def store(store_root: Path) -> Iterator[RunStore]:
    opened = RunStore.open(Settings(root=store_root))
    yield opened
    opened.close()


def run_with_files(root: Path, run_id: str, **files: bytes) -> Writer:
    writer = Writer(root, run_id)
    folder = root / "runs" / "p" / run_id / "files"
    for name, content in files.items():
        place = folder / name.replace("__", "/").replace("_", ".")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return writer


def content_of(store: RunStore, run_id: str) -> dict[str, bytes]:
    found = {}
    for file in store.files(store.get("p", run_id)):
        with store.open_file(file) as stream:
            found[file.name] = stream.read()
    return found


def test_files_outlive_their_folder(store: RunStore, store_root: Path, tmp_path: Path) -> None:
    run_with_files(store_root, "a", note_txt=b"hello", deep__model_bin=LARGE).finish()
    store.ingest()
    shutil.rmtree(store_root / "runs")
    assert content_of(store, "a") == {"note.txt": b"hello", "deep/model.bin": LARGE}
    run = Api(Settings(root=store_root)).run("p/a")
    place = run.file("deep/model.bin").download(tmp_path / "out")
    assert place.read_bytes() == LARGE
    assert run.file("note.txt").open().read() == b"hello"


def test_a_file_is_added_to_a_run_that_has_ended(store_root: Path, tmp_path: Path) -> None:
    Writer(store_root, "a").finish()
    run = Api(Settings(root=store_root)).run("p/a")
    place = tmp_path / "out/report.txt"
    place.parent.mkdir()
    for text in ("first", "second"):
        place.write_text(text)
        assert run.upload_file(place, root=tmp_path).name == "out/report.txt"
    place.unlink()
    with run.file("out/report.txt").open() as file:
        assert file.read() == b"second"
    with pytest.raises(SourceNotFoundError, match="is no file"):
        run.upload_file(place, root=tmp_path)
    with pytest.raises(UsageError, match="is not below"):
        run.upload_file(tmp_path / "other", root=tmp_path / "out")


def test_a_live_run_is_read_from_its_folder_until_it_has_ended(store: RunStore, store_root: Path) -> None:
    writer = run_with_files(store_root, "a", log_txt=b"one")
    store.ingest()
    assert content_of(store, "a") == {"log.txt": b"one"}
    place = store_root / "runs/p/a/files/log.txt"
    place.write_bytes(b"two")
    assert content_of(store, "a") == {"log.txt": b"two"}
    writer.finish()
    store.ingest()
    place.write_bytes(b"after the end")
    assert content_of(store, "a") == {"log.txt": b"two"}


def test_files_of_a_killed_run_are_taken_in(store: RunStore, store_root: Path) -> None:
    Writer(store_root, "dead", process=DEAD).rows({"x": [1.0]}, "d")
    run_with_files(store_root, "other", a=b"")  # another run's folder is left alone while it lives
    folder = store_root / "runs/p/dead/files"
    folder.mkdir(parents=True)
    (folder / "last.txt").write_bytes(b"last words")
    store.ingest()
    shutil.rmtree(store_root / "runs/p/dead")
    assert content_of(store, "dead") == {"last.txt": b"last words"}


def test_equal_files_are_stored_once_and_a_resumed_run_adds_to_them(
    store: RunStore, store_root: Path
) -> None:
    run_with_files(store_root, "a", one_bin=LARGE).finish()
    store.ingest()
    before = store.content.usage()
    run_with_files(store_root, "b", two_bin=LARGE, three_bin=LARGE).finish()
    store.ingest()
    assert store.content.usage() == before
    again = Writer(store_root, "a", attempt=2)
    (store_root / "runs/p/a/files/new.txt").write_bytes(b"new")
    again.finish()
    store.ingest()
    shutil.rmtree(store_root / "runs")
    assert content_of(store, "a") == {"one.bin": LARGE, "new.txt": b"new"}


def test_who_only_reads_takes_in_little_and_sync_the_rest(
    store: RunStore, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_files, "READ_BUDGET", 1000)
    monkeypatch.setattr(run_files, "READ_SECONDS", 60.0)
    run_with_files(store_root, "a", small_txt=b"small", large_bin=LARGE).finish()
    store.ingest()
    blobs = {file.name: file.blob is not None for file in store.files(store.get("p", "a"))}
    assert blobs == {"small.txt": True, "large.bin": False}
    assert content_of(store, "a") == {"small.txt": b"small", "large.bin": LARGE}
    assert sync(store).files == 1
    shutil.rmtree(store_root / "runs")
    assert content_of(store, "a") == {"small.txt": b"small", "large.bin": LARGE}


def test_the_collector_leaves_files_of_runs_and_takes_those_of_deleted_ones(
    store: RunStore, store_root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_with_files(store_root, "a", model_bin=LARGE).finish()
    run_with_files(store_root, "b", other_bin=LARGE[::-1]).finish()
    store.ingest()
    soon = timedelta(0)
    retention.collect(store.artifacts, grace=soon, dry_run=False)
    assert content_of(store, "a") == {"model.bin": LARGE}
    store.delete("p", "a")
    store.undelete("p", "a")
    assert content_of(store, "a") == {"model.bin": LARGE}
    store.delete("p", "a")
    store.delete("p", "b")
    for _ in range(2):
        retention.collect(store.artifacts, grace=soon, dry_run=False)
    shutil.rmtree(store_root / "runs/p/b")
    for run_id in ("a", "b"):
        store.undelete("p", run_id)
    store.ingest()
    assert content_of(store, "a") == {"model.bin": LARGE}  # its folder was still there
    assert content_of(store, "b") == {}
    assert "back without other.bin" in capfd.readouterr().err
    assert check(store.artifacts).ok


def test_a_check_names_the_file_of_a_run_that_is_damaged(store: RunStore, store_root: Path) -> None:
    run_with_files(store_root, "a", note_txt=b"hello").finish()
    store.ingest()
    for pack in (store_root / "bucket/packs").rglob("*.pack"):
        pack.unlink()
    losses = check(store.artifacts).losses
    assert [(loss.version, loss.path) for loss in losses] == [("run local/p/a", "note.txt")]


def test_files_come_along_from_another_root(store: RunStore, tmp_path: Path) -> None:
    other_root = tmp_path / "other"
    run_with_files(other_root, "a", note_txt=b"hello", model_bin=LARGE).finish()
    other = RunStore.open(Settings(root=other_root))
    other.ingest()
    other.close()
    shutil.rmtree(other_root / "runs")
    for _ in range(2):
        sync(store, other_root)
    shutil.rmtree(other_root)
    assert content_of(store, "a") == {"note.txt": b"hello", "model.bin": LARGE}
