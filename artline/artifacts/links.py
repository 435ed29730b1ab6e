"""Links: versions taken into the collections of another project, such as a registry of released models.

A linked version is a version of its own in the collection, with its own number and aliases, whose content,
metadata and lineage are its source's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from artline.artifacts.commit import Proposal, commit_version, lock_version, metadata_text, record_event
from artline.artifacts.manifest import Built
from artline.artifacts.refs import LATEST, Ref, check_alias, parse_ref
from artline.artifacts.versions import VersionRecord, load_version, load_versions
from artline.errors import UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["link_target", "link_version", "links_of", "unlink_version"]


def link_target(target: str) -> Ref:
    """Return the collection that a target path names; raises UsageError for one that names a version."""
    ref = parse_ref(target)
    if ref.alias or ref.digest or ref.project is None:
        raise UsageError(f"'{target}' does not name a collection. Write project/name or entity/project/name")
    return ref


def link_version(
    conn: sa.Connection,
    record: VersionRecord,
    *,
    entity: str,
    project: str,
    name: str,
    aliases: Sequence[str] = (),
    run: str = "",
) -> VersionRecord:
    """Make a version one of a collection's, too, and return it as that; idempotent.

    Content that the collection has already makes no new version there; the aliases move to the one there is.
    Raises UsageError when the collection is of another type or the version's own, ProtectedError for a
    protected alias that is elsewhere, ConflictError when the version has been deleted.
    """
    from artline.artifacts.schema import artifact_link, upsert

    for alias in aliases:
        check_alias(alias, reserved=alias == LATEST)
    source = lock_version(conn, record)
    if source.source_id is not None:
        source = lock_version(conn, load_version(conn, source.source_id))
    if (source.entity, source.project, source.name) == (entity, project, name):
        raise UsageError(f"'{source.qualified_name}' is in that collection already. Link it into another one")
    proposal = Proposal(
        entity=entity,
        project=project,
        name=name,
        type=source.type,
        manifest=Built(source.digest, source.root, 0, source.file_count, source.size),
        metadata=metadata_text(source.metadata),
        description=source.description,
        run="",
        aliases=tuple(aliases),
    )
    version_id, new = commit_version(conn, proposal)
    if new:
        conn.execute(
            upsert(conn, artifact_link).values(
                version_id=version_id, source_id=source.id, run=run, at=time.time()
            )
        )
        linked = load_version(conn, version_id)
        record_event(conn, source.id, "linked", {"as": linked.qualified_name}, run)
        record_event(conn, version_id, "linked", {"from": source.qualified_name}, run)
    return load_version(conn, version_id)


def unlink_version(conn: sa.Connection, record: VersionRecord, *, force: bool = False) -> VersionRecord:
    """Take a linked version out of its collection, with its aliases there; the source stays as it is.

    Raises UsageError for a version that is no link, ProtectedError when it has a protected alias
    (``force`` takes it out nevertheless).
    """
    from artline.artifacts.removal import mark_deleted

    if record.source_id is None:
        raise UsageError(f"'{record.qualified_name}' is no link. Delete a version with art rm")
    source = load_version(conn, record.source_id)
    gone = mark_deleted(conn, record, "unlinked", {"from": source.qualified_name}, force=force)
    record_event(conn, source.id, "unlinked", {"as": record.qualified_name})
    return gone


def links_of(conn: sa.Connection, version_id: int) -> list[VersionRecord]:
    """Return the versions that a version is linked as, by name."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_link, artifact_version

    version = artifact_version.c
    query = (
        sa.select(version.id)
        .join(artifact_link, artifact_link.c.version_id == version.id)
        .where(artifact_link.c.source_id == version_id, version.deleted_at.is_(None))
    )
    records = load_versions(conn, list(conn.execute(query).scalars()))
    return sorted(records, key=lambda record: record.qualified_name)
