"""The generated reference is up to date and complete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from artline.cli.reference import reference

FILE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_reference_is_up_to_date() -> None:
    assert FILE.read_text(encoding="utf-8") == reference(), "python -m artline.cli.reference > docs/cli.md"


def test_the_generator_prints_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "artline.cli.reference"], capture_output=True, text=True, check=True
    )
    assert done.stdout == reference()
