"""``Api``: everything in a store, read and edited without a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from artline.errors import AuthError, StoreUnavailableError, UsageError
from artline.runs.apirun import ApiFile, ApiRun
from artline.runs.notices import warn
from artline.runs.store import RunStore
from artline.settings import Settings, load_settings

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.drafts import DraftRecord
    from artline.runs.listing import Cursor

__all__ = ["Api", "ApiFile", "ApiProject", "ApiRun", "Runs"]


@dataclass(frozen=True, slots=True)
class ApiProject:
    """A project; ``created_at`` in seconds since the epoch."""

    entity: str
    name: str
    description: str
    created_at: float


class Runs:
    """The runs that match, in order, fetched page by page as they are asked for.

    ``len`` counts them in the store. Runs that come or change while it is read neither repeat nor push
    out others.
    """

    def __init__(
        self,
        api: Api,
        entity: str,
        project: str | None,
        filters: Mapping[str, Any] | None,
        order: str,
        size: int,
    ) -> None:
        self._api = api
        self._entity = entity
        self._project = project
        self._filters = filters
        self._order = order
        self._size = size
        self._found: list[ApiRun] = []
        self._after: Cursor | None = None
        self._ended = False

    def __len__(self) -> int:
        return self._api.store.count(self._project, self._filters, entity=self._entity)

    def __iter__(self) -> Iterator[ApiRun]:
        at = 0
        while at < len(self._found) or self._fetch():
            yield self._found[at]
            at += 1

    @overload
    def __getitem__(self, index: int) -> ApiRun: ...
    @overload
    def __getitem__(self, index: slice) -> list[ApiRun]: ...
    def __getitem__(self, index: int | slice) -> ApiRun | list[ApiRun]:
        bound = index.stop if isinstance(index, slice) else index + 1
        whole = bound is None or bound <= 0 or (isinstance(index, slice) and (index.start or 0) < 0)
        while (whole or len(self._found) < bound) and self._fetch():
            pass
        return self._found[index]

    def __repr__(self) -> str:
        return f"<Runs {self._entity}/{self._project or '*'}>"

    def _fetch(self) -> bool:
        if self._ended:
            return False
        page = self._api.store.find(
            self._project,
            self._filters,
            order=self._order,
            limit=self._size,
            after=self._after,
            entity=self._entity,
        )
        self._found += [ApiRun(self._api.store, record, self._api.refresh) for record in page.runs]
        self._after, self._ended = page.after, page.after is None
        return bool(page.runs)


class Api:
    """Read and edit the projects, runs and artifacts of a store.

    Every read first takes in what runs have written to their journals. While another process keeps the
    catalog locked, the disk is full or may not be written, what is there already is shown, with a warning.
    """

    def __init__(self, settings: Settings | None = None, **overrides: Any) -> None:
        """Open the store of ``settings``; ``overrides`` are single settings such as ``root``."""
        if settings is not None and overrides:
            raise UsageError("Api takes settings or single overrides, not both")
        self.settings = settings or load_settings(**overrides)
        self.store = RunStore.open(self.settings)

    def __repr__(self) -> str:
        return f"<Api {self.settings.root}>"

    def refresh(self) -> None:
        """Take in what runs have written since. Called by every read."""
        try:
            self.store.ingest()
        except (StoreUnavailableError, AuthError) as error:
            warn(f"runs are shown as they were before: {error}")

    def run(self, path: str) -> ApiRun:
        """Return the run ``project/run_id``, ``entity/project/run_id``, or ``run_id`` of the set project.

        Raises RunNotFoundError, which names close matches.
        """
        entity, project, run_id = self._run_path(path)
        self.refresh()
        return ApiRun(self.store, self.store.get(project, run_id, entity=entity), self.refresh)

    def runs(
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str = "-created_at",
        per_page: int = 50,
    ) -> Runs:
        """Return the runs of ``project`` or ``entity/project``; of every project when ``path`` is None.

        ``filters`` are MongoDB-style over ``config.*``, ``summary.*`` (or ``summary_metrics.*``), state,
        tags, display_name, group, job_type, created_at and so on: ``$and $or $nor $not $eq $ne $gt $gte $lt
        $lte $in $nin $exists $regex``. ``order`` is a field with ``+`` or ``-``. Lazy. Raises UsageError.
        """
        if per_page < 1:
            raise UsageError(f"per_page must be at least 1, not {per_page}")
        entity, project = self._project_path(path)
        self.refresh()
        return Runs(self, entity, project, filters, order, per_page)

    def projects(self, entity: str | None = None) -> list[ApiProject]:
        """Return the projects of an entity, by name."""
        self.refresh()
        wanted = entity or self.settings.entity
        return [
            ApiProject(found.entity, found.name, found.description, found.created_at)
            for found in self.store.artifacts.projects()
            if found.entity == wanted
        ]

    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """Return an artifact version: ``name:alias``, ``project/name:v3``, ``entity/project/name``, ….

        Raises ArtifactNotFoundError.
        """
        return self.store.artifacts.get(
            name, project=self.settings.project, entity=self.settings.entity, type=type
        )

    def artifacts(
        self, type: str | None = None, name: str = "", project: str | None = None
    ) -> list[Artifact]:
        """Return the versions of artifact ``name``, newest first, or the latest of each without a name."""
        artifacts = self.store.artifacts
        entity, place = self._project_pair(project or self.settings.project)
        if name:
            from artline.artifacts.artifact import Artifact

            *parents, name = name.split("/")
            if parents:
                entity, place = self._project_pair("/".join(parents))
            records = artifacts.versions(place, name, entity=entity)
            return [Artifact.from_record(record, artifacts) for record in records]
        return [
            artifacts.get(f"{collection.name}:v{collection.latest}", project=place, entity=entity)
            for collection in artifacts.collections(place, type, entity=entity)
            if collection.latest is not None
        ]

    def drafts(self, name: str | None = None, project: str | None = None) -> list[DraftRecord]:
        """Return the open distributed drafts of a project, or of artifact ``[[entity/]project/]name``."""
        from artline.artifacts.drafts import list_drafts

        entity, place = self._project_pair(project or self.settings.project)
        return list_drafts(self.store.artifacts, name, project=place, entity=entity)

    def finish_artifact(
        self, name: str, distributed_id: str | None = None, aliases: Sequence[str] = ()
    ) -> Artifact:
        """Make what runs contributed to a distributed draft a version, without a run of one's own.

        The only open draft of artifact ``[[entity/]project/]name`` if no id is given. Raises what
        ``Run.finish_artifact`` does, UsageError when several are open.
        """
        from artline.artifacts.assembly import finish_draft

        return finish_draft(
            self.store.artifacts, name, distributed_id, aliases=aliases, project=self.settings.project
        )

    def drop_draft(self, name: str, distributed_id: str | None = None, run: str | None = None) -> DraftRecord:
        """Give up an open draft, or take out what one run contributed to it; return it as it was.

        The only open one of artifact ``[[entity/]project/]name`` if no id is given. Raises
        ArtifactNotFoundError, UsageError when several are open.
        """
        from artline.artifacts.drafts import withdraw

        return withdraw(self.store.artifacts, name, distributed_id, run=run, project=self.settings.project)

    def _run_path(self, path: str) -> tuple[str, str, str]:
        parts = path.strip("/").split("/")
        if not all(parts) or len(parts) > 3:
            raise UsageError(f"'{path}' is no run. Write project/run_id or entity/project/run_id")
        defaults = (self.settings.entity, self.settings.project)
        entity, project, run_id = (*defaults[: 3 - len(parts)], *parts)
        return entity, project, run_id

    def _project_path(self, path: str | None) -> tuple[str, str | None]:
        return (self.settings.entity, None) if not path else self._project_pair(path)

    def _project_pair(self, path: str) -> tuple[str, str]:
        parts = path.strip("/").split("/")
        if not all(parts) or len(parts) > 2:
            raise UsageError(f"'{path}' is no project. Write project or entity/project")
        return (self.settings.entity, parts[0]) if len(parts) == 1 else (parts[0], parts[1])
