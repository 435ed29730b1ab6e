"""Trainings killed at random moments: what was logged a flush interval before is there, once."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from artline.errors import RunNotFoundError
from artline.runs.store import RunStore
from proof import load

PAUSE = 0.005  # seconds between two looks at the trainings


@dataclass(frozen=True)
class Case:
    """One training: killed so many seconds after it began to log, unless it ends by itself before.

    If ``early``, so many seconds after the start of the process.
    """

    seed: int
    interval: float
    seconds: float
    kill_after: float
    early: bool

    @classmethod
    def choose(cls, source: random.Random, interval: float) -> Case:
        seconds = 0.5 + source.random() * 3
        kill_after = source.random() * (seconds + 0.3)
        return cls(source.getrandbits(32), interval, seconds, kill_after, source.random() < 0.1)


class Training:
    """A training that runs, and the times at which it logged each of its numbers."""

    def __init__(self, root: Path, name: str, case: Case) -> None:
        self.name, self.case = name, case
        self._board = tempfile.NamedTemporaryFile(suffix=".board")  # noqa: SIM115  (closed by `killed`)
        self._board.truncate(load.MOST * 8)
        settings = {"ART_HOME": str(root), "PYTHONPATH": os.pathsep.join(sys.path)}
        numbers = (str(case.seed), str(case.interval), str(case.seconds))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "proof.load", name, self._board.name, *numbers],
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._due = time.monotonic() + case.kill_after if case.early else 0.0
        self.killed_at: float | None = None
        self.slack = 0.0  # how long the machine let a process wait that did next to nothing

    def kill_if_due(self) -> bool:
        """Kill it if its moment has come; tell whether it is dead, maybe by itself."""
        now = time.monotonic()
        if not self._due:
            begun = struct.unpack("<d", os.pread(self._board.fileno(), 8, 0))[0]
            self._due = begun + self.case.kill_after if begun else 0.0
        if self._due and now >= self._due:
            self.killed_at = now
            self._process.kill()
            return True
        return self._process.poll() is not None

    def end(self) -> None:
        """Wait for its death, and look at what it said."""
        said = self._process.communicate()[1]
        if self._process.returncode == 0:
            self.killed_at = None  # it ended at that very moment
        else:
            assert (self._process.returncode, self.killed_at is None) == (-9, False), said
        assert not said, said

    def times(self) -> list[float]:
        """Return when each number was logged, 0 for those that were not."""
        with self._board as board:
            data = board.read()
        found = [time for (time,) in struct.iter_unpack("<d", data)]
        while found and not found[-1]:
            found.pop()
        return found


def check(store: RunStore, training: Training) -> str:
    """Check a run after recovery; return its state, or nothing when it was killed before it began."""
    times, case, killed = training.times(), training.case, training.killed_at
    safe = float("inf") if killed is None else killed - case.interval - 2 * training.slack
    owed = {number for number, at in enumerate(times) if at and at < safe}
    try:
        record = store.get("load", training.name)
    except RunNotFoundError:
        assert killed is not None
        assert not owed, f"{case}: nothing is there"
        return ""
    numbers = [
        value for row in store.history(record) for key, value in row.items() if key.startswith(load.KEY)
    ]
    lost = sorted(owed - set(numbers))
    assert not lost, (
        f"{case}: {len(lost)} of {len(times)} lost, logged up to {safe - times[lost[0]]} s too early"
    )
    assert len(numbers) == len(set(numbers)), f"{case}: numbers are there twice"
    assert all(0 <= number < len(times) + 8 for number in numbers)  # in each thread one was under way
    counts = {metric.key: metric.row_count for metric in store.metrics(record, "history")}
    rows = sum(count for key, count in counts.items() if key.startswith(load.KEY))
    assert rows >= len(numbers)
    lines = b"".join(piece.data for piece in store.console(record)).split(b"\n")
    said = [line for line in lines if line.startswith(b"line ")]
    assert len(said) == len(set(said)), f"{case}: lines are there twice"
    assert record.state in ({"finished"} if killed is None else {"crashed", "finished"}), record.state
    assert not store.drain().damages
    return record.state


def batch(
    store: RunStore, source: random.Random, count: int, at_once: int, interval: float
) -> dict[str, int]:
    """Kill so many trainings, several of them at a time; return how many were left in which state."""
    states: dict[str, int] = {}
    while count:
        cases = [Case.choose(source, interval) for _ in range(min(count, at_once))]
        trainings = [Training(store.settings.root, f"r{source.getrandbits(48):x}", case) for case in cases]
        count -= len(trainings)
        alive, before = trainings, time.monotonic()
        while alive := [training for training in alive if not training.kill_if_due()]:
            time.sleep(PAUSE)
            now = time.monotonic()
            for training in alive:
                training.slack = max(training.slack, now - before - PAUSE)
            before = now
        for training in trainings:
            training.end()
        for _ in range(2):  # taking in is idempotent
            store.ingest()
        for training in trainings:
            state = check(store, training)
            states[state] = states.get(state, 0) + 1
    return states
