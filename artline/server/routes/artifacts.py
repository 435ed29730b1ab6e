"""Artifacts of a team: versions, aliases, tags, links, lineage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from artline.artifacts.artifact import Artifact
from artline.artifacts.commit import LatestMovedError
from artline.artifacts.edits import Edits, apply_edits
from artline.artifacts.lineage import Graph
from artline.artifacts.links import link_version
from artline.artifacts.projects import ProjectRecord
from artline.artifacts.records import changing
from artline.artifacts.refs import check_alias, check_tag, parse_ref
from artline.artifacts.remote_store import Accepted, AliasMove, LinkRequest, NewVersion, Use
from artline.artifacts.standing import Standing
from artline.artifacts.versions import CollectionRecord, EventRecord, VersionRecord
from artline.errors import UsageError
from artline.server.directory import Role
from artline.server.proposals import check_proposal
from artline.server.routing import Call, Route
from artline.storage.lease import Lease

if TYPE_CHECKING:
    from artline.artifacts.store import ArtifactStore

__all__ = ["ROUTES"]


@dataclass(frozen=True, slots=True)
class ByRef:
    """Which version: ``name[:version-or-alias][@digest]``, of that type if one is given."""

    ref: str
    type: str | None = None


@dataclass(frozen=True, slots=True)
class OfType:
    """Artifacts of one type, or all."""

    type: str | None = None


@dataclass(frozen=True, slots=True)
class WithDeleted:
    """Whether deleted versions are wanted, too."""

    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """Which version is to go, and what may be passed over."""

    ref: str
    delete_aliases: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class ByRole:
    """The runs that made (output) or used (input) a version."""

    role: Literal["input", "output"] = "output"


@dataclass(frozen=True, slots=True)
class OfRun:
    """The versions that a run used (input) or made (output)."""

    run: str
    role: Literal["input", "output"] = "output"


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a lineage starts, which way it goes, and how far."""

    subject: str
    direction: Literal["up", "down", "both"] = "both"
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class ByRun:
    """The run that does it, ``entity/project/id``, or nothing."""

    run: str = ""


@dataclass(frozen=True, slots=True)
class Forced:
    """Whether protection is passed over."""

    force: bool = False


def list_projects(call: Call) -> list[ProjectRecord]:
    hidden = call.state.directory.hidden_projects(call.account, call.path["team"])
    return [record for record in call.team.artifacts.projects() if record.name not in hidden]


def count_versions(call: Call) -> tuple[int, int, int]:
    return call.team.artifacts.count()


def list_artifacts(call: Call) -> list[CollectionRecord]:
    return call.team.artifacts.collections(type=call.query.type, **call.place)


def list_versions(call: Call) -> list[VersionRecord]:
    return call.team.artifacts.versions(
        call.path["project"], call.path["name"], entity=call.path["team"], deleted=call.query.deleted
    )


def get_version(call: Call) -> VersionRecord:
    return _named(call, call.query.ref, call.query.type).record


def delete_version(call: Call) -> VersionRecord:
    asked: Removal = call.query
    _within(call, asked.ref)
    record = call.team.artifacts.delete(
        asked.ref, delete_aliases=asked.delete_aliases, force=asked.force, **call.place
    )
    call.audit("version.delete", record.qualified_name, force=asked.force)
    return record


def undelete_version(call: Call) -> VersionRecord:
    _within(call, call.query.ref)
    record = call.team.artifacts.undelete(call.query.ref, **call.place)
    call.audit("version.undelete", record.qualified_name)
    return record


def log_version(call: Call) -> Accepted:
    """Make what a client stored a version, once all of it was seen to be there."""
    store, new = call.team.artifacts, call.body
    for alias in new.aliases:
        check_alias(alias)
    for tag in new.tags:
        check_tag(tag)
    proposal = new.proposal(call.path["team"], call.path["project"])
    lease = Lease.again(store.catalog, new.lease, held=True)
    check_proposal(store, proposal, lease)
    try:
        return Accepted(store.accept(proposal, lease))
    except LatestMovedError:
        return Accepted(None)


