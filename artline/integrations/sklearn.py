"""scikit-learn: plots and scores of fitted estimators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from artline import plot
from artline.artifacts.table import Table
from artline.errors import UsageError
from artline.integrations.training import describe, run_for

if TYPE_CHECKING:
    from artline.runs.run import Run

__all__ = [
    "log_parameters",
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


def log_parameters(estimator: Any, *, run: Run | None = None) -> None:
    """Add the parameters of an estimator or pipeline to the run's config."""
    values = {
        key: value for key, value in estimator.get_params(deep=True).items() if not _is_estimator(value)
    }
    name = type(estimator).__name__
    describe(run_for(run, "log_parameters"), {"estimator": name, **values})


def plot_classifier(
    model: Any,
    X_train: Any,  # noqa: N803  # scikit-learn's own name
    X_test: Any,  # noqa: N803
    y_train: Any,
    y_test: Any,
    labels: Sequence[str] | None = None,
    *,
    model_name: str = "Classifier",
    feature_names: Sequence[str] | None = None,
    run: Run | None = None,
) -> None:
    """Log a fitted classifier: parameters, scores, confusion matrix, curves and feature importances."""
    predicted = model.predict(X_test)
    describe(run_for(run, "plot_classifier"), {"model_name": model_name})
    log_parameters(model, run=run)
    plot_summary_metrics(model, X_train, y_train, X_test, y_test, run=run)
    plot_confusion_matrix(y_test, predicted, labels, run=run)
    if hasattr(model, "predict_proba"):
        chances = model.predict_proba(X_test)
        plot_roc(y_test, chances, labels, run=run)
        plot_precision_recall(y_test, chances, labels, run=run)
    if _importances(model) is not None:
        plot_feature_importances(model, feature_names, run=run)


def plot_regressor(
    model: Any,
    X_train: Any,  # noqa: N803
    X_test: Any,  # noqa: N803
    y_train: Any,
    y_test: Any,
    *,
    model_name: str = "Regressor",
    feature_names: Sequence[str] | None = None,
    run: Run | None = None,
) -> None:
    """Log a fitted regressor: parameters, scores, residuals and feature importances."""
    describe(run_for(run, "plot_regressor"), {"model_name": model_name})
    log_parameters(model, run=run)
    plot_summary_metrics(model, X_train, y_train, X_test, y_test, run=run)
    plot_residuals(model, X_test, y_test, run=run)
    if _importances(model) is not None:
        plot_feature_importances(model, feature_names, run=run)


def plot_summary_metrics(
    model: Any,
    X: Any,  # noqa: N803
    y: Any,
    X_test: Any,  # noqa: N803
    y_test: Any,
    *,
    run: Run | None = None,
) -> None:
    """Put the scores of a fitted estimator on training and test data into the run's summary."""
    from sklearn import metrics
    from sklearn.base import is_classifier

    summary = run_for(run, "plot_summary_metrics").summary
    for part, data, truth in (("train", X, y), ("test", X_test, y_test)):
        found = model.predict(data)
        if is_classifier(model):
            weighted: dict[str, Any] = {"average": "weighted", "zero_division": 0}
            scores = {
                "accuracy": metrics.accuracy_score(truth, found),
                "precision": metrics.precision_score(truth, found, **weighted),
                "recall": metrics.recall_score(truth, found, **weighted),
                "f1": metrics.f1_score(truth, found, **weighted),
            }
        else:
            scores = {
                "mae": metrics.mean_absolute_error(truth, found),
                "mse": metrics.mean_squared_error(truth, found),
                "r2": metrics.r2_score(truth, found),
            }
        for name, value in scores.items():
            summary[f"{part}/{name}"] = float(value)


def plot_confusion_matrix(
    y_true: Any, y_pred: Any, labels: Sequence[str] | None = None, *, run: Run | None = None
) -> None:
    """Log how many samples of each class were taken for each, as ``confusion_matrix``."""
    import numpy as np

    classes, codes = np.unique(np.concatenate((np.asarray(y_true), np.asarray(y_pred))), return_inverse=True)
    names = [str(name) for name in (labels if labels is not None else classes)]
    if len(names) < len(classes):
        raise UsageError(
            f"plot_confusion_matrix: {len(names)} labels for {len(classes)} classes. Name them all"
        )
    count = len(np.asarray(y_true))
    _log(
        run,
        "confusion_matrix",
        plot.confusion_matrix(
            y_true=codes[:count].tolist(),
            preds=codes[count:].tolist(),
            class_names=names,
            title="Confusion matrix",
        ),
    )


