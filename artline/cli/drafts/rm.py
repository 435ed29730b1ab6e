"""``art drafts rm``: give up a draft, or a part of it."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, project_option


@command(
    "rm",
    examples=["art drafts rm predictions sweep-7", "art drafts rm predictions sweep-7 --run k3x9qf0a"],
    exits=[3, 7],
)
@artifact_argument("name", metavar="NAME")
@click.argument("draft", metavar="[ID]", required=False)
@click.option("--run", metavar="RUN", help="Take out only what this run contributed.")
@project_option
def rm(name: str, draft: str | None, run: str | None, project: str | None) -> None:
    """Give up a draft, or take out what one run contributed.

    What was contributed and no version needs is freed by art gc.
    """
    from artline.artifacts.drafts import withdraw
    from artline.cli.stores import open_artifacts
    from artline.cli.values import plain

    record = withdraw(open_artifacts(project), name, draft, run=run)
    what = f"what {run} contributed to draft" if run else "draft"
    verb = "took out" if run else "gave up"
    print(plain(f"{verb} {what} {record.distributed_id} of {record.qualified_name}"))
