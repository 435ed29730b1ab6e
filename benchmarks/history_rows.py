"""Rows about history at size: charts of a long run, what it takes on disk, the runs table of a project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import Bench, Row, median, remove

__all__ = ["history_rows", "runs_rows"]

CHARTS = {
    "whole": "a chart of 1,000 buckets of one metric, all steps",
    "zoom": "the same, zoomed to a tenth, by time",
    "near": "the same, zoomed to 62,000 steps, where single rows are read",
    "metric": "the same, over another metric that was logged with it",
}


def history_rows(bench: Bench) -> Iterator[Row]:
    steps = bench.count(10_000_000, 20_000)
    store = bench.fresh_store()
    made = bench.child(store, "make_history", steps)
    yield Row(
        "history-make", f"10 metrics of noise x {steps:,} steps: taken in, raised and sealed",
        made["seconds"], "s", peak=made["peak_mib"],
    )  # fmt: skip
    yield Row(
        "history-disk", "the same on disk, a value", _size(store) / (10 * steps), "bytes", target=8,
        note="steps, times and pyramid included",
    )  # fmt: skip
    figures = [bench.child(store, "chart_history") for _ in range(bench.repeat)]
    for name, what in CHARTS.items():
        yield Row(
            f"history-{name}", what, median(figures, name) * 1000, "ms", target=100,
            peak=median(figures, "peak_mib"),
        )  # fmt: skip
    samples = [bench.child(store, "sample_history") for _ in range(bench.repeat)]
    yield Row(
        "history-samples", "history(samples=500) of one metric, exact rows",
        median(samples, "seconds") * 1000, "ms", peak=median(samples, "peak_mib"),
    )  # fmt: skip
    remove(store)

    few = bench.count(1_000_000, 20_000)
    store = bench.fresh_store()
    bench.child(store, "make_history", few, "regular")
    yield Row(
        "history-regular", f"10 metrics as training logs them x {few:,} steps on disk, a value",
        _size(store) / (10 * few), "bytes", note="counters, rates, accuracies, float32 losses",
    )  # fmt: skip
    remove(store)


def runs_rows(bench: Bench) -> Iterator[Row]:
    runs = bench.count(100_000, 200)
    store = bench.fresh_store()
    bench.child(store, "make_many_runs", runs)
    figures = [bench.child(store, "list_many_runs") for _ in range(bench.repeat)]
    peak = median(figures, "peak_mib")
    rare = "filtered on two keys, sorted by a third, 50 rows"
    for name, what in {
        "rare": f"runs table of {runs:,} runs, {rare}: few match",
        "some": "the same: one in six matches",
        "most": "the same: nearly all match",
        "page": "the same, the 20th page",
    }.items():
        yield Row(f"runs-{name}", what, median(figures, name) * 1000, "ms", target=100, peak=peak)
    remove(store)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
