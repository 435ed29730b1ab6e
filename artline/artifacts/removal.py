"""Deleting versions, and bringing them back until the collector has passed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from artline.artifacts.commit import INPUT, move_alias, record_event, remove_alias
from artline.artifacts.records import changing, note_version
from artline.artifacts.refs import LATEST
from artline.artifacts.versions import VersionRecord, find_version, load_version
from artline.errors import IntegrityError, ProtectedError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.artifacts.store import ArtifactStore

__all__ = ["delete_version", "mark_deleted", "undelete_version"]


def delete_version(
    conn: sa.Connection, record: VersionRecord, *, delete_aliases: bool = False, force: bool = False
) -> VersionRecord:
    """Mark a version deleted: no reference finds it any more, lineage still shows it.

    Raises ProtectedError saying why not when it has aliases of its own (``delete_aliases`` takes them
    away), when one of them is protected, a run used it, it is linked into a collection, or the ``art.lock``
    at hand pins it (``force`` deletes nevertheless). ``latest`` moves on to the newest version that is left.
    Its number is not given again.
    """
    own = [alias for alias in record.aliases if alias != LATEST]
    if own and not delete_aliases:
        raise ProtectedError(
            f"'{record.qualified_name}' has aliases: {', '.join(own)}. Move them, "
            "or delete them with it: art rm --delete-aliases, or delete_aliases=True"
        )
    if not force:
        _check_free(conn, record)
    return mark_deleted(conn, record, "deleted", force=force)


def mark_deleted(
    conn: sa.Connection,
    record: VersionRecord,
    kind: str,
    detail: dict[str, Any] | None = None,
    *,
    force: bool,
) -> VersionRecord:
    """Delete a version without asking, except for protected aliases; ``kind`` says in its history how."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version

    version = artifact_version.c
    conn.execute(sa.update(artifact_version).where(version.id == record.id).values(deleted_at=time.time()))
    note_version(conn, record.id)
    for alias in record.aliases:
        remove_alias(conn, record.artifact_id, alias, force=force)
    record_event(conn, record.id, kind, {"aliases": list(record.aliases), **(detail or {})})
    if LATEST in record.aliases:
        _point_latest(conn, record.artifact_id)
    return load_version(conn, record.id)


def undelete_version(store: ArtifactStore, record: VersionRecord) -> VersionRecord:
    """Bring a deleted version back, without its aliases; one that is not deleted stays as it is.

    Every chunk it needs is pinned first. Raises IntegrityError when some have been collected.
    """
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact as artifacts
    from artline.artifacts.schema import artifact_version

    if record.deleted_at is None:
        return record
    with store.content.writer(owner=f"undelete {record.qualified_name}") as writer:
        try:
            for digests in _needed(store, record):
                if store.content.missing(digests, writer.lease):
                    raise _collected(record)
        except IntegrityError:
            writer.lease.release()
            raise
        version = artifact_version.c
        with changing(store.content) as conn:
            writer.lease.check(conn)
            artifact = sa.select(artifacts.c.id).where(artifacts.c.id == record.artifact_id)
            conn.execute(artifact.with_for_update())
            conn.execute(sa.update(artifact_version).where(version.id == record.id).values(deleted_at=None))
            note_version(conn, record.id)
            record_event(conn, record.id, "undeleted", {})
            if find_version(conn, record.artifact_id, LATEST) is None:
                _point_latest(conn, record.artifact_id)
            writer.lease.release(conn)
            return load_version(conn, record.id)


def _check_free(conn: sa.Connection, record: VersionRecord) -> None:
    import sqlalchemy as sa

    from artline.artifacts.links import links_of
    from artline.artifacts.pins import find_lock, read_lock
    from artline.artifacts.schema import artifact_edge

    edge = artifact_edge.c
    runs = list(
        conn.execute(
            sa.select(edge.run).where(edge.version_id == record.id, edge.role == INPUT).order_by(edge.id)
        ).scalars()
    )
    if runs:
        more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
        raise ProtectedError(
            f"'{record.qualified_name}' was used by {', '.join(runs[:3])}{more}. "
            "Pass force=True to delete it nevertheless"
        )
    links = ", ".join(link.qualified_name for link in links_of(conn, record.id))
    if links:
        raise ProtectedError(
            f"'{record.qualified_name}' is linked as {links}. Unlink it (art unlink) or pass force=True"
        )
    lock = find_lock()
    if lock is not None and read_lock(lock).pins_version(record):
        raise ProtectedError(
            f"'{record.qualified_name}' is pinned by {lock}. "
            "Move the pin (art pin --upgrade) or pass force=True"
        )


def _point_latest(conn: sa.Connection, artifact_id: int) -> None:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version

    version = artifact_version.c
    newest: int | None = conn.execute(
        sa.select(version.id)
        .where(version.artifact_id == artifact_id, version.deleted_at.is_(None))
        .order_by(version.number.desc())
        .limit(1)
    ).scalar()
    if newest is not None:
        move_alias(conn, artifact_id, LATEST, newest)


def _needed(store: ArtifactStore, record: VersionRecord) -> Iterator[list[bytes]]:
    from artline.artifacts.retention import version_chunks

    try:
        yield from version_chunks(store.content, record.root)
    except IntegrityError:
        raise _collected(record) from None


def _collected(record: VersionRecord) -> IntegrityError:
    return IntegrityError(
        f"'{record.qualified_name}' cannot come back: its content has been collected. Log its files again"
    )
