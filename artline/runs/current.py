"""The run in progress of this process, and the module-level functions that act on it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Literal

from artline.artifacts.current import set_current_settings
from artline.errors import UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from artline.artifacts.artifact import Artifact
    from artline.runs.config import Config
    from artline.runs.definitions import Definition
    from artline.runs.run import Run
    from artline.runs.run_alerts import AlertLevel
    from artline.runs.sources import Chooses
    from artline.runs.summary import Summary
    from artline.runs.watch import Watched

    config: Config
    run: Run | None
    summary: Summary

__all__ = [
    "alert",
    "config",
    "define_metric",
    "enter",
    "finish",
    "finish_artifact",
    "get_run",
    "leave",
    "link_artifact",
    "link_model",
    "log",
    "log_artifact",
    "log_code",
    "log_model",
    "mark_preempting",
    "open_runs",
    "restore",
    "run",
    "save",
    "summary",
    "unwatch",
    "upsert_artifact",
    "use_artifact",
    "use_model",
    "watch",
]

_open: list[Run] = []
_beside: list[Run] = []  # begun with reinit="create_new": open, and reached only through their objects


def get_run() -> Run | None:
    """Return the run in progress (the one begun last), or None."""
    return _open[-1] if _open else None


def open_runs() -> list[Run]:
    """Return the runs of this process that have not ended, in the order in which they began."""
    return sorted((*_open, *_beside), key=lambda run: run.start_time)


def enter(run: Run, *, beside: bool = False) -> None:
    """Make a run the one in progress, and its store the one that new artifacts belong to.

    One begun ``beside`` others is only counted among the open ones.
    """
    if beside:
        _beside.append(run)
        return
    _open.append(run)
    set_current_settings(run.settings)


def leave(run: Run) -> None:
    """Take a run out; the one begun before it, if any, is in progress again."""
    if run in _beside:
        _beside.remove(run)
        return
    if run in _open:
        _open.remove(run)
    set_current_settings(_open[-1].settings if _open else None)


def _require(what: str) -> Run:
    found = get_run()
    if found is None:
        raise UsageError(f"artline.{what}: no run is in progress. Call artline.init(project=…) first")
    return found


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """Log a row of values to the run in progress; see Run.log."""
    (_open[-1] if _open else _require("log")).log(data, step, commit)


def define_metric(
    name: str,
    step_metric: str | Definition | None = None,
    step_sync: bool | None = None,
    hidden: bool | None = None,
    summary: str | Sequence[str] | None = None,
    goal: str | None = None,
    overwrite: bool | None = None,
) -> Definition:
    """Say how a metric of the run in progress is charted and summarised; see Run.define_metric."""
    return _require("define_metric").define_metric(
        name, step_metric, step_sync, hidden, summary, goal, overwrite
    )


def log_artifact(
    artifact_or_path: Artifact | str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,
    aliases: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
) -> Artifact:
    """Commit an artifact as an output of the run in progress; see Run.log_artifact."""
    return _require("log_artifact").log_artifact(artifact_or_path, name, type, aliases, tags)


def upsert_artifact(
    artifact_or_path: Artifact | str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,
    aliases: Sequence[str] | None = None,
    distributed_id: str | None = None,
    *,
    tags: Sequence[str] | None = None,
) -> Artifact:
    """Contribute to a draft that several runs share; see Run.upsert_artifact."""
    return _require("upsert_artifact").upsert_artifact(
        artifact_or_path, name, type, aliases, distributed_id, tags=tags
    )


def finish_artifact(
    artifact_or_path: Artifact | str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,
    aliases: Sequence[str] | None = None,
    distributed_id: str | None = None,
    *,
    tags: Sequence[str] | None = None,
) -> Artifact:
    """Make what runs contributed to a shared draft one version; see Run.finish_artifact."""
    return _require("finish_artifact").finish_artifact(
        artifact_or_path, name, type, aliases, distributed_id, tags=tags
    )


def use_artifact(
    artifact_or_name: Artifact | str,
    type: str | None = None,
    use_as: str | None = None,
) -> Artifact:
    """Resolve an artifact and record it as an input of the run in progress; see Run.use_artifact."""
    return _require("use_artifact").use_artifact(artifact_or_name, type, use_as)


def watch(
    models: Any,
    criterion: Any = None,
    log: Watched | None = "gradients",
    log_freq: int = 1000,
    idx: int | None = None,
    log_graph: bool = False,
) -> None:
    """Log histograms of a torch module's gradients and parameters to the run in progress; see Run.watch."""
    _require("watch").watch(models, criterion, log, log_freq, idx, log_graph)


