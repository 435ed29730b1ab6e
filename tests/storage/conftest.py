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
    """Return the words that run a command so that modes of files bind it, which root's do not.

    It stays the same user, as another one might not be let into the checkout.
    """
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


@pytest.fixture
def foreign_folder() -> Iterator[Path]:
    """Return a folder outside those that pytest makes."""
    folder = Path(tempfile.mkdtemp(prefix="artline-foreign-"))
    yield folder
    for path, _, _ in os.walk(folder):
        os.chmod(path, 0o700)
    shutil.rmtree(folder)


@pytest.fixture
def seal() -> Callable[[Path], None]:
    """Return a function that lets a folder, and all in it, be read and not written."""

    def close(folder: Path) -> None:
        for path in sorted(folder.rglob("*"), reverse=True):
            path.chmod(0o555 if path.is_dir() else 0o444)
        folder.chmod(0o555)

    return close


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
