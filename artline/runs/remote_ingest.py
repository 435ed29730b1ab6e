"""Sending what runs on this machine have written to a server, which takes it in: ``Ingestion`` over HTTP.

A journal stays where it is until the server has all of it and has made that durable. A server that lost
what it took in last, in a power failure, says how far it is, and gets the rest once more.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from artline.errors import ArtlineError, AuthError, NotFoundError, UsageError
from artline.runs.ingest import Drain, JournalDamage, is_damage
from artline.runs.journals import Journal, JournalFile, find_journals, open_journal
from artline.runs.liveness import is_alive, stale_after
from artline.runs.sending import Taken, pack_pieces, read_stretch
from artline.storage.connection import project_path

if TYPE_CHECKING:
    from artline.runs.records import Start
    from artline.storage.connection import Connection

__all__ = ["RemoteIngestion"]

BUDGET = 2 << 20  # bytes of a journal that one request carries


@dataclass(slots=True)
class _Sent:
    """A journal as this process last saw it, and how far the server is with it."""

    journal: Journal
    size: int = -1
    state: str = ""
    damage: str = ""


class RemoteIngestion:
    """Sends the journals under a folder. Not thread-safe; one per thread or a lock."""

    def __init__(self, connection: Connection, folder: Path, *, heartbeat_interval: float = 30.0) -> None:
        self.folder = folder
        self._connection = connection
        self._stale_after = stale_after(heartbeat_interval)
        self._known: dict[Path, _Sent] = {}

    def drain(self, within: Path | None = None) -> Drain:
        """Send everything new at or below ``within`` (default: every journal). Idempotent.

        A journal that the server refuses stays and is told of as damaged. Raises StoreUnavailableError.
        """
        result = Drain()
        now = time.time()
        files = list(find_journals(self.folder if within is None else within))
        if within is None:
            for path in self._known.keys() - {file.path for file in files}:
                del self._known[path]
        for file in files:
            sent = self._look_up(file, result)
            if sent is None:
                continue
            alive = is_alive(sent.journal.start.process)
            gone = now - file.modified > self._stale_after if alive is None else not alive
            if file.size == sent.size and not (gone and sent.state == "running"):
                if sent.damage:
                    result.damages.append(JournalDamage(file.path, sent.journal.offset, sent.damage))
                continue
            try:
                self._send(file, sent, gone, result)
            except (AuthError, NotFoundError, UsageError) as error:
                result.damages.append(JournalDamage(file.path, sent.journal.offset, error.message))
        return result

    def waiting(self) -> list[tuple[Journal, int]]:
        """Return each journal with the bytes of it that the server does not have yet; sends nothing."""
        found: list[tuple[Journal, int]] = []
        for file in find_journals(self.folder):
            with contextlib.suppress(ArtlineError):
                journal = open_journal(file.path)
                if journal is not None:
                    taken = self._ask(journal.start)
                    found.append((journal, max(0, file.size - taken.offset)))
        return found

    def _look_up(self, file: JournalFile, result: Drain) -> _Sent | None:
        sent = self._known.get(file.path)
        if sent is not None and file.size >= sent.journal.offset:
            return sent
        try:
            journal = open_journal(file.path)
        except ArtlineError as error:
            result.damages.append(JournalDamage(file.path, 0, str(error)))
            return None
        if journal is None:
            return None
        taken = self._ask(journal.start)
        journal.resume(taken.offset, taken.seq)
        sent = self._known[file.path] = _Sent(journal, state=taken.state)
        return sent

    def _send(self, file: JournalFile, sent: _Sent, gone: bool, result: Drain) -> None:
        journal = sent.journal
        path = _path(journal.start)
        while True:
            try:
                pieces, end = read_stretch(file.path, journal.offset, BUDGET)
            except FileNotFoundError:
                return
            if not pieces:
                break
            taken: Taken = self._connection.send("POST", path, Taken, data=pack_pieces(pieces))
            if taken.offset == end:
                result.frames += max(0, (taken.seq or 0) - (journal.seq or 0))
                result.size += end - journal.offset
                start = journal.start
                result.runs.add((start.entity, start.project, start.run_id))
            journal.resume(taken.offset, taken.seq)
            sent.state = taken.state
        sent.size = file.size
        if gone:
            self._check_end(file, sent, result)
        if gone and sent.state == "running":
            body = {"offset": journal.offset, "damage": sent.damage}
            marked: Taken = self._connection.send("POST", f"{path}/crashed", Taken, body=body)
            result.crashed += sent.state == "running" and marked.state == "crashed"
            sent.state = marked.state
        done = sent.state in ("finished", "failed", "killed") or (gone and sent.state == "crashed")
        if done and not sent.damage:
            self._remove(file, result)

    def _check_end(self, file: JournalFile, sent: _Sent, result: Drain) -> None:
        """Tell damage from the torn end that a writer leaves which dies."""
        journal = Journal(file.path, sent.journal.start)
        journal.resume(sent.journal.offset, sent.journal.seq)
        journal.read(BUDGET)
        sent.damage = journal.damage if is_damage(journal, gone=True) else ""
        if sent.damage:
            result.damages.append(JournalDamage(file.path, journal.offset, sent.damage))

    def _ask(self, start: Start) -> Taken:
        try:
            taken: Taken = self._connection.get(_path(start), Taken)
        except NotFoundError:
            return Taken(0, None, "")
        return taken

    def _remove(self, file: JournalFile, result: Drain) -> None:
        with contextlib.suppress(FileNotFoundError):
            if os.stat(file.path).st_size != file.size:
                return  # it grew after it was listed: the next pass sends the rest
            os.unlink(file.path)
            result.removed += 1
        self._known.pop(file.path, None)


def _path(start: Start) -> str:
    return project_path(start.entity, start.project, "runs", start.run_id, "journals", start.writer)
