"""Contributing to a distributed draft: content first, then one row that keeps it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from artline.artifacts.commit import metadata_text
from artline.artifacts.drafts import (
    Contribution,
    DraftRecord,
    check_distributed_id,
    find_draft,
    load_contributions,
    load_draft,
    lock_draft,
    select_drafts,
    touch_draft,
)
from artline.artifacts.projects import ensure_project
from artline.artifacts.refs import LATEST, check_alias, check_tag
from artline.errors import ConflictError, IntegrityError, UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.artifacts.artifact import Artifact
    from artline.artifacts.store import ArtifactStore

__all__ = ["DraftSettledError", "contribute"]


class DraftSettledError(ConflictError):
    """The draft was finished or given up before something was added that was meant for it."""


def contribute(
    store: ArtifactStore,
    artifact: Artifact,
    distributed_id: str,
    *,
    run: str,
    project: str | None = None,
    entity: str | None = None,
    aliases: Sequence[str] = (),
    tags: Sequence[str] = (),
    generation: int | None = None,
) -> DraftRecord:
    """Add what a draft artifact holds to the distributed draft of that name and id, opening it if need be.

    When this returns the contribution is durable, whether the run lives on or not. The artifact cannot be
    changed afterwards; what the run sends in another one adds to it, and replaces it where paths are equal.
    Sending the same again changes nothing. With ``generation`` the draft must still be that one.

    Raises UsageError for a draft of another type or one made by ``new_draft``, InvalidPathError where what
    the run sends is at odds with what it sent before, ConflictError when the artifact waited too long (its
    lease ended) or the draft of that generation was finished meanwhile.
    """
    check_distributed_id(distributed_id)
    for alias in aliases:
        check_alias(alias, reserved=alias == LATEST)
    for tag in tags:
        check_tag(tag)
    entity, project = entity or store.settings.entity, project or store.settings.project
    if artifact.sent_to is not None:
        if artifact.sent_to != distributed_id:
            raise UsageError(
                f"artifact '{artifact.name}' was contributed to draft '{artifact.sent_to}' already. "
                "Put what goes into another draft into an Artifact of its own"
            )
        return find_draft(store, artifact.collection, distributed_id, project=project, entity=entity)
    staging = artifact.claim_staging()
    if staging.content.store_id != store.content.store_id:
        raise UsageError(
            f"artifact '{artifact.name}' was put together in another store ({staging.content.root}). "
            "Make it with Artifact(…, store=…) of the store it is contributed to"
        )
    if staging.bases:
        raise UsageError(
            f"artifact '{artifact.name}' is a draft of a version. A contribution holds a run's own files: "
            "make an Artifact of them, with incremental=True to put them on top of the latest version"
        )
    given = artifact.given_metadata
    metadata = metadata_text(given) if given is not None else None
    lease = staging.writer.lease
    beneath = _sent(store, entity, project, artifact.collection, distributed_id, run)
    while True:
        # What the run sent before lies beneath, and counts where this has nothing of its own.
        try:
            staging.put_on(beneath)
            built = staging.build()
        except IntegrityError:
            present = _sent(store, entity, project, artifact.collection, distributed_id, run)
            if present == beneath:
                raise
            beneath = present  # the draft was finished meanwhile, and a collector took what was sent
            continue
        with store.catalog.write() as conn:
            lease.check(conn)
            now = store.catalog.now(conn)
            draft_id = _open(conn, entity, project, artifact, distributed_id, generation, now)
            before = load_contributions(conn, draft_id, run)
            root = before[0].root if before else None
            if root == beneath:
                new = Contribution(
                    run=run,
                    root=built.root,
                    size=built.size,
                    file_count=built.files,
                    metadata=json.loads(metadata) if metadata is not None else None,
                    description=artifact.description,
                    incremental=artifact.incremental,
                    aliases=tuple(dict.fromkeys(aliases)),
                    tags=tuple(dict.fromkeys(tags)),
                    at=now,
                )
                _write(conn, draft_id, before[0] if before else None, new)
                lease.release(conn)
                record = load_draft(conn, draft_id)
                break
            beneath = root  # the draft was finished, or the run sent something else, meanwhile
    artifact.send(distributed_id)
    return record


def _sent(
    store: ArtifactStore, entity: str, project: str, name: str, distributed_id: str, run: str
) -> bytes | None:
    """Return the root of what a run has contributed, None when nothing."""
    with store.catalog.read() as conn:
        for draft_id in select_drafts(conn, entity, project, name, distributed_id):
            for found in load_contributions(conn, draft_id, run):
                return found.root
    return None


def _open(
    conn: sa.Connection,
    entity: str,
    project: str,
    artifact: Artifact,
    distributed_id: str,
    generation: int | None,
    now: float,
) -> int:
    """Lock a draft, making or opening it if need be, and return its id."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact as artifacts
    from artline.artifacts.schema import artifact_draft, upsert

    name, kind = artifact.collection, artifact.type
    project_id = ensure_project(conn, entity, project)
    known: str | None = conn.execute(
        sa.select(artifacts.c.type).where(artifacts.c.project_id == project_id, artifacts.c.name == name)
    ).scalar()
    conn.execute(
        upsert(conn, artifact_draft)
        .values(
            project_id=project_id,
            name=name,
            distributed_id=distributed_id,
            type=kind,
            created_at=now,
            touched_at=now,
            generation=0,
            revision=0,
        )
        .on_conflict_do_nothing()
    )
    (draft_id,) = select_drafts(conn, entity, project, name, distributed_id)
    lock_draft(conn, draft_id)
    record = load_draft(conn, draft_id)
    if generation is not None and record.generation != generation:
        raise DraftSettledError(
            f"draft '{distributed_id}' of artifact '{name}' was finished or given up meanwhile, without what "
            "was to be added here. Finish again to make another version of this, or contribute it to the next"
        )
    known = known or (record.type if record.contributions else None)
    if known is not None and known != kind:
        raise UsageError(
            f"artifact '{name}' in project '{entity}/{project}' is of type '{known}', not '{kind}'. "
            "Use that type or another name"
        )
    if not record.contributions:
        values = {"type": kind, "created_at": now}
        conn.execute(sa.update(artifact_draft).where(artifact_draft.c.id == draft_id).values(values))
    return draft_id


def _write(conn: sa.Connection, draft_id: int, before: Contribution | None, new: Contribution) -> None:
    """Write what a run contributed, all in all; what it said before holds where it says nothing new."""
    from artline.artifacts.schema import artifact_contribution, upsert

    metadata, description, aliases, tags = new.metadata, new.description, new.aliases, new.tags
    if before is not None:
        metadata = {**(before.metadata or {}), **(metadata or {})} or None
        description = before.description if description is None else description
        aliases = tuple(dict.fromkeys((*before.aliases, *aliases)))
        tags = tuple(dict.fromkeys((*before.tags, *tags)))
    values = {
        "root": new.root,
        "size": new.size,
        "file_count": new.file_count,
        "metadata": metadata_text(metadata) if metadata is not None else None,
        "description": description,
        "incremental": new.incremental or (before is not None and before.incremental),
        "aliases": json.dumps(aliases),
        "tags": json.dumps(tags),
        "at": new.at,
    }
    statement = upsert(conn, artifact_contribution).values(draft_id=draft_id, run=new.run, **values)
    conn.execute(statement.on_conflict_do_update(index_elements=["draft_id", "run"], set_=values))
    touch_draft(conn, draft_id, new.at)
