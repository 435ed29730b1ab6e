"""What a container or a scheduler allows: control groups of Linux, version 2 and 1.

Files and their meaning: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,cpu} of the kernel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cgroup", "find_cgroup"]

_UNLIMITED = 1 << 60  # version 1 writes a number near 2**63


@dataclass(frozen=True, slots=True)
class _Names:
    limit: str
    used: str
    cache: bytes  # what the kernel gives back at once when memory is short


_V2 = _Names("memory.max", "memory.current", b"inactive_file")
_V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file")


class Cgroup:
    """The groups this process is in, from its own up to the outermost that it can see."""

    def __init__(self, memory: tuple[Path, ...], cpu: tuple[Path, ...], names: _Names) -> None:
        self._memory = memory
        self._cpu = cpu
        self._names = names

    def memory(self) -> tuple[int, int] | None:
        """Return the lowest limit in bytes and what counts against it; None without a limit."""
        found: tuple[int, Path] | None = None
        for folder in self._memory:
            limit = _number(folder / self._names.limit)
            if limit is not None and limit < _UNLIMITED and (found is None or limit < found[0]):
                found = limit, folder
        if found is None:
            return None
        limit, folder = found
        used = _number(folder / self._names.used)
        if used is None:
            return None
        return limit, max(0, used - self._cache(folder))

    def cores(self) -> float | None:
        """Return how many processors' time it may take, as a fraction; None without a limit."""
        found = [cores for folder in self._cpu if (cores := _quota(folder)) is not None]
        return min(found) if found else None

    def _cache(self, folder: Path) -> int:
        try:
            lines = (folder / "memory.stat").read_bytes().splitlines()
        except OSError:
            return 0
        values = dict(line.split()[:2] for line in lines if line.count(b" ") == 1)
        return int(values.get(self._names.cache, 0))


def find_cgroup(proc: Path = Path("/proc/self")) -> Cgroup | None:
    """Return the control groups of this process; None where there are none (or another system)."""
    try:
        groups = dict(_groups((proc / "cgroup").read_text(encoding="utf-8")))
        mounts = list(_mounts((proc / "mountinfo").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    memory: tuple[Path, ...] = ()
    cpu: tuple[Path, ...] = ()
    unified: tuple[Path, ...] = ()
    for kind, controllers, root, place in mounts:
        if kind == "cgroup2":
            unified = unified or _folders(root, place, groups.get("", "/"))
        if "memory" in controllers:
            memory = memory or _folders(root, place, groups.get("memory", "/"))
        if "cpu" in controllers:
            cpu = cpu or _folders(root, place, groups.get("cpu", "/"))
    if memory or cpu:  # with version 2 beside it for other purposes
        return Cgroup(memory, cpu, _V1)
    return Cgroup(unified, unified, _V2) if unified else None


def _groups(text: str) -> Iterator[tuple[str, str]]:
    """Yield controller ("" for version 2) and group of each line of /proc/PID/cgroup."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _mounts(text: str) -> Iterator[tuple[str, list[str], str, str]]:
    """Yield kind, controllers, root and place of each hierarchy that /proc/PID/mountinfo shows."""
    for line in text.splitlines():
        own, _, rest = line.partition(" - ")
        kind, _, options = [*rest.split(" "), "", ""][:3]
        if kind in ("cgroup", "cgroup2"):
            fields = own.split(" ")
            yield kind, options.split(",") if kind == "cgroup" else [], fields[3], fields[4]


def _folders(root: str, place: str, group: str) -> tuple[Path, ...]:
    """Return the folders of a group and those above it, as far as they can be seen below ``place``."""
    below = os.path.relpath(group, root)
    folder = Path(place)
    if below != "." and not below.startswith("..") and (folder / below).is_dir():
        inner = folder / below
        return (inner, *[above for above in inner.parents if above.is_relative_to(folder)])
    return (folder,)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_bytes())
    except (OSError, ValueError):  # not there, or "max"
        return None


def _quota(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_bytes().split()
    except (OSError, ValueError):
        found, length = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        return found / length if found is not None and length and found > 0 else None
    return int(quota) / int(period) if quota != b"max" and int(period) else None
