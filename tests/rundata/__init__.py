"""Runs for tests, written with real journals."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artline.runs.journal import JournalWriter
from artline.runs.records import Config, Console, Define, Finish, Process, Rows, Start, Summary

__all__ = ["DEAD", "Writer", "this_process"]


def this_process() -> Process:
    """Return the identity of the process that runs the test."""
    with open("/proc/self/stat") as file:
        started = int(file.read().rpartition(")")[2].split()[19])
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    return Process(os.getpid(), started, boot, os.readlink("/proc/self/ns/pid"), socket.gethostname())


def dead_process() -> Process:
    """Return the identity of a process of this machine that is gone."""
    me = this_process()
    return Process(me.pid, me.started - 1, me.boot_id, me.pid_namespace, me.host)


DEAD = dead_process()


class Writer:
    """One writer of one run: a journal under a store's root."""

    def __init__(
        self,
        root: Path,
        run_id: str = "r1",
        *,
        project: str = "p",
        entity: str = "local",
        writer: str = "",
        attempt: int = 1,
        at: float | None = None,
        process: Process | None = None,
        **info: Any,
    ) -> None:
        self.at = time.time() if at is None else at
        self.writer = writer or f"{run_id}-{attempt}"
        folder = root / "journal" / project / run_id
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{self.writer}.journal"
        self.journal = JournalWriter(self.path)
        self._order = 0
        self.append(
            Start(entity, project, run_id, self.writer, attempt, self.at, process or this_process(), info)
        )

    def append(self, *records: Any) -> None:
        """Append records and write them out."""
        for record in records:
            self.journal.append(record)
        self.journal.flush()

    def rows(
        self,
        columns: Mapping[str, Sequence[Any]],
        types: str,
        *,
        steps: Sequence[int] | None = None,
        times: Sequence[float] | None = None,
        stream: Any = "history",
    ) -> None:
        """Log rows of one key set, one second apart."""
        count = len(next(iter(columns.values())))
        first = self._order
        self._order += count
        self.append(
            Rows(
                stream,
                tuple(columns),
                types,
                list(steps) if steps is not None else list(range(first, first + count)),
                list(times) if times is not None else [self.at + first + at for at in range(count)],
                list(columns.values()),
                range(first, first + count),
            )
        )

    def config(self, **values: Any) -> None:
        """Set config keys."""
        self.append(Config(values))

    def summary(self, *removed: str, **values: Any) -> None:
        """Assign summary keys."""
        self.append(Summary(values, list(removed)))

    def define(self, **definition: Any) -> None:
        """Define a metric."""
        self.append(Define(definition))

    def console(self, data: bytes, stream: Any = "stdout", after: float = 0.0) -> None:
        """Write console output."""
        self.append(Console(stream, self.at + after, data))

    def finish(self, state: Any = "finished", exit_code: int = 0, after: float = 10.0) -> None:
        """End the journal in order."""
        self.append(Finish(state, exit_code, self.at + after, after))
        self.journal.close()
