"""``art unlink``: take a linked version out of its collection."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, project_option


@command(
    "unlink",
    examples=["art unlink registry/mlp:v0", "art unlink registry/mlp:production --force"],
    exits=[3, 6, 7],
    meanings={6: "the version has a protected alias"},
)
@artifact_argument("ref")
@project_option
@click.option("--force", is_flag=True, help="Take it out with its protected aliases.")
def unlink(ref: str, project: str | None, force: bool) -> None:
    """Take a linked version out of its collection.

    With the aliases it has there. The version that was linked stays as it is.
    """
    from artline.cli.stores import open_artifacts

    store = open_artifacts(project)
    gone = store.unlink(store.get(ref), force=force)
    print(f"{gone.qualified_name} is no longer linked")
