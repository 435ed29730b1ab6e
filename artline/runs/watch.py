"""``run.watch``: histograms of a PyTorch model's gradients and parameters beside its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.runs.gradients import Watcher
    from artline.runs.run import Companion, Run

__all__ = ["RunWatch", "Watched"]

Watched = Literal["gradients", "parameters", "all"]


class RunWatch:
    """The part of a run that watches models."""

    _watcher: Watcher | None = None

    if TYPE_CHECKING:

        @property
        def disabled(self) -> bool: ...

        def _writable(self, what: str) -> bool: ...

        def attach(self, companion: Companion, first: bool = False) -> None: ...

    def watch(
        self,
        models: Any,
        criterion: Any = None,
        log: Watched | None = "gradients",
        log_freq: int = 1000,
        idx: int | None = None,
        log_graph: bool = False,
    ) -> None:
        """Log histograms of a torch module's gradients, parameters or both, every ``log_freq`` batches.

        A batch is one backward pass. The histograms, 64 bins of the finite values, are computed on the
        tensor's device and go into the row that is logged next, as ``gradients/<parameter>`` and
        ``parameters/<parameter>``; a parameter is named as in ``named_parameters()`` of the model itself,
        without the wrappers of DataParallel, DistributedDataParallel and ``torch.compile``. ``models`` is a
        module or several; from the second on (or from ``idx`` 1 on) names begin with ``graph_1.``, and so
        forth. ``log_graph`` keeps the model's modules, their parameters and the ``criterion`` as
        ``graph_<n>.json`` with the run's files. ``unwatch`` and the end of the run take all hooks away.
        A model is held weakly: watching does not keep it alive. Raises UsageError.
        """
        if log not in ("gradients", "parameters", "all", None):
            raise UsageError(f"watch: log must be 'gradients', 'parameters', 'all' or None, not {log!r}")
        if isinstance(log_freq, bool) or not isinstance(log_freq, int) or log_freq < 1:
            raise UsageError(f"watch: log_freq must be a whole number of batches from 1, not {log_freq!r}")
        several: Sequence[Any] = tuple(models) if isinstance(models, (list, tuple, set)) else (models,)
        if self.disabled or not self._writable("watch"):
            return
        from artline.runs.gradients import Watcher

        if self._watcher is None:
            self._watcher = Watcher(cast("Run", self))
            self.attach(self._watcher)
        self._watcher.add(several, criterion, log, log_freq, idx, log_graph)

    def unwatch(self, models: Any = None) -> None:
        """Stop watching some models, or all; what was computed is logged. Does nothing for others."""
        if self._watcher is not None:
            several = tuple(models) if isinstance(models, (list, tuple, set)) else (models,)
            self._watcher.remove(None if models is None else several)
