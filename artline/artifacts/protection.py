"""Protected aliases: names of a collection that move, or go, only when that is forced."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from artline.artifacts.records import changing, note_artifact
from artline.artifacts.refs import check_alias, parse_ref
from artline.artifacts.versions import find_artifact, load_version
from artline.errors import ProtectedError, UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.artifacts.store import ArtifactStore

__all__ = ["check_unprotected", "protected_aliases", "set_protection"]


def set_protection(
    store: ArtifactStore,
    name: str,
    aliases: Iterable[str],
    *,
    remove: bool = False,
    project: str | None = None,
    entity: str | None = None,
) -> list[str]:
    """Protect aliases of an artifact (``[[entity/]project/]name``), or no longer; return those protected.

    They need not name a version yet. Idempotent. Raises ArtifactNotFoundError.
    """
    ref = parse_ref(name)
    if ref.alias or ref.digest:
        raise UsageError(f"'{name}' names a version. Aliases are protected for a whole artifact: {ref.name}")
    wanted = [check_alias(alias) for alias in aliases]
    place = ref.entity or entity or store.settings.entity, ref.project or project or store.settings.project
    with changing(store.content) as conn:
        artifact_id = find_artifact(conn, *place, ref.name)
        note_artifact(conn, artifact_id)
        (_unprotect if remove else _protect)(conn, artifact_id, wanted)
        return protected_aliases(conn, artifact_id)


def _protect(conn: sa.Connection, artifact_id: int, aliases: list[str]) -> None:
    from artline.artifacts.schema import artifact_protection, upsert

    for alias in aliases:
        statement = upsert(conn, artifact_protection).values(
            artifact_id=artifact_id, name=alias, at=time.time()
        )
        conn.execute(statement.on_conflict_do_nothing())


def _unprotect(conn: sa.Connection, artifact_id: int, aliases: list[str]) -> None:
    from artline.artifacts.schema import artifact_protection

    column = artifact_protection.c
    conn.execute(
        artifact_protection.delete().where(column.artifact_id == artifact_id, column.name.in_(aliases))
    )


def protected_aliases(conn: sa.Connection, artifact_id: int) -> list[str]:
    """Return the protected aliases of an artifact, sorted."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_protection

    column = artifact_protection.c
    return sorted(conn.execute(sa.select(column.name).where(column.artifact_id == artifact_id)).scalars())


def check_unprotected(conn: sa.Connection, artifact_id: int, alias: str, version_id: int) -> None:
    """Raise ProtectedError when an alias, which is on this version, may not leave it."""
    if alias in protected_aliases(conn, artifact_id):
        record = load_version(conn, version_id)
        raise ProtectedError(
            f"alias '{alias}' of '{record.entity}/{record.project}/{record.name}' is protected and names "
            f"{record.version}. Pass force=True (art alias --force), or lift it: art protect --remove"
        )
