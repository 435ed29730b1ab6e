"""Every section of docs/coming-from-wandb.md runs as it is written, in a store of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from-wandb.md").read_text()
SECTIONS = {
    title: re.findall(r"```(python|sh)\n(.*?)```", body, re.DOTALL)
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    if "```" in body
}


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_runs_as_written(title: str, store_root: Path, clean_environment: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for language, block in SECTIONS[title]:
        command = [sys.executable, "-W", "error", "-c"] if language == "python" else ["bash", "-euc"]
        done = subprocess.run([*command, block], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
