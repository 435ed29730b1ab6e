from __future__ import annotations

import io
import os
from datetime import timedelta
from pathlib import Path

import pytest

from artline.artifacts.artifact import Artifact
from artline.artifacts.fsck import check
from artline.artifacts.retention import collect, live_chunks, version_chunks
from artline.artifacts.store import ArtifactStore
from artline.errors import IntegrityError

NOW = timedelta(0)


def log(store: ArtifactStore, name: str, **files: bytes) -> Artifact:
    draft = Artifact(name, "dataset", store=store)
    for path, data in files.items():
        draft.add_stream(io.BytesIO(data), path)
    return store.log(draft, project="p")


def test_everything_a_version_needs_is_live(store: ArtifactStore, tree: Path) -> None:
    big = os.urandom(20 << 20)
    first = log(store, "big", big=big, small=b"s")
    second = Artifact("peds", "dataset", store=store)
    second.add_dir(tree)
    store.log(second, project="p")
    live = {digest for batch in live_chunks(store) for digest in batch}
    wanted = set()
    for version in (first, second):
        wanted |= {version.record.root, *version.manifest.shard_digests()}
        for entry in version.files():
            if entry.blob is not None:
                wanted |= set(store.content.chunks(entry.blob))
    assert live == wanted
    assert store.content.missing(list(live)) == set()
    alone = {d for batch in version_chunks(store.content, second.record.root) for d in batch}
    first.delete()
    assert {digest for batch in live_chunks(store) for digest in batch} == alone


def test_shared_shards_are_read_once(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(5):
        draft = Artifact(f"a{index}", "dataset", store=store)
        draft.add_stream(io.BytesIO(b"same"), "file")
        store.log(draft, project="p")
    batches = list(live_chunks(store))
    assert sum(len(batch) for batch in batches) == 3


def test_a_dry_run_names_what_would_go_and_changes_nothing(store: ArtifactStore) -> None:
    kept = log(store, "kept", shared=b"x" * 100, own=b"k")
    gone = log(store, "gone", shared=b"x" * 100, own=b"g" * 50)
    gone.delete()
    for _ in range(2):
        found = collect(store, grace=NOW)
        assert [(v.name, v.size, v.unshared) for v in found.versions] == [("local/p/gone:v0", 150, 50)]
        assert found.collection.dry_run
    assert store.undelete("gone:v0", project="p").number == 0
    assert check(store, full=True).ok
    assert collect(store, grace=NOW).versions == ()
    with kept.open("shared") as stream:
        assert stream.read() == b"x" * 100


def test_deleted_content_goes_and_what_is_left_stays_whole(store: ArtifactStore, tmp_path: Path) -> None:
    kept = log(store, "kept", shared=b"x" * 5000, own=os.urandom(5000))
    gone = log(store, "gone", shared=b"x" * 5000, own=os.urandom(300_000))
    digest = gone.get_entry("own").blob
    assert digest is not None
    gone.delete()
    reports = [collect(store, grace=NOW, dry_run=False) for _ in range(3)]
    assert [v.name for v in reports[0].versions] == ["local/p/gone:v0"]
    assert reports[-1].versions == ()
    assert store.content.missing([digest.digest]) == {digest.digest}
    assert check(store, full=True).ok
    kept.verify(kept.download(tmp_path / "out"))
    with pytest.raises(IntegrityError, match="has been collected"):
        store.undelete("gone:v0", project="p")
    assert log(store, "gone", again=b"1").version == "v1"


def test_a_version_deleted_again_after_it_came_back_can_be_collected(store: ArtifactStore) -> None:
    gone = log(store, "gone", own=os.urandom(3000))
    blob = gone.get_entry("own").blob
    assert blob is not None
    gone.delete()
    store.undelete("gone:v0", project="p")
    store.delete("gone:v0", project="p")
    for _ in range(3):
        collect(store, grace=NOW, dry_run=False)
    assert store.content.missing([blob.digest]) == {blob.digest}


def test_an_undelete_that_fails_holds_nothing_back(store: ArtifactStore) -> None:
    large, small = os.urandom(9 << 20), os.urandom(3000)
    first = log(store, "first", large=large)
    gone = log(store, "gone", large=large, small=small)
    kept = log(store, "kept", small=small)
    blob = kept.get_entry("small").blob
    assert blob is not None
    first.delete()
    gone.delete()
    collect(store, grace=NOW, dry_run=False, repack=False)
    with pytest.raises(IntegrityError, match="has been collected"):
        store.undelete("gone:v0", project="p")
    kept.delete()
    for _ in range(2):
        collect(store, grace=NOW, dry_run=False, repack=False)
    assert store.content.missing([blob.digest]) == {blob.digest}


def test_a_draft_in_progress_keeps_what_it_stored(store: ArtifactStore, tmp_path: Path) -> None:
    draft = Artifact("peds", "dataset", store=store)
    draft.add_stream(io.BytesIO(b"draft" * 1000), "a")
    draft.staging.writer.flush()
    for _ in range(3):
        collect(store, grace=NOW, dry_run=False)
    version = store.log(draft, project="p")
    version.verify(version.download(tmp_path / "out"))


def damage(store: ArtifactStore, needle: bytes) -> None:
    for pack in (store.content.root / "bucket").rglob("*.pack"):
        data = bytearray(pack.read_bytes())
        place = data.find(needle)
        if place >= 0:
            data[place] ^= 1
            pack.chmod(0o644)
            pack.write_bytes(data)


def test_a_sound_store_has_no_losses(store: ArtifactStore, tree: Path) -> None:
    draft = Artifact("peds", "dataset", store=store)
    draft.add_dir(tree)
    store.log(draft, project="p")
    for full in (False, True):
        report = check(store, full=full)
        assert (report.ok, report.versions, report.losses) == (True, 1, ())


def test_damage_is_named_by_version_and_path(store: ArtifactStore) -> None:
    noise = os.urandom(4000)
    log(store, "one", good=b"g", bad=noise)
    log(store, "two", **{"deep/also": noise})
    log(store, "three", fine=b"f")
    damage(store, noise[1000:1100])
    assert {(loss.version, loss.path) for loss in check(store, full=True).losses} == {
        ("local/p/one:v0", "bad"),
        ("local/p/two:v0", "deep/also"),
    }
    assert not check(store, full=True).ok


def test_a_damaged_part_of_a_large_file_is_named(store: ArtifactStore) -> None:
    big = os.urandom(20 << 20)
    log(store, "big", big=big, small=b"s")
    damage(store, big[10 << 20 : (10 << 20) + 100])
    (loss,) = check(store, full=True).losses
    assert (loss.version, loss.path) == ("local/p/big:v0", "big")
    assert "is damaged" in loss.problem


def test_a_lost_pack_is_named_without_reading_everything(store: ArtifactStore) -> None:
    log(store, "one", a=os.urandom(100))
    before = set((store.content.root / "bucket").rglob("*.pack"))
    log(store, "two", b=os.urandom(100))
    (lost,) = set((store.content.root / "bucket").rglob("*.pack")) - before
    lost.unlink()
    report = check(store)
    assert not report.ok
    assert {loss.version for loss in report.losses} == {"local/p/two:v0"}
