"""Retention: which versions go by themselves when the collector passes.

A version with a ttl of its own goes by that instead of its rule's; the rest of the rule holds for it, too.
What a run used, an alias names, ``art.lock`` pins, a collection links, or somebody brought back stays.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from artline.artifacts.pins import Lock, find_lock, read_lock
from artline.artifacts.protection import protected_aliases
from artline.artifacts.records import changing, note_artifact
from artline.artifacts.refs import Ref, parse_ref
from artline.artifacts.removal import mark_deleted
from artline.artifacts.ttl import TTL, ArtifactTTL, span, ttl_of
from artline.artifacts.versions import VersionRecord, find_artifact, load_versions
from artline.errors import UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.artifacts.store import ArtifactStore

__all__ = ["Rule", "Verdict", "ages_at", "expire", "get_rule", "inherited_ttl", "read_rule", "set_rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """Versions older than ``ttl`` and beyond the newest ``keep_last`` go; either left at None asks nothing.

    With ``keep_aliased`` those that have an alias (``latest`` is one) stay; without it only a protected
    alias keeps one. A rule of nothing but ``keep_aliased=False`` is about versions with a ttl of their own.
    """

    ttl: timedelta | None = None
    keep_last: int | None = None
    keep_aliased: bool = True

    def __post_init__(self) -> None:
        if self.ttl is None and self.keep_last is None and self.keep_aliased:
            raise UsageError(
                "a retention rule needs ttl, keep_last or keep_aliased=False. To keep everything, set no rule"
            )
        if self.ttl is not None and self.ttl <= timedelta(0):
            raise UsageError(f"ttl must be longer than 0, not {self.ttl}")
        if self.keep_last is not None and self.keep_last < 1:
            raise UsageError(f"keep_last must be 1 or more, not {self.keep_last}")

    @property
    def reason(self) -> str:
        """Return why a version goes under the rule: ``older than 30 days, not among the last 5``."""
        reasons = []
        if self.ttl is not None:
            reasons.append(f"older than {span(self.ttl)}")
        if self.keep_last is not None:
            reasons.append(f"not among the last {self.keep_last}")
        return ", ".join(reasons)

    def __str__(self) -> str:
        if not self.reason:
            return "versions go by a ttl of their own alone, with an alias or without"
        return f"versions go that are {self.reason}" + (", and have no alias" if self.keep_aliased else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A version that its ttl or a rule lets go, and why; it stays when ``kept_by`` says what needs it.

    ``unshared`` are the bytes of its files that no version has that stays, where a collection counted them.
    """

    id: int
    name: str
    size: int
    reason: str
    kept_by: tuple[str, ...] = ()
    unshared: int = 0

    @property
    def goes(self) -> bool:
        """Tell whether nothing keeps it."""
        return not self.kept_by


def set_rule(
    store: ArtifactStore,
    name: str,
    rule: Rule | None,
    *,
    project: str | None = None,
    entity: str | None = None,
) -> None:
    """Set the retention rule of an artifact (``[[entity/]project/]name``), or none; idempotent.

    Nothing goes before the collector passes. Raises ArtifactNotFoundError.
    """
    from artline.artifacts.schema import artifact_rule, upsert

    ref = _collection(name)
    with changing(store.content) as conn:
        artifact_id = _find(conn, store, ref, project, entity)
        note_artifact(conn, artifact_id)
        if rule is None:
            conn.execute(artifact_rule.delete().where(artifact_rule.c.artifact_id == artifact_id))
            return
        values = {
            "ttl": rule.ttl.total_seconds() if rule.ttl is not None else None,
            "keep_last": rule.keep_last,
            "keep_aliased": rule.keep_aliased,
            "at": time.time(),
        }
        statement = upsert(conn, artifact_rule).values(artifact_id=artifact_id, **values)
        conn.execute(statement.on_conflict_do_update(index_elements=["artifact_id"], set_=values))


def get_rule(
    store: ArtifactStore, name: str, *, project: str | None = None, entity: str | None = None
) -> Rule | None:
    """Return the retention rule of an artifact, None without one; raises ArtifactNotFoundError."""
    ref = _collection(name)
    with store.catalog.read() as conn:
        return read_rule(conn, _find(conn, store, ref, project, entity))


