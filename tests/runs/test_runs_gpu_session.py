"""GPU metrics against a recorded session of NVML on an H100, and beside what nvidia-smi said meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from artline.runs.gpu import Gpus

SESSION = json.loads((Path(__file__).parents[1] / "fixtures" / "nvml-h100.json").read_text())


class RecordedError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class RecordedNvml:
    """Answers each question as NVML did; a question that was not asked then is an error of the test."""

    NVMLError = RecordedError
    nvmlMemory_v2 = 33554472  # noqa: N815  (NVML's name)

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.load(SESSION["opening"])

    def load(self, calls: list[list[Any]]) -> None:
        self.answers.update({json.dumps(call[:2]): call[2] for call in calls})

    def __getattr__(self, name: str) -> Any:
        def ask(*arguments: Any) -> Any:
            if name == "nvmlDeviceGetHandleByIndex":
                return "handle"
            key = json.dumps([name, list(arguments)])
            if key not in self.answers:
                raise AssertionError(f"nobody asked NVML for {key} when this was recorded")
            return _answer(self.answers[key])

        return ask


def _answer(value: Any) -> Any:
    if isinstance(value, dict) and "error" in value:
        raise RecordedError(value["error"])
    if isinstance(value, dict):
        return SimpleNamespace(**value)
    if isinstance(value, list):
        return [_answer(item) for item in value]
    return value


def test_a_recorded_h100_is_told_as_nvidia_smi_told_it() -> None:
    nvml = RecordedNvml()
    gpus = Gpus.open(nvml)
    assert gpus is not None
    assert gpus.names == ["NVIDIA H100 80GB HBM3"]
    labels = []
    for sample in SESSION["samples"]:
        nvml.load(sample["calls"])
        values = gpus.sample([SESSION["pid"]])
        smi = {
            name: float(told)
            for name, told in sample["nvidia_smi"].items()
            if told[0].isdigit() and name != "driver_version"
        }
        # The two were asked a few milliseconds apart, while the load went up and down.
        assert values["gpu.0.gpu"] == pytest.approx(smi["utilization.gpu"], abs=2)
        assert values["gpu.0.memory"] == pytest.approx(smi["utilization.memory"], abs=3)
        assert values["gpu.0.memoryAllocatedBytes"] / 2**20 == pytest.approx(smi["memory.used"], abs=1)
        assert values["gpu.0.memoryAllocated"] == pytest.approx(
            100 * smi["memory.used"] / smi["memory.total"], abs=0.01
        )
        assert values["gpu.0.temp"] == pytest.approx(smi["temperature.gpu"], abs=2)
        assert values["gpu.0.powerWatts"] == pytest.approx(smi["power.draw"], rel=0.02)
        assert values["gpu.0.enforcedPowerLimitWatts"] == smi["enforced.power.limit"]
        assert values["gpu.0.powerPercent"] == pytest.approx(
            100 * values["gpu.0.powerWatts"] / smi["enforced.power.limit"]
        )
        assert values["gpu.0.memoryClock"] == smi["clocks.mem"]
        assert values["gpu.0.smClock"] == pytest.approx(smi["clocks.sm"], rel=0.15)
        assert values["gpu.0.correctedMemoryErrors"] == smi["ecc.corrected"]
        assert values["gpu.0.uncorrectedMemoryErrors"] == smi["ecc.uncorrected"]
        assert "gpu.0.fanSpeed" not in values  # the card has no fan of its own
        assert ("gpu.process.0.gpu" in values) == (sample["label"] == "busy")
        assert not any(name.startswith("gpu.process.") for name in gpus.sample([1]))
        labels.append(sample["label"])
    assert labels == ["idle", "idle", "busy", "busy", "busy", "busy"]
    nvml.load(SESSION["closing"])
    gpus.close()


def test_an_older_driver_answers_for_memory_in_the_older_form() -> None:
    nvml = RecordedNvml()
    gpus = Gpus.open(nvml)
    assert gpus is not None
    for sample in SESSION["samples"]:
        nvml.load(sample["calls"])
    new = ["nvmlDeviceGetMemoryInfo", ["handle", nvml.nvmlMemory_v2]]
    old = ["nvmlDeviceGetMemoryInfo", ["handle"]]
    nvml.load([[*new, {"error": 13}], [*old, {"total": 80 << 30, "free": 60 << 30, "used": 20 << 30}]])
    assert gpus.sample([])["gpu.0.memoryAllocated"] == 25.0
    assert gpus.sample([])["gpu.0.memoryAllocatedBytes"] == 20 << 30
