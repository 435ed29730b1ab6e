"""Libraries whose callbacks come with wandb: the stand-in's, by the same imports, log the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Fit = Callable[[str], Any]


def column(run: Any, key: str) -> list[Any]:
    return [row[key] for row in run.scan_history([key])]


def test_xgboost_callback(fit: Fit) -> None:
    run = fit("xgboost_callback")
    assert run.config["learner"]["objective"]["name"] == "binary:logistic"
    losses = column(run, "test-logloss")
    assert column(run, "epoch") == list(range(len(losses)))
    assert losses[-1] < losses[0]
    assert run.summary["test-logloss.min"] == min(losses)
    assert run.summary["test-auc.max"] == max(column(run, "test-auc"))
    assert run.summary["best_iteration"] > 0
    (importance,) = column(run, "Feature Importance")
    assert importance["_type"]
    assert [version.name for version in run.logged_artifacts()] == [f"{run.id}_model.json:v0"]


def test_lightgbm_callback(fit: Fit) -> None:
    run = fit("lightgbm_callback")
    assert run.config["num_leaves"] == 7
    losses = column(run, "test_binary_logloss")
    assert len(losses) == 12
    assert run.summary["test_binary_logloss.min"] == min(losses)
    assert run.summary["best_score.test.auc"] > 0.9
    assert len(column(run, "valid_auc-mean")) == 3
    assert len(column(run, "Feature Importance")) == 1
    assert run.logged_artifacts()[0].name == f"model_{run.id}:v0"


def test_catboost_callback(fit: Fit) -> None:
    run = fit("catboost_callback")
    assert (run.config["iterations"], run.config["depth"]) == (12, 3)
    assert len(column(run, "validation-AUC")) == 12
    assert column(run, "iteration@metric-period-1") == list(range(1, 13))
    assert run.summary["best_score.validation.AUC"] > 0.9
    assert len(column(run, "Feature Importance")) == 1
    assert run.logged_artifacts()[0].aliases


def test_stable_baselines_callback(fit: Fit) -> None:
    run = fit("sb3_callback")
    assert (run.config["algo"], run.config["policy"], run.config["gamma"]) == ("PPO", "MlpPolicy", 0.99)
    assert len(column(run, "time/fps")) == 4
    assert column(run, "rollout/ep_rew_mean")[-1] > 5
    assert any(key.startswith("gradients/") for key in run.metrics())
    assert "model.zip" in [file.name for file in run.files()]


def test_scikit_learn_plots(fit: Fit) -> None:
    run = fit("sklearn_plots")
    assert run.config["model"]["n_estimators"] == 10
    assert column(run, "test/accuracy")[0] > 0.9
    for chart in ("confusion_matrix", "roc", "precision_recall", "feature_importances"):
        (drawn,) = column(run, chart)
        assert drawn["_type"]
