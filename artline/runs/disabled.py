"""The run of ``mode="disabled"``."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from artline.errors import UsageError
from artline.runs import current
from artline.runs.config import Config
from artline.runs.definitions import Definition
from artline.runs.run import Run
from artline.runs.summary import Summary
from artline.settings import Settings

__all__ = ["DisabledRun"]


class DisabledRun(Run):
    """A run of ``mode="disabled"``: the same face, nothing recorded, no thread, no file."""

    def __init__(
        self,
        *,
        settings: Settings,
        run_id: str,
        info: Mapping[str, Any],
        config: Mapping[str, Any],
        changeable: bool = False,
    ) -> None:
        self.settings = settings
        self._id = run_id
        self._info = dict(info)
        self._started = time.time()
        self._state = "running"
        self._exit_code = None
        self._resumed = False
        self._pid = os.getpid()
        self._folder = ""
        self._assigned: dict[str, Any] = {}
        self.config = Config(dict(config), lambda values, removed: None, changeable=changeable)
        self.summary = Summary(lambda: dict(self._assigned), self._summary_assigned)

    @property
    def dir(self) -> str:
        """A temporary folder, made when first asked for."""
        if not self._folder:
            import tempfile

            self._folder = tempfile.mkdtemp(prefix="artline-disabled-")
        return self._folder

    @property
    def disabled(self) -> bool:
        """True."""
        return True

    @property
    def step(self) -> int:
        """Always 0."""
        return 0

    @property
    def rows_logged(self) -> int:
        """Always 0."""
        return 0

    @property
    def ending(self) -> bool:
        """Never."""
        return False

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Do nothing."""

    def define_metric(self, name: str, *arguments: Any, **named: Any) -> Definition:
        """Do nothing; return what was said."""
        return Definition(str(name))

    def alert(self, *arguments: Any, **named: Any) -> None:
        """Do nothing."""

    def mark_preempting(self) -> None:
        """Do nothing."""

    def log_artifact(self, artifact_or_path: Any, *arguments: Any, **named: Any) -> Any:
        """Do nothing; return what was given."""
        return artifact_or_path

    def upsert_artifact(self, artifact_or_path: Any, *arguments: Any, **named: Any) -> Any:
        """Do nothing; return what was given."""
        return artifact_or_path

    def finish_artifact(self, artifact_or_path: Any, *arguments: Any, **named: Any) -> Any:
        """Do nothing; return what was given."""
        return artifact_or_path

    def link_artifact(self, artifact: Any, *arguments: Any, **named: Any) -> Any:
        """Do nothing; return what was given."""
        return artifact

    def use_artifact(self, artifact_or_name: Any, *arguments: Any, **named: Any) -> Any:
        """Return a given Artifact. A name cannot be resolved: UsageError."""
        if isinstance(artifact_or_name, str):
            raise UsageError(
                f"use_artifact('{artifact_or_name}'): the run is disabled, so no store is open. Use "
                "artline.Api().artifact(name), or mode='offline'"
            )
        return artifact_or_name

    def log_model(self, path: Any, *arguments: Any, **named: Any) -> Any:
        """Do nothing; return what was given."""
        return path

    def link_model(self, path: Any, *arguments: Any, **named: Any) -> Any:
        """Do nothing; return what was given."""
        return path

    def log_code(self, *arguments: Any, **named: Any) -> None:
        """Do nothing."""

    def save(self, *arguments: Any, **named: Any) -> list[str]:
        """Do nothing."""
        return []

    def restore(self, *arguments: Any, **named: Any) -> None:
        """Return None: a disabled run has no files."""

    def end(self, state: str, exit_code: int, quiet: bool | None = None, timeout: float = 0.0) -> None:
        """Mark the run ended."""
        if self._state == "running":
            self._state, self._exit_code = state, exit_code
            current.leave(self)
            if self._folder:
                import shutil

                shutil.rmtree(self._folder, ignore_errors=True)

    def _describe(self, name: str, value: Any) -> None:
        self._info[name] = value

    def _summary_assigned(self, values: dict[str, Any], removed: list[str]) -> None:
        for key in removed:
            self._assigned.pop(key, None)
        self._assigned.update(values)
