"""``art export``: runs as a table in a file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from artline.cli.command import command
from artline.cli.options import project_option, run_argument
from artline.errors import UsageError

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}


@command(
    "export",
    examples=[
        "art export -o history.parquet                     # every run of the project",
        "art export k3x9qf0a --key 'train/*' > train.csv",
        "art export --runs -o runs.csv                     # a row for each run",
    ],
    exits=[3, 5, 7],
    meanings={2: "wrong usage, or pyarrow is not installed", 3: "no such run, or no run has such a metric"},
)
@run_argument("runs", nargs=-1, metavar="[RUN…]")
@project_option
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE.")
@click.option(
    "--format", "form", type=click.Choice(["csv", "jsonl", "parquet"]),
    help="By default the one that FILE's name says, else csv.",
)  # fmt: skip
@click.option(
    "-k", "--key", "keys", multiple=True, metavar="KEY", help="Only this metric, or pattern of metrics."
)
@click.option("--system", is_flag=True, help="The metrics of the machine, not those logged.")
@click.option("--runs", "whole", is_flag=True, help="A row for each run: state, times, config, summary.")
def export(
    runs: tuple[str, ...],
    project: str | None,
    output: Path | None,
    form: str | None,
    keys: tuple[str, ...],
    system: bool,
    whole: bool,
) -> None:
    """Write runs and their history to CSV, JSON lines or Parquet.

    A row for each logged step of each run, exactly as logged; all runs of the project unless some are
    named. Without -o it goes to standard output. A file appears complete or not at all.
    """
    from artline.cli.output import note
    from artline.cli.stores import find_run, open_runs
    from artline.cli.values import count
    from artline.runs.export import every_run, export_history, export_runs
    from artline.runs.records import HISTORY, SYSTEM

    form = form or (SUFFIXES.get(output.suffix, "csv") if output else "csv")
    if whole and (keys or system):
        raise UsageError("--runs writes runs, not metrics: it takes neither --key nor --system")
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise UsageError("Parquet is no text for a terminal. Give a file: -o FILE")
    store = open_runs(project)
    records = [find_run(store, run) for run in runs] if runs else every_run(store)
    target = output if output is not None else sys.stdout.buffer
    if whole:
        report = export_runs(records, target, form)
    else:
        report = export_history(store, records, target, form, keys=keys, stream=SYSTEM if system else HISTORY)
    if output is not None:
        note(f"{output}: {count(report.rows, 'row')} of {count(report.runs, 'run')}")
