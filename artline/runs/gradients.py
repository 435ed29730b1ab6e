"""Histograms of PyTorch tensors, and the hooks that take them while a model trains.

Between two observations a hook costs a comparison for each parameter and batch. In the batch that is due
each gradient becomes 68 numbers on its own device; when the backward pass has ended they are moved to the
host together, once, and handed to ``run.log`` without completing its row.

Each parameter counts its own gradients, and the one that has had most leads: when its count is due, every
parameter owes its next gradient. One that takes no part in that batch pays when it next has one.
"""

from __future__ import annotations

import contextlib
import json
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from artline.errors import UsageError
from artline.runs import notices
from artline.runs.records import File
from artline.runs.run import Companion
from artline.runs.values import JsonText

if TYPE_CHECKING:
    from artline.runs.run import Run

__all__ = ["BINS", "Watcher", "histogram_text", "tensor_histogram"]

BINS = 64
_WRAPPERS = ("DataParallel", "DistributedDataParallel", "OptimizedModule")


def tensor_histogram(tensor: Any) -> Any:
    """Return a tensor as 68 integers on its device.

    They are 64 counts, those of NaNs and of infinities, and the bits of the two bounds as float32. The bins
    have one width, from the least finite value to the greatest (a unit's width when they are equal); what a
    sparse tensor leaves out counts as zeros. Nothing waits for the device, but for sparse tensors, which
    are coalesced.
    """
    import torch

    tensor = tensor.detach()
    zeros = 0
    if tensor.layout != torch.strided:
        sparse = tensor if tensor.layout == torch.sparse_coo else tensor.to_sparse_coo()
        sparse = sparse.coalesce()
        tensor = sparse.values()
        zeros = sparse.numel() - tensor.numel()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    values = tensor.reshape(-1)
    if values.dtype == torch.float64:
        limit = torch.finfo(torch.float32).max
        values = torch.where(values.isfinite(), values.clamp(-limit, limit), values)
    values = values.to(torch.float32)
    if zeros:  # the bounds reach to zero, and the zeros are added to its bin
        values = torch.cat((values, values.new_zeros(1)))
    if values.numel() == 0:
        return torch.zeros(BINS + 4, dtype=torch.int64, device=values.device)
    finite = torch.isfinite(values)
    low = torch.where(finite, values, torch.inf).amin()
    high = torch.where(finite, values, -torch.inf).amax()
    middle = torch.where(high > low, 0.0, 0.5)
    low, high = low - middle, high + middle
    width = high / BINS - low / BINS  # divided first: the difference of the bounds may overflow
    places = ((values / BINS - low / BINS) / width * BINS).nan_to_num_(0.0).clamp_(0, BINS - 1).long()
    places = torch.where(finite, places, torch.where(values.isnan(), BINS, BINS + 1))
    counts = torch.zeros(BINS + 2, dtype=torch.int64, device=values.device)
    counts.scatter_add_(0, places, counts.new_ones(()).expand_as(places))
    if zeros:
        counts.scatter_add_(0, places[-1:], counts.new_full((1,), zeros - 1))
    bounds = torch.stack((low, high)).view(torch.int32).to(torch.int64)
    return torch.cat((counts, bounds))


def histogram_text(numbers: Sequence[int]) -> JsonText | None:
    """Return what is logged for the integers of ``tensor_histogram``; None where nothing was counted."""
    import struct

    counts = list(numbers[:BINS])
    nans, infinities = numbers[BINS], numbers[BINS + 1]
    if not any(counts) and not nans and not infinities:
        return None
    record: dict[str, Any] = {"_type": "histogram", "values": counts}
    if any(counts):
        low, high = struct.unpack("<ff", struct.pack("<ii", numbers[BINS + 2], numbers[BINS + 3]))
        edges = (low + (high - low) * n / BINS for n in range(BINS))
        record["bins"] = [*(float(f"{edge:.7g}") for edge in edges), float(f"{high:.7g}")]
    else:
        record["bins"] = [n / BINS for n in range(BINS + 1)]
    if nans:
        record["nan"] = nans
    if infinities:
        record["inf"] = infinities
    return JsonText(json.dumps(record, separators=(",", ":")))


