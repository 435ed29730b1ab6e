"""``art logout``: forget the key of a server."""

from __future__ import annotations

import click

from artline.cli.command import command


@command("logout", examples=["art logout", "art logout https://artline.example.org"], exits=[3])
@click.argument("server", required=False)
def logout(server: str | None) -> None:
    """Forget the key of a server on this machine.

    The key itself stays valid: revoke it on the server when it may have been seen.
    """
    from artline.errors import NotFoundError, UsageError
    from artline.settings import load_settings
    from artline.storage.credentials import forget_key

    settings = load_settings(server=server)
    if not settings.server:
        raise UsageError("which server? art logout https://…; or set ART_SERVER")
    if not forget_key(settings.server):
        raise NotFoundError(f"no key for {settings.server} is kept here")
    click.echo(f"logged out of {settings.server}")
