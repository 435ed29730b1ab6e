"""``art server user``: accounts."""

from __future__ import annotations

from typing import Any

import click

from artline.cli.command import command
from artline.cli.options import json_option
from artline.cli.server.options import open_directory, store_options


@command(
    "user",
    examples=[
        "art server user",
        "art server user ada --team vision --role write",
        "art server user nightly --service --team vision --role write",
        "art server user eve --disable",
    ],
    exits=[3, 6, 7],
    shape="""
{"accounts": [{"name": str, "kind": str, "admin": bool, "teams": {NAME: ROLE}, "disabled": bool}]}
""",
)
@click.argument("name", required=False)
@click.option("--team", help="Make the account a member of this team.")
@click.option(
    "--role",
    type=click.Choice(["read", "write", "admin", "none"]),
    default="write",
    show_default=True,
    help="What it may do in the team.",
)
@click.option("--project", help="The role counts in this project only.")
@click.option("--service", is_flag=True, help="A new account is a program's.")
@click.option("--admin", is_flag=True, help="A new account administers the whole server.")
@click.option("--disable", is_flag=True, help="Shut the account out.")
@click.option("--enable", is_flag=True, help="Let it in again.")
@store_options
@json_option
def user(
    name: str | None,
    team: str | None,
    role: str,
    project: str | None,
    service: bool,
    admin: bool,
    disable: bool,
    enable: bool,
    root: str | None,
    catalog: str | None,
    bucket: str | None,
    as_json: bool,
) -> None:
    """Add an account, change what it may do, or list them.

    Without a NAME all accounts are listed. One that is new is made; --role none takes it out of the team.
    """
    from artline.cli.output import Column, print_json, print_table
    from artline.errors import NotFoundError, UsageError
    from artline.server.directory import Role, read_role

    directory = open_directory(root, catalog, bucket)
    if name is not None:
        if disable and enable:
            raise UsageError("--disable and --enable exclude each other")
        if project and not team:
            raise UsageError("--project needs --team")
        try:
            directory.account(name)
        except NotFoundError:
            directory.create_account(
                name, kind="service" if service else "person", admin=admin, team=team or ""
            )
        if team:
            given = Role.NONE if role == "none" else read_role(role)
            if project:
                directory.set_grant(team, project, name, given)
            else:
                directory.set_member(team, name, given)
        if disable or enable:
            directory.set_disabled(name, disable)
    accounts = [found for found in directory.accounts() if name in (None, found.name)]
    shown: list[dict[str, Any]] = [
        {
            "name": found.name,
            "kind": found.kind,
            "admin": found.admin,
            "teams": {membership.team: membership.role for membership in directory.teams_of(found)},
            "disabled": found.disabled_at is not None,
        }
        for found in accounts
    ]
    if as_json:
        print_json({"accounts": shown})
        return
    print_table(
        [Column("account"), Column("kind"), Column("server"), Column("teams"), Column("state")],
        [
            [
                found["name"],
                found["kind"],
                "admin" if found["admin"] else "",
                ", ".join(f"{team} ({role})" for team, role in found["teams"].items()),
                "shut out" if found["disabled"] else "",
            ]
            for found in shown
        ],
    )
