"""A moment of a run, ``id?_step=N``: what the run was then, to rewind it or to fork another from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from artline.artifacts.refs import check_name
from artline.errors import ConflictError, UsageError
from artline.runs.definitions import SummaryBuilder
from artline.runs.earlier import Earlier
from artline.runs.records import Branch
from artline.settings import Settings

__all__ = ["Moment", "Past", "find_past", "parse_moment"]

_MOMENT = re.compile(r"((?:[^/?#]+/){0,2}[^/?#]+)\?_step=(\d{1,18})")
_LETTERS: dict[type, str] = {float: "d", int: "q", bool: "?"}
_TOGETHER = 8192  # records whose values are summarised at once


@dataclass(frozen=True, slots=True)
class Moment:
    """A run and one of its steps."""

    entity: str
    project: str
    run_id: str
    step: int

    @property
    def path(self) -> str:
        """``entity/project/run_id``."""
        return f"{self.entity}/{self.project}/{self.run_id}"


@dataclass(frozen=True, slots=True)
class Past:
    """What a run was at a moment, and the record that says so in the journal of whoever goes on from it."""

    moment: Moment
    earlier: Earlier
    branch: Branch


def parse_moment(what: str, text: str, settings: Settings) -> Moment:
    """Read ``id?_step=N``, or with ``project/`` or ``entity/project/`` before it. Raises UsageError."""
    found = _MOMENT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise UsageError(f"init: {what} must be like 'run_id?_step=100', not {text!r}")
    names: list[str] = found[1].split("/")
    for name in names:
        check_name(name, "run id" if name is names[-1] else "project")
    defaults = (settings.entity, settings.project)
    entity, project, run_id = (*defaults[: 3 - len(names)], *names)
    return Moment(entity, project, run_id, int(found[2]))


def find_past(settings: Settings, moment: Moment, *, fork: bool) -> Past:
    """Return what a run was right after a step. Raises RunNotFoundError, UsageError, ConflictError.

    The catalog is asked, having taken in what the run's journals say.
    """
    from artline.runs.store import RunStore

    place = replace(settings, entity=moment.entity, project=moment.project)
    store = RunStore.open(place)
    store.ingest(moment.project, moment.run_id)
    found = store.get(moment.project, moment.run_id)
    if not fork and found.state == "running":
        raise ConflictError(
            f"init: run {moment.path} is still being written, so it cannot be rewound. End that process "
            f"first, or fork from it: fork_from='{moment.run_id}?_step={moment.step}'"
        )
    if found.last_step is None or moment.step > found.last_step:
        has = "no steps yet" if found.last_step is None else f"steps up to {found.last_step}"
        raise UsageError(f"init: run {moment.path} has {has}, not step {moment.step}. Choose one that it has")
    summary = store.summary_builder(found).restart()
    last_step = _take(summary, store.scan_history(found, max_step=moment.step), 0 if fork else found.attempt)
    branch = Branch(
        moment.step,
        last_step,
        summary.to_json(),
        parent=moment.path if fork else "",
        attempt=found.attempt if fork else 0,
    )
    info = {} if fork else store.described(found)
    attempt = 0 if fork else found.attempt
    return Past(moment, Earlier(attempt, moment.step + 1, info, found.config, summary), branch)


def _take(summary: SummaryBuilder, records: Iterable[Mapping[str, Any]], attempt: int) -> int | None:
    """Let a summary see records in order of their steps; return the last step."""
    step: int | None = None
    columns: dict[str, tuple[list[Any], list[int]]] = {}
    for order, record in enumerate(records):
        step = record["_step"]
        for key, value in record.items():
            if key not in ("_step", "_timestamp", "_runtime"):
                values, orders = columns.setdefault(key, ([], []))
                values.append(value)
                orders.append(order)
        if order % _TOGETHER == _TOGETHER - 1:
            _add(summary, columns, attempt)
            columns = {}
    _add(summary, columns, attempt)
    return step


def _add(summary: SummaryBuilder, columns: Mapping[str, tuple[list[Any], list[int]]], attempt: int) -> None:
    for key, (values, orders) in columns.items():
        kinds = {type(value) for value in values}
        letter = _LETTERS.get(kinds.pop(), "j") if len(kinds) == 1 else "j"
        shown = [json.dumps(value) for value in values] if letter == "j" else values
        summary.add_columns((key,), letter, (shown,), orders, attempt)
