"""Whether the process that writes a journal still lives."""

from __future__ import annotations

import os
import socket
from functools import cache

from artline.runs.records import Process

__all__ = ["is_alive", "stale_after"]


def is_alive(process: Process) -> bool | None:
    """Tell whether ``process`` runs; None when this machine or process namespace cannot know.

    A process id alone proves nothing, since ids are reused: host, boot, namespace and start time have to
    agree as well. A zombie counts as dead.
    """
    if process.pid <= 0 or process.host != socket.gethostname():
        return None
    if (process.boot_id, process.pid_namespace) != (_boot_id(), _pid_namespace()):
        return None
    if os.path.exists("/proc/self/stat"):
        return _alive_in_proc(process)
    return _alive_by_psutil(process)


def stale_after(heartbeat_interval: float) -> float:
    """Return after how many seconds of silence a writer nobody can look at counts as dead."""
    return max(60.0, 4 * heartbeat_interval)


def _alive_in_proc(process: Process) -> bool | None:
    try:
        with open(f"/proc/{process.pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return False
    if process.started == 0:
        return None
    return int(fields[19]) == process.started


def _alive_by_psutil(process: Process) -> bool | None:
    import psutil

    try:
        found = psutil.Process(process.pid)
        if found.status() == psutil.STATUS_ZOMBIE:
            return False
        return None if process.started == 0 else abs(int(found.create_time()) - process.started) <= 1
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None


@cache
def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
