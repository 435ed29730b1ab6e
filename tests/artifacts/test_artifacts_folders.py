"""Listing one folder of a version, whether its shards are kept at hand or there are too many for that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memchunks import Chunks

from artline.artifacts import folders, manifest
from artline.artifacts.folders import Folders
from artline.artifacts.manifest import Manifest, ManifestBuilder, Row
from artline.storage.digest import Algorithm


def load(chunks: Chunks, paths: Iterable[str]) -> Manifest:
    rows: list[Row] = [
        (path, 0, 1, hashlib.sha256(path.encode()).digest(), b"", "") for path in sorted(paths)
    ]
    builder = ManifestBuilder(chunks.put, Algorithm.SHA256)
    builder.add(rows)
    return Manifest(chunks, Algorithm.SHA256, builder.finish().root)


def listing(version: Manifest, path: str) -> list[tuple[str, Row | None]]:
    reader = Folders(version)
    folder = reader.find(path)
    assert folder is not None
    return [(child.path, child.row) for child in reader.children(folder)]


names = st.text("ab-0é", min_size=1, max_size=2)
trees = st.sets(st.lists(names, min_size=1, max_size=4).map("/".join), min_size=1, max_size=60)


@given(trees)
@settings(max_examples=100)
def test_each_folder_has_what_is_directly_in_it(paths: set[str]) -> None:
    files = [path for path in paths if not any(other.startswith(path + "/") for other in paths)]
    with pytest.MonkeyPatch.context() as context:
        context.setattr(manifest, "BOUNDARY_MASK", 1)
        context.setattr(manifest, "MIN_ROWS", 1)
        context.setattr(manifest, "MAX_ROWS", 4)
        version = load(Chunks(), files)
        near, above = {}, {""}
        for path in files:
            above.update(path[:end] for end in range(len(path)) if path[end] == "/")
        for folder in above:
            near[folder] = listing(version, folder)
            prefix = folder + "/" if folder else ""
            inside = [path[len(prefix) :] for path in files if path.startswith(prefix)]
            wanted = sorted({prefix + path.partition("/")[0] for path in inside})
            assert [path for path, _ in near[folder]] == wanted
            assert [path for path, row in near[folder] if row] == [p for p in wanted if p in files]
        context.setattr(folders, "KEPT_SHARDS", -1)
        for folder in above:
            assert listing(version, folder) == near[folder]


def test_a_folder_of_folders_reads_only_shards_that_have_several_of_them() -> None:
    chunks = Chunks()
    paths = [f"{top}/{number:05}" for top in ("a", "b", "c") for number in range(15_000)]
    version = load(chunks, [*paths, "a-file", "z"])
    assert len(version.root.shards) > 20
    chunks.reads = 0
    found = listing(version, "")
    assert [(path, row is None) for path, row in found] == [
        ("a", True), ("a-file", False), ("b", True), ("c", True), ("z", False),
    ]  # fmt: skip
    assert chunks.reads <= 4
