"""The artifacts of a team on an Artline server: what ``ArtifactStore`` does, asked for over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from artline.artifacts.artifact import Artifact
from artline.artifacts.commit import LatestMovedError, Proposal
from artline.artifacts.edits import Edits, edits_of
from artline.artifacts.lineage import Direction, Graph
from artline.artifacts.manifest import Built
from artline.artifacts.projects import ProjectRecord
from artline.artifacts.refs import check_alias, check_tag, parse_ref
from artline.artifacts.standing import Standing
from artline.artifacts.store import ArtifactStore
from artline.artifacts.ttl import ttl_of, ttl_seconds
from artline.artifacts.versions import CollectionRecord, EventRecord, VersionRecord
from artline.errors import UsageError
from artline.storage.connection import project_path, team_path

if TYPE_CHECKING:
    from artline.settings import Settings
    from artline.storage.connection import Connection
    from artline.storage.lease import Lease

__all__ = ["Accepted", "AliasMove", "LinkRequest", "NewVersion", "RemoteArtifactStore", "Use"]


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What is to become a version; as ``Proposal``, with the lease under which its content was stored."""

    name: str
    type: str
    manifest: Built
    lease: str
    metadata: str | None = None
    description: str | None = None
    run: str = ""
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    bases: tuple[int, ...] = ()
    ttl: tuple[float | None, ...] = ()
    on_latest: bool = False

    def proposal(self, entity: str, project: str) -> Proposal:
        """Return it as what is to become a version of that project."""
        return Proposal(
            entity=entity,
            project=project,
            name=self.name,
            type=self.type,
            manifest=self.manifest,
            metadata=self.metadata,
            description=self.description,
            run=self.run,
            aliases=self.aliases,
            tags=self.tags,
            bases=self.bases,
            ttl=ttl_of(self.ttl[0]) if self.ttl else None,
            on_latest=self.on_latest,
        )


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a proposal: the version, or None when another one became the latest meanwhile."""

    version: VersionRecord | None


@dataclass(frozen=True, slots=True)
class Use:
    """That a run uses a version."""

    ref: str
    run: str
    type: str | None = None
    use_as: str | None = None


@dataclass(frozen=True, slots=True)
class AliasMove:
    """Where an alias is to point, or which version it is to leave."""

    ref: str
    alias: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """A version that is to be one of a collection's, too."""

    version: int
    project: str
    name: str
    aliases: tuple[str, ...] = ()
    run: str = ""


