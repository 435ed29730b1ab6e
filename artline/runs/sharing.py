"""What a process is among those that write one run: its label, and whether it describes the run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from artline.errors import UsageError
from artline.runs.names import name_of
from artline.settings import Settings

__all__ = ["part_of", "renamed", "shared_name"]

# Where launchers (torchrun, Slurm, Open MPI, MPICH and its like) tell a process its place.
RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_NAMES = {
    "x_label": "label",
    "x_primary": "primary",
    "x_primary_node": "primary",
    "x_update_finish_state": "update_finish_state",
}


def renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by Artline's names; ``rank`` becomes a label and says which process is primary.

    Raises UsageError for a rank that is no whole number from 0 on.
    """
    found = {_NAMES.get(name, name): value for name, value in given.items()}
    if "rank" in found:
        rank = found.pop("rank")
        if not isinstance(rank, int) or isinstance(rank, bool) or rank < 0:
            raise UsageError(f"setting 'rank' must be a whole number from 0 on, not {rank!r}")
        found.setdefault("label", f"rank_{rank}")
        found.setdefault("primary", rank == 0)
    return found


def part_of(settings: Settings) -> Settings:
    """Return settings with label and part as they are for this process of a shared run."""
    label, primary, decides = settings.label, settings.primary, settings.update_finish_state
    if settings.mode == "shared":
        rank = next((os.environ[name] for name in RANKS if os.environ.get(name, "").isdecimal()), "")
        if rank and not label:
            label = f"rank_{int(rank)}"
        if rank and settings.sources.get("primary", "default") == "default":
            primary = int(rank) == 0
    if settings.sources.get("update_finish_state", "default") == "default":
        decides = decides and primary
    if (label, primary, decides) == (settings.label, settings.primary, settings.update_finish_state):
        return settings
    return replace(settings, label=label, primary=primary, update_finish_state=decides)


def shared_name(run_id: str) -> str:
    """Return the name that every writer of a shared run gives it when none was told one."""
    return name_of(run_id)
