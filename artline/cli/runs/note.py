"""``art runs note``: the notes of a run."""

from __future__ import annotations

import sys

import click

from artline.cli.command import command
from artline.cli.options import run_argument


@command(
    "note",
    examples=['art runs note k3x9qf0a "best so far, lr halved"', "art runs note k3x9qf0a - < notes.md"],
    exits=[3, 7],
)
@run_argument()
@click.argument("text")
def note(run: str, text: str) -> None:
    """Set a run's notes.

    TEXT replaces the notes there are; - reads it from standard input, "" removes the notes.
    """
    from artline.cli.stores import find_run, open_runs

    store = open_runs()
    record = find_run(store, run)
    text = sys.stdin.read() if text == "-" else text
    store.update(record.project, record.run_id, entity=record.entity, notes=text)
    print(f"{record.run_id}  notes {'set' if text else 'removed'}")
