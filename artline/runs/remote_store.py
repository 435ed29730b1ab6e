"""The runs of a team on an Artline server: what ``RunStore`` does, asked for over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from artline.errors import StoreUnavailableError
from artline.runs.alerts import RunAlert
from artline.runs.charts import Curve
from artline.runs.files import KeptRow, PendingFolder, RunFile
from artline.runs.history import STEP, Metric
from artline.runs.listing import Cursor, Page, RunRecord
from artline.runs.output import OutputPiece
from artline.runs.records import HISTORY
from artline.runs.remote_ingest import RemoteIngestion
from artline.runs.store import RunStore
from artline.runs.values import to_json
from artline.runs.writers import RunWriter
from artline.storage.connection import connect, project_path, team_path
from artline.storage.recipe import Blob
from artline.storage.remote_content import NoCatalog
from artline.storage.wire import decode

if TYPE_CHECKING:
    from artline.runs.ingest import Ingestion
    from artline.settings import Settings
    from artline.storage.connection import Connection
    from artline.storage.lease import Lease

__all__ = ["CurveQuery", "FileInfo", "KeptNews", "RemoteRunStore", "RunEdit", "RunQuery"]


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs are wanted; see ``RunStore.find``. ``after`` is the cursor of the page before."""

    filters: dict[str, Any] | None = None
    order: str = "-created_at"
    limit: int = 50
    after: Cursor | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class CurveQuery:
    """Which metrics of a run in how many buckets; see ``RunStore.curves``."""

    keys: list[str]
    x_axis: str = STEP
    buckets: int = 1000
    low: float | None = None
    high: float | None = None
    stream: str = HISTORY


@dataclass(frozen=True, slots=True)
class KeptNews:
    """Files of a run whose content was stored under a lease; ``whole`` says that these are all there are."""

    files: list[KeptRow]
    lease: str
    whole: bool


