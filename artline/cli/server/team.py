"""``art server team``: teams."""

from __future__ import annotations

from typing import Any

import click

from artline.cli.command import command
from artline.cli.options import json_option
from artline.cli.server.options import open_directory, store_options


@command(
    "team",
    examples=["art server team", "art server team vision"],
    exits=[6, 7],
    shape='{"teams": [{"name": str, "members": {ACCOUNT: ROLE}}]}',
)
@click.argument("name", required=False)
@store_options
@json_option
def team(name: str | None, root: str | None, catalog: str | None, bucket: str | None, as_json: bool) -> None:
    """Add a team, or list them.

    A team has a store of its own: projects, runs and artifacts of one are not seen from another, and their
    content is not shared. Members are added with art server user.
    """
    from artline.cli.output import Column, print_json, print_table

    directory = open_directory(root, catalog, bucket)
    if name is not None:
        directory.create_team(name)
    shown: list[dict[str, Any]] = [
        {
            "name": found.name,
            "members": {member.account: member.role for member in directory.members(found.name)},
        }
        for found in directory.teams()
    ]
    if as_json:
        print_json({"teams": shown})
        return
    print_table(
        [Column("team"), Column("members")],
        [
            [found["name"], ", ".join(f"{account} ({role})" for account, role in found["members"].items())]
            for found in shown
        ],
    )
