"""What every integration does with a run: find it, describe it, and keep models of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artline.errors import UsageError
from artline.runs import current
from artline.runs.values import to_json

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.runs.run import Run

__all__ = ["describe", "keep_model", "numbers", "run_for"]


def run_for(run: Run | None, who: str) -> Run:
    """Return the run that was given, or else the one in progress. Raises UsageError when there is none."""
    found = run if run is not None else current.get_run()
    if found is None:
        raise UsageError(f"{who}: no run is in progress. Call artline.init(project=…) first, or pass run=")
    return found


def describe(run: Run, values: Mapping[str, Any]) -> None:
    """Add to the run's config what it does not have yet; what has no JSON form is kept as text."""
    known = {str(key): to_json(value, f"config '{key}'", _text) for key, value in values.items()}
    run.config.setdefaults(known)


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the values that are numbers, as floats, under prefixed names."""
    found = {}
    for key, value in values.items():
        try:
            found[f"{prefix}{key}"] = float(value)
        except (TypeError, ValueError):
            continue
    return found


def keep_model(
    run: Run,
    path: str | os.PathLike[str],
    name: str | None,
    aliases: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Artifact:
    """Log a file or folder as a version of a model, called ``model-<run id>`` unless named."""
    from artline.artifacts.artifact import Artifact

    file = Path(path)
    known = to_json(dict(metadata or {}), "metadata", _text)
    model = Artifact(name or f"model-{run.id}", type="model", metadata=known)
    if file.is_dir():
        model.add_dir(str(file))
    else:
        model.add_file(str(file))
    return run.log_artifact(model, aliases=list(dict.fromkeys(aliases)))


def _text(where: str, value: Any) -> str:
    return str(value)[:1000]
