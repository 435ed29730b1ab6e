"""How a comparison is shown: text for a terminal, Markdown for its part of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.comparison import Column, Comparison, Kind
from benchmarks.report import machine, number

__all__ = ["HEADING", "markdown", "part", "text", "write_part"]

HEADING = "## Beside other tools"
NOTHING = "–"


def text(tables: Sequence[Comparison]) -> str:
    """Return aligned tables, and how the tools were used, and what is missing."""
    return "\n\n".join("\n".join([*_aligned(_cells(table)), *_notes(table, "")]) for table in tables)


def markdown(tables: Sequence[Comparison], repeat: int, day: str, load: float) -> str:
    """Return the part of docs/benchmarks.md about other tools; ``day`` is when it was measured."""
    lines = [
        HEADING,
        "",
        f"Written by `make bench-peers` on {day}: {machine()}, load average {load:.1f} when it ended.",
        f"Rounds: {repeat}, medians shown; every tool had its turn, on the same data, before the next began.",
        "A time is the life of the whole process or processes, start of the interpreter included; memory is",
        "the sum over them. Lower is better. Each tool has an environment of its own, at the versions pinned",
        "in benchmarks/peers/ (restic and borg are Debian's), and sends nothing anywhere. One that could not",
        "be had is named below its table.",
    ]
    for table in tables:
        lines += ["", *_INTRODUCTION[table.name], ""]
        cells = _cells(table)
        lines += [_row(cells[0]), "|" + "---|" * len(cells[0]), *map(_row, cells[1:]), ""]
        lines += _notes(table, "- ")
    return "\n".join(lines).rstrip() + "\n"


def part(page: Path) -> str:
    """Return the part about other tools that a page has, or nothing."""
    written = page.read_text() if page.exists() else ""
    _, heading, after = written.partition(f"\n{HEADING}\n")
    return f"{HEADING}\n{after}" if heading else ""


def write_part(page: Path, written: str) -> None:
    """Put the part about other tools at the end of a page, instead of the one that it has."""
    before = page.read_text() if page.exists() else "# Benchmarks\n"
    before = before.partition(f"\n{HEADING}\n")[0].rstrip("\n")
    page.write_text(f"{before}\n\n{written}")


_INTRODUCTION = {
    "files": [
        "### Storing and fetching files",
        "",
        "Random bytes, so compression gains nothing; sources warm in the page cache. After each get the",
        "files were compared byte for byte with those that were put; after each put the bytes kept were",
        "counted. Making the empty store (`init`, a database) is not measured.",
        "",
        "A tool that fetches what it just wrote finds it in the page cache; Artline writes past that cache",
        "([why](decisions/0007-packs-past-the-page-cache.md)) and reads the disk.",
    ],
    "logging": [
        "### Logging",
        "",
        "A tight loop of calls with ten scalars each; afterwards the values were read back from what was",
        "written. ≈: fewer calls were made, and the time of the loop was scaled up.",
    ],
}


def _cells(table: Comparison) -> list[list[str]]:
    return _by_kind(table) if table.name == "files" else _by_tool(table)


def _by_kind(table: Comparison) -> list[list[str]]:
    """Return a line a kind, a column a tool: for few tools and many kinds."""
    lines = [["", *(column.title for column in table.columns)]]
    for kind in table.kinds:
        lines.append([f"{kind.what}, {kind.unit}", *(_cell(table, column, kind) for column in table.columns)])
    return lines


def _by_tool(table: Comparison) -> list[list[str]]:
    lines = [["", *(kind.what for kind in table.kinds)]]
    for column in table.columns:
        lines.append([column.title, *(_cell(table, column, kind) for kind in table.kinds)])
    return lines


def _cell(table: Comparison, column: Column, kind: Kind) -> str:
    figure = table.median(column, kind)
    if figure is None:
        return NOTHING
    return ("≈ " if (column.name, kind.name) in table.extrapolated else "") + number(figure)


def _notes(table: Comparison, bullet: str) -> list[str]:
    notes = []
    for column in table.columns:
        if column.note:
            notes.append(f"{bullet}{column.name}: {column.note}.")
        if column.problem:
            notes.append(f"{bullet}{column.title}: **not measured, or not to the end**: {column.problem}")
    return notes


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
