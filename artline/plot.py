"""Plots for ``run.log``: of a table's columns, and of what a classifier said.

Each function returns a Plot: the few columns that are drawn, and how. ``run.log({"name": plot})`` keeps it,
and ``to_vega_lite()`` makes a Vega-Lite specification of it. Only numpy is needed. ``split_table`` is taken
for wandb's sake and changes nothing: a plot's table is never shown by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from artline.artifacts.media.plot import Plot
from artline.artifacts.table import Table
from artline.errors import UsageError

__all__ = [
    "Plot",
    "bar",
    "confusion_matrix",
    "histogram",
    "line",
    "line_series",
    "plot_table",
    "pr_curve",
    "roc_curve",
    "scatter",
]

CURVE_POINTS = 1000  # points of one curve

# wandb's own charts, by name without owner and version: the form, and its part for each of their fields.
_CHARTS: dict[str, tuple[str, dict[str, str]]] = {
    "line": ("line", {"x": "x", "y": "y", "stroke": "series"}),
    "area-under-curve": ("line", {"x": "x", "y": "y", "class": "series"}),
    "lineseries": ("line", {"step": "x", "lineVal": "y", "lineKey": "series"}),
    "scatter": ("scatter", {"x": "x", "y": "y"}),
    "bar": ("bar", {"label": "label", "value": "value"}),
    "histogram": ("histogram", {"value": "value"}),
    "confusion_matrix": ("heatmap", {"Predicted": "x", "Actual": "y", "nPredictions": "value"}),
}


def line(
    table: Any, x: str, y: str, stroke: str | None = None, title: str = "", split_table: bool = False
) -> Plot:
    """Draw column ``y`` over column ``x``, one line for each value of column ``stroke``.

    ``table`` is a Table, or a pandas, Polars or Arrow one. Raises UsageError for a column that is not there.
    """
    fields = {"x": x, "y": y} | ({} if stroke is None else {"series": stroke})
    return _of_table("line", table, fields, title)


def scatter(table: Any, x: str, y: str, title: str = "", split_table: bool = False) -> Plot:
    """Draw a point at columns ``x`` and ``y`` for each row; errors as of ``line``."""
    return _of_table("scatter", table, {"x": x, "y": y}, title)


def bar(table: Any, label: str, value: str, title: str = "", split_table: bool = False) -> Plot:
    """Draw a bar as high as column ``value`` over column ``label`` for each row; errors as of ``line``."""
    return _of_table("bar", table, {"label": label, "value": value}, title)


def histogram(table: Any, value: str, title: str = "", split_table: bool = False) -> Plot:
    """Draw how the numbers of column ``value`` are spread; errors as of ``line``."""
    return _of_table("histogram", table, {"value": value}, title)


def line_series(
    xs: Iterable[Any],
    ys: Iterable[Iterable[Any]],
    keys: Iterable[str] | None = None,
    title: str = "",
    xname: str = "x",
    split_table: bool = False,
) -> Plot:
    """Draw several lines: ``ys`` over the one ``xs``, or each over its own of ``xs``, named by ``keys``.

    Raises UsageError where lengths do not fit.
    """
    lines = [list(values) for values in ys]
    given = list(xs)
    shared = not given or not isinstance(given[0], Iterable) or isinstance(given[0], str)
    places = [given] * len(lines) if shared else [list(values) for values in given]
    names = [f"line_{n}" for n in range(len(lines))] if keys is None else [str(key) for key in keys]
    if not len(places) == len(lines) == len(names):
        raise UsageError(f"{len(lines)} lines have {len(places)} xs and {len(names)} keys. Pass one for each")
    columns: dict[str, list[Any]] = {"step": [], "lineKey": [], "lineVal": []}
    for name, place, values in zip(names, places, lines, strict=True):
        if len(place) != len(values):
            raise UsageError(f"line '{name}' has {len(values)} values over {len(place)} xs")
        columns["step"] += place
        columns["lineKey"] += [name] * len(values)
        columns["lineVal"] += values
    fields = {"x": "step", "y": "lineVal", "series": "lineKey"}
    return Plot("line", columns, fields, title, {"x": xname, "y": "y", "series": ""})


def pr_curve(
    y_true: Any = None,
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    classes_to_plot: Sequence[Any] | None = None,
    interp_size: int = 21,
    title: str = "Precision-Recall Curve",
    split_table: bool = False,
) -> Plot:
    """Draw precision over recall for each class, at ``interp_size`` recalls.

    ``y_true`` are the classes, ``y_probas`` samples × classes of probabilities or scores (of two classes also
    only those of the second). At each recall stands the highest precision that is reached at it or above
    (interpolated precision: Manning, Raghavan and Schütze, Introduction to Information Retrieval, 8.4).
    Raises UsageError where shapes do not fit.
    """
    import numpy as np

    columns: dict[str, list[Any]] = {"class": [], "recall": [], "precision": []}
    grid = np.linspace(0, 1, interp_size)
    for name, positive, scores in _by_class(y_true, y_probas, labels, classes_to_plot):
        hits, misses = _sweep(positive, scores)
        precision = hits / np.maximum(hits + misses, 1)
        recall = hits / hits[-1]
        best = np.maximum.accumulate(precision[::-1])[::-1]
        columns["class"] += [name] * interp_size
        columns["recall"] += grid.tolist()
        columns["precision"] += best[np.searchsorted(recall, grid - 1e-12)].tolist()
    fields = {"x": "recall", "y": "precision", "series": "class"}
    return Plot("line", columns, fields, title, {"x": "Recall", "y": "Precision"})


def roc_curve(
    y_true: Any = None,
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    classes_to_plot: Sequence[Any] | None = None,
    title: str = "ROC Curve",
    split_table: bool = False,
) -> Plot:
    """Draw the rate of true positives over that of false ones for each class.

    Arguments as of ``pr_curve``. A curve of more than 1,000 corners is drawn by as many at even distances.
    Raises UsageError where shapes do not fit, and for a class that every sample is of.
    """
    import numpy as np

    columns: dict[str, list[Any]] = {"class": [], "fpr": [], "tpr": []}
    for name, positive, scores in _by_class(y_true, y_probas, labels, classes_to_plot):
        hits, misses = _sweep(positive, scores)
        if misses[-1] == 0:
            raise UsageError(f"every sample is of class '{name}', so it has no rate of false positives")
        tpr = np.concatenate(([0.0], hits / hits[-1]))
        fpr = np.concatenate(([0.0], misses / misses[-1]))
        kept = _corners(fpr, tpr)
        columns["class"] += [name] * len(kept)
        columns["fpr"] += fpr[kept].tolist()
        columns["tpr"] += tpr[kept].tolist()
    fields = {"x": "fpr", "y": "tpr", "series": "class"}
    return Plot("line", columns, fields, title, {"x": "False positive rate", "y": "True positive rate"})


def confusion_matrix(
    probs: Any = None,
    y_true: Any = None,
    preds: Any = None,
    class_names: Sequence[str] | None = None,
    title: str = "Confusion Matrix Curve",
    split_table: bool = False,
) -> Plot:
    """Draw how many samples of each class were taken for each.

    ``preds`` are the predicted classes, or ``probs`` samples × classes, whose largest is the prediction. With
    ``class_names`` classes are indices into them, or names out of them; without, each is its own name.
    Raises UsageError where lengths do not fit or a class has no name.
    """
    import numpy as np

    if (probs is None) == (preds is None) or y_true is None:
        raise UsageError("a confusion matrix is made of y_true and either probs or preds")
    actual = _array(y_true).ravel()
    predicted = _array(probs).argmax(axis=1) if preds is None else _array(preds).ravel()
    if len(actual) != len(predicted):
        raise UsageError(f"there are {len(predicted)} predictions for {len(actual)} samples")
    if class_names is None:
        classes = np.unique(np.concatenate([actual, predicted])).tolist()
        names = [str(found) for found in classes]
    else:
        names = [str(name) for name in class_names]
        classes = names if actual.dtype.kind in "US" else list(range(len(names)))
    places = {found: place for place, found in enumerate(classes)}
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    try:
        rows, cols = ([places[found] for found in side.tolist()] for side in (actual, predicted))
    except KeyError as error:
        raise UsageError(f"class {error} has no name among {', '.join(names)}") from None
    np.add.at(counts, (rows, cols), 1)
    columns: dict[str, list[Any]] = {
        "Actual": [name for name in names for _ in names],
        "Predicted": names * len(names),
        "nPredictions": counts.ravel().tolist(),
    }
    fields = {"x": "Predicted", "y": "Actual", "value": "nPredictions"}
    return Plot("heatmap", columns, fields, title)


def plot_table(
    vega_spec_name: str,
    data_table: Any,
    fields: Mapping[str, str],
    string_fields: Mapping[str, str] | None = None,
    split_table: bool = False,
) -> Plot | Table:
    """Draw columns of a table as one of wandb's own charts (``wandb/line/v0``, …).

    ``fields`` tells which column is which of the chart's fields; ``string_fields`` has ``title``,
    ``x-axis-title`` and ``y-axis-title``. For a chart of any other name, whose drawing is known to a server
    only, the table itself is returned, with a warning. Errors as of ``line``.
    """
    table = data_table if isinstance(data_table, Table) else Table(dataframe=data_table)
    words = str(vega_spec_name).split("/")
    chart = _CHARTS.get(words[1]) if len(words) == 3 and words[0] == "wandb" else None
    parts = (
        {chart[1][field]: column for field, column in fields.items() if field in chart[1]} if chart else {}
    )
    if chart is None or not parts:
        from artline.runs.notices import warn

        warn(f"plot_table: chart '{vega_spec_name}' is not known. Its table is logged instead")
        return table
    texts = string_fields or {}
    names = {part: texts[f"{part}-axis-title"] for part in ("x", "y") if texts.get(f"{part}-axis-title")}
    columns = {name: table.get_column(name) for name in dict.fromkeys(parts.values())}
    return Plot(
        chart[0], columns, parts, texts.get("title", ""), {k: v for k, v in names.items() if k in parts}
    )


def _of_table(form: str, table: Any, fields: dict[str, str], title: str) -> Plot:
    if not isinstance(table, Table):
        table = Table(dataframe=table)
    columns = {name: table.get_column(name) for name in dict.fromkeys(fields.values())}
    return Plot(form, columns, fields, title)


def _array(values: Any) -> Any:
    import numpy as np

    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _by_class(
    y_true: Any, y_probas: Any, labels: Sequence[str] | None, wanted: Sequence[Any] | None
) -> list[tuple[str, Any, Any]]:
    """Return name, whether each sample is of it, and the scores, for each class to draw."""
    import numpy as np

    if y_true is None or y_probas is None:
        raise UsageError("a curve is made of y_true and y_probas")
    actual, scores = _array(y_true).ravel(), _array(y_probas)
    classes = np.unique(actual)
    if scores.ndim == 1 and len(classes) == 2:
        scores, classes = scores[:, None], classes[1:]
    if scores.ndim != 2 or len(scores) != len(actual) or not len(actual):
        raise UsageError(
            f"y_probas has the shape {scores.shape} for {len(actual)} samples. Pass samples × classes"
        )
    if not np.isfinite(scores).all():
        raise UsageError("y_probas holds numbers that are not finite")
    if len(classes) == scores.shape[1]:
        places = range(len(classes))
    elif actual.dtype.kind in "iub" and classes.min() >= 0 and classes.max() < scores.shape[1]:
        places = classes.tolist()  # some have no sample: classes are the columns' numbers then
    else:
        raise UsageError(f"y_probas has {scores.shape[1]} columns for {len(classes)} classes")
    found = []
    for place, value in zip(places, classes.tolist(), strict=True):
        if wanted is not None and value not in list(wanted):
            continue
        number = value if isinstance(value, int) and labels is not None and value < len(labels) else place
        name = str(labels[number]) if labels is not None and number < len(labels) else str(value)
        found.append((name, actual == value, scores[:, place]))
    if not found:
        raise UsageError(f"none of the classes to plot is among {', '.join(map(str, classes.tolist()))}")
    return found


def _sweep(positive: Any, scores: Any) -> tuple[Any, Any]:
    """Return the true and false positives from each distinct score on, from the highest down."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], positive[order]
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    hits = np.cumsum(positive)[ends]
    return hits, ends + 1 - hits


def _corners(x: Any, y: Any) -> Any:
    """Return the indices of the points where a rising curve turns, at most CURVE_POINTS."""
    import numpy as np

    dx, dy = np.diff(x), np.diff(y)
    turns = np.abs(dx[:-1] * dy[1:] - dx[1:] * dy[:-1]) > 1e-15
    kept = np.flatnonzero(np.concatenate(([True], turns, [True])))
    if len(kept) > CURVE_POINTS:
        along = (x + y)[kept]
        kept = kept[np.unique(np.searchsorted(along, np.linspace(0, along[-1], CURVE_POINTS)))]
    return kept
