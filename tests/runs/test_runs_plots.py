"""Plots: what they compute is what scikit-learn computes, and what is drawn is what was given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

import artline as art
from artline import plot
from artline.errors import UsageError


def curve(drawn: plot.Plot, name: str, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    frame = drawn.table
    picked = [
        (cells[0], cells[1])
        for cells in zip(frame.get_column(x), frame.get_column(y), frame.get_column("class"), strict=True)
        if cells[2] == name
    ]
    return np.array([a for a, _ in picked]), np.array([b for _, b in picked])


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count = draw(st.integers(4, 60))
    truth = np.array(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    truth[:3] = [0, 1, 2]
    cells = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 0.9, 1.0])
    scores = np.array(draw(st.lists(cells, min_size=3 * count, max_size=3 * count))).reshape(count, 3)
    return truth, scores


@settings(deadline=None, max_examples=25)
@given(samples())
def test_roc_curves_are_those_of_scikit_learn(data: tuple[np.ndarray, np.ndarray]) -> None:
    truth, scores = data
    drawn = plot.roc_curve(truth, scores)
    for number in range(3):
        fpr, tpr, _ = metrics.roc_curve(truth == number, scores[:, number])
        x, y = curve(drawn, str(number), "fpr", "tpr")
        assert metrics.auc(x, y) == pytest.approx(metrics.auc(fpr, tpr))
        every = metrics.roc_curve(truth == number, scores[:, number], drop_intermediate=False)
        points = set(zip(every[0].round(9), every[1].round(9), strict=True))
        assert set(zip(x.round(9), y.round(9), strict=True)) <= points


@settings(deadline=None, max_examples=25)
@given(samples())
def test_pr_curves_reach_the_best_precision_at_each_recall(data: tuple[np.ndarray, np.ndarray]) -> None:
    truth, scores = data
    drawn = plot.pr_curve(truth, scores, labels=["a", "b", "c"])
    for number, name in enumerate("abc"):
        precision, recall, _ = metrics.precision_recall_curve(truth == number, scores[:, number])
        precision, recall = precision[:-1], recall[:-1]  # the last is made up
        x, y = curve(drawn, name, "recall", "precision")
        assert x.tolist() == np.linspace(0, 1, 21).tolist()
        for level, best in zip(x, y, strict=True):
            assert best == pytest.approx(precision[recall >= level - 1e-12].max())


def test_long_curves_are_drawn_by_a_thousand_points() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 50_000)
    scores = truth * 0.5 + rng.normal(size=50_000)
    drawn = plot.roc_curve(truth, scores)
    x, y = curve(drawn, "1", "fpr", "tpr")
    assert len(x) <= 1000
    assert metrics.auc(x, y) == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-4)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)


def test_classes_without_a_sample_keep_their_column() -> None:
    scores = np.array([[0.9, 0.1, 0.0], [0.1, 0.2, 0.7]])
    drawn = plot.roc_curve([0, 2], scores, labels=["a", "b", "c"], classes_to_plot=[2])
    assert curve(drawn, "c", "fpr", "tpr")[1].tolist() == [0, 1, 1]
    assert set(drawn.table.get_column("class")) == {"c"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"y_true": [0, 1], "y_probas": np.zeros((3, 2))},
        {"y_true": ["a", "b", "c"], "y_probas": np.zeros((3, 2))},
        {"y_true": [0, 1], "y_probas": [[0.5, np.nan], [0, 1]]},
        {"y_true": [0, 1], "y_probas": np.eye(2), "classes_to_plot": [7]},
        {"y_true": [0, 1]},
        {"y_true": [1, 1], "y_probas": np.eye(2)},
    ],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        plot.roc_curve(**wrong)


def test_a_confusion_matrix_counts() -> None:
    drawn = plot.confusion_matrix(y_true=[0, 1, 1, 1], preds=[0, 1, 0, 1], class_names=["cat", "dog"])
    assert drawn.table.data == [["cat", "cat", 1], ["cat", "dog", 0], ["dog", "cat", 1], ["dog", "dog", 2]]
    probs = np.eye(3)[[0, 1, 1]]
    counts = plot.confusion_matrix(probs, [0, 2, 1]).table.get_column("nPredictions")
    assert counts == [1, 0, 0, 0, 1, 0, 0, 1, 0]
    texts = plot.confusion_matrix(y_true=["b", "a"], preds=["b", "b"])
    assert texts.table.data[1] == ["a", "b", 1]
    for wrong in (
        {"y_true": [0, 1], "preds": [0]},
        {"y_true": [0, 5], "preds": [0, 1], "class_names": ["a", "b"]},
        {"y_true": [0], "preds": [0], "probs": [[1.0]]},
        {"y_true": [0]},
    ):
        with pytest.raises(UsageError):
            plot.confusion_matrix(**wrong)


def test_columns_of_a_table_are_drawn() -> None:
    frame = pd.DataFrame({"a.b": [1, 2], "y": [0.5, np.nan], "who": ["x", "y"], "other": [1, 2]})
    drawn = plot.line(art.Table(dataframe=frame), "a.b", "y", stroke="who", title="Both")
    spec = drawn.to_vega_lite()
    assert spec["data"]["values"] == [{"a.b": 1, "y": 0.5, "who": "x"}, {"a.b": 2, "y": None, "who": "y"}]
    assert spec["encoding"]["x"] == {"field": "a\\.b", "type": "quantitative", "title": "a.b"}
    assert (spec["title"], spec["mark"]["type"]) == ("Both", "line")
    json.dumps(spec, allow_nan=False)
    assert plot.scatter(frame, "a.b", "y").to_vega_lite()["mark"]["type"] == "point"
    assert plot.bar(frame, "who", "y").to_vega_lite()["encoding"]["x"]["type"] == "nominal"
    assert plot.histogram(frame, "y").to_vega_lite()["encoding"]["y"]["aggregate"] == "count"
    with pytest.raises(UsageError, match="no column 'z'"):
        plot.bar(frame, "who", "z")


def test_several_lines_share_their_places_or_have_their_own() -> None:
    shared = plot.line_series([0, 1], [[1, 2], [3, 4]], keys=["a", "b"], xname="epoch")
    assert shared.table.data == [[0, "a", 1], [1, "a", 2], [0, "b", 3], [1, "b", 4]]
    assert shared.to_vega_lite()["encoding"]["x"]["title"] == "epoch"
    own = plot.line_series([[0], [1, 2]], [[1], [5, 6]])
    assert own.table.data == [[0, "line_0", 1], [1, "line_1", 5], [2, "line_1", 6]]
    for wrong in (([0, 1], [[1]]), ([[0], [1]], [[1]]), ([0], [[1]], ["a", "b"])):
        with pytest.raises(UsageError):
            plot.line_series(*wrong)


def test_a_plot_is_logged_and_read_back(store_root: Path) -> None:
    drawn = plot.confusion_matrix(y_true=[0, 1], preds=[1, 1], class_names=["no", "yes"])
    with art.init(project="p", save_code=False, settings={"quiet": True, "console": False}) as run:
        run.log({"matrix": drawn, "several": [drawn, drawn]})
    found = art.Api().run(f"p/{run.id}")
    record = found.history()[0]["matrix"]
    assert (record["_type"], record["form"]) == ("plot-file", "heatmap")
    back = found.media("matrix")
    assert back == drawn
    assert back.to_vega_lite() == drawn.to_vega_lite()
    assert found.media("several") == [drawn, drawn]
