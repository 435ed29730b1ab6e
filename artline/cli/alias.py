"""``art alias``: aliases of a version."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, json_option, project_option


@command(
    "alias",
    examples=["art alias digits-mlp:v3 production", "art alias digits-mlp:v3 candidate --remove"],
    exits=[3, 6, 7],
    meanings={6: "the alias to be removed is on another version, or it is protected"},
    shape='{"name": str, "version": "v3", "aliases": [str]}',
)
@artifact_argument("ref")
@click.argument("aliases", nargs=-1, required=True, metavar="ALIAS…")
@project_option
@click.option("--remove", is_flag=True, help="Take the aliases off the version.")
@click.option("--force", is_flag=True, help="Move or remove a protected alias, too (see art protect).")
@json_option
def alias(
    ref: str, aliases: tuple[str, ...], project: str | None, remove: bool, force: bool, as_json: bool
) -> None:
    """Point aliases at a version, or remove them.

    An alias names one version of an artifact at a time: it moves here from wherever it was, in one step.
    latest and v0, v1, … are the store's own.
    """
    from artline.cli.output import print_json
    from artline.cli.stores import open_artifacts

    store = open_artifacts(project)
    change = store.remove_alias if remove else store.set_alias
    target = store.get(ref).qualified_name  # resolved once: removing the alias in REF must not lose it
    for name in aliases:
        record = change(target, name, force=force)
    if as_json:
        print_json({"name": record.name, "version": record.version, "aliases": record.aliases})
    else:
        print(f"{record.name}:{record.version}  {', '.join(record.aliases) or 'no aliases'}")
