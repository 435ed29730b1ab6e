"""What somebody changed on a version, found where it was changed and applied where the catalog is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from artline.artifacts.commit import (
    add_tags,
    edit_version,
    lock_version,
    metadata_text,
    move_alias,
    remove_alias,
    remove_tags,
)
from artline.artifacts.refs import LATEST, check_alias, check_tag
from artline.artifacts.ttl import ttl_of, ttl_seconds
from artline.artifacts.versions import VersionRecord, load_version

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.artifacts.artifact import Artifact

__all__ = ["Edits", "apply_edits", "edits_of"]


@dataclass(frozen=True, slots=True)
class Edits:
    """Changes to a version; None and empty leave things as they are.

    ``metadata`` is JSON text. ``ttl`` is empty, or holds one time to live as the catalog has it: seconds, 0
    for a version that never goes by itself, None for one that goes by its artifact's rule.
    """

    metadata: str | None = None
    description: str | None = None
    ttl: tuple[float | None, ...] = ()
    add_aliases: tuple[str, ...] = ()
    remove_aliases: tuple[str, ...] = ()
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()


def edits_of(version: Artifact) -> Edits:
    """Return what was changed on a version since it was looked up. Raises InvalidNameError.

    What was not changed here somebody else may have changed meanwhile, and stays as it is.
    """
    record = version.record
    aliases = [alias for alias in version.aliases if alias != LATEST]
    for alias in aliases:
        check_alias(alias)
    for tag in version.tags:
        check_tag(tag)
    metadata = metadata_text(version.metadata)
    ttl = version.given_ttl
    return Edits(
        metadata=metadata if metadata != metadata_text(record.metadata) else None,
        description=version.description if version.description != record.description else None,
        ttl=() if ttl is None else (ttl_seconds(ttl),),
        add_aliases=tuple(alias for alias in aliases if alias not in record.aliases),
        remove_aliases=tuple(a for a in record.aliases if a != LATEST and a not in aliases),
        add_tags=tuple(tag for tag in version.tags if tag not in record.tags),
        remove_tags=tuple(tag for tag in record.tags if tag not in version.tags),
    )


def apply_edits(conn: sa.Connection, record: VersionRecord, edits: Edits) -> VersionRecord:
    """Write edits; return the version's record after them. Raises ConflictError, ProtectedError."""
    current = lock_version(conn, record)
    for alias in edits.remove_aliases:
        # Only if it is still here: somebody may have moved it to another version meanwhile.
        if alias in current.aliases:
            remove_alias(conn, record.artifact_id, alias)
    for alias in edits.add_aliases:
        move_alias(conn, record.artifact_id, alias, record.id)
    remove_tags(conn, record.id, edits.remove_tags)
    add_tags(conn, record.id, edits.add_tags)
    edit_version(
        conn,
        record.id,
        metadata=edits.metadata,
        description=edits.description,
        ttl=ttl_of(edits.ttl[0]) if edits.ttl else None,
    )
    return load_version(conn, record.id)
