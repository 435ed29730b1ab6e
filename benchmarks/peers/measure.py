"""How a figure is taken: the life of a command, and the memory of all its processes together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import UnavailableError, brief

__all__ = ["Measured", "measure"]

SAMPLE_SECONDS = 0.05
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Measured:
    """Wall time of the commands in seconds; peak memory in MiB, None where there is no /proc.

    ``told`` is the last JSON object among the lines that the last command printed, if any.
    """

    seconds: float
    peak_mib: float | None
    told: dict[str, Any] = field(default_factory=dict)


def measure(
    commands: Sequence[Sequence[str]], folder: Path, variables: Mapping[str, str], limit: float
) -> Measured:
    """Run commands one after the other in a folder; sum their times, keep the larger peak.

    Raises UnavailableError when one ends with an error or not within ``limit`` seconds; it is killed then,
    with all that it started.
    """
    seconds, peaks, output = 0.0, [], ""
    for command in commands:
        spent, peak, output = _one(command, folder, variables, limit)
        seconds += spent
        peaks.append(peak)
    return Measured(seconds, max((peak for peak in peaks if peak), default=None), _told(output))


def _one(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], limit: float
) -> tuple[float, float | None, str]:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        overdue = threading.Event()

        def end() -> None:
            overdue.set()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit, end)
        sampler = _Sampler(process.pid)
        timer.start()
        sampler.start()
        try:
            process.wait()  # without a time limit of its own: that one polls, in steps of up to 50 ms
            seconds = time.perf_counter() - begun
        finally:
            timer.cancel()
            sampler.stop()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        err.seek(0)
        output = out.read()
        if overdue.is_set():
            raise UnavailableError(f"{_name(command)} was ended after {limit:,.0f} s")
        if process.returncode:
            why = brief(err.read() or output)
            raise UnavailableError(f"{_name(command)} ended with {process.returncode}: {why}")
    own = _told(output).get("peak_mib", 0.0)
    return seconds, max(sampler.peak, own) or None, output


class _Sampler(threading.Thread):
    """Watch a process and its descendants: the largest sum, over those alive at once, of their own peaks."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0.0
        self._root = root
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, sum(map(_peak_mib, _tree(self._root))))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def _tree(root: int) -> list[int]:
    found, open_ = [root], [root]
    while open_:
        children = _children(open_.pop())
        found += children
        open_ += children
    return found


def _children(process: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # it, or a thread of it, has ended meanwhile
        for task in (PROC / str(process) / "task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def _peak_mib(process: int) -> float:
    try:
        status = (PROC / str(process) / "status").read_text()
    except OSError:
        return 0.0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _told(output: str) -> dict[str, Any]:
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                told = json.loads(line)
            except ValueError:
                continue
            if isinstance(told, dict):
                return told
    return {}


def _name(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *[word for word in command[1:] if "/" not in word][:3]])
