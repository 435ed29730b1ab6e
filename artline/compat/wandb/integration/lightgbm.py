"""``wandb.integration.lightgbm``: a callback for ``lightgbm.train``, and a summary of its booster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightgbm import Booster

from artline.compat.wandb.integration.boosting import define_best, log_importance, log_model
from artline.compat.wandb.session import run_for
from artline.errors import UsageError
from artline.runs import current

__all__ = ["log_summary", "wandb_callback"]


class _Callback:
    order = 20
    before_iteration = False

    def __init__(self, log_params: bool, define_metric: bool) -> None:
        self._log_params = log_params
        self._define_metric = define_metric

    def __call__(self, env: Any) -> None:
        first = env.iteration == env.begin_iteration
        if first and self._log_params:
            run_for("wandb_callback").config.update(env.params, allow_val_change=True)
        row: dict[str, Any] = {}
        for data, metric, *values in env.evaluation_result_list:
            if len(values) == 2:
                found = {f"{data}_{metric}": values[0]}
            else:  # of cross-validation: mean, whether higher is better, deviation
                if " " in metric:  # before lightgbm 4.6 the pair stood in one text
                    data, _, metric = metric.partition(" ")
                found = {f"{data}_{metric}-mean": values[0], f"{data}_{metric}-stdv": values[2]}
            for name in found:
                if first and self._define_metric:
                    define_best(name, metric)
            row.update(found)
        current.log({**row, "iteration": env.iteration})


def wandb_callback(log_params: bool = True, define_metric: bool = True) -> Callable[[Any], None]:
    """Return a callback that logs the parameters, and each round's metrics as ``<data>_<metric>``.

    With ``define_metric`` the summary keeps the best value of each metric.
    """
    return _Callback(log_params, define_metric)


def log_summary(model: Booster, feature_importance: bool = True, save_model_checkpoint: bool = False) -> None:
    """Put the best round into the summary, and log the features' importance and the model as artifact.

    Raises UsageError without a run and for anything but a Booster.
    """
    run = run_for("log_summary")
    if not isinstance(model, Booster):
        raise UsageError(f"log_summary takes a lightgbm.Booster, not {type(model).__qualname__}")
    run.summary["best_iteration"] = model.best_iteration
    run.summary["best_score"] = model.best_score
    if feature_importance:
        log_importance(zip(model.feature_name(), map(float, model.feature_importance()), strict=True))
    if save_model_checkpoint:
        path = Path(run.dir) / f"model_ckpt_{model.best_iteration}.txt"
        model.save_model(path, num_iteration=model.best_iteration)
        log_model(f"model_{run.id}", path, aliases=["best"])
