"""``art logs``: the console output of a run."""

from __future__ import annotations

import sys
from typing import Any

import click

from artline.cli.command import command
from artline.cli.options import json_option, run_argument
from artline.errors import UsageError


@command(
    "logs",
    examples=["art logs k3x9qf0a", "art logs k3x9qf0a -n 20 -f", "art logs k3x9qf0a --stream stderr"],
    exits=[3, 7],
    shape="""
{"run": "entity/project/id", "state": str,
 "output": [{"stream": "stdout" | "stderr", "time": time, "text": str}]}
""",
)
@run_argument()
@click.option("-f", "--follow", is_flag=True, help="Go on with what the run writes, until it ends.")
@click.option("-n", "--lines", type=click.IntRange(min=1), metavar="N", help="Begin with the last N lines.")
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="Only what it wrote there.")
@click.option("--label", metavar="LABEL", help="Only what the process of this label wrote (shared runs).")
@json_option
def logs(
    run: str, follow: bool, lines: int | None, stream: str | None, label: str | None, as_json: bool
) -> None:
    """Print what a run wrote to its console.

    Both streams, byte for byte and in the order in which they came.
    """
    from artline.cli.documents import moment
    from artline.cli.output import print_json
    from artline.cli.stores import find_run, open_runs
    from artline.runs.follow import follow_output

    if follow and as_json:
        raise UsageError("--follow and --json exclude each other: a document has an end")
    store = open_runs()
    record = find_run(store, run)
    if as_json:
        output: list[dict[str, Any]] = [
            {
                "stream": piece.stream,
                "time": moment(piece.time),
                "text": piece.data.decode("utf-8", "replace"),
            }
            for piece in store.console(record, stream=stream, lines=lines, label=label)
        ]
        print_json({"run": record.path, "state": record.state, "output": output})
        return
    pieces = (
        follow_output(store, record, stream=stream, lines=lines, label=label)
        if follow
        else store.console(record, stream=stream, lines=lines, label=label)
    )
    for piece in pieces:
        sys.stdout.buffer.write(piece.data)
        if follow:
            sys.stdout.buffer.flush()
