"""The run of ``mode="disabled"``."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

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

    def log_artifact(
        self,
        artifact_or_path: Any,
        name: str | None = None,
        type: str | None = None,
        *rest: Any,
        **named: Any,
    ) -> Any:
        """Store nothing; return an artifact that does nothing. A draft that was given becomes one."""
        return self._inert(artifact_or_path, name, type)

    upsert_artifact = finish_artifact = log_artifact

    def link_artifact(self, artifact: Any, *arguments: Any, **named: Any) -> Any:
        """Link nothing; return an artifact that does nothing."""
        return self._inert(artifact)

    def use_artifact(
        self, artifact_or_name: Any, type: str | None = None, *arguments: Any, **named: Any
    ) -> Any:
        """Look for nothing; return an artifact that does nothing. One of a store's versions is that."""
        return self._inert(artifact_or_name, type=type)

    def log_model(self, path: Any, name: str | None = None, *arguments: Any, **named: Any) -> Any:
        """Store nothing; return an artifact that does nothing."""
        return self._inert(path, name, "model")

    def use_model(self, name: str) -> str:
        """Fetch nothing; return a temporary folder, which is empty."""
        return str(self._inert(name, type="model").download())

    def link_model(
        self, path: Any, registered_model_name: str = "", name: str | None = None, *rest: Any, **named: Any
    ) -> Any:
        """Link nothing; return an artifact that does nothing."""
        return self._inert(path, name or registered_model_name, "model")

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

    def _inert(self, given: Any, name: str | None = None, type: str | None = None) -> Any:
        from artline.artifacts.artifact import Artifact
        from artline.runs.inert import InertArtifact

        if isinstance(given, Artifact) and not given.is_draft:
            return given
        wanted = given if isinstance(given, Artifact) else name or given
        return InertArtifact.of(wanted, type, (self.entity, self.project), lambda: self.dir)

    def _describe(self, name: str, value: Any) -> None:
        self._info[name] = value

    def _summary_assigned(self, values: dict[str, Any], removed: list[str]) -> None:
        for key in removed:
            self._assigned.pop(key, None)
        self._assigned.update(values)
