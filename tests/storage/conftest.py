"""Faults for the storage tests: a disk that fills up, a user without rights."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of its own that holds 4 MiB.

    It is a tmpfs mounted in a mount namespace of its own (no rights needed) and reached through /proc.
    """
    folder = tmp_path / "small"
    folder.mkdir()
    script = f"mount -t tmpfs -o size=4m tmpfs '{folder}' && echo ready && exec cat"
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    keeper = subprocess.Popen(
        [*namespace, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        assert keeper.stdout.readline() == "ready\n", "cannot mount a tmpfs in a namespace of its own"
        yield Path(f"/proc/{keeper.pid}/root{folder}")
    finally:
        keeper.stdin.close()
        keeper.wait()
        keeper.stdout.close()


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
