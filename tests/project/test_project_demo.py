"""The demo, run as `make demo` runs it, twice on one store."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parents[2] / "examples" / "digits.py"


def test_the_demo_tells_its_story_twice(store_root: Path) -> None:
    first, second = tell(), tell()
    for story in (first, second):
        assert "digits:v0: 1,798 files" in story
        assert re.search(r"1,797 rows - \d+ near-duplicates - \d+ mislabelled-looking = 1,7\d\d rows", story)
        assert "as in training for all 350 held-out digits" in story
    named = re.compile(r"blake3:\w+|digits\S*:v\d+")
    assert set(named.findall(first)) == set(named.findall(second))


def tell() -> str:
    done = subprocess.run([sys.executable, str(DEMO)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
