"""System metrics of a run by wandb's names: this process, those below it, the machine, disk, network, GPUs.

Units: percentages 0 to 100, ``…MB`` and ``…GB`` in MiB and GiB, ``disk.*.in`` and ``out`` in MiB and
``network.*`` in bytes since the run began. Where a container limits memory or processors, percentages and
what is available are of what it allows. Of the processes below this one, ``proc.tree.*`` is the sum, this one
included, and ``proc.child.{n}.*`` the first of them; a place ``n`` is given anew when its process has ended.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from artline.runs import notices
from artline.runs.cgroup import find_cgroup
from artline.runs.family import Member, read_family
from artline.runs.gpu import Gpus, open_gpus
from artline.runs.records import SYSTEM
from artline.runs.rows import Plan, RowQueue
from artline.runs.run import Companion

__all__ = ["Sampler", "SystemMetrics"]

SHORTEST = 0.1  # seconds: a run that ends before is not worth importing psutil for
SHARE = 0.005  # of one processor, that sampling may take: where a sample is dear, they come less often
CHILDREN = 16  # processes below this one that are told of one by one

_MIB = 1024.0 * 1024.0
_GIB = 1024.0 * _MIB


class Sampler:
    """Take samples of this process and its machine. ``psutil`` is imported when the first one is made."""

    def __init__(self, folder: Path, open_devices: Callable[[], Gpus | None] = open_gpus) -> None:
        import psutil

        self._psutil = psutil
        self._process = psutil.Process()
        self._mounts = sorted({"/", _mount_point(str(folder))})
        self.gpus = open_devices()
        self._cgroup = find_cgroup()
        self._devices = _block_devices(psutil)
        self._disk_before = self._disk()
        self._network_before = _network(psutil)
        self._places: list[tuple[int, float] | None] = []
        self._before: dict[tuple[int, float], tuple[float, float]] = {}  # processor seconds, and when
        self._family: list[Member] = []
        self._failed: set[str] = set()
        self._attempt({}, self._process_part)  # from here on rates have something to count from
        self._attempt({}, self._memory_part)

    def limits(self) -> dict[str, Any]:
        """Return what a container allows, by the names under which a run's description keeps it."""
        found: dict[str, Any] = {}
        memory = self._cgroup.memory() if self._cgroup is not None else None
        if memory is not None and memory[0] < self._psutil.virtual_memory().total:
            found["memory_limit_bytes"] = memory[0]
        cores = self._cores()
        if cores < (os.cpu_count() or 1):
            found["cpu_limit"] = cores
        return found

    def sample(self) -> dict[str, float]:
        """Return one sample. A part that fails is left out and told once; the others go on."""
        values: dict[str, float] = {}
        for part in (
            self._process_part,
            self._memory_part,
            self._disk_part,
            self._network_part,
            self._gpu_part,
        ):
            self._attempt(values, part)
        return values

    def _attempt(self, values: dict[str, float], part: Callable[[dict[str, float]], None]) -> None:
        try:
            part(values)
        except Exception as error:  # noqa: BLE001  # psutil and NVML raise all sorts on odd machines
            if part.__name__ not in self._failed:
                self._failed.add(part.__name__)
                what = part.__name__.strip("_").removesuffix("_part")
                notices.warn(f"system metrics: {what} cannot be read ({error}); going on without")

    def close(self) -> None:
        """Let the GPUs go."""
        if self.gpus is not None:
            self.gpus.close()

    def _process_part(self, values: dict[str, float]) -> None:
        cores = self._cores()
        with self._process.oneshot():
            rss = self._process.memory_info().rss
            threads = self._process.num_threads()
            times = self._process.cpu_times()
        values["proc.memory.rssMB"] = rss / _MIB
        values["proc.memory.percent"] = 100.0 * rss / self._memory()[0]
        values["proc.cpu.threads"] = float(threads)
        seen: dict[tuple[int, float], tuple[float, float]] = {}
        mine = self._rate((self._process.pid, 0.0), times.user + times.system, seen)
        values["cpu"] = mine / cores  # of one process over all cores, as wandb's is
        self._family = read_family(self._process.pid)
        if self._family:
            self._family_part(values, mine, cores, seen)
            values["proc.tree.cpu.threads"] += threads
            values["proc.tree.memory.rssMB"] += rss / _MIB
        self._before = seen

    def _family_part(
        self,
        values: dict[str, float],
        mine: float,
        cores: float,
        seen: dict[tuple[int, float], tuple[float, float]],
    ) -> None:
        members = {(member.pid, member.started): member for member in self._family}
        rates = {who: self._rate(who, member.seconds, seen) for who, member in members.items()}
        values["proc.children"] = float(len(members))
        values["proc.tree.cpu"] = (mine + sum(rates.values())) / cores
        values["proc.tree.cpu.threads"] = float(sum(member.threads for member in members.values()))
        values["proc.tree.memory.rssMB"] = sum(member.rss for member in members.values()) / _MIB
        for place, who in self._place(list(members)):
            values[f"proc.child.{place}.cpu"] = rates[who] / cores
            values[f"proc.child.{place}.cpu.threads"] = float(members[who].threads)
            values[f"proc.child.{place}.memory.rssMB"] = members[who].rss / _MIB

    def _rate(
        self, who: tuple[int, float], seconds: float, seen: dict[tuple[int, float], tuple[float, float]]
    ) -> float:
        """Return the percentage of one processor that a process took since the last sample; 0 at first."""
        now = time.monotonic()
        seen[who] = seconds, now
        before, then = self._before.get(who, (seconds, now))
        return max(0.0, 100.0 * (seconds - before) / (now - then)) if now > then else 0.0

    def _place(self, alive: list[tuple[int, float]]) -> list[tuple[int, tuple[int, float]]]:
        """Give each of the first children a place that it keeps while it lives; return them in order."""
        known = set(alive)
        self._places = [who if who in known else None for who in self._places]
        placed = set(self._places)
        for who in alive:
            if who in placed:
                continue
            if None in self._places:
                self._places[self._places.index(None)] = who
            elif len(self._places) < CHILDREN:
                self._places.append(who)
        return [(place, who) for place, who in enumerate(self._places) if who is not None]

    def _cores(self) -> float:
        """Return how many processors this process may take: by its affinity, and by its container."""
        affinity = getattr(os, "sched_getaffinity", None)
        cores = float(len(affinity(0)) if affinity is not None else os.cpu_count() or 1)
        allowed = self._cgroup.cores() if self._cgroup is not None else None
        return cores if allowed is None else min(cores, allowed)

    def _memory(self) -> tuple[int, int]:
        """Return how many bytes there are, and are free: of the machine, or of what a container allows."""
        machine = self._psutil.virtual_memory()
        allowed = self._cgroup.memory() if self._cgroup is not None else None
        if allowed is None or allowed[0] >= machine.total:
            return machine.total, machine.available
        limit, used = allowed
        return limit, max(0, min(limit - used, machine.available))

    def _memory_part(self, values: dict[str, float]) -> None:
        total, available = self._memory()
        values["memory_percent"] = 100.0 * (total - available) / total
        values["proc.memory.availableMB"] = available / _MIB
        values["system.cpu"] = self._psutil.cpu_percent()

    def _disk_part(self, values: dict[str, float]) -> None:
        for path in self._mounts:
            use = self._psutil.disk_usage(path)
            values[f"disk.{path}.usagePercent"] = use.percent
            values[f"disk.{path}.usageGB"] = use.used / _GIB
        now = self._disk()
        for device, counters in now.items():
            before = self._disk_before.get(device)
            if before is not None:
                values[f"disk.{device}.in"] = (counters.read_bytes - before.read_bytes) / _MIB
                values[f"disk.{device}.out"] = (counters.write_bytes - before.write_bytes) / _MIB

    def _network_part(self, values: dict[str, float]) -> None:
        now, before = _network(self._psutil), self._network_before
        if now is not None and before is not None:
            values["network.sent"] = float(now.bytes_sent - before.bytes_sent)
            values["network.recv"] = float(now.bytes_recv - before.bytes_recv)

    def _gpu_part(self, values: dict[str, float]) -> None:
        if self.gpus is not None:
            values.update(self.gpus.sample([self._process.pid, *(child.pid for child in self._family)]))

    def _disk(self) -> dict[str, Any]:
        if not self._devices:
            return {}
        try:
            found = self._psutil.disk_io_counters(perdisk=True) or {}
        except Exception:  # noqa: BLE001  # some kernels and containers hide or garble it
            return {}
        return {name: counters for name, counters in found.items() if name in self._devices}


