"""``art gc``: free what no version refers to."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import json_option
from artline.errors import UsageError


@command(
    "gc",
    examples=[
        "art gc",
        "art gc --delete",
        "art gc --delete --grace 30d",
        "art gc --json | jq .collection.dead_bytes",
    ],
    exits=[4, 6, 7],
    meanings={6: "another collection began meanwhile, and goes on in this one's place"},
    shape="""
{"dry_run": bool, "versions": [{"name": "entity/project/name:v3", "deleted_at": time, "size": bytes,
                                "unshared": bytes}],
 "expired": [{"name": "entity/project/name:v3", "size": bytes, "unshared": bytes, "reason": str,
              "kept_by": [str]}],
 "drafts": [{"name": "entity/project/name", "id": str, "size": bytes, "touched_at": time}],
 "collection": {"dry_run": bool, "packs": int, "live_chunks": int, "live_bytes": bytes,
                "dead_chunks": int, "dead_bytes": bytes, "condemned": int, "revived": int,
                "deleted": int, "freed_bytes": bytes, "repacked": int, "orphans": int, "pinned": int,
                "problems": [str]},
 "histories": {"condemned": int, "deleted": int, "interrupted": int, "freed_bytes": bytes}}
""",
)
@click.option("--delete", is_flag=True, help="Really condemn and delete.")
@click.option("--dry-run", is_flag=True, help="Only count, as without --delete.")
@click.option(
    "--grace",
    metavar="TIME",
    help="Delete what has been condemned for longer than this, such as 12h or 2d (7d unless given).",
)
@json_option
def gc(delete: bool, dry_run: bool, grace: str | None, as_json: bool) -> None:
    """Free what no version refers to; counts only, unless --delete.

    Versions that a retention rule lets go (art retain) are deleted first; what needs them stays, and is
    named. Drafts that several runs share (art drafts) are given up when nothing was contributed to them for
    30 days. What only deleted versions and abandoned pushes need is condemned, and deleted by a later
    collection once the grace period has passed; until then art undelete brings a version back. Runs may
    write meanwhile: what they need is never touched.
    """
    from artline.artifacts.retention import collect
    from artline.cli.documents import moment
    from artline.cli.output import Column, dim, print_json, print_table, red
    from artline.cli.progress import Progress
    from artline.cli.stores import open_artifacts
    from artline.cli.values import ago, count, plain, read_span, size

    if delete and dry_run:
        raise UsageError("--delete and --dry-run exclude each other")
    span = read_span(grace) if grace is not None else None
    store = open_artifacts()
    with Progress("gc: marking", noun="chunk", quiet=store.settings.quiet) as bar:
        done = collect(store, grace=span, dry_run=not delete, progress=bar)
    found = done.collection
    if as_json:
        versions = [
            {"name": v.name, "deleted_at": moment(v.deleted_at), "size": v.size, "unshared": v.unshared}
            for v in done.versions
        ]
        expired = [
            {
                "name": v.name,
                "size": v.size,
                "unshared": v.unshared,
                "reason": v.reason,
                "kept_by": v.kept_by,
            }
            for v in done.expired
        ]
        drafts = [
            {
                "name": d.qualified_name,
                "id": d.distributed_id,
                "size": d.size,
                "touched_at": moment(d.touched_at),
            }
            for d in done.drafts
        ]
        told = {"versions": versions, "expired": expired, "drafts": drafts, "collection": found}
        print_json({"dry_run": not delete, **told, "histories": done.histories})
        return
    print_table(
        [
            Column("DELETED VERSION"),
            Column("SINCE"),
            Column("SIZE", right=True),
            Column("ONLY ITS OWN", right=True),
        ],
        [[v.name, ago(v.deleted_at), size(v.size), size(v.unshared)] for v in done.versions],
    )
    print_table(
        [
            Column("UNDER ITS RULE"),
            Column("SIZE", right=True),
            Column("ONLY ITS OWN", right=True),
            Column("BECAUSE"),
            Column("STAYS FOR"),
        ],
        [
            [
                v.name,
                size(v.size),
                size(v.unshared) if v.goes else "",
                v.reason,
                ", ".join(v.kept_by) or "(goes)",
            ]
            for v in done.expired
        ],
    )
    print_table(
        [
            Column("DRAFT GIVEN UP"),
            Column("ID", flexible=True),
            Column("RUNS", right=True),
            Column("SIZE", right=True),
            Column("LATEST"),
        ],
        [
            [d.qualified_name, d.distributed_id, count(len(d.contributions)), size(d.size), ago(d.touched_at)]
            for d in done.drafts
        ],
    )
    would = "" if delete else "would be "
    print(f"needed      {count(found.live_chunks, 'chunk')}, {size(found.live_bytes)}")
    print(f"not needed  {count(found.dead_chunks, 'chunk')}, {size(found.dead_bytes)}")
    for amount, what in (
        (found.condemned, "condemned"),
        (found.revived, "taken back, as it is needed again"),
        (found.repacked, "rewritten without what is not needed"),
        (found.deleted, f"deleted, freeing {size(found.freed_bytes)}"),
    ):
        if amount:
            print(f"{count(amount, 'pack')} {would}{what}")
    if found.pinned:
        print(f"{count(found.pinned, 'pack')} kept for a writer whose lease still holds")
    if found.orphans:
        print(f"{count(found.orphans, 'object')} left by interrupted writers {would}deleted")
    histories = done.histories
    for amount, what in (
        (histories.condemned, f"of removed runs {would}condemned"),
        (histories.deleted - histories.interrupted, f"of removed runs {would}deleted"),
        (histories.interrupted, f"left by interrupted writers {would}deleted"),
    ):
        if amount:
            print(f"{count(amount, 'history file')} {what}")
    if histories.deleted:
        print(f"history files free {size(histories.freed_bytes)}")
    for problem in found.problems:
        print(red(plain(problem)))
    if not delete:
        print(dim("nothing was changed: art gc --delete does it"))
