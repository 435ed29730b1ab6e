"""Draining journals into the catalog: whoever reads first takes in what runs have written.

A journal is read from the offset its ``run_writer`` row holds; frames and the new offset are committed in
one transaction, so two readers at once or a kill at any moment neither repeat nor lose a frame. A journal
that is finished is removed once that transaction is durable.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from artline.artifacts.schema import project as project_table
from artline.errors import ArtlineError
from artline.runs.intake import OPEN, mark_writer, take_in
from artline.runs.journal import FRAME_HEADER, HEADED, MAX_PAYLOAD
from artline.runs.journals import Batch, Journal, JournalFile, find_journals, open_journal
from artline.runs.liveness import is_alive, stale_after
from artline.runs.records import Process, Start
from artline.runs.schema import run, run_writer

if TYPE_CHECKING:
    from artline.storage.catalog import Catalog

__all__ = ["REFUSED", "Drain", "Ingestion", "JournalDamage", "is_damage"]

# How much of the journals one transaction takes in.
_BATCH_BYTES = 8 << 20
_RUNS_AT_ONCE = 200
# Seconds between two looks for open runs that have no journal here.
_ORPHAN_INTERVAL = 5.0
_EMPTY_AGE = 600.0
_SEQ_OFFSET = 8  # where a frame header holds its number


# What a database raises for values it cannot keep: out of its range, or of a wrong kind.
REFUSED = (sa.exc.DataError, sa.exc.IntegrityError, ArithmeticError, TypeError, ValueError, LookupError)


@dataclass(frozen=True, slots=True)
class JournalDamage:
    """A journal that cannot be read on: the file, the offset reading stopped at, and why."""

    path: Path
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, offset {self.offset}: {self.reason}"


@dataclass(slots=True)
class Drain:
    """What one pass over the journals did."""

    frames: int = 0
    size: int = 0
    runs: set[tuple[str, str, str]] = field(default_factory=set)
    crashed: int = 0
    removed: int = 0
    damages: list[JournalDamage] = field(default_factory=list)


@dataclass(slots=True)
class _Known:
    """A journal as this process last saw it: nothing is new while the file is as it was."""

    journal: Journal
    size: int = -1
    ended: bool = False
    damage: str = ""


class Ingestion:
    """Drains the journals under a folder into a catalog. Not thread-safe; one per thread or a lock."""

    def __init__(self, catalog: Catalog, folder: Path, *, heartbeat_interval: float = 30.0) -> None:
        self._catalog = catalog
        self.folder = folder
        self._stale_after = stale_after(heartbeat_interval)
        self._known: dict[Path, _Known] = {}
        self._orphans_due = 0.0

    def drain(self, within: Path | None = None) -> Drain:
        """Take in everything new at or below ``within`` (default: every journal).

        Idempotent, safe beside other processes doing the same. Raises StoreLockedError when the catalog
        stays locked; what was committed before stays.
        """
        result = Drain()
        files = list(find_journals(self.folder if within is None else within))
        if within is None:
            self._forget(files)
        now = time.time()
        pending: list[tuple[JournalFile, _Known, bool]] = []
        for file in files:
            known = self._look_up(file, now, result)
            if known is None:
                continue
            gone = not known.ended and self._is_gone(known.journal.start.process, file.modified, now)
            if file.size != known.size or (gone and not known.ended):
                pending.append((file, known, gone))
            elif known.damage:
                result.damages.append(JournalDamage(file.path, known.journal.offset, known.damage))
        for at in range(0, len(pending), _RUNS_AT_ONCE):
            group = pending[at : at + _RUNS_AT_ONCE]
            self._find_offsets([known for _, known, _ in group if known.size < 0])
            self._take_in([known.journal for _, known, _ in group], result)
            writers = self._writers([known.journal for _, known, _ in group])
            for file, known, gone in group:
                self._conclude(file, known, gone, writers.get(_name(known.journal.start)), result)
        if within is None and time.monotonic() >= self._orphans_due:
            result.crashed += self._give_up_orphans(now)
            self._sweep(now)
            self._orphans_due = time.monotonic() + _ORPHAN_INTERVAL
        return result

    def waiting(self) -> list[tuple[Journal, int]]:
        """Return each journal with the bytes of it that are not in the catalog yet; changes nothing."""
        found: list[tuple[JournalFile, _Known]] = []
        for file in find_journals(self.folder):
            with contextlib.suppress(ArtlineError):  # no journal: `drain` reports it
                journal = open_journal(file.path)
                if journal is not None:
                    found.append((file, _Known(journal)))
        self._find_offsets([known for _, known in found])
        return [(known.journal, max(0, file.size - known.journal.offset)) for file, known in found]

    def _forget(self, files: Iterable[JournalFile]) -> None:
        for path in self._known.keys() - {file.path for file in files}:
            del self._known[path]

    def _look_up(self, file: JournalFile, now: float, result: Drain) -> _Known | None:
        known = self._known.get(file.path)
        if known is not None and file.size >= known.journal.offset:
            return known
        try:
            journal = open_journal(file.path)
        except ArtlineError as error:
            result.damages.append(JournalDamage(file.path, 0, str(error)))
            return None
        if journal is None:
            if file.size and now - file.modified > self._stale_after:
                result.damages.append(JournalDamage(file.path, 0, "its first frame is not whole"))
            return None
        known = self._known[file.path] = _Known(journal)
        return known

    def _find_offsets(self, fresh: Sequence[_Known]) -> None:
        """Ask the catalog where the reading of journals new to this process resumes."""
        writers = self._writers([known.journal for known in fresh])
        for known in fresh:
            row = writers.get(_name(known.journal.start))
            if row is not None:
                known.journal.resume(row.offset, row.seq)
                known.ended = row.state != OPEN

    def _writers(self, journals: Sequence[Journal]) -> dict[tuple[str, ...], sa.Row[Any]]:
        """Return the rows of the journals' writers, by entity, project, run and writer."""
        found: dict[tuple[str, ...], sa.Row[Any]] = {}
        for at in range(0, len(journals), _RUNS_AT_ONCE):
            names = [journal.start.writer for journal in journals[at : at + _RUNS_AT_ONCE]]
            query = (
                sa.select(
                    project_table.c.entity,
                    project_table.c.name,
                    run.c.run_id,
                    run_writer.c.writer,
                    *(column for column in run_writer.c if column.name not in ("run_id", "writer")),
                )
                .join(run, run.c.id == run_writer.c.run_id)
                .join(project_table, project_table.c.id == run.c.project_id)
                .where(run_writer.c.writer.in_(names))
            )
            with self._catalog.read() as conn:
                found.update((tuple(row[:4]), row) for row in conn.execute(query))
        return found

    def _take_in(self, journals: Sequence[Journal], result: Drain) -> None:
        """Drain journals, as many batches a transaction as fit, in one order everywhere."""
        waiting = sorted(journals, key=_order)
        while waiting:
            batches: list[tuple[Journal, Batch]] = []
            budget = _BATCH_BYTES
            unread: list[Journal] = []
            for journal in waiting:
                if budget <= 0:
                    unread.append(journal)
                    continue
                batch = journal.read(budget)
                if batch is not None:
                    batches.append((journal, batch))
                    budget -= batch.end - batch.offset
            taken = self._commit_apart(batches, result)
            # A journal that gave a batch may have more, or be elsewhere than it was thought to be.
            waiting = taken + unread
            waiting.sort(key=_order)

    def _commit_apart(self, batches: Sequence[tuple[Journal, Batch]], result: Drain) -> list[Journal]:
        """Commit batches, together or, when the catalog refuses one, each by itself; return what to read on.

        So a journal that says what the catalog cannot keep stops nobody else's.
        """
        if not batches:
            return []
        try:
            self._commit(batches, result)
        except REFUSED as error:
            if len(batches) > 1:
                return [found for pair in batches for found in self._again(pair[0], result)]
            journal = batches[0][0]
            reason = str(getattr(error, "orig", error))[:200]
            journal.damage, journal.broken = f"the catalog cannot keep what it says: {reason}", True
            return []
        return [journal for journal, _ in batches]

    def _again(self, journal: Journal, result: Drain) -> list[Journal]:
        batch = journal.read(_BATCH_BYTES)
        return [] if batch is None else self._commit_apart([(journal, batch)], result)

    def _commit(self, batches: Sequence[tuple[Journal, Batch]], result: Drain) -> None:
        elsewhere: list[tuple[int, int | None] | None] = []
        try:
            with self._catalog.write() as conn:
                elsewhere = [take_in(conn, batch) for _, batch in batches]
        except BaseException:
            for journal, _ in batches:
                journal.rewind()
            raise
        for (journal, batch), place in zip(batches, elsewhere, strict=True):
            if place is not None:
                journal.rewind()
                journal.resume(*place)
                continue
            journal.advance(batch)
            result.frames += len(batch.records)
            result.size += batch.end - batch.offset
            result.runs.add((batch.start.entity, batch.start.project, batch.start.run_id))

    def _conclude(
        self, file: JournalFile, known: _Known, gone: bool, writer: sa.Row[Any] | None, result: Drain
    ) -> None:
        """After draining: report damage, give up a dead writer's run, remove a journal that is done."""
        journal = known.journal
        known.size = file.size
        if writer is None:
            if journal.broken:
                known.damage = journal.damage
                result.damages.append(JournalDamage(file.path, journal.offset, known.damage))
            return
        known.ended = writer.state != OPEN
        known.damage = _plain(journal.damage) if is_damage(journal, gone) else ""
        if known.damage:
            result.damages.append(JournalDamage(file.path, journal.offset, known.damage))
        if gone and not known.ended:
            with self._catalog.write() as conn:
                known.ended = mark_writer(
                    conn,
                    writer.id,
                    journal.offset,
                    state="crashed",
                    ended_at=writer.heartbeat_at,
                    damage=known.damage,
                )
            result.crashed += known.ended
        elif known.damage != writer.damage:
            with self._catalog.write() as conn:
                mark_writer(conn, writer.id, journal.offset, damage=known.damage)
        if known.ended and not known.damage and self._is_done(journal, writer.state):
            self._remove(file, result)

    def _is_done(self, journal: Journal, state: str) -> bool:
        """A journal is done when its writer said so, or is known to be dead."""
        return state in ("finished", "failed", "killed") or is_alive(journal.start.process) is False

    def _remove(self, file: JournalFile, result: Drain) -> None:
        try:
            if os.stat(file.path).st_size != file.size:
                return  # it grew after it was listed: the next pass reads on
            os.unlink(file.path)
        except FileNotFoundError:
            return
        result.removed += 1
        self._known.pop(file.path, None)

    def _sweep(self, now: float) -> None:
        """Remove run folders that have been empty for a while; a writer may be about to open its journal
        in a younger one."""
        for project in self.folder.glob("*"):
            for folder in project.glob("*"):
                with contextlib.suppress(OSError):  # not empty after all, or gone
                    if now - folder.stat().st_mtime > _EMPTY_AGE and not any(folder.iterdir()):
                        folder.rmdir()

    def _is_gone(self, process: Process, seen: float, now: float) -> bool:
        alive = is_alive(process)
        return now - seen > self._stale_after if alive is None else not alive

    def _give_up_orphans(self, now: float) -> int:
        """Mark writers crashed that are open in the catalog, have no journal here, and are dead or silent."""
        table = run_writer.c
        with self._catalog.read() as conn:
            rows = conn.execute(
                sa.select(table.id, table.writer, table.process, table.heartbeat_at).where(
                    table.state == OPEN
                )
            ).all()
        here = {known.journal.start.writer for known in self._known.values()}
        dead = [
            row
            for row in rows
            if row.writer not in here
            and self._is_gone(Process(**json.loads(row.process)), row.heartbeat_at, now)
        ]
        if not dead:
            return 0
        values: dict[str, Any] = {"state": "crashed"}
        with self._catalog.write() as conn:
            return sum(mark_writer(conn, row.id, None, ended_at=row.heartbeat_at, **values) for row in dead)


