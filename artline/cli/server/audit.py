"""``art server audit``: what was done."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import json_option
from artline.cli.server.options import open_directory, store_options


@command(
    "audit",
    examples=["art server audit", "art server audit --limit 1000 --json"],
    exits=[7],
    shape="""
{"events": [{"id": int, "at": time, "account": str, "key_id": str, "action": str, "target": str,
             "detail": object, "request_id": str, "address": str}]}
""",
)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many lines.")
@store_options
@json_option
def audit(limit: int, root: str | None, catalog: str | None, bucket: str | None, as_json: bool) -> None:
    """Show what was done, by whom, from where, newest first."""
    from dataclasses import asdict

    from artline.cli.documents import moment
    from artline.cli.output import Column, print_json, print_table
    from artline.cli.values import ago

    events = open_directory(root, catalog, bucket).audit(limit=limit)
    if as_json:
        print_json({"events": [{**asdict(event), "at": moment(event.at)} for event in events]})
        return
    print_table(
        [Column("when"), Column("who"), Column("what"), Column("on"), Column("from")],
        [[ago(e.at), e.account or "(server)", e.action, e.target, e.address] for e in events],
    )
