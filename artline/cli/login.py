"""``art login``: keep the key of a server."""

from __future__ import annotations

import sys
from typing import Any

import click

from artline.cli.command import command


@command(
    "login",
    examples=["art login https://artline.example.org", "art login https://artline.example.org < key.txt"],
    exits=[5, 7],
)
@click.argument("server", required=False)
@click.option("--team", help="The team to work in (the server's choice unless given).")
def login(server: str | None, team: str | None) -> None:
    """Keep the key of a server, so that it is used from now on.

    The key is read from the terminal, unseen, or from standard input; it goes into the system's keyring
    where there is one, else into a file that only you can read. The server is used by projects whose
    art.toml names it, and by everything while ART_SERVER does.
    """
    from artline.errors import UsageError
    from artline.settings import load_settings
    from artline.storage.connection import Connection, path_of
    from artline.storage.credentials import keep_key
    from artline.storage.retry import Patience

    settings = load_settings(server=server)
    if not settings.server:
        raise UsageError("which server? art login https://…; or set ART_SERVER")
    key = click.prompt("API key", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    connection = Connection(settings.server, key.strip(), Patience(settings.bucket_timeout, 5.0))
    viewer = connection.get(path_of("viewer"), dict[str, Any])
    teams = [found["team"] for found in viewer["teams"]]
    if team is not None and team not in teams:
        known = ", ".join(teams) or "none"
        raise UsageError(f"'{viewer['account']}' is not in team '{team}'. Its teams: {known}")
    entity = team or viewer["default_team"]
    where = keep_key(settings.server, key.strip(), entity)
    click.echo(f"logged in to {settings.server} as {viewer['account']}, team {entity or 'none'}")
    click.echo(f"the key is kept in {where}")