class SystemMetrics(Companion):
    """Sample in a background thread: once at once, then every ``interval`` seconds, and once at the end."""

    def __init__(
        self,
        queue: RowQueue,
        folder: Path,
        interval: float,
        describe: Callable[[dict[str, Any]], None],
        make: Callable[[Path], Sampler] = Sampler,
        *,
        label: str = "",
    ) -> None:
        self._queue = queue
        self._folder = folder
        self._interval = interval
        self._describe = describe
        self._make = make
        self._suffix = f"/l:{label}" if label else ""  # as wandb tells the processes of a shared run apart
        self._stop = threading.Event()
        self._step = 0
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._thread = threading.Thread(target=self._work, name="artline-system", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Take a last sample and stop."""
        self._stop.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        if self._stop.wait(SHORTEST):
            return
        try:
            sampler = self._make(self._folder)
            known = sampler.limits()
        except Exception as error:  # noqa: BLE001  # whatever psutil meets here, the training goes on
            notices.warn(f"system metrics cannot be read: {type(error).__name__}: {error}")
            return
        if sampler.gpus is not None:
            known.update(gpu_count=len(sampler.gpus.names), gpu=sampler.gpus.names)
        if known:
            self._describe(known)
        self._stop.wait(min(0.3, self._interval / 2))  # rates need some time between two looks
        began = time.monotonic()
        while True:
            spent = time.thread_time()
            self._take(sampler)
            if self._stop.is_set():
                break
            due = began + self._interval * self._step - time.monotonic()
            rest = _rest(time.thread_time() - spent)
            if rest > max(due, self._interval):
                began += rest - due  # what is put off is not caught up with
            self._stop.wait(max(0.01, due, rest))
        sampler.close()

    def _take(self, sampler: Sampler) -> None:
        try:
            values = sampler.sample()
        except Exception as error:  # noqa: BLE001  # NVML and psutil raise all sorts; once is enough to know
            notices.warn(f"system metrics stop: {type(error).__name__}: {error}")
            self._stop.set()
            return
        keys = tuple(values)
        plan = self._plans.get(keys)
        if plan is None:
            if len(self._plans) > 100:  # children that come and go
                self._plans.clear()
            plan = self._plans[keys] = Plan(
                tuple(f"{key}{self._suffix}" for key in keys), (float,) * len(keys), SYSTEM
            )
        self._queue.put_row(plan, self._step, tuple(values.values()))
        self._step += 1


def _rest(cost: float) -> float:
    """Return how long to wait after a sample that took so many seconds of a processor."""
    return cost / SHARE


def _mount_point(path: str) -> str:
    """Return the mount point of the file system that a path lies on."""
    path = os.path.realpath(path)
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def _block_devices(psutil: Any) -> set[str]:
    """Return the names of the devices that mounted file systems lie on."""
    try:
        names = {os.path.basename(os.path.realpath(part.device)) for part in psutil.disk_partitions()}
    except Exception:  # noqa: BLE001  # as above
        return set()
    return {name for name in names if name and not name.startswith(("loop", "ram"))}


def _network(psutil: Any) -> Any:
    """Return the counters of all interfaces, None where there are none to be had."""
    try:
        return psutil.net_io_counters()
    except Exception:  # noqa: BLE001  # as above
        return None
