"""``wandb.sklearn``: plots of a fitted model with wandb's arguments; Artline's integration draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from artline.compat.wandb import layout
from artline.integrations import sklearn as drawn
from artline.integrations.sklearn import plot_residuals, plot_summary_metrics

__all__ = [
    "plot_calibration_curve",
    "plot_classifier",
    "plot_confusion_matrix",
    "plot_feature_importances",
    "plot_learning_curve",
    "plot_precision_recall",
    "plot_regressor",
    "plot_residuals",
    "plot_roc",
    "plot_summary_metrics",
]

_INSTEAD = {
    "plot_class_proportions": "wandb.plot.bar of the counts",
    "plot_clusterer": "wandb.plot.line of the inertia by the number of clusters",
    "plot_elbow_curve": "wandb.plot.line of the inertia by the number of clusters",
    "plot_outlier_candidates": "wandb.plot.bar of Cook's distances",
    "plot_silhouette": "wandb.plot.histogram of sklearn.metrics.silhouette_samples",
}


def plot_classifier(
    model: Any,
    X_train: Any,  # noqa: N803  # scikit-learn's own name, here and below
    X_test: Any,  # noqa: N803
    y_train: Any,
    y_test: Any,
    y_pred: Any = None,
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    is_binary: bool = False,
    model_name: str = "Classifier",
    feature_names: Sequence[str] | None = None,
    log_learning_curve: bool = False,
) -> None:
    """Log a fitted classifier: parameters, scores, confusion matrix, curves and feature importances.

    Predictions are the model's own for ``X_test``, whatever ``y_pred`` and ``y_probas`` say.
    """
    drawn.plot_classifier(
        model, X_train, X_test, y_train, y_test, labels, model_name=model_name, feature_names=feature_names
    )
    if log_learning_curve:
        drawn.plot_learning_curve(model, X_train, y_train)


def plot_regressor(
    model: Any,
    X_train: Any,  # noqa: N803
    X_test: Any,  # noqa: N803
    y_train: Any,
    y_test: Any,
    model_name: str = "Regressor",
) -> None:
    """Log a fitted regressor: parameters, scores, residuals and feature importances."""
    drawn.plot_regressor(model, X_train, X_test, y_train, y_test, model_name=model_name)


def plot_confusion_matrix(
    y_true: Any = None,
    y_pred: Any = None,
    labels: Sequence[str] | None = None,
    true_labels: Any = None,
    pred_labels: Any = None,
    normalize: bool = False,
) -> None:
    """Log how often each class was taken for each; counts, whatever ``normalize`` says."""
    drawn.plot_confusion_matrix(y_true, y_pred, labels)


def plot_roc(
    y_true: Any = None,
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    plot_micro: bool = True,
    plot_macro: bool = True,
    classes_to_plot: Any = None,
) -> None:
    """Log the ROC curve of each class."""
    drawn.plot_roc(y_true, y_probas, labels)


def plot_precision_recall(
    y_true: Any = None,
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    plot_micro: bool = True,
    classes_to_plot: Any = None,
) -> None:
    """Log the precision at each recall for each class."""
    drawn.plot_precision_recall(y_true, y_probas, labels)


def plot_feature_importances(
    model: Any = None,
    feature_names: Sequence[str] | None = None,
    title: str = "Feature Importance",
    max_num_features: int = 50,
) -> None:
    """Log the importance that the model gives to each feature."""
    drawn.plot_feature_importances(model, feature_names, max_num_features=max_num_features)


def plot_learning_curve(
    model: Any = None,
    X: Any = None,  # noqa: N803
    y: Any = None,
    cv: Any = None,
    shuffle: bool = False,
    random_state: Any = None,
    train_sizes: Any = None,
    n_jobs: int = 1,
    scoring: Any = None,
) -> None:
    """Log the scores of the model fitted anew to ever more of the data."""
    drawn.plot_learning_curve(model, X, y, cv=cv, train_sizes=train_sizes, scoring=scoring, n_jobs=n_jobs)


def plot_calibration_curve(
    clf: Any = None,
    X: Any = None,  # noqa: N803
    y: Any = None,
    clf_name: str = "Classifier",
) -> None:
    """Log how often the positive class is right at each probability that the fitted classifier gives it."""
    drawn.plot_calibration_curve(y, clf.predict_proba(X)[:, 1], name=clf_name)


def __getattr__(name: str) -> Any:
    if name in _INSTEAD:
        raise AttributeError(
            f"Artline's stand-in for wandb has no wandb.sklearn.{name}: log {_INSTEAD[name]}"
        )
    raise AttributeError(layout.missing(f"wandb.sklearn.{name}"))