def use_version(call: Call) -> VersionRecord:
    use: Use = call.body
    _within(call, use.ref)
    found = call.team.artifacts.use(use.ref, run=use.run, type=use.type, use_as=use.use_as, **call.place)
    return found.record


def set_alias(call: Call) -> VersionRecord:
    move: AliasMove = call.body
    _within(call, move.ref)
    if move.force:
        call.check(call.path["project"], Role.ADMIN)
    record = call.team.artifacts.set_alias(move.ref, move.alias, force=move.force, **call.place)
    call.audit("alias.set", record.qualified_name, alias=move.alias, force=move.force)
    return record


def remove_alias(call: Call) -> VersionRecord:
    move: AliasMove = call.body
    _within(call, move.ref)
    if move.force:
        call.check(call.path["project"], Role.ADMIN)
    record = call.team.artifacts.remove_alias(move.ref, move.alias, force=move.force, **call.place)
    call.audit("alias.remove", record.qualified_name, alias=move.alias, force=move.force)
    return record


def get_by_id(call: Call) -> VersionRecord:
    return _numbered(call, Role.READ)


def edit_version(call: Call) -> VersionRecord:
    record, edits = _numbered(call, Role.WRITE), call.body
    _check_edits(edits)
    with changing(call.team.content) as conn:
        return apply_edits(conn, record, edits)


def log_again(call: Call) -> VersionRecord:
    record, edits = _numbered(call, Role.WRITE), call.body
    _check_edits(edits)
    return call.team.artifacts.log_again(record, call.query.run, edits.add_aliases, edits.add_tags)


def list_events(call: Call) -> list[EventRecord]:
    return call.team.artifacts.history(_numbered(call, Role.READ).id)


def list_links(call: Call) -> list[VersionRecord]:
    found = call.team.artifacts.links(_numbered(call, Role.READ).id)
    return [record for record in found if _visible(call, record.project)]


def get_standing(call: Call) -> Standing:
    return call.team.artifacts.standing(_numbered(call, Role.READ).id)


def list_runs(call: Call) -> list[str]:
    return call.team.artifacts.runs_of(_numbered(call, Role.READ).id, call.query.role)


def link(call: Call) -> VersionRecord:
    request: LinkRequest = call.body
    call.check(request.project, Role.WRITE)
    source = _readable(call, request.version, Role.READ)
    for alias in request.aliases:
        check_alias(alias)
    with changing(call.team.content) as conn:
        return link_version(
            conn,
            source,
            entity=call.path["team"],
            project=request.project,
            name=request.name,
            aliases=request.aliases,
            run=request.run,
        )


def unlink(call: Call) -> VersionRecord:
    record = _numbered(call, Role.WRITE)
    if call.query.force:
        call.check(record.project, Role.ADMIN)
    store = call.team.artifacts
    return store.unlink(Artifact.from_record(record, store), force=call.query.force)


def lineage(call: Call) -> Graph:
    walk: Walk = call.query
    return call.team.artifacts.lineage(walk.subject, walk.direction, walk.depth, **call.place)


def run_artifacts(call: Call) -> list[VersionRecord]:
    found = call.team.artifacts.run_artifacts(call.query.run, call.query.role)
    return [version.record for version in found if _visible(call, version.record.project)]


def _named(call: Call, ref: str, type: str | None = None) -> Artifact:
    _within(call, ref)
    return call.team.artifacts.get(ref, type=type, **call.place)


def _within(call: Call, ref: str) -> None:
    """Make sure that a reference does not lead out of the project that the caller was let into."""
    parsed = parse_ref(ref)
    if (parsed.entity or call.path["team"]) != call.path["team"]:
        raise UsageError(f"'{ref}' belongs to another team than the address")
    if (parsed.project or call.path["project"]) != call.path["project"]:
        raise UsageError(f"'{ref}' belongs to another project than the address")


def _numbered(call: Call, role: Role) -> VersionRecord:
    return _readable(call, int(call.path["version"]), role)


def _readable(call: Call, version_id: int, role: Role) -> VersionRecord:
    """Return a version by its number, if the caller may do so much in its project."""
    store: ArtifactStore = call.team.artifacts
    record = store.by_id(version_id).record
    call.check(record.project, role)
    return record


