"""Trainings killed at random moments. ``make soak`` does it for long."""

from __future__ import annotations

import random
from pathlib import Path

from proof import kills

from artline.runs.store import RunStore
from artline.settings import load_settings


def test_what_was_logged_an_interval_before_a_kill_is_there_once(store_root: Path) -> None:
    store = RunStore.open(load_settings(root=store_root))
    states = kills.batch(store, random.Random(), count=10, at_once=5, interval=1.0)
    assert sum(states.values()) == 10
    assert states.keys() <= {"", "crashed", "finished"}
    store.close()
