"""Stores with forged packs, manifests, records, caches and tables in them."""

from __future__ import annotations

import io
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_64_intdigest

from artline.artifacts.artifact import Artifact
from artline.artifacts.record_lines import check_line
from artline.artifacts.repair import repair
from artline.artifacts.store import ArtifactStore
from artline.errors import ArtlineError
from artline.runs.journal import FILE_HEADER, HEADED
from artline.runs.store import RunStore
from artline.settings import load_settings
from artline.storage.content import ContentStore
from artline.storage.records import list_records, read_record, write_record
from artline.storage.stat_cache import StatCache
from proof import decoders
from proof.stores import TARGETS, attempt


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_what_is_forged_is_refused_or_harmless(
    target: Callable[[random.Random, Path], None], tmp_path: Path
) -> None:
    for _ in range(8):
        seed = random.SystemRandom().getrandbits(40)
        try:
            attempt(target, random.Random(seed), tmp_path)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


@pytest.mark.parametrize("value", [None, 7, 1.5, "text", b"", b"short"], ids=repr)
def test_a_stat_cache_with_strange_rows_is_started_anew(tmp_path: Path, value: object) -> None:
    (tmp_path / "f").write_bytes(b"x")
    files = [(b"/folder", b"f", (tmp_path / "f").stat(), bytes(32), None)]
    cache = StatCache(tmp_path / "stat.db", "store")
    cache.record(files)
    cache.close()
    with closing(sqlite3.connect(tmp_path / "stat.db")) as database, database:
        database.execute("UPDATE entry SET value = ?", (value,))
    assert cache.lookup(b"/folder", [b"f"]) == {}
    cache.record(files)
    assert list(cache.lookup(b"/folder", [b"f"])) == [b"f"]
    cache.close()


VERSION: dict[str, Any] = {
    "what": "version",
    "of": ["local", "p", "peds", 0],
    "changes": 1,
    "type": "dataset",
    "row": {
        "digest": "ab" * 32,
        "root": "cd" * 32,
        "size": 5,
        "file_count": 1,
        "metadata": "{}",
        "description": "",
        "created_at": 1.5,
        "updated_at": 2.0,
        "deleted_at": None,
    },
    "parts": {"artifact_tag": [{"name": "good"}]},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["of", 2], "../../etc"),
        (["of", 0], ".."),
        (["of", 3], -1),
        (["of", 3], 2**70),
        (["of"], ["local", "p", "peds"]),
        (["changes"], 2**70),
        (["type"], ""),
        (["row", "digest"], "ab"),
        (["row", "root"], 5),
        (["row", "size"], "5"),
        (["row", "size"], None),
        (["row", "created_at"], float("nan")),
        (["row", "metadata"], "[]"),
        (["row", "metadata"], "[" * 100_000),
        (["row", "description"], "\ud800"),
        (["parts", "artifact_tag"], [{"name": "a"}, {"name": "a"}]),
        (["parts", "artifact_tag"], [{"name": "a/b"}]),
        (["parts", "artifact_tag"], 5),
    ],
    ids=str,
)
def test_a_record_that_no_store_writes_is_refused(path: list[Any], value: Any) -> None:
    line = json.loads(json.dumps(VERSION))
    assert check_line(line)
    inside = line
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError, RecursionError, ArtlineError)):
        check_line(line)


def test_a_record_of_a_later_kind_is_passed_over() -> None:
    assert not check_line({"what": "hologram"})


def test_a_journal_whose_damage_quotes_half_a_surrogate_stops_nobody(store_root: Path) -> None:
    frames = [decoders._frames()[0], (7, b'{"\\ud800": 1}')]
    data = FILE_HEADER.pack(b"ARTJRNL\x00", 1, 0)
    for number, (kind, payload) in enumerate(frames):
        head = HEADED.pack(len(payload), kind, 0, 0, number)
        data += head + xxh3_64_intdigest(head + payload).to_bytes(8, "little") + payload
    folder = store_root / "journal" / "p" / "run"
    folder.mkdir(parents=True)
    (folder / "0001-abcdefgh.journal").write_bytes(data)
    store = RunStore.open(load_settings(root=store_root))
    (damage,) = store.drain().damages
    assert "cannot be decoded" in str(damage)
    assert store.get("p", "run").name == "n"
    store.close()


def test_a_record_of_endless_versions_takes_no_memory(store_root: Path) -> None:
    store = ArtifactStore.open(load_settings(root=store_root))
    draft = Artifact("peds", "dataset", store=store)
    draft.add_stream(io.BytesIO(b"x"), "a")
    store.log(draft, project="p")
    for found in list_records(store.content):
        lines = [json.loads(line) for line in read_record(store.content, found.name, [])]
        for line in lines:
            if line["what"] == "artifact":
                line["row"]["next_version"] = 10**18
        store.content.bucket.delete(found.name)
        write_record(store.content, found.catalog, found.kind, [json.dumps(line).encode() for line in lines])
    store.catalog.close()
    for path in store_root.glob("catalog.db*"):
        path.unlink()
    content = ContentStore.open(load_settings(root=store_root), adopt=True)
    problems = repair(ArtifactStore(content, load_settings(root=store_root))).restored.problems
    assert problems == [
        "local/p/peds:v1 to v999999999999999999 have no records: they are lost, or never were"
    ]
