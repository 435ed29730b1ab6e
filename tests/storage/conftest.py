"""Faults for the storage tests: a disk that fills up, a user without rights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artline.storage.content import ContentStore


@pytest.fixture
def on_small_disk(tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs Python code in a folder on a small disk and returns what it printed.

    The disk is a tmpfs in a mount namespace of the process's own, which needs no rights.
    """
    folder = tmp_path / "small"
    folder.mkdir()

    def run(code: str, size: str = "8m") -> str:
        namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
        script = f'mount -t tmpfs -o size={size} tmpfs "$1" && cd "$1" && exec "$2" -c "$3"'
        command = [*namespace, "sh", "-c", script, "sh", str(folder), sys.executable, textwrap.dedent(code)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def unprivileged() -> list[str]:
    """Return the words that run a command as a user that owns nothing."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture
def foreign_folder() -> Iterator[Path]:
    """Return a folder that everybody may read and list, and only its owner write."""
    folder = Path(tempfile.mkdtemp(prefix="artline-foreign-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def store(store_root: Path) -> Iterator[ContentStore]:
    """Return a fresh embedded store."""
    content = ContentStore.open()
    yield content
    content.catalog.close()


@pytest.fixture
def pack_paths(store: ContentStore) -> Callable[[], list[Path]]:
    """Return a function that lists the pack files of the store."""
    return lambda: sorted((store.root / "bucket" / "packs").rglob("*.pack"))
