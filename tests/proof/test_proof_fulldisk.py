"""A disk that is full: what was acknowledged can be read, and removing versions makes room again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_versions_on_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    script = 'mount -t tmpfs -o size=8m tmpfs "$1" && exec "$2" -m proof.fulldisk "$1"'
    done = subprocess.run(
        [*namespace, "sh", "-c", script, "sh", str(folder), sys.executable],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {
        "refused": 10,
        "whole": True,
        "leftovers": 0,
        "full": 3,
        "readable": True,
        "again": True,
        "sound": True,
    }
