"""What scripts call around a run: log in, set up, attach. Most of it needs nothing here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Literal

from artline.errors import RunNotFoundError, UsageError
from artline.runs import current
from artline.runs.run import Run

__all__ = ["attach", "ensure_configured", "login", "require", "run_for", "setup", "teardown", "telemetry"]


def login(
    key: str | None = None,
    relogin: bool | None = None,
    host: str | None = None,
    force: bool | None = None,
    timeout: int | None = None,
    verify: bool = True,
    referrer: str | None = None,
    prompt: bool = True,
    anonymous: Any = None,
) -> bool:
    """Return True: a store of one's own needs no login, and a key that is passed is not kept."""
    return True


def setup(settings: Any = None) -> SimpleNamespace:
    """Do nothing, there is no service to start; return an object with ``settings``."""
    return SimpleNamespace(settings=settings)


def teardown(exit_code: int | None = None) -> None:
    """Finish every run in progress."""
    for run in current.open_runs():
        run.finish(exit_code)


def require(requirement: str | Iterable[str] | None = None, experiment: Any = None) -> None:
    """Do nothing: wandb switches its service and its core on with this, and there is one way here."""


def run_for(what: str) -> Run:
    """Return the run in progress; raise UsageError, which is wandb's ``Error``, without one."""
    found = current.get_run()
    if found is None:
        raise UsageError(f"{what}: no run is in progress. Call wandb.init() first")
    return found


def ensure_configured() -> None:
    """Do nothing: settings are read when a run begins."""


def attach(attach_id: str | None = None, run_id: str | None = None, *, run: Run | None = None) -> Run:
    """Go on with a run from another process; what this one logs is added to it as a writer of its own.

    ``attach_id`` is ``run._attach_id`` (``entity/project/run_id``). In the process that began the run it is
    the run itself. Raises RunNotFoundError.
    """
    path = attach_id or (run.path if run is not None else None) or run_id
    if not path:
        raise UsageError("attach: pass the run's _attach_id")
    for known in current.open_runs():
        if path in (known.path, known.id):
            return known
    parts = path.split("/")
    if len(parts) != 3:
        raise RunNotFoundError(f"attach: no run '{path}' is in progress here. Pass entity/project/run_id")
    from artline.runs.init import init

    beside: Literal["create_new"] | None = "create_new" if current.get_run() is not None else None
    return init(project=parts[1], entity=parts[0], id=parts[2], mode="shared", reinit=beside)


@contextmanager
def telemetry(run: Any = None, obj: Any = None) -> Iterator[Any]:
    """Yield an object that accepts any assignment: Artline collects nothing on who uses what."""
    yield SimpleNamespace(feature=SimpleNamespace(), imports_init=SimpleNamespace())
