"""Packs that are damaged around their blocks: a repair writes them anew, and the store is sound again."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from artline.artifacts.artifact import Artifact
from artline.artifacts.fsck import check
from artline.artifacts.repair import repair
from artline.artifacts.retention import collect
from artline.artifacts.store import ArtifactStore
from artline.settings import load_settings
from artline.storage.content import ContentStore
from artline.storage.fsck import rebuild_index
from artline.storage.pack import BLOCK_SIZE
from artline.storage.salvage import salvage

PLACE: dict[str, Any] = {"project": "p"}
CONTENTS = {f"{number}.bin": random.Random(number).randbytes(5000) for number in range(8)}
# The header's number, magic and checksum; the trailer; the index.
POSITIONS = [5, 13, 60, -1, -20, -39, -100]


def log(store: ArtifactStore, tmp_path: Path) -> Artifact:
    folder = tmp_path / "files"
    folder.mkdir(exist_ok=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    draft = Artifact("peds", "dataset", store=store)
    draft.add_dir(folder)
    return store.log(draft, **PLACE)


def data_pack(content: ContentStore) -> Path:
    """Return the pack that holds the files."""
    digest = content.algorithm.hash(CONTENTS["0.bin"])
    return content.root / "bucket" / content.pack_object(content.locate([digest])[digest].pack_id)


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("position", POSITIONS)
def test_a_flip_around_the_blocks_is_mended(store: ArtifactStore, tmp_path: Path, position: int) -> None:
    log(store, tmp_path)
    path = data_pack(store.content)
    flip(path, position)
    (problem,) = check(store).packs.problems
    assert path.name in problem
    assert problem.endswith("Run: art fsck --repair")
    done = repair(store)
    assert done.report.ok
    assert (done.salvaged.packs, done.salvaged.lost, done.forgotten) == (1, 0, 0)
    assert done.salvaged.chunks >= len(CONTENTS)
    assert done.quarantined == (f"quarantine/packs/{path.parent.name}/{path.name}",)
    assert not path.exists()
    assert (store.content.root / "bucket" / done.quarantined[0]).exists()
    for full in (False, True):
        assert check(store, full=full).ok
    assert check(store).packs.orphans == []
    for name, content in CONTENTS.items():
        assert (store.get("peds:v0", **PLACE).download(tmp_path / "out") / name).read_bytes() == content
    again = repair(store)
    assert (again.salvaged.packs, again.quarantined) == (0, ())


@pytest.mark.parametrize("part", [3, BLOCK_SIZE + 100], ids=["block header", "content"])
def test_what_cannot_be_saved_is_named_and_heals(store: ArtifactStore, tmp_path: Path, part: int) -> None:
    log(store, tmp_path)
    digest = store.content.algorithm.hash(CONTENTS["3.bin"])
    location = store.content.locate([digest])[digest]
    path = data_pack(store.content)
    flip(path, 5)
    flip(path, location.position + part)
    done = repair(store)
    assert [(loss.version, loss.path) for loss in done.report.losses] == [("local/p/peds:v0", "3.bin")]
    assert (done.salvaged.lost, done.forgotten) == (1, 1)
    assert check(store).packs.clean
    log(store, tmp_path)
    assert check(store, full=True).ok


def test_a_truncated_pack_keeps_what_is_left(store: ArtifactStore, tmp_path: Path) -> None:
    log(store, tmp_path)
    digest = store.content.algorithm.hash(CONTENTS["0.bin"])
    location = store.content.locate([digest])[digest]
    path = data_pack(store.content)
    path.write_bytes(path.read_bytes()[: location.position + BLOCK_SIZE + location.stored_size])
    done = repair(store)
    assert done.salvaged.chunks >= 1
    assert done.salvaged.lost == done.forgotten > 0
    assert "0.bin" not in {loss.path for loss in done.report.losses}
    log(store, tmp_path)
    assert check(store, full=True).ok


def test_whoever_claimed_the_damaged_pack_claims_the_new_one(
    catalog_url: str, store_root: Path, tmp_path: Path
) -> None:
    store = ArtifactStore.open(load_settings(root=store_root, catalog=catalog_url))
    content = store.content
    with content.writer() as writer:  # a draft that is open all the while
        blobs = [writer.add_bytes(data) for data in CONTENTS.values()]
        writer.flush()
        flip(data_pack(content), 5)
        assert salvage(content, rebuild_index(content).broken).chunks == len(CONTENTS)
        for _ in range(2):
            collect(store, grace=timedelta(0), dry_run=False)
        writer.lease.renew()
        assert [bytes(content.read(blob.digest)) for blob in blobs] == list(CONTENTS.values())
        writer.lease.release()
    assert check(store, full=True).ok
    content.catalog.close()


def test_a_repair_that_died_half_way_is_finished_by_the_next(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(store, tmp_path)
    path = data_pack(store.content)
    flip(path, -20)

    def die(name: str) -> None:
        raise KeyboardInterrupt(name)

    with monkeypatch.context() as patch:
        patch.setattr(store.content.bucket, "delete", die)
        with pytest.raises(KeyboardInterrupt):
            repair(store)
    assert check(store).packs.orphans == [f"packs/{path.parent.name}/{path.name}"]
    assert check(store, full=True).ok
    assert repair(store).report.ok
    assert check(store, full=True).packs.orphans == []
