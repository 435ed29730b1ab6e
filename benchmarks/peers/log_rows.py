"""Runs: the same logging loop with each library in turn, and what was logged read back afterwards."""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.bench import Bench
from benchmarks.peers.comparison import Column, Comparison, Kind
from benchmarks.peers.environments import Environment, UnavailableError
from benchmarks.peers.tools import Place, driver

__all__ = ["LOGGERS", "Logger", "compare_logs"]

CALLS = 20_000
LEAST_CALLS = 100
IMPORTS = 5
LIMIT_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Logger:
    """One library, or the floor where ``module`` is empty.

    ``calls`` is how many are made of a library with which 20,000 take minutes; its time is extrapolated.
    """

    tool: str
    module: str
    calls: int = CALLS
    how: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


LOGGERS = {
    "floor": Logger("artline", ""),
    "artline": Logger("artline", "artline"),
    "trackio": Logger("trackio", "trackio", how="local"),
    "wandb": Logger("wandb", "wandb", how="offline"),
    "tensorboardx": Logger("tensorboardx", "tensorboardX", how="10 add_scalar a row"),
    "aim": Logger("aim", "aim", 2_000),
    "mlflow": Logger("mlflow", "mlflow", 2_000, "SQLite store"),
    "mlflow-files": Logger(
        "mlflow",
        "mlflow",
        2_000,
        "file store",
        {"MLFLOW_TRACKING_URI": "mlruns", "MLFLOW_ALLOW_FILE_STORE": "true"},
    ),
}
KINDS = [
    Kind("mean", "a call in µs: mean", "µs"),
    Kind("p50", "median", "µs"),
    Kind("p99", "99th percentile", "µs"),
    Kind("process", "in all, the process, s", "s"),
    Kind("short", "init, one metric, finish: the process, s", "s"),
    Kind("import", "import over bare Python, s", "s"),
    Kind("peak", "peak MiB", "MiB"),
]


def compare_logs(bench: Bench, loggers: Sequence[tuple[Column, Logger, Environment | None]]) -> Comparison:
    """Measure the loop, a short run and the import, each library in turn, round after round."""
    table = Comparison("logging", KINDS, [column for column, _, _ in loggers])
    for turn in range(bench.repeat):
        for column, logger, environment in loggers:
            if environment is None or column.problem:
                continue
            print(f"measuring: log, round {turn + 1}, {column.name}", file=sys.stderr, flush=True)
            calls = bench.count(CALLS, LEAST_CALLS)
            made = min(calls, bench.count(logger.calls, LEAST_CALLS))
            place = Place(bench.work / "turn", LIMIT_SECONDS, logger.settings)
            try:
                figures = (
                    _turn(place, logger, environment, made)
                    if logger.module
                    else _floor(place, environment, made)
                )
            except UnavailableError as error:
                column.problem = str(error)
                print(f"{column.name}: {error}", file=sys.stderr, flush=True)
                continue
            finally:
                shutil.rmtree(place.folder)
            if made < calls:
                figures["process"] = extrapolated(figures["process"], figures["short"], calls / made)
                table.extrapolated.add((column.name, "process"))
            table.add(column, **figures)
    return table


def extrapolated(process: float, short: float, times: float) -> float:
    """Return what a process would take with so many times the calls, its start (``short``) counted once."""
    return short + max(0.0, process - short) * times


def _turn(place: Place, logger: Logger, environment: Environment, calls: int) -> dict[str, float]:
    """Take one round's figures in a store that a run before, unmeasured, has made."""
    place.run(driver(environment, "short_run"))
    short = place.run(driver(environment, "short_run"))
    bare: list[float] = []
    imported: list[float] = []
    for _ in range(IMPORTS):
        for figures, statement in ((bare, "pass"), (imported, f"import {logger.module}")):
            figures.append(place.run([str(environment.python), "-c", statement]).seconds)
    logged = place.run(driver(environment, "log", calls))
    named = [str(logged.told["run"])] if "run" in logged.told else []
    place.run(driver(environment, "read", calls, *named))
    return {
        **_told(logged.told),
        "process": logged.seconds,
        "short": short.seconds,
        "import": statistics.median(imported) - statistics.median(bare),
        "peak": logged.peak_mib or 0.0,
    }


def _floor(place: Place, environment: Environment, calls: int) -> dict[str, float]:
    """Pack the same numbers into a file: what this machine can do."""
    records = place.store / "records.bin"
    logged = place.run(driver(environment, "log_floor", calls, records))
    place.run(driver(environment, "read_floor", calls, records))
    short = place.run(driver(environment, "short_floor", place.store / "short.jsonl"))
    return {
        **_told(logged.told),
        "process": logged.seconds,
        "short": short.seconds,
        "peak": logged.peak_mib or 0.0,
    }


def _told(told: Mapping[str, Any]) -> dict[str, float]:
    return {"mean": told["mean_us"], "p50": told["p50_us"], "p99": told["p99_us"]}
