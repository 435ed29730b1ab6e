"""A store that was written when format 1 was settled is read by every later Artline."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from artline.artifacts.fsck import check
from artline.artifacts.protection import protected_aliases
from artline.artifacts.repair import repair
from artline.artifacts.rules import Rule, get_rule
from artline.artifacts.store import ArtifactStore
from artline.runs.store import RunStore
from artline.settings import Settings
from artline.storage.content import ContentStore
from artline.storage.pack import Codec, Kind, scan

FIXTURES = Path(__file__).parents[1] / "fixtures"
PAGE = json.loads((FIXTURES / "format-v1.json").read_text(encoding="utf-8"))
PLACE: dict[str, Any] = {"project": "zoo"}


@pytest.fixture
def settings(store_root: Path) -> Settings:
    """Return the settings of a copy of the store; migrations may change that."""
    shutil.copytree(FIXTURES / "format-v1", store_root)
    return Settings(root=store_root)


@pytest.fixture
def store(settings: Settings) -> ArtifactStore:
    return ArtifactStore.open(settings)


def test_it_has_blocks_of_every_kind(settings: Settings) -> None:
    found = {
        (block.kind, block.codec)
        for path in settings.root.glob("bucket/**/*")
        if path.suffix in (".pack", ".records")
        for block in scan(path.read_bytes())
    }
    assert {kind for kind, _ in found} == set(Kind)
    assert {(Kind.DATA, Codec.RAW), (Kind.DATA, Codec.ZSTD)} <= found


def test_everything_is_sound(store: ArtifactStore) -> None:
    report = check(store, full=True)
    assert (report.ok, report.versions, report.packs.packs) == (True, 7, 7), report
    assert store.content.store_id == PAGE["store"]


def test_files_come_out_as_they_went_in(store: ArtifactStore, tmp_path: Path) -> None:
    version = store.get("animals:old", **PLACE)
    top = version.download(tmp_path / "out")
    version.verify(top)
    for name, held in PAGE["tree"].items():
        path = top / name
        if "link" in held:
            assert os.readlink(path) == held["link"]
        elif "folder" in held:
            assert os.listdir(path) == []
        else:
            data = path.read_bytes()
            assert len(data) == held["size"]
            assert blake3(data).hexdigest() == held["blake3"]
            assert hashlib.sha256(data).hexdigest() == held["sha256"]
            assert os.access(path, os.X_OK) == held["executable"]
    assert len(list(version.files())) == len(PAGE["tree"])
    large = version.get_entry("large.log").blob
    assert large is not None
    assert len(store.content.recipe(large).chunks) > 2
    with version.open("large.log") as stream:
        stream.seek(-9, os.SEEK_END)
        assert stream.read() == b"00000024\n"


def test_versions_are_what_they_were(store: ArtifactStore) -> None:
    names = {
        f"{record.qualified_name}": f"blake3:{record.digest.hex()}"
        for project, entity, name in (
            ("zoo", "local", "animals"),
            ("zoo", "local", "tables"),
            ("zoo", "local", "late"),
            ("other", "team", "elsewhere"),
        )
        for record in store.versions(project, name, entity=entity, deleted=True)
    }
    assert names == PAGE["versions"]
    first, second = store.get("animals:v0", **PLACE), store.get("animals:best", **PLACE)
    assert (first.aliases, first.tags, first.description) == (["old"], ["paper", "to keep"], "the first")
    assert math.isnan(first.metadata.pop("nan"))
    assert first.metadata == {"lr": 0.5, "ü": [1, None]}
    assert (first.logged_by(), first.used_by()) == ("local/zoo/ended", ["local/zoo/waiting"])
    assert (second.version, second.description, second.metadata) == ("v1", "the second", {"k": "v"})
    assert [event.kind for event in second.history if event.kind.endswith("changed")] == [
        "metadata_changed",
        "description_changed",
    ]
    with store.catalog.read() as conn:
        assert protected_aliases(conn, first.record.artifact_id) == ["best"]
    assert get_rule(store, "animals", **PLACE) == Rule(ttl=timedelta(days=30), keep_last=3)
    linked = store.get("registry/released:production")
    assert (linked.source_name, linked.source_version, linked.digest) == (first.name, "v0", first.digest)
    assert [record.version for record in store.versions("zoo", "animals")] == ["v3", "v1", "v0"]
    assert store.undelete("animals:v2", **PLACE).version == "v2"
    assert second.diff(first).summary if hasattr(second.diff(first), "summary") else second.diff(first)


def test_references_and_tables(store: ArtifactStore) -> None:
    entries = {entry.path: entry for entry in store.get("team/other/elsewhere").files()}
    assert entries["near"].reference is not None
    assert (entries["near"].reference.uri, entries["near"].reference.version) == (
        "s3://bucket.example/a.bin",
        "v7",
    )
    assert entries["far"].reference is not None
    assert entries["far"].reference.mtime_ns == 1_760_000_000_000_000_000
    table = store.get("tables", **PLACE).get("numbers")
    assert (table.columns, table.data) == (["n", "text", "maybe"], [[1, "eins", None], [2, "zwei", 2.5]])


def test_runs_and_a_journal_that_was_left(settings: Settings) -> None:
    runs = RunStore.open(settings)
    ended = runs.get("zoo", "ended")
    assert (ended.state, ended.name, ended.notes, ended.config["lr"]) == ("finished", "first walk", "n", 0.5)
    assert ended.summary["best"] == 0.25
    rows = list(runs.history(ended))
    assert [row["loss"] for row in rows[:1]] == [3.0]
    assert [(row["epoch"], row["ok"]) for row in rows[:3]] == [(1, True), (2, False), (3, True)]
    assert [row["note"] for row in rows[3:]] == ["ü", [1, 2]]
    assert runs.ingest() > 0
    waiting = runs.get("zoo", "waiting")
    assert (waiting.state, waiting.exit_code) == ("failed", 3)
    assert [row["loss"] for row in runs.history(waiting)] == [9.0, 8.0]
    assert not list(settings.root.glob("journal/**/*.journal"))
    runs.close()


def test_its_catalog_is_rebuilt_from_its_bucket(settings: Settings, tmp_path: Path) -> None:
    for path in settings.root.glob("catalog.db*"):
        path.unlink()
    ContentStore.open(settings, adopt=True)
    store = ArtifactStore.open(settings)
    done = repair(store)
    assert (done.report.ok, done.restored.problems) == (True, [])
    test_versions_are_what_they_were(store)
    test_files_come_out_as_they_went_in(store, tmp_path)
