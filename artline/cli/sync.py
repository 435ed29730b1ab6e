"""``art sync``: take in what runs have logged."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import json_option


@command(
    "sync",
    examples=["art sync", "art sync /mnt/node7/artline"],
    exits=[1, 3, 6, 7],
    meanings={
        1: "a journal is damaged: what could be read of it was taken in",
        6: "another run of the same id is here; everything else was taken in",
    },
    shape="""
{"records": int, "bytes": int, "runs": ["entity/project/id"], "files": int, "remaining": int,
 "clashing": ["entity/project/id"], "damaged": [{"path": str, "offset": int, "reason": str}]}
""",
)
@click.argument("path", required=False, type=click.Path())
@json_option
def sync(path: str | None, as_json: bool) -> None:
    """Take in what runs have logged and no reader has met yet.

    PATH is another root, a folder of journals or a journal, such as a run on another machine left behind;
    without it the store's own journals are taken in. Doing it twice does it once.
    """
    from artline.cli.output import note, print_json
    from artline.cli.stores import open_runs
    from artline.cli.values import count, size
    from artline.runs.sync import sync as sync_runs

    report = sync_runs(open_runs(), path)
    if as_json:
        print_json(
            {
                "records": report.records,
                "bytes": report.size,
                "runs": report.runs,
                "files": report.files,
                "remaining": report.remaining,
                "clashing": report.clashing,
                "damaged": report.damages,
            }
        )
    else:
        for run in report.runs:
            print(run)
        taken = f"{count(report.records, 'record')} ({size(report.size)}) of {count(len(report.runs), 'run')}"
        files = f", {count(report.files, 'file')}" if report.files else ""
        print(f"{taken}{files} taken in, {count(report.remaining, 'journal')} left")
        for run in report.clashing:
            note(f"left where it is: {run}, as this store has another run of that name")
        for damage in report.damages:
            note(f"damaged: {damage}")
    if report.damages or report.clashing:
        raise click.exceptions.Exit(1 if report.damages else 6)
