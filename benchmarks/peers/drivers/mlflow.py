"""MLflow with a local store, as ``MLFLOW_TRACKING_URI`` says: its SQLite default or its old file store."""

# The library is installed in an environment of its own, where mypy does not look.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.child import KEYS, time_calls
from benchmarks.peers.drivers import check, main


def put(source: str, name: str) -> dict[str, Any]:
    import mlflow

    with mlflow.start_run() as run:
        if Path(source).is_dir():
            mlflow.log_artifacts(source, name)
        else:
            mlflow.log_artifact(source, name)
    return {"version": f"runs:/{run.info.run_id}/{name}"}


def get(version: str, target: str) -> dict[str, Any]:
    import mlflow

    Path(target).mkdir(parents=True)
    mlflow.artifacts.download_artifacts(artifact_uri=version, dst_path=target)
    return {}


def log(calls: str) -> dict[str, Any]:
    import mlflow

    steps = count()
    run = mlflow.start_run()

    def call(row: dict[str, float]) -> None:
        mlflow.log_metrics(row, step=next(steps))

    return {**time_calls(int(calls), call, mlflow.end_run), "run": run.info.run_id}


def short_run() -> dict[str, Any]:
    import mlflow

    with mlflow.start_run():
        mlflow.log_metric("loss", 1.0)
    return {}


def read(calls: str, run: str) -> dict[str, Any]:
    from mlflow import MlflowClient

    return check([metric.value for metric in MlflowClient().get_metric_history(run, KEYS[3])], calls)


if __name__ == "__main__":
    main(put, get, log, short_run, read)
