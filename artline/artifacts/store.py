"""ArtifactStore: log, use, find and change the versions of artifacts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from artline.artifacts.artifact import Artifact
from artline.artifacts.commit import (
    INPUT,
    OUTPUT,
    LatestMovedError,
    Proposal,
    add_tags,
    commit_version,
    lock_version,
    metadata_text,
    move_alias,
    remove_alias,
    remove_tags,
    write_edge,
)
from artline.artifacts.current import current_settings
from artline.artifacts.edits import apply_edits, edits_of
from artline.artifacts.lineage import Direction, Graph, draw, trace
from artline.artifacts.links import link_target, link_version, links_of, unlink_version
from artline.artifacts.projects import ProjectRecord, list_projects
from artline.artifacts.records import changing
from artline.artifacts.refs import LATEST, check_alias, check_tag, parse_ref, version_number
from artline.artifacts.versions import (
    CollectionRecord,
    EventRecord,
    VersionRecord,
    list_collections,
    list_events,
    list_versions,
    load_version,
    load_versions,
    resolve,
)
from artline.errors import ConflictError, UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.artifacts.staging import Staging
    from artline.artifacts.standing import Standing
    from artline.settings import Settings
    from artline.storage.catalog import Catalog
    from artline.storage.content import ContentStore
    from artline.storage.lease import Lease

__all__ = ["ArtifactStore"]


class ArtifactStore:
    """The artifacts of one store. Safe to share between threads; opening it is idempotent.

    ``project`` and ``entity`` left at None are those of the settings. References are
    ``[[entity/]project/]name[:version-or-alias][@digest]``, ``latest`` when they name no version.
    """

    def __init__(self, content: ContentStore, settings: Settings) -> None:
        self.content = content
        self.catalog: Catalog = content.catalog
        self.settings = settings

    @classmethod
    def open(cls, settings: Settings | None = None) -> ArtifactStore:
        """Open the store of ``settings``, by default the current ones, creating it when it is new."""
        import artline.artifacts.schema  # noqa: F401 (declares the tables)
        from artline.storage.content import ContentStore

        settings = settings or current_settings()
        content = ContentStore.open(settings)
        if settings.server:
            from artline.artifacts.remote_store import RemoteArtifactStore

            return RemoteArtifactStore(content, settings)
        return cls(content, settings)

    # Logging and using

    def log(
        self,
        draft: Artifact,
        *,
        project: str | None = None,
        entity: str | None = None,
        run: str | None = None,
        aliases: Sequence[str] = (),
        tags: Sequence[str] = (),
    ) -> Artifact:
        """Make a draft a version and return it (the same object), pointing ``latest`` and ``aliases`` to it.

        Content that the artifact has already makes no new version: the draft becomes the version there is,
        the aliases move to it, and changed metadata or description is recorded in its history. One
        transaction: after it everything is there, before it nothing. A version that is logged again gets
        aliases, tags and the edge. Raises UsageError when the artifact is of another type, ConflictError
        when the draft waited too long (its lease ended) or its base was deleted; then add again.
        """
        aliases = tuple(dict.fromkeys(alias for alias in aliases if alias != LATEST))
        for alias in aliases:
            check_alias(alias)
        for tag in tags:
            check_tag(tag)
        if draft.is_draft:
            record = self._commit(draft, project, entity, run or "", aliases, tuple(tags))
            draft.become(record)
            return draft
        draft.become(self.log_again(draft.record, run or "", aliases, tuple(tags)))
        return draft

    def use(
        self,
        ref: str,
        *,
        project: str | None = None,
        entity: str | None = None,
        run: str | None = None,
        type: str | None = None,
        use_as: str | None = None,
    ) -> Artifact:
        """Return a version and record that ``run`` uses it; errors as ``get``."""
        with self.catalog.write() if run else self.catalog.read() as conn:
            record = self._resolve(conn, ref, project, entity, type)
            if run:
                record = lock_version(conn, record)
                write_edge(conn, record.origin_id, run, INPUT, use_as or "")
        return Artifact.from_record(record, self)

    def get(
        self, ref: str, *, project: str | None = None, entity: str | None = None, type: str | None = None
    ) -> Artifact:
        """Return a version.

        Raises ArtifactNotFoundError, UsageError when it is not of ``type``, IntegrityError when its digest
        is not the one in the reference.
        """
        with self.catalog.read() as conn:
            record = self._resolve(conn, ref, project, entity, type)
        return Artifact.from_record(record, self)

    def by_id(self, version_id: int) -> Artifact:
        """Return a version, deleted or not, by its id in the catalog."""
        with self.catalog.read() as conn:
            return Artifact.from_record(load_version(conn, version_id), self)

    # Looking around

    def projects(self) -> list[ProjectRecord]:
        """Return every project, by entity and name."""
        with self.catalog.read() as conn:
            return list_projects(conn)

    def collections(
        self, project: str | None = None, type: str | None = None, *, entity: str | None = None
    ) -> list[CollectionRecord]:
        """Return the artifacts of a project by name, those of one type if it is given."""
        with self.catalog.read() as conn:
            return list_collections(conn, *self._place(project, entity), type)

    def versions(
        self,
        project: str | None,
        name: str,
        *,
        entity: str | None = None,
        deleted: bool = False,
    ) -> list[VersionRecord]:
        """Return an artifact's versions, newest first, with ``deleted`` also those that can come back."""
        with self.catalog.read() as conn:
            return list_versions(conn, *self._place(project, entity), name, deleted=deleted)

    def names(self, project: str | None = None, *, entity: str | None = None) -> list[str]:
        """Return the names of a project's artifacts."""
        with self.catalog.read() as conn:
            return [record.name for record in list_collections(conn, *self._place(project, entity))]

    def count(self) -> tuple[int, int, int]:
        """Return how many artifacts and versions there are, and the bytes of all versions together."""
        import sqlalchemy as sa

        from artline.artifacts.schema import artifact_version

        version = artifact_version.c
        query = sa.select(
            sa.func.count(sa.distinct(version.artifact_id)),
            sa.func.count(version.id),
            sa.func.coalesce(sa.func.sum(version.size), 0),
        ).where(version.deleted_at.is_(None))
        with self.catalog.read() as conn:
            artifacts, versions, size = conn.execute(query).one()
        return artifacts, versions, int(size)

    def history(self, version_id: int) -> list[EventRecord]:
        """Return what happened to a version since it was logged, oldest first."""
        with self.catalog.read() as conn:
            return list_events(conn, version_id)

    # Changing what may be changed

    def set_alias(
        self,
        ref: str,
        alias: str,
        *,
        project: str | None = None,
        entity: str | None = None,
        force: bool = False,
    ) -> VersionRecord:
        """Point an alias to a version, from wherever it pointed; atomic, idempotent.

        Raises ProtectedError for a protected alias that is on another version, unless forced.
        """
        check_alias(alias)
        with changing(self.content) as conn:
            record = lock_version(conn, self._resolve(conn, ref, project, entity))
            move_alias(conn, record.artifact_id, alias, record.id, force=force)
            return load_version(conn, record.id)

    def remove_alias(
        self,
        ref: str,
        alias: str,
        *,
        project: str | None = None,
        entity: str | None = None,
        force: bool = False,
    ) -> VersionRecord:
        """Take an alias off the version it names; raise ConflictError when it is on another one.

        Raises ProtectedError for a protected one, unless forced.
        """
        check_alias(alias)
        with changing(self.content) as conn:
            record = lock_version(conn, self._resolve(conn, ref, project, entity))
            if alias not in record.aliases:
                raise ConflictError(
                    f"alias '{alias}' is not on '{record.qualified_name}'. See where it is: "
                    f"art show {record.name}:{alias}"
                )
            remove_alias(conn, record.artifact_id, alias, force=force)
            return load_version(conn, record.id)

    def set_tags(
        self, ref: str, tags: Iterable[str], *, project: str | None = None, entity: str | None = None
    ) -> VersionRecord:
        """Make these the tags of a version; idempotent."""
        wanted = [check_tag(tag) for tag in tags]
        with changing(self.content) as conn:
            record = lock_version(conn, self._resolve(conn, ref, project, entity))
            remove_tags(conn, record.id, [tag for tag in record.tags if tag not in wanted])
            add_tags(conn, record.id, wanted)
            return load_version(conn, record.id)

    def edit(self, version: Artifact) -> VersionRecord:
        """Write what was changed on a version: aliases, tags, description, metadata; return its record."""
        edits = edits_of(version)
        with changing(self.content) as conn:
            return apply_edits(conn, version.record, edits)

    def delete(
        self,
        ref: str,
        *,
        project: str | None = None,
        entity: str | None = None,
        delete_aliases: bool = False,
        force: bool = False,
    ) -> VersionRecord:
        """Delete a version and return its record; see ``artline.artifacts.removal.delete_version``."""
        from artline.artifacts.removal import delete_version

        with changing(self.content) as conn:
            record = lock_version(conn, self._resolve(conn, ref, project, entity))
            return delete_version(conn, record, delete_aliases=delete_aliases, force=force)

    def undelete(self, ref: str, *, project: str | None = None, entity: str | None = None) -> VersionRecord:
        """Bring a deleted version (``name:vN``) back; IntegrityError when its content has been collected."""
        from artline.artifacts.removal import undelete_version

        parsed = parse_ref(ref)
        if version_number(parsed.alias) is None:
            raise UsageError(f"'{ref}' does not name a version. Write name:vN")
        place = self._place(project, entity)
        with self.catalog.read() as conn:
            record = resolve(conn, parsed, project=place[1], entity=place[0], deleted=True)
        return undelete_version(self, record)

    # Collections

    def link(
        self,
        version: Artifact,
        target: str,
        *,
        aliases: Sequence[str] = (),
        run: str | None = None,
        entity: str | None = None,
    ) -> Artifact:
        """Make a version one of a collection's (``project/name``) and return it as that.

        See ``artline.artifacts.links.link_version``.
        """
        ref = link_target(target)
        with changing(self.content) as conn:
            linked = link_version(
                conn,
                version.record,
                entity=ref.entity or entity or self.settings.entity,
                project=str(ref.project),
                name=ref.name,
                aliases=aliases,
                run=run or "",
            )
        return Artifact.from_record(linked, self)

    def unlink(self, version: Artifact, *, force: bool = False) -> VersionRecord:
        """Take a linked version out of its collection; see ``artline.artifacts.links.unlink_version``."""
        with changing(self.content) as conn:
            return unlink_version(conn, lock_version(conn, version.record), force=force)

    def links(self, version_id: int) -> list[VersionRecord]:
        """Return the versions of collections that a version is linked as."""
        with self.catalog.read() as conn:
            return links_of(conn, version_id)

    # Lineage

    def lineage(
        self,
        subject: str,
        direction: Direction = "both",
        depth: int | None = None,
        *,
        project: str | None = None,
        entity: str | None = None,
    ) -> Graph:
        """Return what led to a version or run and what came of it.

        ``subject`` is a run's key (``entity/project/run_id``) or a reference to a version; ``depth`` limits
        how many edges are followed in a row.
        """
        if direction not in ("up", "down", "both"):
            raise UsageError(f"direction '{direction}' is not known. Use 'up', 'down' or 'both'")
        with self.catalog.read() as conn:
            if _is_run(conn, subject):
                record = None
                edges = trace(conn, run=subject, direction=direction, depth=depth)
            else:
                record = self._resolve(conn, subject, project, entity)
                if record.source_id is not None:
                    record = load_version(conn, record.source_id)
                edges = trace(conn, version_id=record.id, direction=direction, depth=depth)
            ids = {version_id for version_id, *_ in edges} | ({record.id} if record else set())
            records = {found.id: found for found in load_versions(conn, sorted(ids))}
        return draw(record or subject, records, edges, self.content.algorithm)

    def logged_by(self, version_id: int) -> str | None:
        """Return the key of the run that first logged a version, None without one."""
        runs = self.runs_of(version_id, OUTPUT)
        return runs[0] if runs else None

    def used_by(self, version_id: int) -> list[str]:
        """Return the keys of the runs that used a version, in the order in which they did."""
        return self.runs_of(version_id, INPUT)

    def run_artifacts(self, run: str, role: str) -> list[Artifact]:
        """Return the versions that a run used (``input``) or logged (``output``), in order."""
        import sqlalchemy as sa

        from artline.artifacts.schema import artifact_edge

        edge = artifact_edge.c
        query = sa.select(edge.version_id).where(edge.run == run, edge.role == role).order_by(edge.id)
        with self.catalog.read() as conn:
            ids = list(conn.execute(query).scalars())
            records = {record.id: record for record in load_versions(conn, ids)}
        return [Artifact.from_record(records[version_id], self) for version_id in ids]

    # For the collector

    def live_chunks(self) -> Iterator[list[bytes]]:
        """Yield, in batches, the digests of every chunk that a version in use needs."""
        from artline.artifacts.retention import live_chunks

        return live_chunks(self)

    def _commit(
        self,
        draft: Artifact,
        project: str | None,
        entity: str | None,
        run: str,
        aliases: tuple[str, ...],
        tags: tuple[str, ...],
    ) -> VersionRecord:
        entity, project = self._place(project, entity)
        given = draft.given_metadata
        metadata = metadata_text(given) if given is not None else None
        staging = draft.claim_staging()
        if staging.content.store_id != self.content.store_id:
            raise UsageError(
                f"artifact '{draft.name}' was put together in another store ({staging.content.root}). "
                "Make it with Artifact(…, store=…) of the store it is logged to"
            )
        while True:
            if draft.incremental:
                self._put_latest_under(staging, draft.collection, project, entity)
            proposal = Proposal(
                entity=entity,
                project=project,
                name=draft.collection,
                type=draft.type,
                manifest=staging.build(),
                metadata=metadata,
                description=draft.description,
                run=run,
                aliases=aliases,
                tags=tags,
                bases=staging.bases,
                ttl=draft.given_ttl,
                on_latest=draft.incremental,
            )
            try:
                return self.accept(proposal, staging.writer.lease)
            except LatestMovedError:
                continue

    def accept(self, proposal: Proposal, lease: Lease) -> VersionRecord:
        """Make a proposal a version, in one transaction that ends the lease; return its record."""
        with changing(self.content) as conn:
            lease.check(conn)
            version_id, _new = commit_version(conn, proposal)
            lease.release(conn)
            return load_version(conn, version_id)

    def log_again(
        self, version: VersionRecord, run: str, aliases: Sequence[str], tags: Sequence[str]
    ) -> VersionRecord:
        """Give a version that is logged once more its aliases, tags and edge; return its record."""
        with changing(self.content) as conn:
            current = lock_version(conn, version)
            for alias in aliases:
                move_alias(conn, current.artifact_id, alias, current.id, run=run)
            add_tags(conn, current.id, tags, run=run)
            if run:
                write_edge(conn, current.origin_id, run, OUTPUT)
            return load_version(conn, current.id)

    def _put_latest_under(self, staging: Staging, name: str, project: str, entity: str) -> None:
        from artline.errors import ArtifactNotFoundError

        try:
            latest = self.get(name, project=project, entity=entity).record
        except ArtifactNotFoundError:
            return
        staging.load(latest.root, latest.id, latest=True)

    def _place(self, project: str | None, entity: str | None) -> tuple[str, str]:
        return entity or self.settings.entity, project or self.settings.project

    def _resolve(
        self,
        conn: sa.Connection,
        ref: str,
        project: str | None,
        entity: str | None,
        type: str | None = None,
    ) -> VersionRecord:
        place = self._place(project, entity)
        return resolve(conn, parse_ref(ref), entity=place[0], project=place[1], type=type)

    def standing(self, version_id: int) -> Standing:
        """Return what holds for the artifact of a version: protected aliases and the retention rule."""
        from artline.artifacts.standing import read_standing

        with self.catalog.read() as conn:
            return read_standing(conn, load_version(conn, version_id).artifact_id)

    def runs_of(self, version_id: int, role: str) -> list[str]:
        """Return the keys of the runs that made (``output``) or used (``input``) a version, in order."""
        import sqlalchemy as sa

        from artline.artifacts.schema import artifact_edge

        edge = artifact_edge.c
        query = sa.select(edge.run).where(edge.version_id == version_id, edge.role == role).order_by(edge.id)
        with self.catalog.read() as conn:
            return list(conn.execute(query).scalars())


def _is_run(conn: sa.Connection, subject: str) -> bool:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_edge

    query = sa.select(artifact_edge.c.id).where(artifact_edge.c.run == subject).limit(1)
    return conn.execute(query).scalar() is not None
