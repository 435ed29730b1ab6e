"""``art fsck``: check the whole store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from artline.cli.command import command
from artline.cli.options import json_option

if TYPE_CHECKING:
    from artline.artifacts.repair import Repair


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
{"ok": bool, "full": bool, "versions": int, "packs": int, "chunks": int, "bytes": bytes, "records": int,
 "problems": [str], "damaged": [{"digest": str, "place": str, "reason": str}], "orphans": [str],
 "losses": [{"version": "entity/project/name:v3", "path": str, "problem": str}], "journals": [str],
 "histories": int, "history_bytes": bytes, "strangers": [str],
 "repaired": null | {"packs": int, "chunks": int, "salvaged": int, "forgotten": int, "artifacts": int,
                     "versions": int, "aliases": int, "rewritten": [str], "quarantined": [str],
                     "unclaimed": [str], "journals": [{"path": str, "unread": bytes}],
                     "problems": [str]}}
""",
)
@click.option("--full", is_flag=True, help="Read every byte again and compare it with its digest.")
@click.option(
    "--repair",
    is_flag=True,
    help="Rebuild what the catalog lacks from the bucket; put aside what is damaged (implies --full).",
)
@json_option
def fsck(full: bool, repair: bool, as_json: bool) -> None:
    """Check the store; name each damaged version, file and journal.

    Without --full every pack must be there with its size and its index, and every chunk that a version
    needs must be known. So must the Parquet files that histories of long runs are sealed in be there with
    their size: one that is damaged or gone comes back from a backup of the bucket only. Nothing is changed
    without --repair, which also rebuilds a catalog that was lost: artifacts with their versions, aliases and
    history come back, runs and their metrics do not. After it, storing a file whose content was damaged or
    lost again (art push, or the script that logged it) heals every version that has it.
    """
    from itertools import groupby

    from artline.artifacts.fsck import check
    from artline.artifacts.repair import repair as mend
    from artline.cli.output import note, print_json, red
    from artline.cli.progress import Progress
    from artline.cli.stores import open_artifacts, open_runs
    from artline.cli.values import count, plain, size
    from artline.runs.aside import put_aside

    full = full or repair
    store = open_artifacts(adopt=repair)
    with Progress("fsck", noun="pack", quiet=store.settings.quiet) as bar:
        done = mend(store, progress=bar) if repair else None
        report = done.report if done else check(store, full=full, progress=bar)
    damages = open_runs().drain().damages
    moved = list(put_aside(store.settings.root, damages)) if repair else []
    journals = [str(damage) for damage in damages if damage not in {one.damage for one in moved}]
    ok = report.ok and not journals and not (done and done.restored.problems)
    packs = report.packs
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
                "records": report.records,
                "problems": [*packs.problems, *report.problems],
                "damaged": damaged,
                "orphans": packs.orphans,
                "losses": report.losses,
                "journals": journals,
                "histories": report.histories,
                "history_bytes": report.history_bytes,
                "strangers": report.strangers,
                "repaired": done
                and {
                    "packs": done.rebuilt.packs,
                    "chunks": done.rebuilt.chunks,
                    "salvaged": done.salvaged.chunks,
                    "forgotten": done.forgotten,
                    "artifacts": done.restored.artifacts,
                    "versions": done.restored.versions,
                    "aliases": done.restored.aliases,
                    "rewritten": done.restored.rewritten,
                    "quarantined": done.quarantined,
                    "unclaimed": done.unclaimed,
                    "journals": [{"path": one.path, "unread": one.unread} for one in moved],
                    "problems": [
                        *done.rebuilt.problems,
                        *done.salvaged.problems,
                        *done.restored.problems,
                    ],
                },
            }
        )
    else:
        if done is not None:
            _print_repair(done)
        for one in moved:
            print(red(plain(f"journal {one.damage}")))
            print(plain(f"put aside, as it is damaged: {one.path}, {size(one.unread)} of it not read"))
        for problem in (*packs.problems, *report.problems):
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
        if report.strangers:
            left = count(len(report.strangers), "history file")
            note(
                f"{left} below metrics/ of no run of this catalog, but of a lost one or of another store: "
                "left alone, art fsck --json lists what can be deleted by hand"
            )
        looked = ", ".join(
            (
                count(report.versions, "version"),
                count(packs.packs, "pack"),
                count(packs.chunks, "chunk"),
                *([count(report.histories, "history file")] if report.histories else []),
            )
        )
        if ok:
            print(
                f"sound: {looked}, {size(packs.bytes + report.history_bytes)}{' read again' if full else ''}"
            )
        else:
            remedy = ""
            if done is None and (report.reparable or journals):
                remedy = ". Run: art fsck --repair, then store again what is named"
            elif journals:
                remedy = (
                    ". A journal is put aside when its bytes are damaged and its writer is certainly gone: "
                    "run art fsck --repair on the writer's machine, or move the journal away by hand"
                )
            note(f"error: the store is damaged ({looked} checked){remedy}")
    if not ok:
        raise click.exceptions.Exit(4)


def _print_repair(done: Repair) -> None:
    from artline.cli.output import note, red
    from artline.cli.values import count, plain

    rebuilt, restored = done.rebuilt, done.restored
    if rebuilt.chunks:
        print(f"put back: {count(rebuilt.packs, 'pack')}, {count(rebuilt.chunks, 'chunk')}")
    if restored.artifacts or restored.versions or restored.aliases:
        print(
            f"put back: {count(restored.artifacts, 'artifact')}, {count(restored.versions, 'version')}, "
            f"{count(restored.aliases, 'alias', 'aliases')}"
        )
    for name in restored.rewritten:
        print(plain(f"written anew from its record: {name}"))
    if done.forgotten:
        print(f"taken out: {count(done.forgotten, 'damaged chunk')}. Store the files named below again")
    if done.salvaged.packs:
        print(
            f"written anew: {count(done.salvaged.chunks, 'sound chunk')} of "
            f"{count(done.salvaged.packs, 'damaged pack')}"
        )
    for name in done.quarantined:
        print(plain(f"put aside, as it is damaged: {name}"))
    for problem in (*rebuilt.problems, *done.salvaged.problems, *restored.problems):
        print(red(plain(problem)))
    if done.unclaimed:
        note(
            f"{count(len(done.unclaimed), 'manifest')} of no version: never finished, or the record of the "
            "version is lost; art gc --delete frees what only they need"
        )