class _Hook:
    """Called with each gradient of one parameter."""

    __slots__ = ("count", "handle", "model", "name", "parameter", "round")
    __torch_unserializable__ = True  # a saved or sent tensor goes without it, and without a warning

    def __init__(self, model: _Model, name: str, parameter: Any, count: int) -> None:
        self.model = model
        self.name = name
        self.count = count
        self.round = model.round
        self.parameter = weakref.ref(parameter)
        self.handle = parameter.register_hook(self)

    def __call__(self, gradient: Any) -> None:
        self.count += 1
        model = self.model
        if self.count >= model.due:
            model.begin(self)
        if self.round != model.round:
            self.round = model.round
            model.take(self, gradient)


class _Model:
    """One watched model: its hooks, and what they found since it was last logged."""

    def __init__(
        self, watcher: Watcher, module: Any, gradients: bool, parameters: bool, frequency: int, prefix: str
    ) -> None:
        self._watcher = watcher
        self.module = weakref.ref(module)
        self._gradients = gradients
        self._parameters = parameters
        self._frequency = frequency
        self._prefix = prefix
        self._hooks: dict[str, _Hook] = {}
        self._found: dict[str, Any] = {}
        self._scheduled = False
        self.due = frequency
        self.round = 0
        self._refresh(0)

    @property
    def hooked(self) -> int:
        """How many parameters have a hook."""
        return len(self._hooks)

    def _refresh(self, count: int) -> None:
        """Hook parameters that came to need a gradient; a shared one is hooked once."""
        module = self.module()
        if module is None:
            return
        for name, parameter in module.named_parameters():
            known = self._hooks.get(name)
            if parameter.requires_grad and (known is None or known.parameter() is not parameter):
                self._hooks[name] = _Hook(self, plain_name(module, name), parameter, count)

    def begin(self, leader: _Hook) -> None:
        """Have every parameter owe a gradient from this batch on, and make up for counts that lag."""
        done = self.due
        self.due = done + self._frequency
        for hook in self._hooks.values():
            if hook is not leader:
                hook.count = done - 1
        leader.count = done
        try:
            self._refresh(done - 1)
            self.round += 1
            if self._parameters:
                self._take_parameters()
                self._schedule()
        except Exception as error:  # noqa: BLE001  # whatever it is, the training goes on
            self._watcher.give_up(error)

    def take(self, hook: _Hook, gradient: Any) -> None:
        """Take one gradient into the observation; it is logged when the backward pass has ended."""
        import torch

        try:
            if self._gradients:
                with torch.no_grad():
                    self._found[f"gradients/{self._prefix}{hook.name}"] = tensor_histogram(gradient)
            self._schedule()
        except Exception as error:  # noqa: BLE001  # whatever it is, the training goes on
            self._watcher.give_up(error)

    def _schedule(self) -> None:
        import torch

        if not self._scheduled and self._found:
            self._scheduled = True
            torch.autograd.Variable._execution_engine.queue_callback(self.log)

    def _take_parameters(self) -> None:
        import torch

        module = self.module()
        if module is not None:
            with torch.no_grad():
                for name, parameter in module.named_parameters():
                    key = f"parameters/{self._prefix}{plain_name(module, name)}"
                    self._found[key] = tensor_histogram(parameter)

    def log(self) -> None:
        """Move what was found to the host, and log it with the row that comes next."""
        import torch

        self._scheduled = False
        found, self._found = self._found, {}
        try:
            by_device: dict[Any, list[str]] = {}
            for key, numbers in found.items():
                by_device.setdefault(numbers.device, []).append(key)
            row: dict[str, Any] = {}
            for keys in by_device.values():
                for key, numbers in zip(
                    keys, torch.stack([found[key] for key in keys]).tolist(), strict=True
                ):
                    text = histogram_text(numbers)
                    if text is not None:
                        row[key] = text
            self._watcher.log(row)
        except Exception as error:  # noqa: BLE001  # whatever it is, the training goes on
            self._watcher.give_up(error)

    def mute(self) -> None:
        """Find nothing more."""
        self.due = 1 << 62
        for hook in self._hooks.values():
            hook.round = self.round
        self._found = {}

    def release(self) -> None:
        """Take the hooks away, and log what was found."""
        for hook in self._hooks.values():
            hook.handle.remove()
        self._hooks = {}
        if self._found:
            self.log()


