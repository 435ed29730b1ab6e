"""Power failures at any moment of runs that log, end and are taken in. ``make soak`` does it for long."""

from __future__ import annotations

import random
from pathlib import Path

from proof import journal_loss, powerloss
from services import faults


def test_what_a_run_synced_survives_a_power_failure(tmp_path: Path) -> None:
    faults.strace()
    recording = journal_loss.make(tmp_path / "made", seed=1)
    moments = powerloss.moments(recording)
    assert len(moments) > 50
    journal_loss.fail(recording, powerloss.choose(random.Random(), moments, 20), tmp_path / "left")
