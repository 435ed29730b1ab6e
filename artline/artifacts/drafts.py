"""Distributed drafts: runs, on any machine, contribute to one draft of an artifact; one of them finishes it.

A contribution is content first, like a version: chunks, then a manifest, then one transaction that writes
its row and ends the lease it was stored under. From then on the row keeps it, since the collector takes the
manifests of contributions for needed; the run may end. All of a run's contributions lie under one manifest,
where what it sends later counts. ``artline.artifacts.contribution`` writes them,
``artline.artifacts.assembly`` makes the version.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from artline.artifacts.projects import find_project
from artline.artifacts.refs import Ref, parse_ref
from artline.errors import ArtifactNotFoundError, UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.artifacts.store import ArtifactStore

__all__ = [
    "EXPIRY",
    "Contribution",
    "DraftRecord",
    "check_distributed_id",
    "contribution_roots",
    "expire_drafts",
    "find_draft",
    "list_drafts",
    "load_contributions",
    "load_draft",
    "lock_draft",
    "open_drafts",
    "select_drafts",
    "settle_draft",
    "touch_draft",
    "withdraw",
]

# A draft that nothing was contributed to for so long is given up by the collector.
EXPIRY = timedelta(days=30)
_LONGEST_ID = 256


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a run contributed: the chunk of its manifest's root, totals, and what it wants said.

    ``size`` in bytes, ``at`` (of its latest) in seconds since 1970; ``metadata`` and ``description`` are
    None where it gave none.
    """

    run: str
    root: bytes
    size: int
    file_count: int
    metadata: dict[str, Any] | None
    description: str | None
    incremental: bool
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class DraftRecord:
    """A distributed draft; it is open while it has contributions, which come in the order of their time.

    Times are seconds since 1970. ``generation`` counts how often a draft of this id was finished or given
    up, ``version_id`` is what it became the last time.
    """

    id: int
    entity: str
    project: str
    name: str
    distributed_id: str
    type: str
    created_at: float
    touched_at: float
    generation: int
    revision: int
    version_id: int | None
    contributions: tuple[Contribution, ...] = ()

    @property
    def qualified_name(self) -> str:
        """Return ``entity/project/name``, the artifact's."""
        return f"{self.entity}/{self.project}/{self.name}"

    @property
    def file_count(self) -> int:
        """Return the files of all contributions together; what several sent counts for each."""
        return sum(contribution.file_count for contribution in self.contributions)

    @property
    def size(self) -> int:
        """Return the bytes of all contributions together; what several sent counts for each."""
        return sum(contribution.size for contribution in self.contributions)

    @property
    def expires_at(self) -> float:
        """Return when a collection gives it up, unless more is contributed, in seconds since 1970."""
        return self.touched_at + EXPIRY.total_seconds()


def find_draft(
    store: ArtifactStore,
    name: str,
    distributed_id: str | None = None,
    *,
    project: str | None = None,
    entity: str | None = None,
) -> DraftRecord:
    """Return a draft of artifact ``[[entity/]project/]name``, open or not; the only open one without an id.

    Raises ArtifactNotFoundError, UsageError when several are open and no id says which.
    """
    ref = _artifact_ref(name)
    entity = ref.entity or entity or store.settings.entity
    project = ref.project or project or store.settings.project
    with store.catalog.read() as conn:
        ids = select_drafts(conn, entity, project, ref.name, distributed_id)
        found = [load_draft(conn, draft_id) for draft_id in ids]
    if distributed_id is None:
        found = [draft for draft in found if draft.contributions]
        if len(found) > 1:
            known = ", ".join(f"'{draft.distributed_id}'" for draft in found[:5])
            raise UsageError(
                f"artifact '{ref.name}' in project '{entity}/{project}' has {len(found)} open drafts "
                f"({known}{', …' if len(found) > 5 else ''}). Say which by its id"
            )
    if not found:
        what = "no open draft" if distributed_id is None else f"no draft '{distributed_id}'"
        raise ArtifactNotFoundError(
            f"there is {what} of artifact '{ref.name}' in project '{entity}/{project}'. "
            "List open drafts: art drafts ls"
        )
    return found[0]


