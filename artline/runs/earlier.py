"""What is known of a run that already exists: its journals, else the catalog. Only resuming asks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artline.errors import RunNotFoundError, StoreUnavailableError
from artline.runs import records
from artline.runs.definitions import Definition, SummaryBuilder
from artline.runs.journal import read_journal
from artline.runs.liveness import is_alive, stale_after
from artline.settings import Settings

__all__ = ["Earlier", "find_earlier", "is_in_progress", "journal_folder"]


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run as its earlier attempts left it: how many there were, the next step, and the rest."""

    attempt: int
    next_step: int
    info: Mapping[str, Any]
    config: Mapping[str, Any]
    summary: SummaryBuilder
    busy: bool = False  # somebody writes it still


def journal_folder(settings: Settings, run_id: str) -> Path:
    """Return the folder of a run's journals."""
    return settings.root / "journal" / settings.project / run_id


def find_earlier(settings: Settings, run_id: str) -> Earlier | None:
    """Return what is known of a run, None when there is none.

    The journals tell all while they are all there; otherwise the catalog is asked, which takes the rest of
    the journals in.
    """
    try:
        found = _from_journals(settings, run_id)
    except FileNotFoundError:  # a reader took one in and removed it meanwhile
        found = None
    if found is not None and not _misses_journals(settings, run_id):
        return found
    return _from_catalog(settings, run_id)


def is_in_progress(settings: Settings, run_id: str) -> bool:
    """Tell whether a process that lives is writing a run: its journal has no end yet.

    One that nobody here can look at, on another machine or in another container, counts as alive until it
    has been silent for four heartbeats and at least a minute.
    """
    for file in journal_folder(settings, run_id).glob("*.journal"):
        process, ended = None, False
        try:
            for frame in read_journal(file):
                if isinstance(frame.record, records.Start):
                    process = frame.record.process
                ended = isinstance(frame.record, records.Finish)
        except FileNotFoundError:  # a reader took it in, all of it
            continue
        if process is not None and not ended and _lives(settings, process, file):
            return True
    return False


def _lives(settings: Settings, process: records.Process, journal: Path) -> bool:
    alive = is_alive(process)
    if alive is not None:
        return alive
    try:
        return time.time() - journal.stat().st_mtime < stale_after(settings.heartbeat_interval)
    except FileNotFoundError:
        return False


def _from_journals(settings: Settings, run_id: str) -> Earlier | None:
    """Return what the journals tell, None when there are none or the first attempt's is gone already."""
    files = sorted(journal_folder(settings, run_id).glob("*.journal"))
    attempt, next_step, first = 0, 0, False
    info: dict[str, Any] = {}
    config: dict[str, Any] = {}
    summary = SummaryBuilder()
    busy = False
    for file in files:
        mine = 0
        process: records.Process | None = None
        for frame in read_journal(file):
            record = frame.record
            if isinstance(record, records.Start):
                if record.entity != settings.entity:
                    break
                mine, process = record.attempt, record.process
                first = first or mine == 1
                attempt = max(attempt, mine)
                info.update(record.info)
            elif isinstance(record, records.Update):
                info.update(record.values)
            elif isinstance(record, records.Config):
                for key in record.removed:
                    config.pop(key, None)
                config.update(record.values)
            elif isinstance(record, records.Define):
                summary.define(Definition.from_json(record.definition))
            elif isinstance(record, records.Summary):
                summary.assign(record.values, record.removed)
            elif isinstance(record, records.Branch):  # what earlier attempts logged counts up to there
                summary = SummaryBuilder.from_json(record.summary)
                next_step = 0 if record.last_step is None else record.last_step + 1
            elif isinstance(record, records.Rows) and record.stream == records.HISTORY:
                summary.add(record, mine)
                next_step = max(next_step, max(record.steps) + 1)
            elif isinstance(record, records.Finish):
                process = None
        busy = busy or (process is not None and _lives(settings, process, file))
    return Earlier(attempt, next_step, info, config, summary, busy) if first else None


def _misses_journals(settings: Settings, run_id: str) -> bool:
    """Tell whether the catalog knows a writer whose journal is gone, while others were left behind.

    A journal is left behind that is damaged, or whose process nobody here can look at.
    """
    if not _has_catalog(settings):
        return False
    from artline.runs.store import RunStore

    names = {file.stem for file in journal_folder(settings, run_id).glob("*.journal")}
    try:
        store = RunStore.open(settings)
        found = store.get(settings.project, run_id, deleted=True)
        return not names.issuperset(writer.writer for writer in store.writers(found))
    except (RunNotFoundError, StoreUnavailableError):
        return False


def _has_catalog(settings: Settings) -> bool:
    return bool(settings.server or settings.catalog) or (settings.root / "catalog.db").exists()


def _from_catalog(settings: Settings, run_id: str) -> Earlier | None:
    if not _has_catalog(settings):
        return None
    from artline.runs.store import RunStore

    store = RunStore.open(settings)
    store.ingest(settings.project, run_id)
    try:
        found = store.get(settings.project, run_id)
    except RunNotFoundError:
        return None
    next_step = 0 if found.last_step is None else found.last_step + 1
    summary = store.summary_builder(found)
    busy = found.state == "running"
    return Earlier(found.attempt, next_step, store.described(found), found.config, summary, busy)
