"""The walk through docs/artifacts.md runs as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "artifacts.md").read_text()


def test_the_page_on_artifacts_runs_as_written(store_root: Path) -> None:
    program = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("peds:v0 blake3:")
    done = subprocess.run(["bash", "-euc", commands], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "peds:v1 is back" in done.stdout
    assert '"wasGeneratedBy"' in done.stdout
