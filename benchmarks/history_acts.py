"""What is measured of histories and of many runs; see ``benchmarks.child``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

__all__ = ["ACTS"]


def make_history(steps: str, kind: str = "noise") -> dict[str, Any]:
    """Fill a store with one long run."""
    from benchmarks.history_data import make_history, open_store

    store = open_store(_root())
    begun = time.perf_counter()
    make_history(store, "long", int(steps), regular=kind == "regular")
    return {"seconds": time.perf_counter() - begun}


def chart_history() -> dict[str, Any]:
    """Draw charts of it, each of another metric; libraries are imported before."""
    from benchmarks.history_data import PROJECT, open_store

    store = open_store(_root())
    run = store.get(PROJECT, "long")
    steps = (run.last_step or 0) + 1
    third = steps // 3
    store.curves(run, ["noise_9"], low=steps // 2, high=steps // 2 + 100)
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "whole": ("noise_3", {}),
        "zoom": ("noise_5", {"x_axis": "_runtime", "low": steps / 2000, "high": steps * 0.0006}),
        "near": ("noise_3", {"low": third - min(third, 31_000), "high": third + min(third, 31_000)}),
        "metric": ("noise_4", {"x_axis": "noise_6"}),
    }
    told = {}
    for name, (key, options) in asked.items():
        begun = time.perf_counter()
        [curve] = store.curves(run, [key], buckets=1000, **options)
        told[name] = time.perf_counter() - begun
        if key == "noise_3" and max(curve.maximum) != 1000.0:
            raise SystemExit(f"the spike is missing in chart {name}")
        if not 0 < sum(curve.count) <= steps or any(mean is None or math.isnan(mean) for mean in curve.mean):
            raise SystemExit(f"chart {name} does not tell of its rows")
    return told


def sample_history() -> dict[str, Any]:
    """Read some exact rows of it."""
    from artline.runs.api import Api
    from artline.settings import Settings
    from benchmarks.history_data import PROJECT

    run = Api(Settings(root=_root())).run(f"{PROJECT}/long")
    begun = time.perf_counter()
    rows = run.history(samples=500, keys=["noise_3"])
    seconds = time.perf_counter() - begun
    if not {1000.0, -1000.0} <= {row["noise_3"] for row in rows}:
        raise SystemExit("the spikes are missing in the samples")
    return {"seconds": seconds}


def make_many_runs(count: str) -> dict[str, Any]:
    """Fill a store with many runs."""
    from benchmarks.history_data import make_runs, open_store

    begun = time.perf_counter()
    make_runs(open_store(_root()), int(count))
    return {"seconds": time.perf_counter() - begun}


def list_many_runs() -> dict[str, Any]:
    """Filter them on two keys and sort them by a third."""
    from benchmarks.history_data import open_store

    store = open_store(_root())
    store.find("runs", limit=1)
    asked: dict[str, dict[str, Any]] = {
        "rare": {"config.lr": {"$lt": 2e-5}, "summary.acc": {"$gt": 0.99}},
        "some": {"config.model": "vit", "summary.acc": {"$gt": 0.5}},
        "most": {"config.lr": {"$lt": 0.09}, "summary.acc": {"$gt": 0.01}},
    }
    told = {}
    for name, filters in asked.items():
        begun = time.perf_counter()
        page = store.find("runs", filters, order="summary.loss", limit=50)
        told[name] = time.perf_counter() - begun
        losses = [run.summary["loss"] for run in page.runs]
        if losses != sorted(losses):
            raise SystemExit(f"the table {name} is not sorted")
    page = store.find("runs", asked["some"], order="-summary.loss", limit=50)
    for _ in range(19):
        begun = time.perf_counter()
        page = store.find("runs", asked["some"], order="-summary.loss", limit=50, after=page.after)
        told["page"] = time.perf_counter() - begun
    return told


def _root() -> Any:
    from artline.settings import load_settings

    return load_settings().root


ACTS: dict[str, Callable[..., dict[str, Any]]] = {
    act.__name__: act for act in (make_history, chart_history, sample_history, make_many_runs, list_many_runs)
}
