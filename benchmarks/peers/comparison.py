"""What a comparison has found: figures by tool and row, and why some are missing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Column", "Comparison", "Kind"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that is measured, in ``unit``; lower is better."""

    name: str
    what: str
    unit: str


@dataclass(slots=True)
class Column:
    """One tool: ``how`` it was used in a word, ``note`` in full, and the ``problem`` if figures miss."""

    name: str
    label: str = ""
    version: str = ""
    how: str = ""
    note: str = ""
    problem: str = ""

    @property
    def title(self) -> str:
        return f"{self.label or self.name} {self.version}".rstrip() + (f", {self.how}" if self.how else "")


@dataclass(slots=True)
class Comparison:
    """All figures of one table, each taken once a round."""

    name: str
    kinds: Sequence[Kind]
    columns: list[Column] = field(default_factory=list)
    figures: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    extrapolated: set[tuple[str, str]] = field(default_factory=set)

    def add(self, column: Column, **figures: float | None) -> None:
        """Add one round's figures of a tool, by the names of their kinds; None adds nothing."""
        for kind, figure in figures.items():
            if figure is not None:
                self.figures.setdefault((column.name, kind), []).append(figure)

    def median(self, column: Column, kind: Kind) -> float | None:
        taken = self.figures.get((column.name, kind.name))
        return statistics.median(taken) if taken else None

    def document(self) -> dict[str, Any]:
        """Return the figures as plain data, every single one included."""
        return {
            "name": self.name,
            "tools": [
                {"name": one.name, "version": one.version, "note": one.note, "problem": one.problem}
                for one in self.columns
            ],
            "figures": [
                {
                    "tool": column.name,
                    "name": kind.name,
                    "what": kind.what,
                    "unit": kind.unit,
                    "median": self.median(column, kind),
                    "taken": self.figures[column.name, kind.name],
                    "extrapolated": (column.name, kind.name) in self.extrapolated,
                }
                for kind in self.kinds
                for column in self.columns
                if (column.name, kind.name) in self.figures
            ],
        }
