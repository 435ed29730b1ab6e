"""What must not be in the repository, and what must agree across it."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
# In pieces, so that this file passes its own test.
REGISTRIES = [
    r"files\.python" + "hosted",
    r"pypi\." + "org",
    r"registry\.npm" + "js",
    r"find-" + "links=",
    r"index-" + "url=",
]


def tracked() -> dict[str, str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True).stdout
    texts = {}
    for name in filter(None, listed.decode().split("\0")):
        path = CHECKOUT / name
        data = path.read_bytes() if path.is_file() else b""
        if b"\0" not in data:
            texts[name] = data.decode(errors="replace")
    return texts


def test_no_registry_is_recorded() -> None:
    assert not [(name, host) for name, text in tracked().items() for host in REGISTRIES if host in text]


def test_no_path_of_this_machine_is_recorded() -> None:
    home = pwd.getpwuid(os.getuid()).pw_dir
    places = [str(CHECKOUT), home + "/", sys.prefix]
    assert not [(name, place) for name, text in tracked().items() for place in places if place in text]


def test_no_source_file_is_too_long() -> None:
    assert not {
        name: lines
        for name, text in tracked().items()
        if name.endswith(".py") and (lines := text.count("\n")) > 600
    }


@pytest.mark.parametrize("lock", ["dev", "demo"])
def test_the_lock_pins_everything_with_hashes(lock: str) -> None:
    text = (CHECKOUT / "requirements" / f"{lock}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    assert all(re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:", line) for line in lines)
    names = {line.partition("==")[0] for line in lines}
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"][lock]]
    asked = {re.split(r"[\[<>=!~; ]", one)[0].lower() for one in wanted} - {"artline"}
    assert asked <= names


def test_the_demo_lock_agrees_with_the_development_lock() -> None:
    pins = [
        set(re.findall(r"^\S+==\S+", (CHECKOUT / "requirements" / f"{lock}.txt").read_text(), re.MULTILINE))
        for lock in ("demo", "dev")
    ]
    assert pins[0] <= pins[1]


def test_ignored_patterns_spare_the_rooms() -> None:
    """An unanchored pattern like ``runs/`` would silently drop a package from the wheel."""
    rooms = [f"artline/{room}/anything.py" for room in ("artifacts", "cli", "runs", "storage", "testing")]
    done = subprocess.run(["git", "check-ignore", "--", *rooms], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.stdout == ""