def list_drafts(
    store: ArtifactStore,
    name: str | None = None,
    *,
    project: str | None = None,
    entity: str | None = None,
) -> list[DraftRecord]:
    """Return the open drafts of a project, or of one of its artifacts, by name and id."""
    ref = _artifact_ref(name) if name is not None else None
    entity = (ref and ref.entity) or entity or store.settings.entity
    project = (ref and ref.project) or project or store.settings.project
    with store.catalog.read() as conn:
        ids = select_drafts(conn, entity, project, ref.name if ref is not None else None, None)
        found = [load_draft(conn, draft_id) for draft_id in ids]
    return [draft for draft in found if draft.contributions]


def withdraw(
    store: ArtifactStore,
    name: str,
    distributed_id: str | None = None,
    *,
    run: str | None = None,
    project: str | None = None,
    entity: str | None = None,
) -> DraftRecord:
    """Give an open draft up, or take out of it what one run contributed; return it as it was.

    The content goes when the collector passes. Raises ArtifactNotFoundError when it is not open or the
    run (``entity/project/id``, or the id alone) contributed nothing.
    """
    seen = find_draft(store, name, distributed_id, project=project, entity=entity)
    with store.catalog.write() as conn:
        lock_draft(conn, seen.id)
        record = load_draft(conn, seen.id)
        runs = [found.run for found in record.contributions]
        gone = [found for found in runs if run is None or run in (found, found.rpartition("/")[2])]
        if not gone:
            raise ArtifactNotFoundError(
                f"{run} contributed nothing to draft '{record.distributed_id}' of '{record.qualified_name}'; "
                f"{', '.join(runs[:5])}{' and others' if len(runs) > 5 else ''} did"
                if runs
                else f"draft '{record.distributed_id}' of '{record.qualified_name}' is not open. "
                "List open drafts: art drafts ls"
            )
        if len(gone) == len(runs):
            settle_draft(conn, record, None)
        else:
            _remove(conn, record.id, gone)
            touch_draft(conn, record.id, record.touched_at)
    return record


def expire_drafts(store: ArtifactStore, *, dry_run: bool) -> list[DraftRecord]:
    """Give up, unless ``dry_run``, the drafts of all projects that have expired; return them by name."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_contribution, artifact_draft

    draft, open_ones = artifact_draft.c, sa.select(artifact_contribution.c.draft_id)
    expired = []
    with store.catalog.read() as conn:
        oldest = store.catalog.now(conn) - EXPIRY.total_seconds()
        query = sa.select(draft.id).where(draft.touched_at < oldest, draft.id.in_(open_ones))
        ids = list(conn.execute(query).scalars())
        if dry_run:
            expired = [load_draft(conn, draft_id) for draft_id in ids]
    for draft_id in () if dry_run else ids:
        with store.catalog.write() as conn:
            lock_draft(conn, draft_id)
            record = load_draft(conn, draft_id)
            if record.contributions and record.touched_at < oldest:
                settle_draft(conn, record, None)
                expired.append(record)
    return sorted(expired, key=lambda record: (record.qualified_name, record.distributed_id))


def open_drafts(conn: sa.Connection) -> list[DraftRecord]:
    """Return the open drafts of every project."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_contribution

    ids = sa.select(artifact_contribution.c.draft_id).distinct().order_by(artifact_contribution.c.draft_id)
    return [load_draft(conn, draft_id) for draft_id in list(conn.execute(ids).scalars())]


def contribution_roots(conn: sa.Connection, *, without: Sequence[DraftRecord] = ()) -> list[bytes]:
    """Return the roots of the manifests of every contribution, but for those to some drafts."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_contribution

    column, skipped = artifact_contribution.c, {record.id for record in without}
    rows = conn.execute(sa.select(column.draft_id, column.root).order_by(column.draft_id, column.run))
    return [bytes(root) for draft_id, root in rows if draft_id not in skipped]


# Inside the transactions of drafts


def lock_draft(conn: sa.Connection, draft_id: int) -> None:
    """Hold off every other change to a draft and its contributions until the transaction ends."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_draft

    conn.execute(sa.select(artifact_draft.c.id).where(artifact_draft.c.id == draft_id).with_for_update())