class RemoteArtifactStore(ArtifactStore):
    """The artifacts of one team; what belongs to another team is asked of that team's store."""

    @property
    def _connection(self) -> Connection:
        connection: Connection = self.content.connection  # type: ignore[attr-defined]  # it is a RemoteContent
        return connection

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
        if not run:
            return self.get(ref, project=project, entity=entity, type=type)
        store, path = self._for(ref, project, entity)
        record = self._connection.send(
            "POST", project_path(*path, "uses"), VersionRecord, body=Use(ref, run, type, use_as)
        )
        return Artifact.from_record(record, store)

    def get(
        self, ref: str, *, project: str | None = None, entity: str | None = None, type: str | None = None
    ) -> Artifact:
        store, path = self._for(ref, project, entity)
        record = self._connection.get(project_path(*path, "version"), VersionRecord, ref=ref, type=type)
        return Artifact.from_record(record, store)

    def by_id(self, version_id: int) -> Artifact:
        return Artifact.from_record(self._version(version_id), self)

    def projects(self) -> list[ProjectRecord]:
        found: list[ProjectRecord] = self._connection.get(
            team_path(self.settings.entity, "projects"), list[ProjectRecord]
        )
        return found

    def collections(
        self, project: str | None = None, type: str | None = None, *, entity: str | None = None
    ) -> list[CollectionRecord]:
        path = project_path(*self._place(project, entity), "artifacts")
        found: list[CollectionRecord] = self._connection.get(path, list[CollectionRecord], type=type)
        return found

    def versions(
        self, project: str | None, name: str, *, entity: str | None = None, deleted: bool = False
    ) -> list[VersionRecord]:
        path = project_path(*self._place(project, entity), "artifacts", name, "versions")
        found: list[VersionRecord] = self._connection.get(path, list[VersionRecord], deleted=deleted)
        return found

    def names(self, project: str | None = None, *, entity: str | None = None) -> list[str]:
        return [record.name for record in self.collections(project, entity=entity)]

    def count(self) -> tuple[int, int, int]:
        found: tuple[int, int, int] = self._connection.get(
            team_path(self.settings.entity, "counts"), tuple[int, int, int]
        )
        return found

    def history(self, version_id: int) -> list[EventRecord]:
        path = team_path(self.settings.entity, "versions", str(version_id), "events")
        found: list[EventRecord] = self._connection.get(path, list[EventRecord])
        return found

    def set_alias(
        self,
        ref: str,
        alias: str,
        *,
        project: str | None = None,
        entity: str | None = None,
        force: bool = False,
    ) -> VersionRecord:
        check_alias(alias)
        _, path = self._for(ref, project, entity)
        return self._change("PUT", project_path(*path, "alias"), AliasMove(ref, alias, force))

    def remove_alias(
        self,
        ref: str,
        alias: str,
        *,
        project: str | None = None,
        entity: str | None = None,
        force: bool = False,
    ) -> VersionRecord:
        check_alias(alias)
        _, path = self._for(ref, project, entity)
        return self._change("DELETE", project_path(*path, "alias"), AliasMove(ref, alias, force))

    def set_tags(
        self, ref: str, tags: Iterable[str], *, project: str | None = None, entity: str | None = None
    ) -> VersionRecord:
        version = self.get(ref, project=project, entity=entity)
        version.tags = [check_tag(tag) for tag in tags]
        return version.store.edit(version)

    def edit(self, version: Artifact) -> VersionRecord:
        path = team_path(version.record.entity, "versions", str(version.record.id))
        return self._change("PATCH", path, edits_of(version))

    def delete(
        self,
        ref: str,
        *,
        project: str | None = None,
        entity: str | None = None,
        delete_aliases: bool = False,
        force: bool = False,
    ) -> VersionRecord:
        _, path = self._for(ref, project, entity)
        found: VersionRecord = self._connection.send(
            "DELETE",
            project_path(*path, "version"),
            VersionRecord,
            params={"ref": ref, "delete_aliases": delete_aliases, "force": force},
        )
        return found

    def undelete(self, ref: str, *, project: str | None = None, entity: str | None = None) -> VersionRecord:
        _, path = self._for(ref, project, entity)
        found: VersionRecord = self._connection.send(
            "POST", project_path(*path, "undelete"), VersionRecord, params={"ref": ref}
        )
        return found

    def link(
        self,
        version: Artifact,
        target: str,
        *,
        aliases: Sequence[str] = (),
        run: str | None = None,
        entity: str | None = None,
    ) -> Artifact:
        from artline.artifacts.links import link_target

        ref = link_target(target)
        team = ref.entity or entity or self.settings.entity
        if team != version.record.entity:
            raise UsageError(
                f"'{version.qualified_name}' cannot be linked into team '{team}': each team keeps its own "
                "content. Pull it and push it there"
            )
        body = LinkRequest(version.record.id, str(ref.project), ref.name, tuple(aliases), run or "")
        return Artifact.from_record(self._change("POST", team_path(team, "links"), body), self)

    def unlink(self, version: Artifact, *, force: bool = False) -> VersionRecord:
        record = version.record
        found: VersionRecord = self._connection.send(
            "DELETE",
            team_path(record.entity, "links", str(record.id)),
            VersionRecord,
            params={"force": force},
        )
        return found

    def links(self, version_id: int) -> list[VersionRecord]:
        path = team_path(self.settings.entity, "versions", str(version_id), "links")
        found: list[VersionRecord] = self._connection.get(path, list[VersionRecord])
        return found

    def lineage(
        self,
        subject: str,
        direction: Direction = "both",
        depth: int | None = None,
        *,
        project: str | None = None,
        entity: str | None = None,
    ) -> Graph:
        place = self._place(project, entity)
        found: Graph = self._connection.get(
            project_path(*place, "lineage"), Graph, subject=subject, direction=direction, depth=depth
        )
        return found

    def run_artifacts(self, run: str, role: str) -> list[Artifact]:
        entity, _, rest = run.partition("/")
        store = self._team(entity) if rest else self
        found: list[VersionRecord] = self._connection.get(
            team_path(store.settings.entity, "edges"), list[VersionRecord], run=run, role=role
        )
        return [Artifact.from_record(record, store) for record in found]

    def live_chunks(self) -> Iterator[list[bytes]]:
        raise UsageError("the collector runs where the store is: on the server")

    def accept(self, proposal: Proposal, lease: Lease) -> VersionRecord:
        body = NewVersion(
            name=proposal.name,
            type=proposal.type,
            manifest=proposal.manifest,
            lease=lease.id,
            metadata=proposal.metadata,
            description=proposal.description,
            run=proposal.run,
            aliases=proposal.aliases,
            tags=proposal.tags,
            bases=proposal.bases,
            ttl=() if proposal.ttl is None else (ttl_seconds(proposal.ttl),),
            on_latest=proposal.on_latest,
        )
        path = project_path(proposal.entity, proposal.project, "versions")
        accepted: Accepted = self._connection.send("POST", path, Accepted, body=body)
        if accepted.version is None:
            raise LatestMovedError
        return accepted.version

    def log_again(
        self, version: VersionRecord, run: str, aliases: Sequence[str], tags: Sequence[str]
    ) -> VersionRecord:
        path = team_path(version.entity, "versions", str(version.id), "logged")
        found: VersionRecord = self._connection.send(
            "POST",
            path,
            VersionRecord,
            params={"run": run},
            body=Edits(add_aliases=tuple(aliases), add_tags=tuple(tags)),
        )
        return found

    def standing(self, version_id: int) -> Standing:
        path = team_path(self.settings.entity, "versions", str(version_id), "standing")
        found: Standing = self._connection.get(path, Standing)
        return found

    def runs_of(self, version_id: int, role: str) -> list[str]:
        path = team_path(self.settings.entity, "versions", str(version_id), "runs")
        found: list[str] = self._connection.get(path, list[str], role=role)
        return found

    def _version(self, version_id: int) -> VersionRecord:
        path = team_path(self.settings.entity, "versions", str(version_id))
        found: VersionRecord = self._connection.get(path, VersionRecord)
        return found

    def _change(self, method: str, path: str, body: object) -> VersionRecord:
        found: VersionRecord = self._connection.send(method, path, VersionRecord, body=body)
        return found

    def _for(
        self, ref: str, project: str | None, entity: str | None
    ) -> tuple[RemoteArtifactStore, tuple[str, str]]:
        """Return the store that a reference leads to, and its team and project."""
        parsed = parse_ref(ref)
        default = self._place(project, entity)
        team, place = parsed.entity or default[0], parsed.project or default[1]
        return self._team(team), (team, place)

    def _team(self, entity: str) -> RemoteArtifactStore:
        if entity == self.settings.entity:
            return self
        settings: Settings = replace(self.settings, entity=entity)
        store = ArtifactStore.open(settings)
        assert isinstance(store, RemoteArtifactStore)
        return store
