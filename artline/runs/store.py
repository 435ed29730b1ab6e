"""The runs of one store: taken in from journals, found, read, edited."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from artline.artifacts.projects import find_project, list_projects
from artline.errors import NotFoundError, RunNotFoundError
from artline.runs.alerts import RunAlert, list_alerts
from artline.runs.attributes import clean_text, write_attributes
from artline.runs.config import flatten, replace_leaves
from artline.runs.definitions import SummaryBuilder
from artline.runs.files import KeptFiles, RunFile
from artline.runs.histories import KeptHistories
from artline.runs.ingest import Drain, Ingestion
from artline.runs.intake import set_tags
from artline.runs.listing import Cursor, Page, RunRecord, count_runs, find_runs, get_run
from artline.runs.notices import warn
from artline.runs.output import OutputPiece, read_output, tail_start
from artline.runs.schema import run
from artline.runs.values import to_json
from artline.runs.writers import RunWriter, list_writers
from artline.settings import Settings, load_settings
from artline.storage.catalog import Catalog

if TYPE_CHECKING:
    from artline.artifacts.store import ArtifactStore

__all__ = ["RunFile", "RunStore", "WaitingJournal"]


@dataclass(frozen=True, slots=True)
class WaitingJournal:
    """A journal that is still there, with the bytes of it that are not in the catalog yet."""

    entity: str
    project: str
    run_id: str
    writer: str
    path: Path
    waiting: int


class RunStore(KeptFiles, KeptHistories):
    """Reads and edits runs. Nothing is taken in from journals unless ``ingest`` is called. Thread-safe.

    ``project`` is a name; runs of another entity than the settings' are reached with ``entity``.
    """

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        super().__init__()
        self.settings = settings
        self.catalog = catalog
        self._ingestion = self._new_ingestion()
        self._lock = threading.Lock()
        self._warned: set[str] = set()
        self._artifacts: ArtifactStore | None = None
        KeptHistories.__init__(self)

    @classmethod
    def open(cls, settings: Settings | None = None) -> RunStore:
        """Open the store that the settings name, creating it when it is new.

        Raises StoreUnavailableError, StoreLockedError, StoreTooNewError, AuthError.
        """
        settings = settings or load_settings()
        if settings.server:
            from artline.runs.remote_store import RemoteRunStore

            return RemoteRunStore.open(settings)
        return cls(settings, _shared_catalog(settings))

    def _new_ingestion(self) -> Ingestion:
        return Ingestion(
            self.catalog,
            self.settings.root / "journal",
            heartbeat_interval=self.settings.heartbeat_interval,
        )

    @property
    def artifacts(self) -> ArtifactStore:
        """The artifacts of the same store."""
        if self._artifacts is None:
            from artline.artifacts.store import ArtifactStore

            self._artifacts = ArtifactStore.open(self.settings)
        return self._artifacts

    def close(self) -> None:
        """Close the connections to the catalog."""
        self.catalog.close()

    # Taking in

    def ingest(self, project: str | None = None, run_id: str | None = None) -> int:
        """Take in what runs have written since; return the number of records. Idempotent.

        Marks runs ``crashed`` whose process is gone, and warns once of each damaged journal. Safe beside
        other processes. Raises StoreLockedError, StoreUnavailableError.
        """
        drained = self.drain(project, run_id)
        if self.catalog.read_only:
            waiting = sum(journal.waiting > 0 for journal in self.journals())
            if waiting and "read-only" not in self._warned:
                self._warned.add("read-only")
                journals = "a journal" if waiting == 1 else f"{waiting} journals"
                warn(
                    f"{journals} cannot be taken in, as the store may be read here and not written: runs are "
                    "shown as they were before"
                )
        for damage in map(str, drained.damages):
            if damage not in self._warned:
                self._warned.add(damage)
                warn(f"a journal is damaged and was read only up to there: {damage}")
        return drained.frames

    def drain(self, project: str | None = None, run_id: str | None = None, *, folders: bool = True) -> Drain:
        """Do what ``ingest`` does, and tell what happened, damaged journals included.

        Without ``folders`` the files of runs that ended are left where they are. Where the store may only be
        read that is nothing.
        """
        if self.catalog.read_only:
            return Drain()
        within = None
        if project is not None:
            within = self._ingestion.folder / project
            if run_id is not None:
                within /= run_id
        with self._lock:
            drained = self._ingestion.drain(within)
        if drained.runs:
            self.seal(drained.runs)
        if folders:
            self.take_folders(project, run_id)
        return drained

    def journals(self) -> list[WaitingJournal]:
        """Return the journals that lie in the root, without taking anything in."""
        fresh = self._new_ingestion()
        return [
            WaitingJournal(
                journal.start.entity,
                journal.start.project,
                journal.start.run_id,
                journal.start.writer,
                journal.path,
                waiting,
            )
            for journal, waiting in fresh.waiting()
        ]

    # Finding

    def get(
        self, project: str, run_id: str, *, entity: str | None = None, deleted: bool = False
    ) -> RunRecord:
        """Return a run; with ``deleted`` also one that was deleted. Raises RunNotFoundError."""
        with self.catalog.read() as conn:
            return get_run(conn, entity or self.settings.entity, project, run_id, deleted=deleted)

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
        """Return a page of the runs of a project, or of every project of the entity.

        ``filters`` are MongoDB-style, ``order`` a field with ``+`` or ``-``; see ``artline.runs.filters``.
        With ``deleted`` the deleted runs instead. Raises UsageError.
        """
        with self.catalog.read() as conn:
            projects = self._projects(conn, project, entity)
            return find_runs(conn, projects, filters, order=order, limit=limit, after=after, deleted=deleted)

    def count(
        self,
        project: str | None = None,
        filters: Mapping[str, Any] | None = None,
        *,
        entity: str | None = None,
    ) -> int:
        """Return how many runs match. Raises UsageError."""
        with self.catalog.read() as conn:
            return count_runs(conn, self._projects(conn, project, entity), filters)

    # Reading

    def console(
        self,
        record: RunRecord,
        *,
        after: int = 0,
        stream: str | None = None,
        lines: int | None = None,
        label: str | None = None,
    ) -> Iterator[OutputPiece]:
        """Yield the console output of a run from a cursor on, or its last ``lines`` lines.

        The ``cursor`` of the last piece is where a later call goes on (``logs -f``). With ``label`` only
        what processes of that label wrote. Raises NotFoundError when there are none.
        """
        wanted = None if label is None else self._labelled(record, label)
        while pieces := self.output(record, after, lines):
            yield from (
                piece
                for piece in pieces
                if stream in (None, piece.stream) and (wanted is None or piece.writer in wanted)
            )
            after, lines = pieces[-1].cursor, None

    def output(self, record: RunRecord, after: int = 0, lines: int | None = None) -> list[OutputPiece]:
        """Return some pieces of a run's output from a cursor on, or of its last lines; none at the end."""
        with self.catalog.read() as conn:
            if lines is not None:
                after = max(after, tail_start(conn, record.key, max(1, lines)))
            return read_output(conn, record.key, after)

    def alerts(self, record: RunRecord) -> list[RunAlert]:
        """Return the alerts of a run, oldest first."""
        with self.catalog.read() as conn:
            return list_alerts(conn, record.key)

    def writers(self, record: RunRecord) -> list[RunWriter]:
        """Return the processes that wrote a run, in the order in which they began."""
        with self.catalog.read() as conn:
            return list_writers(conn, record.key)

    def summary_builder(self, record: RunRecord) -> SummaryBuilder:
        """Return what a run's summary goes on counting from."""
        state = self.summary_state(record)
        return SummaryBuilder.from_json(json.loads(state)) if state else SummaryBuilder()

    def summary_state(self, record: RunRecord) -> str:
        """Return the same as JSON text, empty for a run without one."""
        with self.catalog.read() as conn:
            state = conn.execute(sa.select(run.c.summary_state).where(run.c.id == record.key)).scalar()
        return str(state or "")

    def described(self, record: RunRecord) -> dict[str, Any]:
        """Return the descriptive fields of a run, as a journal would have them."""
        return {
            **record.info,
            "name": record.name,
            "notes": record.notes,
            "tags": list(record.tags),
            "group": record.group,
            "job_type": record.job_type,
        }

    def _labelled(self, record: RunRecord, label: str) -> set[int]:
        writers = self.writers(record)
        found = {writer.key for writer in writers if writer.label == label}
        if not found:
            known = ", ".join(sorted({writer.label for writer in writers if writer.label})) or "none"
            raise NotFoundError(f"run '{record.run_id}' has no process labelled '{label}'. It has: {known}")
        return found

    # Editing

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
        """Change what is given and leave the rest; return the run as it is then. Idempotent.

        ``tags`` replaces all tags; ``config`` and ``summary`` set their keys, nested or dotted, and leave
        others alone. Raises RunNotFoundError.
        """
        texts = {"name": name, "notes": notes, "group_name": group, "job_type": job_type}
        values: dict[str, Any] = {
            column: clean_text(text) for column, text in texts.items() if text is not None
        }
        with self.catalog.write() as conn:
            record = get_run(conn, entity or self.settings.entity, project, run_id)
            row = conn.execute(sa.select(run).where(run.c.id == record.key).with_for_update()).one()
            if tags is not None:
                set_tags(conn, row.id, tags)
            if config:
                before = json.loads(row.config)
                after = replace_leaves(before, flatten(to_json(config, "config", _text)))
                values["config"] = json.dumps(after)
                write_attributes(conn, row.project_id, row.id, before, after, "config")
            if summary:
                state = row.summary_state
                builder = SummaryBuilder.from_json(json.loads(state)) if state else SummaryBuilder()
                builder.assign(flatten(to_json(summary, "summary", _text)))
                after = builder.values()
                values["summary_state"] = json.dumps(builder.to_json())
                values["summary"] = json.dumps(after)
                write_attributes(conn, row.project_id, row.id, json.loads(row.summary), after, "summary")
            if values:
                conn.execute(sa.update(run).where(run.c.id == row.id).values(**values))
            return get_run(conn, record.entity, project, run_id)

    def delete(self, project: str, run_id: str, *, entity: str | None = None) -> None:
        """Hide a run from every listing until ``undelete``. Idempotent. Raises RunNotFoundError.

        What only its files need is collected by ``art gc`` as what only deleted versions need.
        """
        with self.catalog.write() as conn:
            record = get_run(conn, entity or self.settings.entity, project, run_id, deleted=True)
            if record.deleted_at is None:
                conn.execute(sa.update(run).where(run.c.id == record.key).values(deleted_at=time.time()))

    def undelete(self, project: str, run_id: str, *, entity: str | None = None) -> None:
        """Bring a deleted run back, with those of its files that were not collected. Idempotent.

        Raises RunNotFoundError.
        """
        record = self.get(project, run_id, entity=entity, deleted=True)
        if record.deleted_at is not None:
            self.restore_files(record)

    def _projects(self, conn: sa.Connection, project: str | None, entity: str | None) -> list[int]:
        wanted = entity or self.settings.entity
        if project is None:
            return [found.id for found in list_projects(conn) if found.entity == wanted]
        found = find_project(conn, wanted, project)
        if found is None:
            names = sorted(item.name for item in list_projects(conn) if item.entity == wanted)
            raise RunNotFoundError(
                f"project '{project}' does not exist in '{wanted}'. "
                f"Known projects: {', '.join(names[:20]) or 'none'}"
            )
        return [found]


_open_catalogs: dict[tuple[int, str, float], tuple[Catalog, tuple[int, int]]] = {}
_open_lock = threading.Lock()


def _shared_catalog(settings: Settings) -> Catalog:
    """Return the one catalog object this process has for a database, as long as its file is the same."""
    key = (os.getpid(), settings.catalog_url, settings.lock_timeout)
    with _open_lock:
        found = _open_catalogs.get(key)
        if found is None or found[1] != _identity(found[0]):
            catalog = Catalog.open(settings.catalog_url, lock_timeout=settings.lock_timeout)
            found = _open_catalogs[key] = (catalog, _identity(catalog))
    return found[0]


def _identity(catalog: Catalog) -> tuple[int, int]:
    if catalog.dialect != "sqlite":
        return (0, 0)
    try:
        status = os.stat(catalog.place)
    except OSError:
        return (-1, -1)
    return (status.st_dev, status.st_ino)


def _text(_: str, value: Any) -> str:
    return str(value)