class Watcher(Companion):
    """The watched models of one run; a companion of the run, so that its end takes all hooks away."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._models: list[_Model] = []
        self._failed = False

    def add(
        self,
        modules: Sequence[Any],
        criterion: Any,
        log: str | None,
        frequency: int,
        idx: int | None,
        graph: bool,
    ) -> None:
        """Watch some modules; see RunWatch.watch."""
        try:
            from torch.nn import Module
        except ImportError as error:
            raise UsageError(
                "watch needs PyTorch, which this Python does not have. Install it, or take the call away"
            ) from error
        for module in modules:
            if not isinstance(module, Module):
                kind = f"{type(module).__module__}.{type(module).__qualname__}"
                raise UsageError(
                    f"watch: a {kind} cannot be watched. Pass a torch.nn.Module, or a list of them"
                )
            if any(model.module() is module for model in self._models):
                raise UsageError(
                    f"watch: this {type(module).__name__} is watched already. Call run.unwatch(model) first"
                )
        self._models = [model for model in self._models if model.module() is not None]
        first = len(self._models) if idx is None else idx
        for number, module in enumerate(modules, first):
            prefix = f"graph_{number}." if number else ""
            if graph:
                self._keep_graph(module, criterion, number)
            if log is None:
                continue
            model = _Model(self, module, log != "parameters", log != "gradients", frequency, prefix)
            self._models.append(model)
            if not model.hooked:
                notices.warn(
                    f"watch: no parameter of this {type(module).__name__} needs a gradient, so nothing is "
                    "logged. Call watch once some do"
                )

    def remove(self, modules: Sequence[Any] | None) -> None:
        """Stop watching some modules, or all."""
        kept = []
        for model in self._models:
            if modules is None or any(model.module() is module for module in modules):
                model.release()
            else:
                kept.append(model)
        self._models = kept

    def log(self, row: dict[str, Any]) -> None:
        """Log histograms with the row that comes next."""
        if row:
            self._run.log(row, commit=False)

    def give_up(self, error: Exception) -> None:
        """Say once what went wrong, and watch no more."""
        models, self._models = self._models, []
        for model in models:
            model.mute()
            with contextlib.suppress(Exception):
                model.release()
        if not self._failed:
            self._failed = True
            notices.warn(f"watch: stopped after {type(error).__name__}: {error}. The training goes on")

    def stop(self, timeout: float) -> None:
        """Take all hooks away at the end of the run."""
        try:
            self.remove(None)
        except Exception as error:  # noqa: BLE001  # the run's end must not fail for it
            self.give_up(error)

    def abandon(self) -> None:
        """In a forked child: nothing is logged there."""
        for model in self._models:
            model.mute()

    def _keep_graph(self, module: Any, criterion: Any, number: int) -> None:
        name = f"graph_{number}.json"
        text = json.dumps(_describe(module, criterion), indent=1)
        try:
            with open(f"{self._run.dir}/{name}", "w", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            notices.warn(
                f"watch: '{name}' cannot be written under {self._run.dir}: {error.strerror or error}"
            )
            return
        self._run.keep_file(File(name, "now"))


def plain_name(module: Any, name: str) -> str:
    """Return a parameter's name without the wrappers around its model."""
    while type(module).__name__ in _WRAPPERS:
        inner = "_orig_mod" if type(module).__name__ == "OptimizedModule" else "module"
        if not name.startswith(f"{inner}."):
            break
        name = name[len(inner) + 1 :]
        module = getattr(module, inner)
    return name


def _describe(module: Any, criterion: Any) -> dict[str, Any]:
    """Return a model's modules and parameters as JSON values."""
    nodes = []
    for name, part in module.named_modules():
        parameters = [
            {
                "name": key,
                "shape": list(parameter.shape),
                "dtype": str(parameter.dtype).removeprefix("torch."),
                "trainable": bool(parameter.requires_grad),
            }
            for key, parameter in part.named_parameters(recurse=False)
        ]
        nodes.append({"name": name, "class": type(part).__name__, "parameters": parameters})
    return {
        "_type": "graph",
        "model": type(module).__name__,
        "criterion": None if criterion is None else type(criterion).__name__,
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "modules": nodes,
    }
