"""What the callbacks for boosted trees have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import artline
from artline.runs import current

__all__ = ["define_best", "log_importance", "log_model"]

_LOWER = ("binary_error", "binary_logloss", "cross_entropy", "error", "l1", "l2", "mae", "mape", "merror",
          "mphe", "mse", "multi_error", "multi_logloss", "rmse", "rmsle")  # fmt: skip
_HIGHER = ("accuracy", "auc", "aucpr", "auc_mu", "average_precision", "map", "ndcg", "pre")


def define_best(name: str, metric: str) -> None:
    """Let the summary keep the best value of a metric whose better direction is known."""
    metric = metric.lower().partition("@")[0]
    if "loss" in metric or metric in _LOWER:
        current.define_metric(name, summary="min")
    elif metric in _HIGHER:
        current.define_metric(name, summary="max")


def log_importance(rows: Iterable[tuple[str, float]], commit: bool | None = None) -> None:
    """Log a bar chart of features and their importance."""
    table = artline.Table(columns=["Feature", "Importance"], data=[[name, value] for name, value in rows])
    chart = artline.plot.bar(table, "Feature", "Importance", title="Feature Importance")
    current.log({"Feature Importance": chart}, commit=commit)


def log_model(name: str, path: Any, aliases: list[str] | None = None) -> None:
    """Log a model's file as an artifact."""
    artifact = artline.Artifact(name, type="model")
    artifact.add_file(str(path))
    current.log_artifact(artifact, aliases=aliases)
