"""System metrics of a run by wandb's names: this process, the machine, disk, network, NVIDIA GPUs.

Units: percentages 0 to 100, ``…MB`` and ``…GB`` in MiB and GiB, ``disk.*.in`` and ``out`` in MiB and
``network.*`` in bytes since the run began.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from artline.runs import notices
from artline.runs.gpu import Gpus, open_gpus
from artline.runs.records import SYSTEM
from artline.runs.rows import Plan, RowQueue
from artline.runs.run import Companion

__all__ = ["Sampler", "SystemMetrics"]

SHORTEST = 0.1  # seconds: a run that ends before is not worth importing psutil for

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
        self.memory_bytes = int(psutil.virtual_memory().total)
        self._devices = _block_devices(psutil)
        self._disk_before = self._disk()
        self._network_before = psutil.net_io_counters()
        self._process.cpu_percent()
        psutil.cpu_percent()
        self._failed: set[str] = set()

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
            try:
                part(values)
            except (self._psutil.Error, OSError, RuntimeError) as error:
                if part.__name__ not in self._failed:
                    self._failed.add(part.__name__)
                    what = part.__name__.strip("_").removesuffix("_part")
                    notices.warn(f"system metrics: {what} cannot be read ({error}); going on without")
        return values

    def close(self) -> None:
        """Let the GPUs go."""
        if self.gpus is not None:
            self.gpus.close()

    def _process_part(self, values: dict[str, float]) -> None:
        with self._process.oneshot():
            memory = self._process.memory_info()
            values["proc.memory.rssMB"] = memory.rss / _MIB
            values["proc.memory.percent"] = 100.0 * memory.rss / self.memory_bytes
            values["proc.cpu.threads"] = float(self._process.num_threads())
            # of one process over all cores, as wandb's "cpu" is
            values["cpu"] = self._process.cpu_percent() / (os.cpu_count() or 1)

    def _memory_part(self, values: dict[str, float]) -> None:
        memory = self._psutil.virtual_memory()
        values["memory_percent"] = memory.percent
        values["proc.memory.availableMB"] = memory.available / _MIB
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
        now, before = self._psutil.net_io_counters(), self._network_before
        if now is not None and before is not None:
            values["network.sent"] = float(now.bytes_sent - before.bytes_sent)
            values["network.recv"] = float(now.bytes_recv - before.bytes_recv)

    def _gpu_part(self, values: dict[str, float]) -> None:
        if self.gpus is not None:
            family = [self._process.pid, *(child.pid for child in self._process.children(recursive=True))]
            values.update(self.gpus.sample(family))

    def _disk(self) -> dict[str, Any]:
        if not self._devices:
            return {}
        try:
            found = self._psutil.disk_io_counters(perdisk=True) or {}
        except (OSError, RuntimeError, ValueError):  # some kernels and containers hide or garble it
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
        except Exception as error:  # noqa: BLE001  # whatever psutil meets here, the training goes on
            notices.warn(f"system metrics cannot be read: {type(error).__name__}: {error}")
            return
        if sampler.gpus is not None:
            self._describe({"gpu_count": len(sampler.gpus.names), "gpu": sampler.gpus.names})
        self._stop.wait(min(0.3, self._interval / 2))  # rates need some time between two looks
        began = time.monotonic()
        while True:
            self._take(sampler)
            if self._stop.is_set():
                break
            self._stop.wait(max(0.01, began + self._interval * (self._step) - time.monotonic()))
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
            plan = self._plans[keys] = Plan(
                tuple(f"{key}{self._suffix}" for key in keys), (float,) * len(keys), SYSTEM
            )
        self._queue.put_row(plan, self._step, tuple(values.values()))
        self._step += 1


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
    except (OSError, RuntimeError):
        return set()
    return {name for name in names if name and not name.startswith(("loop", "ram"))}
