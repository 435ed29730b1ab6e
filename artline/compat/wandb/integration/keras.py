"""``wandb.integration.keras``: callbacks for metrics, checkpoints and predictions."""

from __future__ import annotations

import abc
import os
from typing import Any, Literal

import keras

import artline
from artline.compat.wandb import layout
from artline.compat.wandb.session import run_for
from artline.errors import UsageError
from artline.runs import current

__all__ = ["WandbEvalCallback", "WandbMetricsLogger", "WandbModelCheckpoint"]

_Logs = dict[str, Any] | None


class WandbMetricsLogger(keras.callbacks.Callback):
    """Log ``epoch/*`` after each epoch or, with ``log_freq``, ``batch/*`` after every so many batches, too.

    The learning rate is among them. ``log_freq`` is ``epoch``, ``batch`` or a number of batches. Raises
    UsageError without a run.
    """

    def __init__(
        self, log_freq: Literal["epoch", "batch"] | int = "epoch", initial_global_step: int = 0, **named: Any
    ) -> None:
        super().__init__(**named)
        run_for("WandbMetricsLogger")
        if log_freq not in ("epoch", "batch") and (not isinstance(log_freq, int) or log_freq < 1):
            raise UsageError(f"log_freq must be 'epoch', 'batch' or a number of batches, not {log_freq!r}")
        self.every = 1 if log_freq == "batch" else log_freq if isinstance(log_freq, int) else 0
        self.global_step = initial_global_step
        self._logged_batch = 0
        axis, metrics = ("batch/batch_step", "batch/*") if self.every else ("epoch/epoch", "epoch/*")
        current.define_metric(axis)
        current.define_metric(metrics, step_metric=axis)

    def on_train_batch_end(self, batch: int, logs: _Logs = None) -> None:
        """Log a batch if it is due."""
        self.global_step += 1
        if self.every and batch % self.every == 0:
            row = {f"batch/{name}": value for name, value in (logs or {}).items()}
            current.log({**row, "batch/batch_step": self._logged_batch, **self._rate("batch")})
            self._logged_batch += self.every

    def on_epoch_end(self, epoch: int, logs: _Logs = None) -> None:
        """Log an epoch."""
        row = {f"epoch/{name}": value for name, value in (logs or {}).items()}
        current.log({**row, "epoch/epoch": epoch, **self._rate("epoch")})

    def _rate(self, section: str) -> dict[str, float]:
        """Return the learning rate, if the optimizer has one; a schedule is asked for this step's."""
        rate = getattr(getattr(self.model, "optimizer", None), "learning_rate", None)
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            rate = rate(self.global_step)
        if rate is None:
            return {}
        return {f"{section}/learning_rate": float(keras.ops.convert_to_numpy(rate))}


class WandbModelCheckpoint(keras.callbacks.ModelCheckpoint):
    """Save the model as keras's ModelCheckpoint does, and log each saved file as ``run_<id>_model``.

    The aliases are ``latest`` and ``epoch_<n>`` or ``epoch_<n>_batch_<m>``. With ``save_best_only`` only
    what is saved is logged. Raises UsageError without a run.
    """

    def __init__(self, filepath: str | os.PathLike[str], *arguments: Any, **named: Any) -> None:
        run_for("WandbModelCheckpoint")
        super().__init__(os.fspath(filepath), *arguments, **named)

    def _save_model(self, epoch: int, batch: int | None, logs: Any) -> None:
        filepath = self._get_file_path(epoch, batch, logs)
        before = _stamp(filepath)
        super()._save_model(epoch, batch, logs)
        if _stamp(filepath) in (None, before):
            return  # not better than the best
        run = run_for("WandbModelCheckpoint")
        artifact = artline.Artifact(f"run_{run.id}_model", type="model")
        add = artifact.add_dir if os.path.isdir(filepath) else artifact.add_file
        add(filepath)
        run.log_artifact(
            artifact, aliases=["latest", f"epoch_{epoch}" + ("" if batch is None else f"_batch_{batch}")]
        )


class WandbEvalCallback(keras.callbacks.Callback, abc.ABC):
    """Log a table of validation data once, and one of predictions after each epoch; subclass it.

    ``add_ground_truth`` fills ``data_table`` and ``add_model_predictions`` fills ``pred_table``;
    ``data_table_ref`` is the logged ``data_table``. Raises UsageError without a run.
    """

    def __init__(self, data_table_columns: list[str], pred_table_columns: list[str], **named: Any) -> None:
        super().__init__(**named)
        run_for("WandbEvalCallback")
        self.data_table_columns = data_table_columns
        self.pred_table_columns = pred_table_columns

    @abc.abstractmethod
    def add_ground_truth(self, logs: _Logs = None) -> None:
        """Add rows of validation data to ``data_table``."""

    @abc.abstractmethod
    def add_model_predictions(self, epoch: int, logs: _Logs = None) -> None:
        """Add rows of predictions to ``pred_table``."""

    def on_train_begin(self, logs: _Logs = None) -> None:
        """Log the validation data."""
        self.init_data_table(self.data_table_columns)
        self.add_ground_truth(logs)
        self.log_data_table()

    def on_epoch_end(self, epoch: int, logs: _Logs = None) -> None:
        """Log the predictions."""
        self.init_pred_table(self.pred_table_columns)
        self.add_model_predictions(epoch, logs)
        self.log_pred_table()

    def init_data_table(self, column_names: list[str]) -> None:
        """Begin an empty ``data_table``."""
        self.data_table = artline.Table(columns=column_names)

    def init_pred_table(self, column_names: list[str]) -> None:
        """Begin an empty ``pred_table``."""
        self.pred_table = artline.Table(columns=column_names)

    def log_data_table(self, name: str = "val", type: str = "dataset", table_name: str = "val_data") -> None:
        """Log ``data_table`` as an artifact that the run uses; read it back as ``data_table_ref``."""
        artifact = artline.Artifact(name, type=type)
        artifact.add(self.data_table, table_name)
        self.data_table_ref = run_for("WandbEvalCallback").use_artifact(artifact).get(table_name)

    def log_pred_table(
        self, type: str = "evaluation", table_name: str = "eval_data", aliases: list[str] | None = None
    ) -> None:
        """Log ``pred_table`` as a version of ``run_<id>_pred``."""
        run = run_for("WandbEvalCallback")
        artifact = artline.Artifact(f"run_{run.id}_pred", type=type)
        artifact.add(self.pred_table, table_name)
        run.log_artifact(artifact, aliases=aliases or ["latest"])


def _stamp(path: str) -> tuple[int, int] | None:
    """Return what changes when a file is written anew; None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


def __getattr__(name: str) -> Any:
    if name == "WandbCallback":
        raise AttributeError(
            "Artline's stand-in for wandb has no wandb.keras.WandbCallback (wandb dropped it as well): use "
            "WandbMetricsLogger, and WandbModelCheckpoint to keep the model"
        )
    raise AttributeError(layout.missing(f"wandb.integration.keras.{name}"))
