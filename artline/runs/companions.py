"""What works beside a run in the background, started in order."""

from __future__ import annotations

from artline.runs.run import Run

__all__ = ["start_companions"]


def start_companions(run: Run) -> None:
    """Start what the run's settings ask for."""