@dataclass(frozen=True, slots=True)
class RunEdit:
    """What is to change about a run; None leaves it. ``config`` and ``summary`` set their keys."""

    name: str | None = None
    notes: str | None = None
    group: str | None = None
    job_type: str | None = None
    tags: list[str] | None = None
    config: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file of a run on the server; size in bytes, time of its last change."""

    name: str
    size: int
    modified: float
    policy: str
    digest: bytes | None = None
    recipe: bytes | None = None


class RemoteRunStore(RunStore):
    """The runs of one team. What runs on this machine write is sent before anything is read."""

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self.connection = connection
        super().__init__(settings, NoCatalog(connection.server))  # type: ignore[arg-type]  # it stands in for one

    def _new_ingestion(self) -> Ingestion:
        ingestion = RemoteIngestion(
            self.connection,
            self.settings.root / "journal",
            heartbeat_interval=self.settings.heartbeat_interval,
        )
        return cast("Ingestion", ingestion)  # it does the same, elsewhere

    @classmethod
    def open(cls, settings: Settings | None = None) -> RemoteRunStore:
        from artline.settings import load_settings

        settings = settings or load_settings()
        return cls(settings, connect(settings))

    def ingest(self, project: str | None = None, run_id: str | None = None) -> int:
        """Send what runs here have written since; return the records sent. With the server away it waits."""
        try:
            return super().ingest(project, run_id)
        except StoreUnavailableError as error:
            if "unreachable" not in self._warned:
                self._warned.add("unreachable")
                from artline.runs.notices import warn

                warn(f"what runs here have written cannot be sent now: {error}")
            return 0

    def get(
        self, project: str, run_id: str, *, entity: str | None = None, deleted: bool = False
    ) -> RunRecord:
        path = self._path(project, run_id, entity=entity)
        found: RunRecord = self.connection.get(path, RunRecord, deleted=deleted)
        return found

    def find(
        self,
        project: str | None = None,
        filters: Mapping[str, Any] | None = None,
        *,
        order: str = "-created_at",
        limit: int = 50,
        after: Cursor | None = None,
        entity: str | None = None,
        deleted: bool = False,
    ) -> Page:
        query = RunQuery(_plain(filters), order, limit, after, deleted)
        found: Page = self.connection.send("POST", self._scope(project, entity, "query"), Page, body=query)
        return found

    def count(
        self,
        project: str | None = None,
        filters: Mapping[str, Any] | None = None,
        *,
        entity: str | None = None,
    ) -> int:
        query = RunQuery(_plain(filters))
        found: int = self.connection.send("POST", self._scope(project, entity, "count"), int, body=query)
        return found

    def metrics(self, record: RunRecord, stream: str | None = None) -> list[Metric]:
        path = self._path(record.project, record.run_id, "metrics", entity=record.entity)
        found: list[Metric] = self.connection.get(path, list[Metric], stream=stream)
        return found

    def history(
        self,
        record: RunRecord,
        keys: Iterable[str] | None = None,
        *,
        stream: str = HISTORY,
        min_step: int | None = None,
        max_step: int | None = None,
    ) -> list[dict[str, Any]]:
        rows = self.scan_history(record, keys, stream=stream, min_step=min_step, max_step=max_step)
        return list(rows)

    def scan_history(
        self,
        record: RunRecord,
        keys: Iterable[str] | None = None,
        *,
        stream: str = HISTORY,
        page_size: int = 1000,
        min_step: int | None = None,
        max_step: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        path = self._path(record.project, record.run_id, "history", entity=record.entity)
        wanted = None if keys is None else json.dumps(list(keys))
        for line in self.connection.stream(
            path, keys=wanted, stream=stream, page_size=page_size, min_step=min_step, max_step=max_step
        ):
            if line:
                yield decode(Any, line, self.connection.server)

    def writers(self, record: RunRecord) -> list[RunWriter]:
        path = self._path(record.project, record.run_id, "writers", entity=record.entity)
        found: list[RunWriter] = self.connection.get(path, list[RunWriter])
        return found

    def alerts(self, record: RunRecord) -> list[RunAlert]:
        path = self._path(record.project, record.run_id, "alerts", entity=record.entity)
        found: list[RunAlert] = self.connection.get(path, list[RunAlert])
        return found

    def summary_state(self, record: RunRecord) -> str:
        path = self._path(record.project, record.run_id, "summary", entity=record.entity)
        found: str = self.connection.get(path, str)
        return found

    def curves(
        self,
        record: RunRecord,
        keys: Sequence[str],
        *,
        x_axis: str = STEP,
        buckets: int = 1000,
        low: float | None = None,
        high: float | None = None,
        stream: str = HISTORY,
    ) -> list[Curve]:
        path = self._path(record.project, record.run_id, "curves", entity=record.entity)
        query = CurveQuery(list(keys), x_axis, buckets, low, high, stream)
        found: list[Curve] = self.connection.send("POST", path, list[Curve], body=query)
        return found

    def output(self, record: RunRecord, after: int = 0, lines: int | None = None) -> list[OutputPiece]:
        path = self._path(record.project, record.run_id, "console", entity=record.entity)
        found: list[OutputPiece] = self.connection.get(path, list[OutputPiece], after=after, lines=lines)
        return found

    def update(
        self,
        project: str,
        run_id: str,
        *,
        entity: str | None = None,
        name: str | None = None,
        notes: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: Iterable[str] | None = None,
        config: Mapping[str, Any] | None = None,
        summary: Mapping[str, Any] | None = None,
    ) -> RunRecord:
        edit = RunEdit(
            name=name,
            notes=notes,
            group=group,
            job_type=job_type,
            tags=None if tags is None else list(tags),
            config=_plain(config),
            summary=_plain(summary),
        )
        path = self._path(project, run_id, entity=entity)
        found: RunRecord = self.connection.send("PATCH", path, RunRecord, body=edit)
        return found

    def delete(self, project: str, run_id: str, *, entity: str | None = None) -> None:
        self.connection.send("DELETE", self._path(project, run_id, entity=entity))

    def undelete(self, project: str, run_id: str, *, entity: str | None = None) -> None:
        self.connection.send("POST", self._path(project, run_id, "undelete", entity=entity))

    def files(self, record: RunRecord) -> list[RunFile]:
        path = self._path(record.project, record.run_id, "files", entity=record.entity)
        folder = self.files_folder(record)
        found: list[FileInfo] = self.connection.get(path, list[FileInfo])
        return [
            RunFile(
                info.name,
                folder / info.name,
                info.size,
                info.modified,
                info.policy,
                None if info.digest is None else Blob(info.digest, info.size, info.recipe),
            )
            for info in found
        ]

    def seal(self, *args: Any, **kwargs: Any) -> int:
        """Do nothing: the server seals what it keeps."""
        return 0

    def kept_rows(self, key: int) -> dict[str, KeptRow]:
        path = team_path(self.settings.entity, "kept", str(key))
        found: list[KeptRow] = self.connection.get(path, list[KeptRow])
        return {row.path: row for row in found}

    def record_kept(self, key: int, stored: Sequence[KeptRow], lease: Lease, *, whole: bool) -> None:
        path = team_path(self.settings.entity, "kept", str(key))
        self.connection.send("PUT", path, body=KeptNews(list(stored), lease.id, whole))

    def pending_folders(self, project: str | None = None, run_id: str | None = None) -> list[PendingFolder]:
        path = team_path(self.settings.entity, "pending")
        found: list[PendingFolder] = self.connection.get(
            path, list[PendingFolder], project=project, run=run_id
        )
        return found

    def restore_files(self, record: RunRecord) -> None:
        """Do nothing: the server brings them back."""

    def _path(self, project: str, run_id: str, *parts: str, entity: str | None) -> str:
        return project_path(entity or self.settings.entity, project, "runs", run_id, *parts)

    def _scope(self, project: str | None, entity: str | None, act: str) -> str:
        team = entity or self.settings.entity
        if project is None:
            return team_path(team, "runs", act)
        return project_path(team, project, "runs", act)


def _plain(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else to_json(dict(values), "values", lambda _, value: str(value))
