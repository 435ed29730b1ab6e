"""A run in a process that was given it by pickle, as spawned workers and data loaders get their arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from artline.runs import current, notices

if TYPE_CHECKING:
    from artline.runs.run import Run
    from artline.settings import Settings

__all__ = ["RunPickling", "revive"]


class RunPickling:
    """The part of a run that lets it travel: there it has its names and config, and records nothing."""

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __reduce__(self) -> Any:
        run: Any = self
        return revive, (run._pid, run.settings, run.id, dict(run._info), dict(run.config._leaves), run.dir)


def revive(
    pid: int, settings: Settings, run_id: str, info: Mapping[str, Any], config: Mapping[str, Any], folder: str
) -> Run:
    """Return the run itself in the process it belongs to, and elsewhere one that only looks like it."""
    if pid == os.getpid():
        for run in current._open:
            if run.id == run_id and run.settings == settings:
                return run
    return _elsewhere(pid, settings, run_id, info, config, folder)


def _elsewhere(
    pid: int, settings: Settings, run_id: str, info: Mapping[str, Any], config: Mapping[str, Any], folder: str
) -> Run:
    from artline.runs.disabled import DisabledRun

    class RunElsewhere(DisabledRun):
        """A run of another process: what is logged to it here is ignored, with one warning."""

        told = False

        @property
        def dir(self) -> str:
            """The folder whose files are kept with the run."""
            return folder

        def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
            """Say once that this is recorded nowhere."""
            if not self.told:
                self.told = True
                notices.warn(
                    f"run {self.path} belongs to process {pid}; what process {os.getpid()} logs to its copy "
                    "is not recorded. Log in the process that called init, or call "
                    f"artline.init(id='{run_id}', mode='shared') in this one"
                )

        def end(self, state: str, exit_code: int, quiet: bool | None = None, timeout: float = 0.0) -> None:
            """Do nothing: it is the other process's to end."""

    return RunElsewhere(settings=settings, run_id=run_id, info=info, config=config)
