"""NVIDIA GPU metrics through NVML, by wandb's names."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Gpus", "driver_seems_present", "open_gpus"]

_MEMORY_ERROR_CORRECTED = 0
_MEMORY_ERROR_UNCORRECTED = 1
_AGGREGATE_ECC = 1
_TEMPERATURE_GPU = 0
_CLOCK_SM = 1
_CLOCK_MEMORY = 2
_NEVER = (3, 13, 25)  # NVML_ERROR_NOT_SUPPORTED, FUNCTION_NOT_FOUND, ARGUMENT_VERSION_MISMATCH


def driver_seems_present() -> bool:
    """Tell, without loading anything, whether an NVIDIA driver may be here."""
    return bool(
        os.path.exists("/proc/driver/nvidia/version")
        or os.path.exists("/dev/nvidiactl")
        or os.path.exists("/dev/dxg")
        or glob.glob("/dev/nvidia[0-9]*")
    )


def open_gpus() -> Gpus | None:
    """Return the machine's NVIDIA GPUs, None when there are none or NVML cannot be used."""
    if not driver_seems_present():
        return None
    try:
        import pynvml
    except ImportError:
        return None
    return Gpus.open(pynvml)


class Gpus:
    """The GPUs that NVML shows. A value that a GPU does not support is left out from then on."""

    def __init__(self, nvml: Any, handles: list[Any], names: list[str]) -> None:
        self._nvml = nvml
        self._handles = handles
        self._unsupported: set[str] = set()
        self.names = names

    @classmethod
    def open(cls, nvml: Any) -> Gpus | None:
        """Start NVML (a module of pynvml's form); None when it fails or shows no GPU."""
        try:
            nvml.nvmlInit()
            handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
            names = [_text(nvml.nvmlDeviceGetName(handle)) for handle in handles]
        except nvml.NVMLError:
            return None
        return cls(nvml, handles, names) if handles else None

    def sample(self, pids: Iterable[int]) -> dict[str, float]:
        """Return one sample; ``gpu.process.{i}.*`` for GPUs that one of the processes ``pids`` uses."""
        mine = set(pids)
        values: dict[str, float] = {}
        for index, handle in enumerate(self._handles):
            device = self._device(handle)
            values.update({f"gpu.{index}.{name}": value for name, value in device.items()})
            if self._used_by(handle, mine):
                values.update(
                    {
                        f"gpu.process.{index}.{name}": device[name]
                        for name in _PROCESS_METRICS
                        if name in device
                    }
                )
        return values

    def close(self) -> None:
        """Let NVML go."""
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return

    def _device(self, handle: Any) -> dict[str, float]:
        nvml = self._nvml
        values: dict[str, float] = {}
        use = self._ask("utilization", nvml.nvmlDeviceGetUtilizationRates, handle)
        if use is not None:
            values["gpu"] = float(use.gpu)
            values["memory"] = float(use.memory)
        memory = self._memory(handle)
        if memory is not None:
            values["memoryAllocatedBytes"] = float(memory.used)
            if memory.total:
                values["memoryAllocated"] = 100.0 * memory.used / memory.total
        self._one(values, "temp", nvml.nvmlDeviceGetTemperature, handle, _TEMPERATURE_GPU)
        self._one(values, "powerWatts", nvml.nvmlDeviceGetPowerUsage, handle, scale=1e-3)
        self._one(values, "enforcedPowerLimitWatts", nvml.nvmlDeviceGetEnforcedPowerLimit, handle, scale=1e-3)
        limit = values.get("enforcedPowerLimitWatts")
        if limit and "powerWatts" in values:
            values["powerPercent"] = 100.0 * values["powerWatts"] / limit
        self._one(values, "fanSpeed", nvml.nvmlDeviceGetFanSpeed, handle)
        self._one(values, "smClock", nvml.nvmlDeviceGetClockInfo, handle, _CLOCK_SM)
        self._one(values, "memoryClock", nvml.nvmlDeviceGetClockInfo, handle, _CLOCK_MEMORY)
        encoder = self._ask("encoder", nvml.nvmlDeviceGetEncoderUtilization, handle)
        if encoder is not None:
            values["encoderUtilization"] = float(encoder[0])
        for name, kind in (
            ("correctedMemoryErrors", _MEMORY_ERROR_CORRECTED),
            ("uncorrectedMemoryErrors", _MEMORY_ERROR_UNCORRECTED),
        ):
            self._one(values, name, nvml.nvmlDeviceGetTotalEccErrors, handle, kind, _AGGREGATE_ECC)
        return values

    def _memory(self, handle: Any) -> Any:
        """Return the memory in use; as nvidia-smi, without what the driver reserves where NVML can tell."""
        version = getattr(self._nvml, "nvmlMemory_v2", None)
        if version is not None:
            found = self._ask("memory_v2", self._nvml.nvmlDeviceGetMemoryInfo, handle, version)
            if found is not None:
                return found
        return self._ask("memory", self._nvml.nvmlDeviceGetMemoryInfo, handle)

    def _one(
        self,
        values: dict[str, float],
        name: str,
        ask: Callable[..., Any],
        *arguments: Any,
        scale: float = 1.0,
    ) -> None:
        found = self._ask(name, ask, *arguments)
        if found is not None:
            values[name] = float(found) * scale

    def _ask(self, name: str, ask: Callable[..., Any], handle: Any, *arguments: Any) -> Any:
        """Return NVML's answer, None when this GPU has none; what it does not support is asked once."""
        key = f"{name}:{self._handles.index(handle)}"
        if key in self._unsupported:
            return None
        try:
            return ask(handle, *arguments)
        except self._nvml.NVMLError as error:
            if getattr(error, "value", None) in _NEVER:
                self._unsupported.add(key)
            return None

    def _used_by(self, handle: Any, pids: set[int]) -> bool:
        found = self._ask("processes", self._nvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
        return any(process.pid in pids for process in found)


_PROCESS_METRICS = (
    "gpu",
    "memory",
    "memoryAllocated",
    "memoryAllocatedBytes",
    "temp",
    "powerWatts",
    "powerPercent",
)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