def unwatch(models: Any = None) -> None:
    """Stop watching some models, or all; see Run.unwatch."""
    _require("unwatch").unwatch(models)


def log_model(
    path: str | os.PathLike[str], name: str | None = None, aliases: Sequence[str] | None = None
) -> Artifact:
    """Commit a model as an output of the run in progress; see Run.log_model."""
    return _require("log_model").log_model(path, name, aliases)


def use_model(name: str) -> str:
    """Fetch a model and record it as an input of the run in progress; see Run.use_model."""
    return _require("use_model").use_model(name)


def link_artifact(artifact: Artifact, target_path: str, aliases: Sequence[str] | None = None) -> Artifact:
    """Make a version one of a collection's, too; see Run.link_artifact."""
    return _require("link_artifact").link_artifact(artifact, target_path, aliases)


def log_code(
    root: str | os.PathLike[str] | None = ".",
    name: str | None = None,
    include_fn: Chooses | None = None,
    exclude_fn: Chooses | None = None,
) -> Artifact | None:
    """Commit the code below a folder as an artifact of the run in progress; see Run.log_code."""
    return _require("log_code").log_code(root, name, include_fn, exclude_fn)


def link_model(
    path: str | os.PathLike[str],
    registered_model_name: str,
    name: str | None = None,
    aliases: Sequence[str] | None = None,
) -> Artifact:
    """Log a model and make it the next version of a registered one; see Run.link_model."""
    return _require("link_model").link_model(path, registered_model_name, name, aliases)


def save(
    glob_str: str | os.PathLike[str],
    base_path: str | os.PathLike[str] | None = None,
    policy: Literal["live", "now", "end"] = "live",
) -> list[str]:
    """Keep files with the run in progress; see Run.save."""
    return _require("save").save(glob_str, base_path, policy)


def restore(
    name: str,
    run_path: str | None = None,
    replace: bool = False,
    root: str | os.PathLike[str] | None = None,
) -> IO[str] | None:
    """Fetch a file of a run and open it (Run.restore). ``run_path`` is needed without a run in progress."""
    found = get_run()
    if found is not None:
        return found.restore(name, run_path, replace, root)
    from artline.runs.saving import restore_file

    return restore_file(name, run_path, replace, root)


def finish(exit_code: int | None = None, quiet: bool | None = None, timeout: float | None = None) -> None:
    """Finish the run in progress, if there is one; see Run.finish."""
    found = get_run()
    if found is not None:
        found.finish(exit_code, quiet, timeout)


def alert(
    title: str,
    text: str = "",
    level: AlertLevel | str | None = None,
    wait_duration: float | timedelta | None = None,
) -> None:
    """Tell a person something by the run in progress; see Run.alert."""
    _require("alert").alert(title, text, level, wait_duration)


def mark_preempting() -> None:
    """Record that the machine is about to be taken away from the run in progress; see Run.mark_preempting."""
    _require("mark_preempting").mark_preempting()


class _Early:
    """Stands for ``artline.config`` or ``artline.summary`` before ``init``: any use says what to do."""

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def _refuse(self, *_: Any) -> Any:
        name = object.__getattribute__(self, "_name")
        raise UsageError(f"artline.{name}: no run is in progress. Call artline.init(project=…) first")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._refuse()

    def __repr__(self) -> str:
        return f"<artline.{object.__getattribute__(self, '_name')} before artline.init()>"

    __setattr__ = __getitem__ = __setitem__ = __delitem__ = __contains__ = __iter__ = __len__ = _refuse


def __getattr__(name: str) -> Any:
    if name == "run":
        return get_run()
    if name in ("config", "summary"):
        found = get_run()
        return _Early(name) if found is None else getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
