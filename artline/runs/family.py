"""The processes that descend from one: data loaders, workers, other programs, and what each of them takes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Member", "read_family"]


@dataclass(frozen=True, slots=True)
class Member:
    """A process: when it started (in some unit, to tell reused ids apart), its parent, and what it took.

    ``seconds`` of processor time so far, ``threads`` now, ``rss`` in bytes now (pages that processes share
    count in each).
    """

    pid: int
    parent: int
    started: float
    seconds: float
    threads: int
    rss: int


def read_family(pid: int) -> list[Member]:
    """Return the living descendants of a process, oldest first, without those that cannot be looked at."""
    members = _from_proc() if os.path.exists("/proc/self/stat") else _by_psutil()
    children: dict[int, list[Member]] = {}
    for member in members:
        children.setdefault(member.parent, []).append(member)
    found, parents = [], [pid]
    while parents:
        below = children.pop(parents.pop(), [])
        found += below
        parents += [member.pid for member in below]
    return sorted(found, key=lambda member: (member.started, member.pid))


def _from_proc() -> Iterable[Member]:
    """One small file a process: a third of what asking for each value costs."""
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                fields = file.read(4096).rpartition(b")")[2].split()
        except OSError:  # it has ended, or is another's and hidden
            continue
        if len(fields) < 22 or fields[0] in (b"Z", b"X"):
            continue
        seconds = (int(fields[11]) + int(fields[12])) / tick
        yield Member(
            int(name), int(fields[1]), float(fields[19]), seconds, int(fields[17]), int(fields[21]) * page
        )


def _by_psutil() -> Iterable[Member]:
    import psutil

    for process in psutil.process_iter():
        try:
            with process.oneshot():
                times, memory = process.cpu_times(), process.memory_info()
                yield Member(
                    process.pid,
                    process.ppid(),
                    process.create_time(),
                    times.user + times.system,
                    process.num_threads(),
                    memory.rss,
                )
        except psutil.Error:  # it has ended, or is another's
            continue
