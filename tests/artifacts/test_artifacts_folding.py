"""Paths that some file system takes for one: refused at add, and found in a manifest made by hand."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memchunks import Chunks

from artline.artifacts.artifact import Artifact
from artline.artifacts.draft import ClashError, Draft
from artline.artifacts.folding import check_folding
from artline.artifacts.fsck import check
from artline.artifacts.manifest import Manifest, ManifestBuilder, row_of
from artline.artifacts.paths import fold, parents
from artline.artifacts.schema import artifact_version
from artline.artifacts.store import ArtifactStore
from artline.errors import InvalidPathError
from artline.storage.digest import Algorithm
from artline.storage.pack import Kind
from artline.storage.recipe import Blob

PAIRS = [
    ("a/Readme", "a/readme"),
    ("Data/x", "data/y"),
    ("caf\u00e9", "cafe\u0301"),
    ("data", "data\u200d"),
    ("\ufeffdata/x", "data/y"),
    ("notes", "notes."),
    ("notes./x", "notes/y"),
    ("notes ", "notes"),
    ("a. .", "a"),
    ("x", "x/y"),
]
APART = [f"m{number:05}" for number in range(3000)]  # so that the two lie in different shards


def by_hand(store: ArtifactStore, paths: list[str]) -> Artifact:
    """Commit a version whose manifest has any paths at all."""
    draft = Artifact("peds", "dataset", store=store)
    draft.add_stream(io.BytesIO(b"x"), "x")
    version = store.log(draft, project="p")
    digest = store.content.algorithm.hash(b"x")
    with store.content.writer() as writer:
        sink = lambda data, root: writer.add_bytes(data, Kind.ROOT if root else Kind.SHARD).digest  # noqa: E731
        builder = ManifestBuilder(sink, store.content.algorithm)
        builder.add([row_of(path, Blob(digest, 1)) for path in sorted(paths)])
        built = builder.finish()
        writer.flush()
        with store.catalog.write() as conn:
            values = {"root": built.root, "digest": built.digest, "size": built.size}
            conn.execute(artifact_version.update().values(file_count=built.files, **values))
    return store.get(version.qualified_name)


@pytest.mark.parametrize("pair", PAIRS, ids=ascii)
def test_a_pair_is_refused_at_add(pair: tuple[str, str]) -> None:
    for first, second in (pair, pair[::-1]):
        draft = Draft()
        draft.add(row_of(first, Blob(bytes(32), 1)))
        with pytest.raises(InvalidPathError):
            draft.add(row_of(second, Blob(bytes(32), 1)))
        draft.close()


@pytest.mark.parametrize("pair", PAIRS, ids=ascii)
def test_a_pair_beside_a_version_is_refused(pair: tuple[str, str], store: ArtifactStore) -> None:
    draft = Artifact("peds", "dataset", store=store)
    draft.add_stream(io.BytesIO(b"x"), pair[0])
    edit = store.log(draft, project="p").new_draft()
    with pytest.raises(InvalidPathError):
        edit.add_stream(io.BytesIO(b"y"), pair[1])


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
@pytest.mark.parametrize("pair", PAIRS, ids=ascii)
def test_a_pair_in_a_manifest_made_by_hand_is_found(
    pair: tuple[str, str], far: bool, store: ArtifactStore, tmp_path: Path
) -> None:
    version = by_hand(store, [*pair, *(f"a{name}" for name in APART if far), *(APART if far else [])])
    with pytest.raises(InvalidPathError, match=r"be one on a file system|both a file and a folder"):
        version.download(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    if pair != ("x", "x/y"):
        problems = [loss.problem for loss in check(store).losses]
        assert len([text for text in problems if "be one on a file system" in text]) == 1, problems


NAMES = st.text("aA.é \u00c9\u200d", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))


@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), min_size=1, max_size=8))
def test_what_a_draft_refuses_is_found_in_a_manifest(paths: set[str]) -> None:
    folds = Counter(fold(path) for path in paths | parents(paths))
    folds.update(fold(path) for path in paths & parents(paths))
    chunks = Chunks()
    builder = ManifestBuilder(chunks.put, Algorithm.BLAKE3)
    builder.add([row_of(path, Blob(bytes(32), 1)) for path in sorted(paths)])
    manifest = Manifest(chunks, Algorithm.BLAKE3, builder.finish().root)
    draft = Draft()
    rows = [row_of(path, Blob(bytes(32), 1)) for path in sorted(paths)]
    if max(folds.values()) == 1:
        check_folding(manifest)
        draft.add_many([rows])
        assert len(list(manifest.entries())) == len(paths)
    else:
        with pytest.raises(ClashError):
            check_folding(manifest)
        with pytest.raises(InvalidPathError):
            draft.add_many([rows])
    draft.close()
