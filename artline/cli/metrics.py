"""``art metrics``: the values a run logged."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from artline.cli.command import command
from artline.cli.options import json_option, run_argument
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.runs.series import Series


@command(
    "metrics",
    examples=[
        "art metrics k3x9qf0a",
        "art metrics k3x9qf0a train/loss 'val/*'",
        "art metrics k3x9qf0a train/loss --csv > loss.csv",
        "art metrics k3x9qf0a 'gpu.*' --system",
    ],
    exits=[3, 7],
    meanings={3: "no such run, or it has no such metric"},
    shape="""
{"run": "entity/project/id", "metrics": {KEY: {"count": int, "last": any, "min": number | null,
  "max": number | null, "steps": [int], "times": [seconds since 1970], "values": [any]}}}
""",
)
@run_argument()
@click.argument("keys", nargs=-1, metavar="[KEY…]")
@click.option("--system", is_flag=True, help="The metrics of the machine, not those logged.")
@click.option("--csv", "as_csv", is_flag=True, help="Print every value as CSV: key, step, time, value.")
@json_option
def metrics(run: str, keys: tuple[str, ...], system: bool, as_csv: bool, as_json: bool) -> None:
    """Show a run's metrics: last value, bounds and course.

    KEY may be a pattern such as 'train/*'; without any, all metrics are shown. The values are exact, and
    each bar of the course shows the extreme of its stretch.
    """
    from artline.cli.stores import find_run, open_runs
    from artline.runs.records import HISTORY, SYSTEM
    from artline.runs.series import match_keys, read_series

    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other")
    store = open_runs()
    record = find_run(store, run)
    stream = SYSTEM if system else HISTORY
    found = read_series(store, record, match_keys(store, record, keys, stream=stream), stream=stream)
    if as_json:
        print_documents(record.path, found)
    elif as_csv:
        print_values(found)
    else:
        print_overview(found, empty=f"run '{record.run_id}' has logged no metrics")


def print_documents(run: str, found: list[Series]) -> None:
    from artline.cli.output import print_json

    documents: dict[str, Any] = {
        series.key: {
            "count": len(series.values),
            "last": series.last,
            "min": series.smallest,
            "max": series.largest,
            "steps": series.steps,
            "times": series.times,
            "values": series.values,
        }
        for series in found
    }
    print_json({"run": run, "metrics": documents})


def print_values(found: list[Series]) -> None:
    import csv

    from artline.cli.output import json_text

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["key", "step", "time", "value"])
    for series in found:
        for step, time, value in zip(series.steps, series.times, series.values, strict=True):
            text = value if isinstance(value, (str, int, float)) else json_text(value, indent=None)
            writer.writerow(
                [series.key, step, repr(time), str(text).lower() if isinstance(value, bool) else text]
            )


def print_overview(found: list[Series], empty: str) -> None:
    from artline.cli.output import Column, print_table
    from artline.cli.values import count, number, sparkline

    print_table(
        [
            Column("METRIC", flexible=True),
            Column("COUNT", right=True),
            Column("LAST", right=True),
            Column("MIN", right=True),
            Column("MAX", right=True),
            Column("COURSE"),
        ],
        [
            [
                series.key,
                count(len(series.values)),
                number(series.last),
                number(series.smallest),
                number(series.largest),
                sparkline(series.numbers),
            ]
            for series in found
        ],
        empty=empty,
    )
