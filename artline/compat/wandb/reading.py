"""``wandb.Api``: runs and artifacts read back, with wandb's arguments and defaults."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from artline.compat.wandb import layout
from artline.compat.wandb.spelling import nameable, path_of
from artline.errors import ArtifactNotFoundError, NotFoundError
from artline.runs import api
from artline.runs.apirun import ApiRun
from artline.runs.history import STEP

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact

__all__ = ["Api", "ReadRun", "ReadRuns"]

_POLL = 1.0  # seconds between two looks at a run that is waited for
_ENDED = ("finished", "failed", "crashed", "killed")


class ReadRun(ApiRun):
    """A run of the store whose ``history`` and ``scan_history`` have wandb's defaults."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(layout.missing(f"wandb.apis.public.Run.{name}"))

    @property
    def lastHistoryStep(self) -> int:  # noqa: N802  # wandb's name
        """The highest step logged, -1 before any."""
        return self.last_step

    @property
    def rawconfig(self) -> dict[str, Any]:
        """The configuration."""
        return self.config

    @property
    def url(self) -> None:
        """None: the run is on this machine, not on a server."""

    def history(
        self,
        samples: int | None = 500,
        keys: Iterable[str] | None = None,
        x_axis: str = STEP,
        pandas: bool | None = True,
        stream: str = "default",
        format: str = "rows",
    ) -> Any:
        """Return at most ``samples`` rows that keep every key's extremes, as a DataFrame or a list of dicts.

        With ``keys`` only rows that have all of them. A list, too, where pandas is not installed. Another
        ``format`` than ``rows`` is that of Artline's own ``history``, which leaves no row out for its keys.
        """
        wanted = _names(keys)
        if format != "rows":
            return super().history(samples, wanted, x_axis, False, stream, format)
        records = super().history(samples if wanted is None else None, wanted, x_axis, False, stream)
        if wanted is not None:
            records = [record for record in records if all(key in record for key in wanted)]
            if samples is not None and len(records) > samples:
                from artline.runs.history import thin_records

                records = thin_records(records, samples)
        if pandas:
            try:
                import pandas as library
            except ImportError:
                return records
            return library.DataFrame.from_records(records)
        return records

    def scan_history(
        self,
        keys: Iterable[str] | None = None,
        page_size: int = 1000,
        min_step: int | None = None,
        max_step: int | None = None,
        stream: str = "default",
    ) -> Iterator[dict[str, Any]]:
        """Yield the exact rows; with ``keys`` those that have all of them. ``max_step`` is not included."""
        wanted = _names(keys)
        found = super().scan_history(wanted, page_size, min_step, max_step, stream)
        if wanted is None:
            return found
        return ({key: row[key] for key in wanted} for row in found if all(key in row for key in wanted))

    def wait_until_finished(self) -> None:
        """Return when the run has ended; ``state`` then tells how."""
        while self.load().state not in _ENDED:
            time.sleep(_POLL)


class ReadRuns(Sequence[ReadRun]):
    """The runs that match, fetched page by page as they are asked for."""

    def __init__(self, store: Api, found: api.Runs) -> None:
        self._api = store
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[ReadRun]:
        return (self._api.reading(run) for run in self._found)

    @overload
    def __getitem__(self, index: int) -> ReadRun: ...
    @overload
    def __getitem__(self, index: slice) -> list[ReadRun]: ...
    def __getitem__(self, index: int | slice) -> ReadRun | list[ReadRun]:
        if isinstance(index, slice):
            return [self._api.reading(run) for run in self._found[index]]
        return self._api.reading(self._found[index])


class Api(api.Api):
    """Read and edit a store with wandb's arguments. ``timeout`` and ``api_key`` have no effect."""

    def __init__(
        self,
        overrides: Mapping[str, Any] | None = None,
        timeout: int | None = None,
        api_key: str | None = None,
    ) -> None:
        """Open the store of the settings; ``overrides`` may name ``entity`` and ``project``."""
        from artline.compat.wandb.preferences import from_environment

        ambient = from_environment()[0]
        chosen = {**ambient, **(overrides or {})}
        named: dict[str, Any] = {
            name: nameable(str(chosen[name])) for name in ("entity", "project") if chosen.get(name)
        }
        super().__init__(**named)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(layout.missing(f"wandb.Api.{name}"))

    @property
    def default_entity(self) -> str:
        """The entity that counts where none is named."""
        return self.settings.entity

    def reading(self, run: ApiRun) -> ReadRun:
        """Return a run of the store with wandb's defaults."""
        return ReadRun(self.store, run.record, self.refresh)

    def run(self, path: str = "") -> ReadRun:
        """Return the run ``project/run_id`` or ``entity/project/run_id``. Raises RunNotFoundError."""
        return self.reading(super().run(path))

    def runs(  # type: ignore[override]  # the runs it gives have wandb's defaults
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str = "+created_at",
        per_page: int = 50,
        include_sweeps: bool = True,
        lazy: bool = True,
    ) -> ReadRuns:
        """Return the runs of a project that match, oldest first unless ``order`` says otherwise."""
        return ReadRuns(self, super().runs(path, filters, order, per_page))

    def artifacts(  # type: ignore[override]  # wandb's names of the arguments
        self,
        type_name: str | None = None,
        name: str = "",
        per_page: int = 50,
        tags: str | Sequence[str] | None = None,
    ) -> list[Artifact]:
        """Return the versions of artifact ``name``, newest first, or only those with all of the tags."""
        wanted = {tags} if isinstance(tags, str) else set(tags or ())
        return [found for found in super().artifacts(type_name, name) if wanted <= set(found.tags)]

    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """Return an artifact version; entity and project may be spelled as they were given to ``init``."""
        return super().artifact(path_of(name, name.strip("/").count("/")), type)

    def artifact_exists(self, name: str, type: str | None = None) -> bool:
        """Tell whether there is such a version."""
        try:
            self.artifact(name, type)
        except NotFoundError:
            return False
        return True

    def artifact_collection_exists(self, name: str, type: str) -> bool:
        """Tell whether there is an artifact of this name and type."""
        try:
            return any(found.type == type for found in super().artifacts(name=name))
        except ArtifactNotFoundError:
            return False

    def project(self, name: str, entity: str | None = None) -> api.ApiProject:
        """Return a project. Raises NotFoundError."""
        for found in self.projects(nameable(entity) if entity else None):
            if found.name == nameable(name):
                return found
        raise NotFoundError(f"there is no project '{name}'. List them: art runs ls --help")

    def flush(self) -> None:
        """Do nothing: every read looks anew."""

    def _run_path(self, path: str) -> tuple[str, str, str]:
        return super()._run_path(path_of(path, 3))

    def _project_pair(self, path: str) -> tuple[str, str]:
        return super()._project_pair(path_of(path, 2))


def _names(keys: Iterable[str] | None) -> list[str] | None:
    return [keys] if isinstance(keys, str) else None if keys is None else list(keys)
