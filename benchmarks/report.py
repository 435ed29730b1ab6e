"""How the rows are shown: a table for a terminal, Markdown for the documentation, JSON for programs."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.bench import Row

HEADER = ("", "Artline", "floor on this machine", "target", "", "peak MiB", "")


def table(rows: Sequence[Row]) -> str:
    """Return an aligned text table."""
    lines = [HEADER, *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(rows: Sequence[Row], repeat: int) -> str:
    """Return docs/benchmarks.md."""
    head = [
        "# Benchmarks",
        "",
        "Written by `make bench-docs`. Medians; the floor beside a figure was taken in the same run, in turn",
        "with it: read a figure as a ratio to its floor, since both move with the machine. Lower is better.",
        "The data are random bytes, so compression gains nothing; sources are warm in the page cache; a put",
        "counts only when it would survive a power cut, which is why `sync` belongs to its floor.",
        "",
        f"Machine: {machine()}. Each figure taken {repeat} times or more. Load average when it ended:",
        f"{os.getloadavg()[1]:.1f}; the bench itself makes about 1, so more means that others were at work.",
        "",
        "| | Artline | floor on this machine | target | | peak MiB | |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(head + [f"| {' | '.join(_cells(row))} |" for row in rows]) + "\n"


def document(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures as plain data."""
    return {
        "machine": machine(),
        "python": platform.python_version(),
        "rows": [{**asdict(row), "passed": row.passed} for row in rows],
    }


def machine() -> str:
    """Describe the machine without naming it."""
    model = platform.processor() or platform.machine()
    if sys.platform == "linux":
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    software = f"{platform.system()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, {software}"


def _cells(row: Row) -> tuple[str, ...]:
    floor = "" if row.floor is None else f"{number(row.floor)} {row.unit} ({row.floor_what})"
    target = "" if row.target is None else f"≤ {number(row.target)} {row.unit}"
    if row.target_what:
        target += f" ({row.target_what})"
    verdict = {None: "", True: "ok", False: "MISSED"}[row.passed]
    peak = "" if row.peak is None else f"{row.peak:.0f}"
    return (row.what, f"{number(row.figure)} {row.unit}", floor, target, verdict, peak, row.note)


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
