"""The programs of docs/tracking.md that need a framework run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text()
PROGRAMS = {
    f"{title} {n}": program
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    for n, program in enumerate(re.findall(r"```py\n(.*?)```", body, re.DOTALL), 1)
}


@pytest.mark.parametrize("title", PROGRAMS)
def test_a_program_runs_as_written(title: str, store_root: Path) -> None:
    place = store_root.parent / "walk"
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[title]],
        cwd=place,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
