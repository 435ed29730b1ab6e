"""Every section of docs/tracking.md runs as it is written, in a store of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text()
SECTIONS = {
    title: body
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    if "```python\n" in body
}


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_runs_as_written(title: str, store_root: Path) -> None:
    program = "\n".join(re.findall(r"```python\n(.*?)```", SECTIONS[title], re.DOTALL))
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", SECTIONS[title], re.DOTALL))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    place = store_root.parent / "walk"
    place.mkdir()
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=place, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