def _visible(call: Call, project: str) -> bool:
    return call.state.directory.role(call.account, call.path["team"], project) >= Role.READ


def _check_edits(edits: Edits) -> None:
    for alias in edits.add_aliases:
        check_alias(alias)
    for tag in edits.add_tags:
        check_tag(tag)


_STORE = "/stores/{team}"
_PROJECT = f"{_STORE}/projects/{{project}}"
_VERSION = f"{_STORE}/versions/{{version:int}}"
ROUTES = (
    Route("GET", f"{_STORE}/projects", list_projects, "List projects.", answer=list[ProjectRecord]),
    Route("GET", f"{_STORE}/counts", count_versions, "Count versions.", answer=tuple[int, int, int]),
    Route(
        "GET",
        f"{_STORE}/edges",
        run_artifacts,
        "List a run's versions.",
        query=OfRun,
        answer=list[VersionRecord],
    ),
    Route(
        "POST",
        f"{_STORE}/links",
        link,
        "Make a version one of a collection's.",
        Role.WRITE,
        body=LinkRequest,
        answer=VersionRecord,
    ),
    Route(
        "DELETE",
        f"{_STORE}/links/{{version:int}}",
        unlink,
        "Take a linked version out.",
        Role.WRITE,
        query=Forced,
        answer=VersionRecord,
    ),
    Route("GET", _VERSION, get_by_id, "Return a version by its number.", answer=VersionRecord),
    Route(
        "PATCH",
        _VERSION,
        edit_version,
        "Change a version's labels.",
        Role.WRITE,
        body=Edits,
        answer=VersionRecord,
    ),
    Route(
        "POST",
        f"{_VERSION}/logged",
        log_again,
        "Log a version once more.",
        Role.WRITE,
        query=ByRun,
        body=Edits,
        answer=VersionRecord,
    ),
    Route("GET", f"{_VERSION}/events", list_events, "Tell a version's history.", answer=list[EventRecord]),
    Route("GET", f"{_VERSION}/standing", get_standing, "Tell what holds for its artifact.", answer=Standing),
    Route("GET", f"{_VERSION}/links", list_links, "List a version's links.", answer=list[VersionRecord]),
    Route("GET", f"{_VERSION}/runs", list_runs, "List a version's runs.", query=ByRole, answer=list[str]),
    Route(
        "GET",
        f"{_PROJECT}/artifacts",
        list_artifacts,
        "List artifacts.",
        query=OfType,
        answer=list[CollectionRecord],
    ),
    Route(
        "GET",
        f"{_PROJECT}/artifacts/{{name}}/versions",
        list_versions,
        "List an artifact's versions.",
        query=WithDeleted,
        answer=list[VersionRecord],
    ),
    Route("GET", f"{_PROJECT}/version", get_version, "Find a version.", query=ByRef, answer=VersionRecord),
    Route(
        "DELETE",
        f"{_PROJECT}/version",
        delete_version,
        "Delete a version.",
        Role.WRITE,
        query=Removal,
        answer=VersionRecord,
    ),
    Route(
        "POST",
        f"{_PROJECT}/undelete",
        undelete_version,
        "Bring a version back.",
        Role.WRITE,
        query=ByRef,
        answer=VersionRecord,
    ),
    Route(
        "POST",
        f"{_PROJECT}/versions",
        log_version,
        "Log a version.",
        Role.WRITE,
        body=NewVersion,
        answer=Accepted,
    ),
    Route(
        "POST",
        f"{_PROJECT}/uses",
        use_version,
        "Record that a run uses a version.",
        Role.WRITE,
        body=Use,
        answer=VersionRecord,
    ),
    Route(
        "PUT",
        f"{_PROJECT}/alias",
        set_alias,
        "Point an alias at a version.",
        Role.WRITE,
        body=AliasMove,
        answer=VersionRecord,
    ),
    Route(
        "DELETE",
        f"{_PROJECT}/alias",
        remove_alias,
        "Take an alias off a version.",
        Role.WRITE,
        body=AliasMove,
        answer=VersionRecord,
    ),
    Route("GET", f"{_PROJECT}/lineage", lineage, "Tell what led to what.", query=Walk, answer=Graph),
)
