"""One bench: the folder it works in, the sizes it uses, and how it takes a figure."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Bench", "Row", "median", "remove", "settle"]

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``figure``, ``floor`` and ``target`` are in ``unit``; lower is better.

    ``target`` is None where a figure is only shown; ``peak`` is the child's peak memory in MiB.
    """

    name: str
    what: str
    figure: float
    unit: str
    floor: float | None = None
    floor_what: str = ""
    target: float | None = None
    target_what: str = ""
    peak: float | None = None
    note: str = ""

    @property
    def passed(self) -> bool | None:
        return None if self.target is None else self.figure <= self.target


@dataclass(slots=True)
class Bench:
    """Run children and commands in a folder that is removed afterwards."""

    work: Path
    repeat: int = 3
    scale: float = 1.0
    stores: int = field(default=0, init=False)
    extra: dict[str, str] = field(default_factory=dict, init=False)  # variables of every child

    def count(self, full: int, least: int = 10) -> int:
        """Return a number of things, scaled down for a trial."""
        return max(least, round(full * self.scale))

    def fresh_store(self) -> Path:
        """Return the root of a store that does not exist yet."""
        self.stores += 1
        return self.work / f"store-{self.stores}"

    def child(
        self,
        store: Path,
        act: str,
        *arguments: object,
        extra: Mapping[str, str] | None = None,
        python: Path | None = None,
    ) -> dict[str, Any]:
        """Run one act in a fresh interpreter; add ``process_seconds``, the life of the whole process."""
        command = [str(python or sys.executable), "-m", "benchmarks.child", act, *map(str, arguments)]
        seconds, output = self.timed(command, store, extra)
        told: dict[str, Any] = json.loads(output.splitlines()[-1])
        return {**told, "process_seconds": seconds}

    def timed(
        self, command: list[str], store: Path | None = None, extra: Mapping[str, str] | None = None
    ) -> tuple[float, str]:
        """Run a command and return its wall time in seconds and what it printed."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ART_")}
        # An installed package has its bytecode; a checkout may not, and compiling is not what is measured.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment.update(
            PYTHONPYCACHEPREFIX=str(self.work / "bytecode"),
            ART_HOME=str(store or self.work / "no-store"),
            ART_QUIET="1",
            HOME=str(self.work / "home"),
            PYTHONPATH=str(CHECKOUT),
        )
        environment.update(self.extra, **(extra or {}))
        begun = time.perf_counter()
        done = subprocess.run(
            command, cwd=self.work, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        seconds = time.perf_counter() - begun
        if done.returncode:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return seconds, done.stdout

    def copy(self, source: Path, *, durable: bool) -> float:
        """Return how long ``cp -r`` takes, followed by ``sync`` if it is to be durable."""
        target = self.work / "copy"
        settle()
        seconds, _ = self.timed(["cp", "-r", str(source), str(target)])
        if durable:
            seconds += self.timed(["sync"])[0]
        remove(target)
        return seconds

    def alternate(
        self, ours: Callable[[], dict[str, Any]], floor: Callable[[], float] | None
    ) -> tuple[list[dict[str, Any]], list[float]]:
        """Take both figures in turn, so that a slow minute of the machine hits both."""
        figures: list[dict[str, Any]] = []
        floors: list[float] = []
        for _ in range(self.repeat):
            if floor is not None:
                floors.append(floor())
            settle()
            figures.append(ours())
        return figures, floors


def settle() -> None:
    """Let the disk finish what others wrote, so that it is not charged to the next figure."""
    os.sync()


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def median(figures: Iterable[dict[str, Any]], name: str) -> float:
    return float(statistics.median(figure[name] for figure in figures))
