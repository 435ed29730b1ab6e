"""``art server init``: make the first administrator."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.server.options import open_directory, store_options


@command(
    "init",
    examples=["art server init", "art server init --name ada --team vision"],
    exits=[6, 7],
    meanings={6: "the server has accounts already"},
)
@click.option("--name", default="admin", show_default=True, help="The account.")
@click.option("--team", default="main", show_default=True, help="The first team, with it as its admin.")
@store_options
def init(name: str, team: str, root: str | None, catalog: str | None, bucket: str | None) -> None:
    """Make the first administrator and print the key, once.

    The key is kept nowhere but as a hash: whoever loses it makes a new one with art server key.
    """
    from artline.errors import ConflictError
    from artline.server.directory import Role

    directory = open_directory(root, catalog, bucket)
    if directory.accounts():
        raise ConflictError("this server has accounts already. Make a key for one: art server key ACCOUNT")
    directory.create_account(name, admin=True, team=team)
    directory.create_team(team)
    directory.set_member(team, name, Role.ADMIN)
    key = directory.create_key(name, "first key")
    directory.record(name, key.id, "server.init", team, {})
    click.echo(key.text)