def plot_roc(
    y_true: Any, y_probas: Any, labels: Sequence[str] | None = None, *, run: Run | None = None
) -> None:
    """Log the rate of true positives over that of false ones for each class, as ``roc``."""
    _log(run, "roc", plot.roc_curve(_codes(y_true), y_probas, labels=labels))


def plot_precision_recall(
    y_true: Any, y_probas: Any, labels: Sequence[str] | None = None, *, run: Run | None = None
) -> None:
    """Log precision over recall for each class, as ``precision_recall``."""
    _log(run, "precision_recall", plot.pr_curve(_codes(y_true), y_probas, labels=labels))


def plot_feature_importances(
    model: Any,
    feature_names: Sequence[str] | None = None,
    *,
    max_num_features: int = 50,
    run: Run | None = None,
) -> None:
    """Log the features with the greatest importances or coefficients, as ``feature_importances``.

    Raises UsageError for a model that has neither.
    """
    values = _importances(model)
    if values is None:
        raise UsageError(
            f"plot_feature_importances: a {type(model).__name__} has no importances or coefficients"
        )
    given = feature_names if feature_names is not None else getattr(model, "feature_names_in_", None)
    names = [str(name) for name in given] if given is not None else [f"x{n}" for n in range(len(values))]
    rows = sorted(zip(names, values, strict=True), key=lambda row: -abs(row[1]))[:max_num_features]
    table = Table(columns=["feature", "importance"], data=[list(row) for row in rows])
    _log(run, "feature_importances", plot.bar(table, "feature", "importance", "Feature importances"))


def plot_residuals(
    model: Any,
    X: Any,  # noqa: N803
    y: Any,
    *,
    run: Run | None = None,
) -> None:
    """Log predicted values and what they are off by, as ``residuals``."""
    import numpy as np

    found = np.asarray(model.predict(X), dtype=float).ravel()
    off = np.asarray(y, dtype=float).ravel() - found
    table = Table(columns=["predicted", "residual"], data=[list(row) for row in zip(found, off, strict=True)])
    _log(run, "residuals", plot.scatter(table, "predicted", "residual", "Residuals"))


def plot_learning_curve(
    model: Any,
    X: Any,  # noqa: N803
    y: Any,
    *,
    cv: Any = None,
    train_sizes: Any = None,
    scoring: Any = None,
    n_jobs: int | None = None,
    run: Run | None = None,
) -> None:
    """Fit clones of an estimator to growing parts of the data; log its scores as ``learning_curve``."""
    from sklearn.model_selection import learning_curve

    sizes = {} if train_sizes is None else {"train_sizes": train_sizes}
    counts, train, test = learning_curve(model, X, y, cv=cv, scoring=scoring, n_jobs=n_jobs, **sizes)[:3]
    lines = [train.mean(axis=1).tolist(), test.mean(axis=1).tolist()]
    chart = plot.line_series(counts.tolist(), lines, ["training", "validation"], "Learning curve", "samples")
    _log(run, "learning_curve", chart)


def plot_calibration_curve(
    y_true: Any, y_prob: Any, *, n_bins: int = 10, name: str = "model", run: Run | None = None
) -> None:
    """Log the share of positives over the predicted probability, as ``calibration_curve``."""
    from sklearn.calibration import calibration_curve

    share, predicted = calibration_curve(y_true, y_prob, n_bins=n_bins)
    chart = plot.line_series(
        [predicted.tolist(), [0.0, 1.0]],
        [share.tolist(), [0.0, 1.0]],
        [name, "calibrated"],
        "Calibration curve",
        "predicted probability",
    )
    _log(run, "calibration_curve", chart)


def _log(run: Run | None, key: str, chart: Any) -> None:
    run_for(run, f"plot_{key}").log({key: chart})


def _codes(values: Any) -> Any:
    import numpy as np

    return np.unique(np.asarray(values), return_inverse=True)[1]


def _importances(model: Any) -> list[float] | None:
    import numpy as np

    last = model.steps[-1][1] if hasattr(model, "steps") else model
    for name in ("feature_importances_", "coef_"):
        try:
            values = getattr(last, name, None)
        except AttributeError:
            values = None
        if values is not None:
            found = np.asarray(values, dtype=float)
            return [float(value) for value in (found if found.ndim == 1 else np.abs(found).mean(axis=0))]
    return None


def _is_estimator(value: Any) -> bool:
    return hasattr(value, "get_params") or (
        isinstance(value, list) and any(isinstance(v, tuple) for v in value)
    )
