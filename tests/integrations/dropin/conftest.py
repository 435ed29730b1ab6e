"""Run a script with Artline in the place of wandb, as ``python -m artline.compat.wandb`` does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import artline

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture
def fit(store_root: Path, tmp_path: Path) -> Callable[[str], Any]:
    """Return ``fit(name)``: run scripts/<name>.py to its end and return its only run, read from the store."""

    def run(name: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "artline.compat.wandb", str(SCRIPTS / f"{name}.py")],
            env={
                **os.environ,
                "KERAS_BACKEND": "torch",
                "HF_HUB_OFFLINE": "1",
                "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
                "OMP_NUM_THREADS": "2",
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (found,) = artline.Api().runs()
        assert found.state == "finished"
        return found

    return run
