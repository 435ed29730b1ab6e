"""``python -m benchmarks --peers``: install the other tools, let each have its turn, show the tables."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.peers.comparison import Column, Comparison
from benchmarks.peers.environments import DEBIAN, PINNED, Environment, UnavailableError, environment
from benchmarks.peers.file_rows import compare_files
from benchmarks.peers.log_rows import LOGGERS, compare_logs
from benchmarks.peers.page import markdown, text, write_part
from benchmarks.peers.tools import TOOLS
from benchmarks.report import machine

__all__ = ["GROUPS", "PEERS", "compare", "show"]

PEERS = [*DEBIAN, *PINNED]
GROUPS = ("small", "large", "insert", "log")


def compare(bench: Bench, peers: Sequence[str], groups: Sequence[str], installed: Path) -> list[Comparison]:
    """Measure ``groups`` on Artline, the floors and ``peers``, whose environments lie in ``installed``."""
    wanted = {"cp", "artline", *peers}
    found: dict[str, Environment] = {}
    problems: dict[str, str] = {}
    for name in [name for name in ("cp", "artline", *PEERS) if name in wanted]:
        try:
            found[name] = environment(name, installed)
        except UnavailableError as error:
            problems[name] = str(error)
            print(f"{name}: {error}", file=sys.stderr, flush=True)
    version = {name: one.version for name, one in found.items()}
    tables = []
    files = [group for group in GROUPS if group in groups and group != "log"]
    if files:
        tools = []
        for name, kind in TOOLS.items():
            if name in wanted:
                column = Column(
                    name, kind.label, version.get(name, ""), "", kind.note, problems.get(name, "")
                )
                tools.append((column, kind(found[name]) if name in found else None))
        tables.append(compare_files(bench, tools, files))
    if "log" in groups:
        loggers = [
            (
                Column(
                    name,
                    label=logger.tool if logger.module else "floor: numbers packed into a file",
                    version=version.get(logger.tool, "") if logger.module else "",
                    how=logger.how,
                    problem=problems.get(logger.tool, ""),
                ),
                logger,
                found.get(logger.tool),
            )
            for name, logger in LOGGERS.items()
            if logger.tool in wanted
        ]
        tables.append(compare_logs(bench, loggers))
    return tables


def show(tables: Sequence[Comparison], repeat: int, json_file: str | None, page: Path | None) -> None:
    """Print the tables, or their figures as JSON where the file is ``-``; write what is asked for."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    if json_file == "-":
        print(json.dumps(document(tables, repeat, day), indent=2))
    else:
        print(text(tables))
        if json_file:
            Path(json_file).write_text(json.dumps(document(tables, repeat, day), indent=2) + "\n")
    if page:
        write_part(page, markdown(tables, repeat, day, os.getloadavg()[1]))


def document(tables: Sequence[Comparison], repeat: int, day: str) -> dict[str, Any]:
    return {
        "machine": machine(),
        "python": platform.python_version(),
        "day": day,
        "rounds": repeat,
        "tables": [table.document() for table in tables],
    }
