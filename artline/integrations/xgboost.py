"""XGBoost: ``ArtlineCallback``."""

from __future__ import annotations

import json
import os
import tempfile
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from xgboost.callback import TrainingCallback

from artline.integrations.training import describe, keep_model, run_for

if TYPE_CHECKING:
    from artline.runs.run import Run

__all__ = ["ArtlineCallback"]


class ArtlineCallback(TrainingCallback):
    """A callback for ``xgboost.train(callbacks=[…])``, ``xgboost.cv`` and the estimators.

    Each iteration is a row, ``<data>/<metric>`` (of a cross-validation the mean, and ``…_std``). The
    booster's parameters become config, the best iteration and score the summary. ``log_model`` keeps the
    booster; ``log_importance`` logs a bar chart of the features' gains, where pyarrow is installed. Raises
    UsageError without a run.
    """

    def __init__(self, log_model: bool = False, log_importance: bool = True, run: Run | None = None) -> None:
        self._log_model = log_model
        self._log_importance = log_importance
        self._given = run

    def before_training(self, model: Any) -> Any:
        """Describe the booster."""
        if hasattr(model, "save_config"):
            describe(self._run(), {"xgboost": json.loads(model.save_config())})
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Log the iteration; never ends the training."""
        row = {}
        for data, metrics in evals_log.items():
            for metric, values in metrics.items():
                last = values[-1]
                if isinstance(last, tuple):
                    row[f"{data}/{metric}"], row[f"{data}/{metric}_std"] = last
                else:
                    row[f"{data}/{metric}"] = last
        self._run().log({"iteration": epoch, **row})
        return False

    def after_training(self, model: Any) -> Any:
        """Say what was best, and keep the model where asked."""
        run = self._run()
        if not hasattr(model, "get_score"):
            return model
        for name in ("best_score", "best_iteration"):
            value = model.attr(name)
            if value is not None:
                run.summary[name] = float(value) if name == "best_score" else int(value)
        if self._log_importance and find_spec("pyarrow") is not None:
            gains = model.get_score(importance_type="gain")
            if gains:
                from artline import plot
                from artline.artifacts.table import Table

                rows = sorted(
                    ((str(key), float(value)) for key, value in gains.items()), key=lambda row: -row[1]
                )
                table = Table(columns=["feature", "gain"], data=[list(row) for row in rows])
                run.log({"feature_importance": plot.bar(table, "feature", "gain", "Feature importance")})
        if self._log_model:
            with tempfile.TemporaryDirectory(prefix="artline-xgboost-") as folder:
                path = os.path.join(folder, "model.ubj")
                model.save_model(path)
                keep_model(run, path, None, ["latest"], {"iterations": model.num_boosted_rounds()})
        return model

    def _run(self) -> Run:
        return run_for(self._given, "ArtlineCallback")
