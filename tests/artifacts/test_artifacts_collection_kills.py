"""A collector that is killed at any of its steps loses nothing, and the next one finishes its work."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path

import pytest

from artline.artifacts.artifact import Artifact
from artline.artifacts.fsck import check
from artline.artifacts.retention import collect
from artline.artifacts.store import ArtifactStore
from artline.settings import load_settings

SCRIPT = """
    import contextlib, os, signal, sys
    from datetime import timedelta
    from artline.artifacts.retention import collect
    from artline.artifacts.store import ArtifactStore
    from artline.settings import load_settings
    from artline.storage.bucket import LocalBucket
    from artline.storage.catalog import Catalog

    root, last = sys.argv[1], int(sys.argv[2])
    steps = 0

    def step():
        global steps
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1

    def around(name):
        before = getattr(LocalBucket, name)
        def stepping(*args, **kwargs):
            step()
            result = before(*args, **kwargs)
            step()
            return result
        setattr(LocalBucket, name, stepping)

    write = Catalog.write

    @contextlib.contextmanager
    def stepping_write(self):
        with write(self) as connection:
            yield connection
            step()
        step()

    store = ArtifactStore.open(load_settings(root=root))
    Catalog.write = stepping_write
    around("delete")
    around("put_file")
    collect(store, grace=timedelta(0), dry_run=False)
    print(steps)
"""


def log(store: ArtifactStore, name: str, files: dict[str, bytes]) -> None:
    draft = Artifact(name, "dataset", store=store)
    for path, data in files.items():
        draft.add_stream(io.BytesIO(data), path)
    store.log(draft, project="p")


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A store with packs of which nothing, a part and everything is still needed."""
    root = tmp_path / "before"
    store = ArtifactStore.open(load_settings(root=root))
    for number in range(3):
        files = {f"{i}": os.urandom(20_000) for i in range(12)}
        log(store, f"whole{number}", files)
        log(store, f"part{number}", dict(list(files.items())[:2]) if number else {"own": os.urandom(9_000)})
    log(store, "gone", {f"{i}": os.urandom(20_000) for i in range(4)})
    for name in ("whole0", "whole1", "gone"):
        store.delete(f"{name}:v0", project="p", delete_aliases=True)
    return root


def test_a_collection_killed_at_any_step_loses_nothing(before: Path, tmp_path: Path) -> None:
    script = textwrap.dedent(SCRIPT)
    kept = ["whole2", "part0", "part1", "part2"]
    step, done = 0, False
    left: set[int] = set()
    while not done:
        root = tmp_path / f"killed{step}"
        shutil.copytree(before, root)
        command = [sys.executable, "-c", script, str(root), str(step)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        done = result.returncode == 0
        assert done or result.returncode == -signal.SIGKILL, result.stderr
        store = ArtifactStore.open(load_settings(root=root))
        for again in range(2):
            report = check(store, full=True)
            assert report.ok, (step, again, report)
            for name in kept:
                version = store.get(name, project="p")
                version.verify(version.download(root / "out" / name))
            collect(store, grace=timedelta(0), dry_run=False)
        left.add(store.content.usage().chunks)
        shutil.rmtree(root)
        step += 1
    assert step > 10
    assert len(left) == 1  # what is left does not depend on where the first collection was killed