def _name(start: Start) -> tuple[str, ...]:
    return (start.entity, start.project, start.run_id, start.writer)


def _order(journal: Journal) -> tuple[str, ...]:
    return _name(journal.start)


def _plain(text: str) -> str:
    """Return text as a catalog can keep it, where it quotes what somebody wrote."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\0")


def is_damage(journal: Journal, gone: bool) -> bool:
    """Tell damage from a torn end, which a writer leaves that dies or is writing right now.

    Damage is a frame that is whole and wrong though its writer is gone, or one that good frames follow:
    frames carry consecutive numbers, so a later one is found by its number and checksum.
    """
    if journal.broken or not journal.damage:
        return journal.broken
    try:
        with open(journal.path, "rb") as file:
            rest = os.fstat(file.fileno()).st_size - journal.offset
            file.seek(journal.offset)
            data = file.read(max(0, min(rest, 2 * MAX_PAYLOAD)))  # it takes as much memory as it is told
    except FileNotFoundError:
        return False
    awaited = (journal.seq or 0).to_bytes(8, "little")
    if data[_SEQ_OFFSET : _SEQ_OFFSET + 8] == awaited and _is_whole(data, 0) and _is_good(data, 0):
        return False  # it was being written when it was read, and is whole by now
    if gone and _is_whole(data, 0):
        return True
    for seq in range((journal.seq or 0) + 1, (journal.seq or 0) + 4):
        number = seq.to_bytes(8, "little")
        at = data.find(number)
        while at >= 0:
            begin = at - _SEQ_OFFSET
            if begin >= 0 and _is_whole(data, begin) and _is_good(data, begin):
                return True
            at = data.find(number, at + 1)
    return False


def _is_whole(data: bytes, at: int) -> bool:
    if len(data) - at < FRAME_HEADER.size:
        return False
    length = FRAME_HEADER.unpack_from(data, at)[0]
    return bool(length <= MAX_PAYLOAD and at + FRAME_HEADER.size + length <= len(data))


def _is_good(data: bytes, at: int) -> bool:
    from xxhash import xxh3_64_intdigest

    length, *_, checksum = FRAME_HEADER.unpack_from(data, at)
    payload = at + FRAME_HEADER.size
    return bool(xxh3_64_intdigest(data[at : at + HEADED.size] + data[payload : payload + length]) == checksum)
