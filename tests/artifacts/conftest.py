"""Fixtures of the artifacts tests: a store, a catalog of each kind, a folder of files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import artline.artifacts.schema  # noqa: F401 (declares the tables)
from artline.artifacts.store import ArtifactStore
from artline.settings import load_settings
from artline.storage.catalog import Catalog, sqlite_url


@pytest.fixture
def store(store_root: Path) -> ArtifactStore:
    """Return a new, empty store: SQLite and a local bucket."""
    return ArtifactStore.open(load_settings(root=store_root))


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a fresh catalog of each kind."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return sqlite_url(tmp_path / "catalog.db")


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    """Return a fresh catalog of each kind."""
    catalog = Catalog.open(catalog_url)
    yield catalog
    catalog.close()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with a few files of different kinds."""
    top = tmp_path / "tree"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "hollow").mkdir()
    (top / "a.txt").write_text("alpha")
    (top / "empty").write_bytes(b"")
    (top / "sub" / "b.bin").write_bytes(bytes(range(256)) * 40)
    (top / "sub" / "deep" / "日本語.txt").write_text("ünï")
    (top / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (top / "sub" / "run.sh").chmod(0o755)
    (top / "sub" / "link").symlink_to("deep/日本語.txt")
    return top
