"""System metrics on this machine, and GPU metrics against a module that answers as NVML does."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from artline.runs import gpu
from artline.runs.gpu import Gpus, open_gpus
from artline.runs.rows import RowQueue
from artline.runs.system import Sampler, SystemMetrics


class FakeNvmlError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class FakeNvml:
    """Two GPUs as NVML tells of them: one that supports everything, one that supports little."""

    NVMLError = FakeNvmlError
    NVML_ERROR_NOT_SUPPORTED = 3

    def __init__(self, pid: int = 0) -> None:
        self.pid = pid
        self.asked: list[str] = []
        self.open = False
        self.failing = False

    def nvmlInit(self) -> None:  # noqa: N802  (NVML's names)
        if self.failing:
            raise FakeNvmlError(9)
        self.open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"handle{index}"

    def nvmlDeviceGetName(self, handle: str) -> bytes | str:  # noqa: N802
        return b"NVIDIA Old" if handle == "handle0" else "NVIDIA New"

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=87, memory=40),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=20 << 30, total=80 << 30),
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetPowerUsage": 350_000,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetFanSpeed": 30,
            "nvmlDeviceGetClockInfo": {1: 1980, 2: 2619},
            "nvmlDeviceGetEncoderUtilization": [5, 1000],
            "nvmlDeviceGetTotalEccErrors": {0: 2, 1: 1},
            "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=self.pid, usedGpuMemory=None)],
        }

        def ask(handle: str, *arguments: int) -> Any:
            self.asked.append(f"{name}:{handle}")
            if self.failing:
                raise FakeNvmlError(15)
            if handle == "handle1" and name not in (
                "nvmlDeviceGetUtilizationRates",
                "nvmlDeviceGetTemperature",
            ):
                raise FakeNvmlError(self.NVML_ERROR_NOT_SUPPORTED)
            answer = answers[name]
            return answer[arguments[0]] if isinstance(answer, dict) else answer

        return ask


def test_a_gpu_is_told_by_wandbs_names() -> None:
    gpus = Gpus.open(FakeNvml(pid=77))
    assert gpus is not None
    assert gpus.names == ["NVIDIA Old", "NVIDIA New"]
    values = gpus.sample([76, 77])
    assert {name: value for name, value in values.items() if name.startswith("gpu.0.")} == {
        "gpu.0.gpu": 87.0,
        "gpu.0.memory": 40.0,
        "gpu.0.memoryAllocated": 25.0,
        "gpu.0.memoryAllocatedBytes": float(20 << 30),
        "gpu.0.temp": 61.0,
        "gpu.0.powerWatts": 350.0,
        "gpu.0.powerPercent": 50.0,
        "gpu.0.enforcedPowerLimitWatts": 700.0,
        "gpu.0.fanSpeed": 30.0,
        "gpu.0.smClock": 1980.0,
        "gpu.0.memoryClock": 2619.0,
        "gpu.0.encoderUtilization": 5.0,
        "gpu.0.correctedMemoryErrors": 2.0,
        "gpu.0.uncorrectedMemoryErrors": 1.0,
    }
    assert values["gpu.process.0.memoryAllocated"] == 25.0
    assert {name for name in values if name.startswith("gpu.1.")} == {
        "gpu.1.gpu",
        "gpu.1.memory",
        "gpu.1.temp",
    }
    assert not any(name.startswith("gpu.process.1.") for name in values)
    assert not any(name.startswith("gpu.process.") for name in gpus.sample([5]))


def test_what_a_gpu_does_not_support_is_asked_once() -> None:
    nvml = FakeNvml()
    gpus = Gpus.open(nvml)
    assert gpus is not None
    gpus.sample([])
    nvml.asked.clear()
    gpus.sample([])
    assert {name for name in nvml.asked if name.endswith(":handle1")} == {
        "nvmlDeviceGetUtilizationRates:handle1",
        "nvmlDeviceGetTemperature:handle1",
    }


def test_a_gpu_that_falls_off_the_bus_leaves_its_values_out() -> None:
    nvml = FakeNvml()
    gpus = Gpus.open(nvml)
    assert gpus is not None
    nvml.failing = True
    assert gpus.sample([1]) == {}
    nvml.failing = False
    assert gpus.sample([1])["gpu.0.temp"] == 61.0
    gpus.close()
    assert not nvml.open


def test_a_driver_that_does_not_start_means_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    nvml.failing = True
    assert Gpus.open(nvml) is None
    monkeypatch.setattr(gpu, "driver_seems_present", lambda: False)
    assert open_gpus() is None


def test_the_real_binding_has_every_name_that_is_asked_for() -> None:
    import pynvml

    nvml = FakeNvml()
    gpus = Gpus.open(nvml)
    assert gpus is not None
    gpus.sample([])
    names = {name.partition(":")[0] for name in nvml.asked}
    for name in (*names, "nvmlInit", "nvmlShutdown", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"):
        assert callable(getattr(pynvml, name))
    assert pynvml.NVML_ERROR_NOT_SUPPORTED == FakeNvml.NVML_ERROR_NOT_SUPPORTED
    assert (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM) == (gpu._CLOCK_SM, gpu._CLOCK_MEMORY)
    assert pynvml.NVML_AGGREGATE_ECC == gpu._AGGREGATE_ECC
    assert pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED == gpu._MEMORY_ERROR_UNCORRECTED


def test_a_sample_of_this_machine(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path, lambda: Gpus.open(FakeNvml(pid=os.getpid())))
    values = sampler.sample()
    sampler.close()
    for name in (
        "cpu",
        "system.cpu",
        "proc.cpu.threads",
        "proc.memory.rssMB",
        "proc.memory.percent",
        "proc.memory.availableMB",
        "memory_percent",
        "disk./.usagePercent",
        "disk./.usageGB",
        "network.sent",
        "network.recv",
        "gpu.0.gpu",
        "gpu.process.0.gpu",
    ):
        assert values[name] >= 0.0, name
    assert values["proc.memory.rssMB"] > 5
    assert all(type(value) is float for value in values.values())


def test_a_part_that_fails_is_left_out_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import psutil

    sampler = Sampler(tmp_path, lambda: None)

    def broken(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(psutil, "disk_usage", broken)
    for _ in range(2):
        values = sampler.sample()
        assert "memory_percent" in values
        assert not any(name.startswith("disk./") for name in values)
    assert capsys.readouterr().err.count("disk cannot be read") == 1


def metrics(make: Any, queue: RowQueue, told: list[dict[str, Any]]) -> SystemMetrics:
    return SystemMetrics(queue, Path("/"), 0.01, told.append, make)


def test_samples_come_in_time_and_one_at_the_end(tmp_path: Path) -> None:
    queue = RowQueue(lambda: None)
    told: list[dict[str, Any]] = []
    third = threading.Event()

    class Scripted:
        gpus = Gpus.open(FakeNvml())
        count = 0

        def __init__(self, folder: Path) -> None:
            pass

        def limits(self) -> dict[str, Any]:
            return {"cpu_limit": 1.5}

        def sample(self) -> dict[str, float]:
            self.count += 1
            if self.count == 3:
                third.set()
            return {"a": float(self.count)}

        def close(self) -> None:
            pass

    system = metrics(Scripted, queue, told)
    assert third.wait(60)
    system.stop(60)
    rows = queue.take()
    assert [row[1] for row in rows] == list(range(len(rows)))
    assert [row[3] for row in rows] == [(float(n + 1),) for n in range(len(rows))]
    assert told == [{"gpu_count": 2, "gpu": ["NVIDIA Old", "NVIDIA New"], "cpu_limit": 1.5}]


@pytest.mark.parametrize("where", ["make", "sample"])
def test_a_sampler_that_breaks_ends_the_metrics_only(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = threading.Event()

    class Broken:
        gpus = None

        def __init__(self, folder: Path) -> None:
            if where == "make":
                done.set()
                raise RuntimeError("no such machine")

        def limits(self) -> dict[str, Any]:
            return {}

        def sample(self) -> dict[str, float]:
            done.set()
            raise RuntimeError("no such machine")

        def close(self) -> None:
            pass

    queue = RowQueue(lambda: None)
    system = metrics(Broken, queue, [])
    assert done.wait(60)
    system.stop(60)
    assert queue.take() == []
    assert capsys.readouterr().err.count("no such machine") == 1
