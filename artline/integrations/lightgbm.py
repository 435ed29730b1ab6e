"""LightGBM: ``ArtlineCallback`` and ``log_model``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from artline.errors import UsageError
from artline.integrations.training import describe, keep_model, run_for

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.runs.run import Run

__all__ = ["ArtlineCallback", "log_model"]


class ArtlineCallback:
    """A callback for ``lightgbm.train(callbacks=[…])``, ``lightgbm.cv`` and the estimators.

    Each iteration is a row, ``<data>/<metric>`` (of a cross-validation the mean, and ``…_std``); the
    parameters become config. Raises UsageError without a run.
    """

    order = 25  # after those that change parameters or print, before early stopping
    before_iteration = False

    def __init__(self, run: Run | None = None) -> None:
        self._given = run

    def __call__(self, env: Any) -> None:
        """Log one iteration."""
        run = run_for(self._given, "ArtlineCallback")
        if env.iteration == env.begin_iteration:
            describe(run, env.params)
        row = {}
        for result in env.evaluation_result_list or ():
            data, metric, value = result[0], result[1], result[2]
            row[f"{data}/{metric}"] = value
            if len(result) > 4 and result[4] is not None:
                row[f"{data}/{metric}_std"] = result[4]
        run.log({"iteration": env.iteration, **row})


def log_model(
    model: Any, name: str | None = None, *, aliases: Sequence[str] = (), run: Run | None = None
) -> Artifact:
    """Keep a Booster, or the one of a fitted estimator, as a version of a model; say what was best.

    Raises UsageError for anything else, and without a run.
    """
    found = run_for(run, "log_model")
    booster = getattr(model, "booster_", model)
    if not hasattr(booster, "save_model"):
        raise UsageError(
            f"log_model: a {type(model).__name__} is no LightGBM model. Pass a Booster or estimator"
        )
    for data, metrics in (getattr(booster, "best_score", None) or {}).items():
        for metric, value in metrics.items():
            found.summary[f"best_score.{data}.{metric}"] = float(value)
    if getattr(booster, "best_iteration", 0) > 0:
        found.summary["best_iteration"] = int(booster.best_iteration)
    with tempfile.TemporaryDirectory(prefix="artline-lightgbm-") as folder:
        path = os.path.join(folder, "model.txt")
        booster.save_model(path)
        metadata = {"iterations": booster.current_iteration(), "features": booster.num_feature()}
        return keep_model(found, path, name, ["latest", *aliases], metadata)
