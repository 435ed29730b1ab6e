"""Keras, with any of its backends: ``ArtlineCallback``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import keras

from artline.errors import UsageError
from artline.integrations.training import describe, keep_model, numbers, run_for

if TYPE_CHECKING:
    from artline.runs.run import Run

__all__ = ["ArtlineCallback"]


class ArtlineCallback(keras.callbacks.Callback):
    """A callback for ``model.fit(callbacks=[…])`` and ``model.evaluate``.

    Each epoch is a row: ``epoch/loss``, ``epoch/val_loss`` and so on beside ``epoch/epoch``. ``log_freq`` 10
    logs every tenth batch, too, as ``batch/loss`` beside ``batch/batch``; ``"batch"`` each. The optimizer's
    and the fit's parameters become config. ``log_model``: ``"end"`` keeps the model once the fit has ended,
    ``"all"`` after each epoch, ``"best"`` when ``monitor`` got better (less, or more with ``mode`` max).
    Raises UsageError without a run.
    """

    def __init__(
        self,
        log_freq: Literal["epoch", "batch"] | int = "epoch",
        log_model: Literal["end", "best", "all"] | None = None,
        monitor: str = "val_loss",
        mode: Literal["min", "max"] = "min",
        run: Run | None = None,
    ) -> None:
        super().__init__()
        if log_freq not in ("epoch", "batch") and (not isinstance(log_freq, int) or log_freq < 1):
            raise UsageError(
                f"ArtlineCallback: log_freq must be 'epoch', 'batch' or a number, not {log_freq!r}"
            )
        if log_model not in ("end", "best", "all", None) or mode not in ("min", "max"):
            raise UsageError(
                f"ArtlineCallback: log_model must be 'end', 'best', 'all' or None, and mode 'min' or 'max', "
                f"not {log_model!r} and {mode!r}"
            )
        self._every = 0 if log_freq == "epoch" else 1 if log_freq == "batch" else int(log_freq)
        self._log_model = log_model
        self._monitor = monitor
        self._sign = 1.0 if mode == "min" else -1.0
        self._given = run
        self._best = float("inf")
        self._batch = 0
        self._epoch: int | None = None
        self._fitting = False

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Describe the fit."""
        self._fitting = True
        run = self._run()
        values = dict(self.params)
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            values["optimizer"] = _optimizer(optimizer)
        describe(run, values)
        run.define_metric("epoch/*", step_metric="epoch/epoch")
        if self._every:
            run.define_metric("batch/*", step_metric="batch/batch")

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the batch, where asked."""
        self._batch += 1
        if self._every and self._batch % self._every == 0:
            self._run().log({"batch/batch": self._batch, **numbers(logs or {}, "batch/")})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the epoch, and keep the model where asked."""
        row = numbers(logs or {}, "epoch/")
        rate = _learning_rate(self.model)
        if rate is not None:
            row.setdefault("epoch/learning_rate", rate)
        self._run().log({"epoch/epoch": epoch, **row})
        self._epoch = epoch
        score = row.get(f"epoch/{self._monitor}")
        better = score is not None and self._sign * score < self._best
        if better and score is not None:
            self._best = self._sign * score
        if self._log_model == "all" or (self._log_model == "best" and better):
            self._keep(["latest", f"epoch_{epoch}", *(["best"] if better else [])], score)

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Log an evaluation that is not part of a fit, as ``eval/loss`` and so on."""
        if not self._fitting:
            self._run().log(numbers(logs or {}, "eval/"))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the model, where asked."""
        self._fitting = False
        if self._log_model == "end":
            self._keep(["latest"], numbers(logs or {}).get(self._monitor))

    def _run(self) -> Run:
        return run_for(self._given, "ArtlineCallback")

    def _keep(self, aliases: list[str], score: float | None) -> None:
        with tempfile.TemporaryDirectory(prefix="artline-keras-") as folder:
            path = os.path.join(folder, "model.keras")
            self.model.save(path)
            metadata = {"epoch": self._epoch, "monitor": self._monitor, "score": score}
            keep_model(self._run(), path, None, aliases, metadata)


def _optimizer(optimizer: Any) -> Any:
    config = optimizer.get_config()
    return {
        key: value for key, value in config.items() if isinstance(value, (str, int, float, bool, type(None)))
    }


def _learning_rate(model: Any) -> float | None:
    rate = getattr(getattr(model, "optimizer", None), "learning_rate", None)
    try:
        return None if rate is None else float(keras.ops.convert_to_numpy(rate))
    except (TypeError, ValueError):
        return None
