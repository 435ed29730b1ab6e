"""``art protect``: aliases that move only when forced."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, json_option, project_option


@command(
    "protect",
    examples=["art protect registry/mlp production", "art protect registry/mlp production --remove"],
    exits=[3, 7],
    shape='{"name": str, "protected": [str]}',
)
@artifact_argument("name", metavar="NAME")
@click.argument("aliases", nargs=-1, metavar="[ALIAS…]")
@project_option
@click.option("--remove", is_flag=True, help="Let the aliases move freely again.")
@json_option
def protect(name: str, aliases: tuple[str, ...], project: str | None, remove: bool, as_json: bool) -> None:
    """Protect aliases of an artifact, or list those that are.

    A protected alias is given to a version once; moving or removing it, or deleting the version it names, is
    refused unless forced (art alias --force).
    """
    from artline.artifacts.protection import set_protection
    from artline.cli.output import print_json
    from artline.cli.stores import open_artifacts

    protected = set_protection(open_artifacts(project), name, aliases, remove=remove)
    if as_json:
        print_json({"name": name, "protected": protected})
    else:
        print(f"{name}  {', '.join(protected) or 'no protected aliases'}")
