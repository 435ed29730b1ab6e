"""Trackio, local: one SQLite database a project, artifacts as content-addressed files."""

# The library is installed in an environment of its own, where mypy does not look.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.child import KEYS, time_calls
from benchmarks.peers.drivers import check, main


def put(source: str, name: str) -> dict[str, Any]:
    import trackio

    trackio.init(project="bench")
    artifact = trackio.Artifact(name, type="dataset")
    if Path(source).is_dir():
        artifact.add_dir(source)
    else:
        artifact.add_file(source)
    trackio.log_artifact(artifact)
    trackio.finish()
    return {"version": f"{name}:latest"}


def get(version: str, target: str) -> dict[str, Any]:
    import trackio

    trackio.init(project="bench")
    trackio.use_artifact(version).download(target)
    trackio.finish()
    return {}


def log(calls: str) -> dict[str, Any]:
    import trackio

    trackio.init(project="bench", name="log")
    return time_calls(int(calls), trackio.log, trackio.finish)


def short_run() -> dict[str, Any]:
    import trackio

    trackio.init(project="bench")
    trackio.log({"loss": 1.0})
    trackio.finish()
    return {}


def read(calls: str) -> dict[str, Any]:
    from trackio.sqlite_storage import SQLiteStorage

    return check([row[KEYS[3]] for row in SQLiteStorage.get_logs("bench", "log")], calls)


if __name__ == "__main__":
    main(put, get, log, short_run, read)
