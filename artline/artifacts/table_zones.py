"""Whether the times of a column have zones: all of them, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, time
from typing import Any

from artline.errors import UsageError

__all__ = ["check_zones"]

_SAYS = {False: "no zone", True: "a zone"}


def check_zones(column: str, cells: Iterable[Any], zoned: bool | None = None) -> None:
    """Raise UsageError, naming column and row, when times with a zone stand beside times without one.

    Arrow would take the zone of the first for all. Each field of a structure is on its own. ``zoned`` is
    what the rows before had.
    """
    seen = {} if zoned is None else {(): (zoned, "the rows before")}
    for row, cell in enumerate(cells):
        _visit(column, row, cell, (), seen)


def _visit(
    column: str, row: int, value: Any, field: tuple[Any, ...], seen: dict[tuple[Any, ...], tuple[bool, str]]
) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _visit(column, row, inner, (*field, key), seen)
    elif isinstance(value, list | tuple):
        for inner in value:
            _visit(column, row, inner, field, seen)
    elif isinstance(value, datetime | time) and value == value:  # pandas' NaT is not
        zoned = value.tzinfo is not None
        before, where = seen.setdefault(field, (zoned, f"row {row}"))
        if zoned != before:
            raise UsageError(
                f"column '{column}' mixes times with and without a zone: row {row} (from 0) has "
                f"{_SAYS[zoned]}, {where} {_SAYS[before]}. Give all a zone, with replace(tzinfo=…), or none"
            )
