"""Lightning: ``ArtlineLogger``, for ``lightning`` and for ``pytorch_lightning``."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:
    from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
    from pytorch_lightning.utilities.rank_zero import rank_zero_only
else:
    from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

from artline.integrations.training import describe, keep_model
from artline.runs import current
from artline.runs.init import init

if TYPE_CHECKING:
    from artline.runs.run import Run
    from artline.runs.watch import Watched
    from artline.settings import Settings

__all__ = ["ArtlineLogger"]


class ArtlineLogger(Logger):
    """A logger for ``Trainer(logger=…)``.

    It logs to the ``run`` that is given, else to the one in progress, else it begins one with the other
    arguments, which are those of ``artline.init``. Metrics are logged at the trainer's global step, under
    ``prefix`` and a slash. With ``log_model`` True the checkpoints that are left at the end of the fit become
    versions of a model, with ``"all"`` each one when it is saved; the best has the alias ``best``. In a
    distributed fit only the process of rank 0 logs. The run goes on after the fit.
    """

    def __init__(
        self,
        project: str | None = None,
        *,
        name: str | None = None,
        id: str | None = None,
        notes: str | None = None,
        tags: Sequence[str] | None = None,
        group: str | None = None,
        job_type: str | None = None,
        mode: Literal["online", "offline", "disabled", "shared"] | None = None,
        resume: bool | Literal["allow", "must", "never", "auto"] | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
        save_dir: str | os.PathLike[str] | None = None,
        log_model: bool | Literal["all"] = False,
        prefix: str = "",
        run: Run | None = None,
    ) -> None:
        super().__init__()
        self._options: dict[str, Any] = {
            "project": project,
            "name": name,
            "id": id,
            "notes": notes,
            "tags": tags,
            "group": group,
            "job_type": job_type,
            "mode": mode,
            "resume": resume,
            "settings": settings,
        }
        self._save_dir = None if save_dir is None else os.fspath(save_dir)
        self._log_model = log_model
        self._prefix = prefix
        self._run = run
        self._checkpoints: Any = None
        self._kept: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process goes on with the same run."""
        options = dict(self._options)
        if self._run is not None:
            options.update(id=self._run.id, project=self._run.project, resume="allow")
        return {**self.__dict__, "_options": options, "_run": None, "_checkpoints": None}

    @property
    @rank_zero_experiment
    def experiment(self) -> Run:
        """The run; begun when first asked for."""
        if self._run is None:
            self._run = current.get_run() or init(**self._options)
        return self._run

    @property
    def name(self) -> str | None:
        """The project."""
        return self._options["project"] if self._run is None else self._run.project

    @property
    def version(self) -> str | None:
        """The run's id."""
        return self._options["id"] if self._run is None else self._run.id

    @property
    def save_dir(self) -> str | None:
        """Where the trainer keeps its checkpoints, unless told otherwise; None for its working folder."""
        return self._save_dir

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Add hyperparameters to the run's config."""
        values = vars(params) if isinstance(params, Namespace) else params
        describe(self.experiment, dict(values or {}))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log a row at the trainer's global step."""
        prefix = f"{self._prefix}/" if self._prefix else ""
        self.experiment.log({f"{prefix}{key}": value for key, value in metrics.items()}, step=step)

    @rank_zero_only
    def watch(
        self, model: Any, log: Watched | None = "gradients", log_freq: int = 100, log_graph: bool = False
    ) -> None:
        """Watch the model's gradients, parameters or both; see Run.watch."""
        self.experiment.watch(model, log=log, log_freq=log_freq, log_graph=log_graph)

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Keep the checkpoints now, or remember to at the end."""
        self._checkpoints = checkpoint_callback
        if self._log_model == "all":
            self._keep(checkpoint_callback)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Keep the checkpoints that are left. The run goes on."""
        if self._checkpoints is not None and self._log_model and status == "success":
            self._keep(self._checkpoints)

    def _keep(self, callback: Any) -> None:
        scores = {str(path): score for path, score in getattr(callback, "best_k_models", {}).items()}
        for path, score in (
            (callback.last_model_path, callback.current_score),
            (callback.best_model_path, callback.best_model_score),
        ):
            if path:
                scores.setdefault(str(path), score)
        written = {path: os.stat(path).st_mtime for path in scores if os.path.exists(path)}
        for path in sorted(written, key=lambda path: written[path]):
            if self._kept.get(path) == written[path]:
                continue
            self._kept[path] = written[path]
            score = scores[path]
            best = path == callback.best_model_path
            keep_model(
                self.experiment,
                path,
                None,
                ["latest", "best"] if best else ["latest"],
                {
                    "file": Path(path).name,
                    "monitor": callback.monitor,
                    "mode": callback.mode,
                    "score": None if score is None else float(score),
                },
            )
