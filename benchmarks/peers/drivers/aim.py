"""Aim with a local repository."""

# The library is installed in an environment of its own, where mypy does not look.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from itertools import count
from typing import Any

from benchmarks.child import KEYS, time_calls
from benchmarks.peers.drivers import check, main


def log(calls: str) -> dict[str, Any]:
    from aim import Run

    steps = count()
    run = Run(repo=".")

    def call(row: dict[str, float]) -> None:
        run.track(row, step=next(steps))

    return {**time_calls(int(calls), call, run.close), "run": run.hash}


def short_run() -> dict[str, Any]:
    from aim import Run

    run = Run(repo=".")
    run.track(1.0, name="loss", step=0)
    run.close()
    return {}


def read(calls: str, run: str) -> dict[str, Any]:
    """Read the run's own series: ``Repo.get_run`` sees a run only once Aim's server has indexed it."""
    from aim import Repo
    from aim.storage.context import Context

    tree = Repo.from_path(".").request_tree("seqs", run, read_only=True).subtree("seqs")
    series = tree.subtree(("v2", "chunks", run, Context({}).idx, KEYS[3]))
    steps, values = (list(series.array(name).values()) for name in ("step", "val"))
    return check([float(value) for _, value in sorted(zip(steps, values, strict=True))], calls)


if __name__ == "__main__":
    main(log, short_run, read)
