"""``wandb.integration.xgboost``: a callback for ``xgboost.train`` and its scikit-learn face."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xgboost

from artline.compat.wandb.integration.boosting import define_best, log_importance, log_model
from artline.compat.wandb.session import run_for
from artline.runs import current

__all__ = ["WandbCallback", "wandb_callback"]


class WandbCallback(xgboost.callback.TrainingCallback):
    """Log the booster's configuration, each round's metrics as ``<data>-<metric>``, and what came of it.

    The summary keeps the best value of each metric; ``log_model`` keeps the booster as artifact
    ``<run id>_model.json``; ``importance_type`` is xgboost's. Raises UsageError without a run.
    """

    def __init__(
        self,
        log_model: bool = False,
        log_feature_importance: bool = True,
        importance_type: str = "gain",
        define_metric: bool = True,
    ) -> None:
        super().__init__()
        run_for("WandbCallback")
        self.log_model = log_model
        self.log_feature_importance = log_feature_importance
        self.importance_type = importance_type
        self.define_metric = define_metric

    def before_training(self, model: Any) -> Any:
        """Keep the booster's configuration."""
        run_for("WandbCallback").config.update(json.loads(model.save_config()), allow_val_change=True)
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]) -> bool:
        """Log the round."""
        row = {}
        for data, metrics in evals_log.items():
            for metric, values in metrics.items():
                name = f"{data}-{metric}"
                if self.define_metric:
                    define_best(name, metric)
                row[name] = _value(values[-1])
        self.define_metric = False
        current.log({**row, "epoch": epoch})
        return False

    def after_training(self, model: Any) -> Any:
        """Log the model, the importance of its features, and its best round."""
        run = run_for("WandbCallback")
        if self.log_model:
            path = Path(run.dir) / f"{run.id}_model.json"
            model.save_model(str(path))
            log_model(path.name, path)
        if self.log_feature_importance:
            log_importance(model.get_score(importance_type=self.importance_type).items())
        if model.attr("best_score") is not None:
            best = {
                "best_score": float(model.attr("best_score")),
                "best_iteration": int(model.attr("best_iteration")),
            }
            current.log(best)
        return model


def wandb_callback() -> Callable[[Any], None]:
    """Return the callback for xgboost before 1.3, which later versions refuse; use WandbCallback."""

    def callback(env: Any) -> None:
        current.log(dict(env.evaluation_result_list))

    return callback


def _value(found: Any) -> Any:
    """Return the mean where cross-validation gives mean and deviation."""
    return found[0] if isinstance(found, tuple) else found
