"""Journals that were damaged at rest: a repair takes in what is sound and puts them aside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

import artline
from artline.cli.group import art

SCRIPT = """
import os, artline
run = artline.init(id="r1", settings={"console": False, "save_code": False})
for value in range(5):
    run.log({"loss": value})
run.flush()
os._exit(1)
"""


def call(*args: str, code: int = 0) -> Result:
    done = CliRunner().invoke(art, args)
    assert done.exit_code == code, (args, done.output, done.exception)
    return done


def damage(root: Path) -> Path:
    """Flip a bit in the middle of the only journal."""
    (journal,) = (root / "journal").rglob("*.journal")
    data = bytearray(journal.read_bytes())
    data[data.index(b'"loss"')] ^= 1
    journal.write_bytes(data)
    return journal


def test_a_dead_writers_damaged_journal_is_put_aside(clean_environment: Path, store_root: Path) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=False, env=os.environ | {"ARTLINE_QUIET": "1"})
    journal = damage(store_root)
    size = journal.stat().st_size
    told = call("fsck", code=4)
    assert str(journal) in told.stdout
    assert "Run: art fsck --repair" in told.stderr
    repaired = json.loads(call("fsck", "--repair", "--json").stdout)
    (moved,) = repaired["repaired"]["journals"]
    assert Path(moved["path"]) == store_root / "quarantine" / journal.relative_to(store_root)
    assert Path(moved["path"]).stat().st_size == size
    assert 0 < moved["unread"] < size
    assert not journal.exists()
    assert call("fsck").stdout.startswith("sound")
    assert call("fsck", "--full").stdout.startswith("sound")
    assert "r1" in call("runs", "ls").stdout


def test_a_living_writers_damaged_journal_stays(clean_environment: Path, store_root: Path) -> None:
    with artline.init(id="r1", settings={"console": False, "save_code": False}) as run:
        for value in range(5):
            run.log({"loss": value})
    journal = damage(store_root)
    told = call("fsck", "--repair", code=4)
    assert str(journal) in told.stdout
    assert "its writer is certainly gone" in told.stderr
    assert journal.exists()
