"""Training scripts as real processes, and what their journals say afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from artline.runs import records
from artline.runs.journal import read_journal
from artline.runs.run import Run

__all__ = [
    "QUIET",
    "command",
    "config_of",
    "console_of",
    "finish_of",
    "history_of",
    "info_of",
    "journal_of",
    "journals",
    "records_of",
    "rows_of",
    "run_script",
    "wait_until",
    "write_script",
]

Found = TypeVar("Found")

QUIET = {"quiet": True, "console": False, "save_code": False, "stats_interval": 600.0}
"""Settings of a run that does nothing beside what a test looks at."""

PREAMBLE = """\
import os, signal, sys, time
import artline as art
"""


def write_script(body: str, name: str = "train.py") -> Path:
    """Write a script into the working folder."""
    path = Path(name).absolute()
    path.write_text(PREAMBLE + textwrap.dedent(body), encoding="utf-8")
    return path


def command(script: Path, *arguments: str) -> list[str]:
    """Return the command line that runs a script with every warning an error."""
    return [sys.executable, "-W", "error", str(script), *arguments]


def run_script(
    body: str, *arguments: str, environment: dict[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a script to its end and check its exit status."""
    done = subprocess.run(
        command(write_script(body), *arguments),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == code, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def journals(root: Path) -> list[Path]:
    """Return every journal under a root, in the order of their attempts within a run."""
    return sorted((root / "journal").glob("*/*/*.journal"))


def records_of(path: Path) -> list[records.Record]:
    """Return the records of a journal, as far as it is whole."""
    return [frame.record for frame in read_journal(path) if frame.record is not None]


def finish_of(path: Path) -> tuple[str, int] | None:
    """Return the state and exit code a journal ends with, None when it has no end."""
    found = [record for record in records_of(path) if isinstance(record, records.Finish)]
    assert len(found) <= 1
    return (found[0].state, found[0].exit_code) if found else None


def history_of(path: Path, stream: str = "history") -> list[dict[str, Any]]:
    """Return the rows of a journal in the order they were logged, each with its ``_step``."""
    import json

    rows = []
    for record in records_of(path):
        if isinstance(record, records.Rows) and record.stream == stream:
            columns = [
                [json.loads(v) for v in column] if letter == "j" else list(column)
                for letter, column in zip(record.types, record.columns, strict=True)
            ]
            for order, step, values in zip(
                record.orders, record.steps, zip(*columns, strict=True), strict=True
            ):
                rows.append((order, {"_step": step, **dict(zip(record.keys, values, strict=True))}))
    rows.sort(key=lambda row: row[0])
    assert [order for order, _ in rows] == list(range(len(rows)))
    return [row for _, row in rows]


def info_of(path: Path) -> dict[str, Any]:
    """Return the descriptive fields of a run as a journal leaves them."""
    info: dict[str, Any] = {}
    for record in records_of(path):
        if isinstance(record, records.Start):
            info.update(record.info)
        elif isinstance(record, records.Update):
            info.update(record.values)
    return info


def config_of(path: Path) -> dict[str, Any]:
    """Return the config of a run as a journal leaves it."""
    config: dict[str, Any] = {}
    for record in records_of(path):
        if isinstance(record, records.Config):
            for key in record.removed:
                config.pop(key)
            config.update(record.values)
    return config


def console_of(path: Path, stream: str = "stdout") -> bytes:
    """Return what a journal recorded of a stream."""
    found = [r for r in records_of(path) if isinstance(r, records.Console)]
    return b"".join(record.data for record in found if record.stream == stream)


def wait_until(look: Callable[[], Found | None], what: str, seconds: float = 60.0) -> Found:
    """Return what ``look`` finds, looking again whenever a moment has passed; fail after ``seconds``."""
    import threading
    import time

    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        pause.wait(0.02)


def journal_of(run: Run) -> Path:
    """Return the only journal of a run."""
    [path] = [path for path in journals(run.settings.root) if path.parent.name == run.id]
    return path


def rows_of(run: Run) -> list[dict[str, Any]]:
    """Finish a run and return the rows it logged."""
    run.finish()
    return history_of(journal_of(run))
