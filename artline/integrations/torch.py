"""PyTorch: checkpoints as artifacts. For gradients and parameters see ``Run.watch``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from artline.integrations.training import keep_model, run_for

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.runs.run import Run

__all__ = ["FILE", "load_checkpoint", "log_checkpoint"]

FILE = "checkpoint.pt"


def log_checkpoint(
    state: torch.nn.Module | Mapping[str, Any],
    name: str | None = None,
    *,
    aliases: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    run: Run | None = None,
) -> Artifact:
    """Keep a module's state, or a dict such as ``{"model": model, "optimizer": optimizer, "epoch": 3}``.

    Whatever has a ``state_dict`` is kept as that. The version, of type model, holds one file that
    ``torch.load(weights_only=True)`` reads; ``name`` is ``model-<run id>`` by default. The same state twice
    makes one version. Raises UsageError without a run.
    """
    found = run_for(run, "log_checkpoint")
    plain = (
        _plain(state) if hasattr(state, "state_dict") else {key: _plain(part) for key, part in state.items()}
    )
    with tempfile.TemporaryDirectory(prefix="artline-checkpoint-") as folder:
        path = os.path.join(folder, FILE)
        torch.save(plain, path)
        return keep_model(found, path, name, aliases, metadata)


def load_checkpoint(name: str, *, map_location: Any = "cpu", run: Run | None = None) -> Any:
    """Return what ``log_checkpoint`` kept under ``name:version-or-alias``, as an input of the run.

    Only tensors and plain Python values are read, never code. Raises ArtifactNotFoundError,
    EntryNotFoundError when the version holds no checkpoint, IntegrityError, and UsageError without a run.
    """
    artifact = run_for(run, "load_checkpoint").use_artifact(name)
    with artifact.open(FILE) as stream:
        return torch.load(stream, map_location=map_location, weights_only=True)


def _plain(part: Any) -> Any:
    return part.state_dict() if hasattr(part, "state_dict") else part
