"""``art fsck``: check the whole store."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import json_option


@command(
    "fsck",
    examples=[
        "art fsck",
        "art fsck --full",
        "art fsck --repair",
        "art fsck --full --json | jq '.losses[].version'",
    ],
    exits=[4, 7],
    meanings={0: "the store is sound", 4: "something is damaged or gone"},
    shape="""
{"ok": bool, "full": bool, "versions": int, "packs": int, "chunks": int, "bytes": bytes,
 "problems": [str], "damaged": [{"digest": str, "place": str, "reason": str}], "orphans": [str],
 "losses": [{"version": "entity/project/name:v3", "path": str, "problem": str}], "journals": [str],
 "repaired": null | {"packs": int, "chunks": int, "forgotten": int, "problems": [str]}}
""",
)
@click.option("--full", is_flag=True, help="Read every byte again and compare it with its digest.")
@click.option(
    "--repair",
    is_flag=True,
    help="Put back what the index of chunks lacks, and take damaged chunks out of it (implies --full).",
)
@json_option
def fsck(full: bool, repair: bool, as_json: bool) -> None:
    """Check the store; name each damaged version, file and journal.

    Without --full every pack must be there with its size and its index, and every chunk that a version
    needs must be known. Nothing is changed without --repair. After it, storing a file whose content was
    damaged or lost again (art push, or the script that logged it) heals every version that has it.
    """
    from itertools import groupby

    from artline.artifacts.fsck import check
    from artline.cli.output import note, print_json, red
    from artline.cli.progress import Progress
    from artline.cli.stores import open_artifacts, open_runs
    from artline.cli.values import count, plain, size
    from artline.storage.fsck import forget_damaged, rebuild_index

    full = full or repair
    store = open_artifacts(adopt=repair)
    rebuilt = rebuild_index(store.content) if repair else None
    with Progress("fsck", noun="pack", quiet=store.settings.quiet) as bar:
        report = check(store, full=full, progress=bar)
    journals = [str(damage) for damage in open_runs().drain().damages]
    ok = report.ok and not journals
    packs = report.packs
    forgotten = forget_damaged(store.content, packs) if repair else 0
    if as_json:
        damaged = [
            {"digest": store.content.format(chunk.digest), "place": chunk.place, "reason": chunk.reason}
            for chunk in packs.damaged
        ]
        print_json(
            {
                "ok": ok,
                "full": full,
                "versions": report.versions,
                "packs": packs.packs,
                "chunks": packs.chunks,
                "bytes": packs.bytes,
                "problems": packs.problems,
                "damaged": damaged,
                "orphans": packs.orphans,
                "losses": report.losses,
                "journals": journals,
                "repaired": rebuilt
                and {
                    "packs": rebuilt.packs,
                    "chunks": rebuilt.chunks,
                    "forgotten": forgotten,
                    "problems": rebuilt.problems,
                },
            }
        )
    else:
        if rebuilt is not None:
            print(f"put back: {count(rebuilt.packs, 'pack')}, {count(rebuilt.chunks, 'chunk')}")
            if forgotten:
                print(f"taken out: {count(forgotten, 'damaged chunk')}. Store the files named below again")
            for problem in rebuilt.problems:
                print(red(plain(problem)))
        for problem in packs.problems:
            print(red(plain(problem)))
        for place, chunks in groupby(packs.damaged, key=lambda chunk: chunk.place):
            first, *more = chunks
            rest = f", and {count(len(more), 'more chunk')} in it" if more else ""
            print(red(plain(f"{place}: {store.content.format(first.digest)}: {first.reason}{rest}")))
        for loss in report.losses:
            print(red(plain(f"{loss.version}  {loss.path or '(all of it)'}: {loss.problem}")))
        for journal in journals:
            print(red(plain(f"journal {journal}")))
        if packs.orphans:
            left = count(len(packs.orphans), "object")
            note(f"{left} left by interrupted writers: harmless, art gc --delete deletes them")
        looked = ", ".join(
            (
                count(report.versions, "version"),
                count(packs.packs, "pack"),
                count(packs.chunks, "chunk"),
            )
        )
        if ok:
            print(f"sound: {looked}, {size(packs.bytes)}{' read again' if full else ''}")
        else:
            note(f"error: the store is damaged ({looked} checked)")
    if not ok:
        raise click.exceptions.Exit(4)
