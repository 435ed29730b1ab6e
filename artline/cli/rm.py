"""``art rm``: delete a version."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, project_option


@command(
    "rm",
    examples=["art rm digits:v0", "art rm digits:v0 digits:v1", "art rm digits-mlp:v3 --delete-aliases"],
    exits=[3, 6, 7],
    meanings={6: "the version has aliases, was used by a run, is linked, or is pinned; it was not deleted"},
)
@artifact_argument("refs", nargs=-1, required=True)
@project_option
@click.option("--delete-aliases", is_flag=True, help="Delete a version with the aliases it has.")
@click.option("--force", is_flag=True, help="Delete a version that runs used, art.lock pins or is linked.")
def rm(refs: tuple[str, ...], project: str | None, delete_aliases: bool, force: bool) -> None:
    """Delete a version; undelete brings it back until gc has passed.

    A reference must say which version: NAME:VERSION, NAME:ALIAS or NAME@DIGEST. Lineage keeps telling of a
    deleted version, and its number is never given again. Its space is freed by art gc --delete.
    """
    from artline.artifacts.refs import parse_ref
    from artline.cli.stores import open_artifacts
    from artline.errors import UsageError

    for ref in refs:
        parsed = parse_ref(ref)
        if not parsed.alias and not parsed.digest:
            raise UsageError(
                f"'{ref}' does not say which version to delete. Write {ref}:VERSION; see art ls {ref}"
            )
    store = open_artifacts(project)
    for version in [store.get(ref) for ref in refs]:
        record = store.delete(version.qualified_name, delete_aliases=delete_aliases, force=force)
        name = f"{record.name}:{record.version}"
        print(f"deleted {name}. Bring it back: art undelete {name}")
