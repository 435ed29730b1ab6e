"""``art ls``: artifacts, versions, files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from artline.cli.command import command
from artline.cli.documents import ENTRY_SHAPE, VERSION_SHAPE
from artline.cli.options import artifact_argument, json_option, project_option
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.store import ArtifactStore


@command(
    "ls",
    examples=[
        "art ls                        # the artifacts of the project",
        "art ls digits                 # the versions of digits",
        "art ls digits:v1              # the files of digits:v1",
        "art ls digits:v1 train        # those below train/",
        "art ls --projects",
    ],
    exits=[3, 7],
    shape="""
art ls:            {"project": str, "artifacts": [{"name": str, "type": str, "versions": int,
                    "latest": "v3" | null, "size": bytes, "description": str, "created_at": time}]}
art ls NAME:       {"versions": [VERSION]}
art ls REF:        {"version": VERSION, "files": [ENTRY]}
art ls --projects: {"projects": [{"entity": str, "name": str, "description": str, "created_at": time}]}
"""
    + VERSION_SHAPE
    + "\n"
    + ENTRY_SHAPE,
)
@artifact_argument("ref", required=False, metavar="[NAME[:VERSION]]")
@click.argument("prefix", required=False)
@project_option
@click.option("-t", "--type", "kind", metavar="TYPE", help="Only artifacts of this type.")
@click.option("--projects", is_flag=True, help="List the projects of the store.")
@click.option("--deleted", is_flag=True, help="Show deleted versions, too, which can still be undeleted.")
@json_option
def ls(
    ref: str | None,
    prefix: str | None,
    project: str | None,
    kind: str | None,
    projects: bool,
    deleted: bool,
    as_json: bool,
) -> None:
    """List artifacts, the versions of one, or the files of a version.

    Without a name the artifacts of the project, with a name its versions, with a version or alias its files,
    at or below PREFIX if that is given.
    """
    from artline.artifacts.refs import parse_ref
    from artline.cli.stores import open_artifacts

    if projects and ref:
        raise UsageError("--projects lists projects and takes no name")
    store = open_artifacts(project)
    if projects:
        list_projects(store, as_json)
    elif ref is None:
        list_artifacts(store, kind, as_json)
    elif (parsed := parse_ref(ref)).alias or parsed.digest:
        list_files(store, ref, prefix or "", as_json)
    elif prefix is not None:
        raise UsageError(f"say the version whose files to list: art ls {ref}:latest {prefix}")
    else:
        list_versions(store, ref, deleted, as_json)


def list_projects(store: ArtifactStore, as_json: bool) -> None:
    from artline.cli.documents import moment
    from artline.cli.output import Column, print_json, print_table
    from artline.cli.values import ago

    found = store.projects()
    if as_json:
        documents = [
            {
                "entity": p.entity,
                "name": p.name,
                "description": p.description,
                "created_at": moment(p.created_at),
            }
            for p in found
        ]
        print_json({"projects": documents})
        return
    print_table(
        [Column("PROJECT"), Column("ENTITY"), Column("CREATED"), Column("DESCRIPTION", flexible=True)],
        [[p.name, p.entity, ago(p.created_at), p.description] for p in found],
        empty="no projects yet: a run or art push makes one",
    )


def list_artifacts(store: ArtifactStore, kind: str | None, as_json: bool) -> None:
    from artline.artifacts.refs import version_alias
    from artline.cli.documents import moment
    from artline.cli.output import Column, print_json, print_table
    from artline.cli.values import ago, count, size

    found = store.collections(type=kind)
    newest = {c.name: version_alias(c.latest) if c.latest is not None else None for c in found}
    if as_json:
        documents = [
            {
                "name": c.name,
                "type": c.type,
                "versions": c.versions,
                "latest": newest[c.name],
                "size": c.size,
                "description": c.description,
                "created_at": moment(c.created_at),
            }
            for c in found
        ]
        print_json({"project": store.settings.project, "artifacts": documents})
        return
    print_table(
        [
            Column("ARTIFACT"),
            Column("TYPE"),
            Column("VERSIONS", right=True),
            Column("LATEST"),
            Column("SIZE", right=True),
            Column("CREATED"),
        ],
        [
            [c.name, c.type, count(c.versions), newest[c.name] or "-", size(c.size), ago(c.created_at)]
            for c in found
        ],
        empty=f"no artifacts in project '{store.settings.project}'. Projects: art ls --projects",
    )


def list_versions(store: ArtifactStore, ref: str, deleted: bool, as_json: bool) -> None:
    from artline.artifacts.refs import parse_ref
    from artline.artifacts.ttl import ttl_of, ttl_text
    from artline.cli.documents import version_document
    from artline.cli.output import Column, print_json, print_table
    from artline.cli.values import ago, count, size
    from artline.storage.digest import format_digest

    name = parse_ref(ref)
    algorithm = store.content.algorithm
    found = store.versions(name.project, name.name, entity=name.entity, deleted=deleted)
    if as_json:
        print_json({"versions": [version_document(v, algorithm) for v in found]})
        return
    own = any(v.ttl is not None for v in found)
    print_table(
        [
            Column("VERSION"),
            Column("ALIASES"),
            Column("FILES", right=True),
            Column("SIZE", right=True),
            Column("CREATED"),
            *([Column("TTL")] if own else []),
            Column("DIGEST"),
            Column("TAGS", flexible=True),
        ],
        [
            [
                v.version,
                ", ".join(v.aliases) if v.deleted_at is None else "(deleted)",
                count(v.file_count),
                size(v.size),
                ago(v.created_at),
                *([ttl_text(ttl_of(v.ttl)) if v.ttl is not None else "-"] if own else []),
                format_digest(algorithm, v.digest)[:19],
                ", ".join(v.tags),
            ]
            for v in found
        ],
        empty=f"'{ref}' has no versions any more. Deleted ones: art ls {ref} --deleted",
    )


def list_files(store: ArtifactStore, ref: str, prefix: str, as_json: bool) -> None:
    from artline.cli.documents import entry_document, version_document
    from artline.cli.output import print_json_lists
    from artline.cli.values import plain, size
    from artline.errors import EntryNotFoundError

    version = store.get(ref)
    if as_json:
        document = version_document(version.record, store.content.algorithm)
        print_json_lists({"version": document}, {"files": map(entry_document, version.files(prefix))})
        return
    empty = True
    for entry in version.files(prefix):
        empty = False
        where = f" -> {entry.target or entry.ref}" if entry.target or entry.ref else ""
        mark = "/" if entry.kind.name == "FOLDER" else ""
        print(f"{size(entry.size):>10}  {plain(entry.path)}{mark}{plain(where)}")
    if empty and prefix:
        raise EntryNotFoundError(
            f"'{version.name}' has nothing at or below '{prefix}'. List all: art ls {ref}"
        )
