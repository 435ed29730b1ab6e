"""``art link``: a version in a collection of another project."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, json_option, project_option


@command(
    "link",
    examples=[
        "art link digits-mlp:v3 registry/mlp",
        "art link digits-mlp:v3 registry/mlp --alias production",
    ],
    exits=[3, 6, 7],
    meanings={6: "an alias is protected and on another version of the collection"},
    shape='{"name": "entity/project/name:v0", "source": "entity/project/name:v3", "aliases": [str]}',
)
@artifact_argument("ref")
@click.argument("collection", metavar="PROJECT/NAME")
@project_option
@click.option(
    "-a", "--alias", "aliases", multiple=True, metavar="ALIAS", help="Point this alias at it there."
)
@json_option
def link(ref: str, collection: str, project: str | None, aliases: tuple[str, ...], as_json: bool) -> None:
    """Make a version one of a collection's, too.

    A collection is an artifact that gathers versions of others, such as the released models of a team. The
    version has its own number and aliases there; nothing is stored again, lineage is that of its source, and
    the source cannot be deleted while it is linked.
    """
    from artline.cli.output import print_json
    from artline.cli.stores import open_artifacts

    version = open_artifacts(project).get(ref)
    linked = version.link(collection, aliases=aliases)
    source = linked.source_artifact.qualified_name
    if as_json:
        print_json({"name": linked.qualified_name, "source": source, "aliases": linked.aliases})
    else:
        print(f"{linked.qualified_name}  {', '.join(linked.aliases)}  from {source}")