def read_rule(conn: sa.Connection, artifact_id: int) -> Rule | None:
    """Return the retention rule of an artifact by the artifact's id, None without one."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_rule

    query = sa.select(artifact_rule).where(artifact_rule.c.artifact_id == artifact_id)
    row = conn.execute(query).one_or_none()
    if row is None:
        return None
    return Rule(timedelta(seconds=row.ttl) if row.ttl is not None else None, row.keep_last, row.keep_aliased)


def inherited_ttl(store: ArtifactStore, artifact_id: int) -> timedelta | None:
    """Return the age at which versions of an artifact go if they have no ttl of their own, None without."""
    with store.catalog.read() as conn:
        rule = read_rule(conn, artifact_id)
    return rule.ttl if rule is not None else None


def ages_at(record: VersionRecord, rule: Rule | None) -> float | None:
    """Return when a version will be, or was, old enough to go (seconds since 1970), None if it never is.

    It is by age alone: what needs the version, or that it is among the newest, may keep it longer.
    """
    ttl = ttl_of(record.ttl)
    if ttl is ArtifactTTL.INHERIT:
        ttl = rule.ttl if rule is not None and rule.ttl is not None else ArtifactTTL.DISABLED
    return record.created_at + ttl.total_seconds() if isinstance(ttl, timedelta) else None


def expire(store: ArtifactStore, *, dry_run: bool) -> list[Verdict]:
    """Delete what the ttl of versions and the rules of artifacts let go, unless ``dry_run``.

    Returns every verdict, by name.

    Each artifact is judged and dealt with in one transaction, so that a run that begins to use a version
    meanwhile either keeps it or does not find it.
    """
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, artifact_rule, artifact_version

    version = artifact_version.c
    own = sa.select(version.artifact_id).where(version.ttl > 0, version.deleted_at.is_(None))
    with store.catalog.read() as conn:
        ids = list(conn.execute(sa.union(sa.select(artifact_rule.c.artifact_id), own)).scalars())
    verdicts = []
    for artifact_id in ids:
        with store.catalog.read() if dry_run else changing(store.content) as conn:
            if not dry_run:
                conn.execute(sa.select(artifact.c.id).where(artifact.c.id == artifact_id).with_for_update())
            rule = read_rule(conn, artifact_id)
            for record, verdict in _judge(conn, artifact_id, rule, store.catalog.now(conn)):
                verdicts.append(verdict)
                if verdict.goes and not dry_run:
                    mark_deleted(conn, record, "expired", {"reason": verdict.reason}, force=False)
    return sorted(verdicts, key=lambda verdict: verdict.name)


def _judge(
    conn: sa.Connection, artifact_id: int, rule: Rule | None, now: float
) -> list[tuple[VersionRecord, Verdict]]:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version

    version = artifact_version.c
    query = (
        sa.select(version.id, version.created_at, version.ttl)
        .where(version.artifact_id == artifact_id, version.deleted_at.is_(None))
        .order_by(version.number.desc())
    )
    reasons = {}
    newest = (rule.keep_last or 0) if rule is not None else 0
    for row in conn.execute(query).all()[newest:]:
        reason = _reason(rule, ttl_of(row.ttl), now - row.created_at)
        if reason:
            reasons[row.id] = reason
    needs = _Needs(conn, artifact_id, list(reasons), rule)
    return [
        (
            record,
            Verdict(record.id, record.qualified_name, record.size, reasons[record.id], tuple(needs(record))),
        )
        for record in load_versions(conn, list(reasons))
    ]


def _reason(rule: Rule | None, ttl: TTL, age: float) -> str:
    """Return why a version beyond the newest that the rule keeps goes, nothing if it stays."""
    if isinstance(ttl, timedelta):
        beyond = f", not among the last {rule.keep_last}" if rule is not None and rule.keep_last else ""
        return f"older than its ttl of {span(ttl)}{beyond}" if age > ttl.total_seconds() else ""
    if rule is None or ttl is ArtifactTTL.DISABLED:
        return ""
    return "" if rule.ttl is not None and age <= rule.ttl.total_seconds() else rule.reason


class _Needs:
    """Says what versions of an artifact are needed for."""

    def __init__(self, conn: sa.Connection, artifact_id: int, ids: Sequence[int], rule: Rule | None) -> None:
        self.keep_aliased = rule is None or rule.keep_aliased
        self.protected = set(protected_aliases(conn, artifact_id))
        self.path = find_lock()
        self.lock = read_lock(self.path) if self.path is not None else Lock()
        self.used = _count(conn, ids, _USED)
        self.linked = _count(conn, ids, _LINKED)
        self.back = _count(conn, ids, _BACK)

    def __call__(self, record: VersionRecord) -> list[str]:
        reasons = []
        kept = record.aliases if self.keep_aliased else [a for a in record.aliases if a in self.protected]
        if kept:
            reasons.append(f"alias {', '.join(kept)}")
        if self.used.get(record.id):
            reasons.append(f"used by {self.used[record.id]} run{'s' * (self.used[record.id] > 1)}")
        if self.linked.get(record.id):
            reasons.append("linked into a collection")
        if self.lock.pins_version(record):
            reasons.append(f"pinned by {self.path}")
        if self.back.get(record.id):
            reasons.append("brought back by undelete")
        return reasons


_USED = (
    "SELECT version_id, count(*) FROM artifact_edge"
    " WHERE role = 'input' AND version_id IN :ids GROUP BY version_id"
)
_LINKED = (
    "SELECT link.source_id, count(*) FROM artifact_link AS link JOIN artifact_version AS version"
    " ON version.id = link.version_id AND version.deleted_at IS NULL"
    " WHERE link.source_id IN :ids GROUP BY link.source_id"
)
# Brought back, and not given a ttl since.
_BACK = (
    "SELECT version_id, count(*) FROM artifact_event AS back"
    " WHERE kind = 'undeleted' AND version_id IN :ids AND NOT EXISTS (SELECT 1 FROM artifact_event AS later"
    " WHERE later.version_id = back.version_id AND later.kind = 'ttl_changed' AND later.id > back.id)"
    " GROUP BY version_id"
)


def _count(conn: sa.Connection, ids: Sequence[int], text: str) -> dict[int, int]:
    import sqlalchemy as sa

    statement = sa.text(text).bindparams(sa.bindparam("ids", expanding=True))
    counts: dict[int, int] = {}
    for start in range(0, len(ids), 500):
        counts.update((row[0], row[1]) for row in conn.execute(statement, {"ids": ids[start : start + 500]}))
    return counts


def _collection(name: str) -> Ref:
    ref = parse_ref(name)
    if ref.alias or ref.digest:
        raise UsageError(f"'{name}' names a version. A rule is for a whole artifact: {ref.name}")
    return ref


def _find(
    conn: sa.Connection, store: ArtifactStore, ref: Ref, project: str | None, entity: str | None
) -> int:
    settings = store.settings
    return find_artifact(
        conn, ref.entity or entity or settings.entity, ref.project or project or settings.project, ref.name
    )
