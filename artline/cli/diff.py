"""``art diff``: two versions compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from artline.cli.command import command
from artline.cli.documents import ENTRY_SHAPE
from artline.cli.options import artifact_argument, json_option, project_option


@command(
    "diff",
    examples=[
        "art diff digits:v0 digits:v1",
        "art diff digits:production digits --stat",
        "art diff prices:v0 prices --rows region --rows day",
    ],
    exits=[3, 4, 7],
    meanings={0: "the versions have the same files", 1: "they differ"},
    shape="""
{"equal": bool, "added": [ENTRY], "removed": [ENTRY],
 "changed": [{"old": ENTRY, "new": ENTRY}], "renamed": [{"old": ENTRY, "new": ENTRY}],
 with --rows "tables": [TABLE], "rows": [ROW]}
"""
    + ENTRY_SHAPE
    + """
TABLE: {"path": str, "key": [column], "columns_added": [str], "columns_removed": [str],
        "added": int, "removed": int, "changed": int, "duplicates": int}
ROW: {"path": str, "change": "added" | "removed" | "changed", "key": {column: cell},
      "columns": [str] (of those changed), "old": {column: cell} | null, "new": likewise}
     or {"path": str, "change": "duplicate", "key": {…}, "old": count, "new": count, "differs": bool}""",
)
@artifact_argument("old", metavar="A")
@artifact_argument("new", metavar="B")
@project_option
@click.option("--stat", is_flag=True, help="Print the counts only.")
@click.option(
    "--rows",
    "keys",
    multiple=True,
    metavar="KEY",
    help="Compare the rows of changed CSV, JSON lines and Parquet files by this column; once for each "
    "column of the key.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="How many rows of each file to print; --json has all.",
)
@json_option
def diff(
    old: str, new: str, project: str | None, stat: bool, keys: tuple[str, ...], limit: int, as_json: bool
) -> None:
    """Compare the files of two versions, and the rows in them.

    Prints what has to happen to A to make it B: + added, - removed, ~ changed, > renamed. Only the parts of
    the manifests that the versions do not share are read.

    With --rows, files of rows that changed are read, and their rows told apart by a key: so for each row
    that changed, the cells that differ are printed. A key that several rows of a version have (! in front)
    is reported and its rows are not told apart. Cells are compared by value; those of CSV are text.
    """
    from artline.cli.documents import entry_document, pair_document
    from artline.cli.output import green, print_json_lists, red, yellow
    from artline.cli.row_changes import RowReport
    from artline.cli.stores import open_artifacts
    from artline.cli.values import count, plain, size

    store = open_artifacts(project)
    found = store.get(old).diff(store.get(new))
    report = RowReport(found, keys) if keys else None
    if as_json:
        lists: dict[str, Iterable[Any]] = {
            "added": map(entry_document, found.added),
            "removed": map(entry_document, found.removed),
            "changed": map(pair_document, found.changed),
            "renamed": map(pair_document, found.renamed),
        }
        if report is not None:
            lists |= {"tables": report.tables(), "rows": report.documents()}
        print_json_lists({"equal": not found}, lists)
    else:
        if not stat:
            for entry in found.removed:
                print(red(f"- {plain(entry.path)}"))
            for entry in found.added:
                print(green(f"+ {plain(entry.path)}"))
            for before, after in found.changed:
                sizes = (
                    size(after.size)
                    if before.size == after.size
                    else f"{size(before.size)} -> {size(after.size)}"
                )
                print(yellow(f"~ {plain(after.path)}") + f"  ({sizes})")
                if report is not None:
                    report.print(after.path, limit)
            for before, after in found.renamed:
                print(yellow(f"> {plain(before.path)} -> {plain(after.path)}"))
        elif report is not None:
            for table in report.tables():
                print(yellow(f"~ {plain(table['path'])}"))
                report.print(table["path"], 0)
        grown = sum(e.size for e in found.added) + sum(b.size - a.size for a, b in found.changed)
        change = grown - sum(e.size for e in found.removed)
        print(
            f"{count(len(found.added))} added, {count(len(found.removed))} removed, "
            f"{count(len(found.changed))} changed, {count(len(found.renamed))} renamed, "
            f"{'+' if change >= 0 else '-'}{size(abs(change))}"
            if found
            else "no difference"
        )
    if found:
        raise click.exceptions.Exit(1)