def load_draft(conn: sa.Connection, draft_id: int) -> DraftRecord:
    """Return a draft by its id in the catalog."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_draft
    from artline.artifacts.schema import project as projects

    query = (
        sa.select(
            *[column for column in artifact_draft.c if column.name != "project_id"],
            projects.c.entity,
            projects.c.name.label("project"),
        )
        .join(projects, projects.c.id == artifact_draft.c.project_id)
        .where(artifact_draft.c.id == draft_id)
    )
    row = conn.execute(query).one()
    return DraftRecord(**row._mapping, contributions=tuple(load_contributions(conn, draft_id)))


def settle_draft(conn: sa.Connection, record: DraftRecord, version_id: int | None) -> None:
    """Close a draft, which must be locked: it became a version, or (None) was given up."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_draft

    _remove(conn, record.id, [contribution.run for contribution in record.contributions])
    conn.execute(
        sa.update(artifact_draft)
        .where(artifact_draft.c.id == record.id)
        .values(generation=record.generation + 1, revision=record.revision + 1, version_id=version_id)
    )


def check_distributed_id(text: str) -> str:
    """Return ``text`` when it may be the id of a draft; raise UsageError otherwise."""
    if not isinstance(text, str) or not 1 <= len(text) <= _LONGEST_ID or not text.isprintable():
        raise UsageError(
            f"distributed_id {text!r} is not allowed. Use 1 to {_LONGEST_ID} printable characters"
        )
    return text


def touch_draft(conn: sa.Connection, draft_id: int, at: float) -> None:
    """Count a change of a draft's contributions, which was at that time."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_draft

    draft = artifact_draft.c
    values = {"touched_at": at, "revision": draft.revision + 1}
    conn.execute(sa.update(artifact_draft).where(draft.id == draft_id).values(values))


def _remove(conn: sa.Connection, draft_id: int, runs: Sequence[str]) -> None:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_contribution

    column = artifact_contribution.c
    for start in range(0, len(runs), 500):
        part = runs[start : start + 500]
        conn.execute(
            sa.delete(artifact_contribution).where(column.draft_id == draft_id, column.run.in_(part))
        )


def load_contributions(conn: sa.Connection, draft_id: int, run: str | None = None) -> list[Contribution]:
    """Return what was contributed to a draft, by all runs or by one, in the order of its time."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_contribution

    column = artifact_contribution.c
    query = sa.select(artifact_contribution).where(column.draft_id == draft_id)
    if run is not None:
        query = query.where(column.run == run)
    return [
        Contribution(
            run=row.run,
            root=bytes(row.root),
            size=row.size,
            file_count=row.file_count,
            metadata=json.loads(row.metadata) if row.metadata is not None else None,
            description=row.description,
            incremental=row.incremental,
            aliases=tuple(json.loads(row.aliases)),
            tags=tuple(json.loads(row.tags)),
            at=row.at,
        )
        for row in conn.execute(query.order_by(column.at, column.run))
    ]


def select_drafts(
    conn: sa.Connection, entity: str, project: str, name: str | None, distributed_id: str | None
) -> list[int]:
    """Return the ids of the drafts of a project, artifact or id, open or not, by name and id."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_draft

    project_id = find_project(conn, entity, project)
    draft = artifact_draft.c
    query = sa.select(draft.id).where(draft.project_id == project_id)
    if name is not None:
        query = query.where(draft.name == name)
    if distributed_id is not None:
        query = query.where(draft.distributed_id == distributed_id)
    return list(conn.execute(query.order_by(draft.name, draft.distributed_id)).scalars())


def _artifact_ref(name: str) -> Ref:
    ref = parse_ref(name)
    if ref.alias or ref.digest:
        raise UsageError(f"'{name}' names a version. A draft is of an artifact: {ref.name}")
    return ref
