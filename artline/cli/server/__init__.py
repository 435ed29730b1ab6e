"""``art server``: serve a store to a team, and say who may come in."""

from __future__ import annotations

import click

from artline.cli.group import LazyGroup

SECTIONS = {
    "Commands": {
        "run": "Serve until interrupted.",
        "init": "Make the first administrator and print the key, once.",
        "user": "Add an account, change what it may do, or list them.",
        "team": "Add a team, or list them.",
        "key": "Make a key for an account, list keys, or revoke one.",
        "audit": "Show what was done, by whom, from where, newest first.",
    }
}


@click.group("server", cls=LazyGroup, package="artline.cli.server", sections=SECTIONS)
def server() -> None:
    """Serve a store to a team, and say who may come in.

    The commands beside run work on the store itself, on the machine of the server, and need no key: who may
    open the store's database may do everything.
    """
