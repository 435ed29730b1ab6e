"""``art server key``: API keys."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import json_option
from artline.cli.server.options import open_directory, store_options


@command(
    "key",
    examples=[
        "art server key ada",
        "art server key nightly --name ci --lifetime 90d",
        "art server key --list",
        "art server key --revoke 3f9c2a71b0de",
    ],
    exits=[3, 7],
    shape="""
{"key": str} | {"keys": [{"id": str, "account": str, "name": str, "created_at": time,
                           "expires_at": time | null, "revoked_at": time | null, "used_at": time | null}]}
""",
)
@click.argument("account", required=False)
@click.option("--name", default="", help="What the key is for.")
@click.option("--lifetime", metavar="TIME", help="How long it works, such as 12h or 90d (for ever).")
@click.option("--list", "listed", is_flag=True, help="List keys, of ACCOUNT or all.")
@click.option("--revoke", metavar="ID", help="End a key.")
@store_options
@json_option
def key(
    account: str | None,
    name: str,
    lifetime: str | None,
    listed: bool,
    revoke: str | None,
    root: str | None,
    catalog: str | None,
    bucket: str | None,
    as_json: bool,
) -> None:
    """Make a key for an account, list keys, or revoke one.

    A new key is printed once and kept as a hash only. A revoked one may work for five more seconds.
    """
    from artline.cli.documents import moment
    from artline.cli.output import Column, print_json, print_table
    from artline.cli.values import ago, read_span
    from artline.errors import UsageError

    directory = open_directory(root, catalog, bucket)
    if revoke is not None:
        directory.revoke_key(revoke, account)
        listed = True
    if not listed:
        if account is None:
            raise UsageError("which account is the key for? art server key ACCOUNT; or --list")
        span = read_span(lifetime).total_seconds() if lifetime is not None else None
        made = directory.create_key(account, name, lifetime=span)
        directory.record("", made.id, "key.create", account, {"by": "art server key"})
        if as_json:
            print_json({"key": made.text})
        else:
            click.echo(made.text)
        return
    keys = directory.keys(account)
    if as_json:
        print_json(
            {
                "keys": [
                    {
                        "id": found.id,
                        "account": found.account,
                        "name": found.name,
                        **{
                            field: None if (value := getattr(found, field)) is None else moment(value)
                            for field in ("created_at", "expires_at", "revoked_at", "used_at")
                        },
                    }
                    for found in keys
                ]
            }
        )
        return
    print_table(
        [Column("id"), Column("account"), Column("name"), Column("made"), Column("used"), Column("state")],
        [
            [
                found.id,
                found.account,
                found.name,
                ago(found.created_at),
                "never" if found.used_at is None else ago(found.used_at),
                "revoked" if found.revoked_at is not None else "",
            ]
            for found in keys
        ],
    )
