"""What a version of many small files costs on S3 is a matter of its bytes, not of its files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from services.seaweed import Seaweed

from artline.artifacts.artifact import Artifact
from artline.artifacts.store import ArtifactStore
from artline.settings import load_settings
from artline.testing.proxy import FaultProxy

FILES = int(os.environ.get("ARTLINE_TEST_FILES", "3000"))
MIB = 1 << 20


def test_requests_follow_bytes_and_not_files(
    seaweed: Seaweed, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    for number in range(FILES):
        folder = tree / f"{number % 20}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}").write_bytes(os.urandom(8192))
    size = FILES * 8192
    with FaultProxy(seaweed.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        store = ArtifactStore.open(load_settings(root=tmp_path / "root", bucket=s3_url, cache_size="0"))
        proxy.clear()
        draft = Artifact("many", type="dataset", store=store)
        draft.add_dir(str(tree))
        store.log(draft, project="p")
        put = proxy.count()
        # A pack of 64 MiB in parts of 16, with what begins and ends it; and the record of the commit.
        assert put <= 10 + 8 * (1 + size // (64 * MIB))
        proxy.clear()
        out = store.get("many", project="p").download(tmp_path / "out")
        assert sum(1 for path in out.rglob("*") if path.is_file()) == FILES
        # Ranges of 8 MiB, some smaller where a pack ends, and those of the manifest.
        assert proxy.count() <= 10 + 2 * (1 + size // (8 * MIB))
        print(f"{FILES} files: {put} requests to put them, {proxy.count()} to get them")
