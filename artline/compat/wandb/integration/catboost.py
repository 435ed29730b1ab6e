"""``wandb.integration.catboost``: a callback for ``fit``, and a summary of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artline.compat.wandb.integration.boosting import log_importance, log_model
from artline.compat.wandb.session import run_for
from artline.runs import current

__all__ = ["WandbCallback", "log_summary"]


class WandbCallback:
    """Log each round's metrics as ``<data>-<metric>``. Raises UsageError without a run.

    ``metric_period`` is that of the model: every so many rounds there are metrics.
    """

    def __init__(self, metric_period: int = 1) -> None:
        run_for("WandbCallback")
        self.metric_period = metric_period
        self._seen = 0

    def after_iteration(self, info: Any) -> bool:
        """Log the round if it has metrics; training goes on."""
        seen = sum(len(values) for metrics in info.metrics.values() for values in metrics.values())
        if seen > self._seen:
            self._seen = seen
            row = {
                f"{data}-{metric}": values[-1]
                for data, metrics in info.metrics.items()
                for metric, values in metrics.items()
            }
            current.log({**row, f"iteration@metric-period-{self.metric_period}": info.iteration})
        return True


def log_summary(
    model: Any,
    log_all_params: bool = True,
    save_model_checkpoint: bool = False,
    log_feature_importance: bool = True,
) -> None:
    """Keep a model's parameters and best round, and log its features' importance and itself as artifact.

    Raises UsageError without a run.
    """
    run = run_for("log_summary")
    parameters = model.get_all_params()
    if log_all_params:
        run.config.update(parameters, allow_val_change=True)
    run.summary["best_iteration"] = model.get_best_iteration()
    run.summary["best_score"] = model.get_best_score()
    if save_model_checkpoint:
        path = Path(run.dir) / "model"
        model.save_model(str(path))
        log_model(f"model_{run.id}", path, aliases=["best" if parameters.get("use_best_model") else "last"])
    if log_feature_importance:
        found = model.get_feature_importance(prettified=True)
        log_importance(zip(map(str, found["Feature Id"]), map(float, found["Importances"]), strict=True))
