"""Power failures at any moment of runs that log, end and are taken in. ``make soak`` does it for long."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from proof import journal_loss, powerloss
from proof.disk import Disk
from services import faults

from artline.runs.journal import read_journal
from artline.runs.records import Rows
from artline.runs.store import RunStore
from artline.settings import load_settings

# Five rows in one batch, of two key sets: that of row 12 is written behind that of rows 11, 13, 14 and 15.
MIXED = """
import os, sys
import artline as art
quiet = {"console": False, "save_code": False, "quiet": True, "stats_interval": 60.0}
run = art.init(project="p", id="second", settings={**quiet, "flush_interval": 60.0, "root": sys.argv[1]})
for count in range(11):
    run.log({"n": count})
run._recorder.flush()
for count in range(11, 16):
    run.log({"n": count, "text": "x" * 2000} if count == 12 else {"n": count})
run._recorder.flush()
os._exit(0)
"""


def test_what_a_run_synced_survives_a_power_failure(tmp_path: Path) -> None:
    faults.strace()
    recording = journal_loss.make(tmp_path / "made", seed=1)
    moments = powerloss.moments(recording)
    assert len(moments) > 50
    journal_loss.fail(recording, powerloss.choose(random.Random(), moments, 20), tmp_path / "left")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Return the journal of a process that logged ``MIXED`` and died."""
    root = tmp_path / "whole"
    subprocess.run([sys.executable, "-c", MIXED, str(root)], check=True, timeout=60)
    (found,) = root.rglob("*.journal")
    return found


def test_a_torn_batch_leaves_its_first_frames_and_every_row_before(journal: Path, tmp_path: Path) -> None:
    root, content = tmp_path / "whole", journal.read_bytes()
    frames = journal_loss.read_numbers(content, tmp_path / "scratch")
    assert set.union(*frames[:-2]) == set(range(11))
    assert frames[-2:] == [{11, 13, 14, 15}, {12}]
    ends = [frame.end for frame in read_journal(journal) if isinstance(frame.record, Rows)]
    disk = Disk(str(root))
    disk.said = ["second 11 flushed"]
    whole = (len(frames) - 2, len(frames) - 1, len(frames))
    for count, torn in product(whole, (0, 20, 100)):
        place, end = tmp_path / f"{count}-{torn}", ends[count - 1]
        left = place / journal.relative_to(root)
        left.parent.mkdir(parents=True)
        left.write_bytes(content[:end] + content[end : end + torn].ljust(torn, b"\0"))
        journal_loss.verify(place, disk, {"second": frames})
        store = RunStore.open(load_settings(root=place))
        found = store.history(store.get("p", "second"), ["n"])
        store.close()
        assert [row["n"] for row in found] == sorted(set.union(*frames[:count]))


def test_the_proof_misses_rows_that_were_safe_and_frames_before_others(journal: Path, tmp_path: Path) -> None:
    root, content = tmp_path / "whole", journal.read_bytes()
    frames = journal_loss.read_numbers(content, tmp_path / "scratch")
    ends = [frame.end for frame in read_journal(journal) if isinstance(frame.record, Rows)]
    journal.write_bytes(content[: ends[-2]])
    disk = Disk(str(root))
    disk.said = ["second 11 flushed"]
    journal_loss.verify(root, disk, {"second": frames})
    with pytest.raises(AssertionError, match="no first frames"):
        journal_loss.verify(root, disk, {"second": [*frames[:-2], {16}, *frames[-2:]]})
    disk.said = ["second 13 flushed"]
    with pytest.raises(AssertionError, match=r"\[12\] were safe"):
        journal_loss.verify(root, disk, {"second": frames})
