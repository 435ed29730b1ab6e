"""``art diff``: two versions compared."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.documents import ENTRY_SHAPE
from artline.cli.options import artifact_argument, json_option, project_option


@command(
    "diff",
    examples=["art diff digits:v0 digits:v1", "art diff digits:production digits --stat"],
    exits=[3, 4, 7],
    meanings={0: "the versions have the same files", 1: "they differ"},
    shape="""
{"equal": bool, "added": [ENTRY], "removed": [ENTRY],
 "changed": [{"old": ENTRY, "new": ENTRY}], "renamed": [{"old": ENTRY, "new": ENTRY}]}
"""
    + ENTRY_SHAPE,
)
@artifact_argument("old", metavar="A")
@artifact_argument("new", metavar="B")
@project_option
@click.option("--stat", is_flag=True, help="Print the counts only.")
@json_option
def diff(old: str, new: str, project: str | None, stat: bool, as_json: bool) -> None:
    """Compare the files of two versions.

    Prints what has to happen to A to make it B: + added, - removed, ~ changed, > renamed. Only the parts of
    the manifests that the versions do not share are read.
    """
    from artline.cli.documents import entry_document
    from artline.cli.output import green, print_json, red, yellow
    from artline.cli.stores import open_artifacts
    from artline.cli.values import count, plain, size

    store = open_artifacts(project)
    found = store.get(old).diff(store.get(new))
    if as_json:
        pairs = {
            name: [{"old": entry_document(a), "new": entry_document(b)} for a, b in part]
            for name, part in (("changed", found.changed), ("renamed", found.renamed))
        }
        added, removed = map(entry_document, found.added), map(entry_document, found.removed)
        print_json({"equal": not found, "added": list(added), "removed": list(removed), **pairs})
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
            for before, after in found.renamed:
                print(yellow(f"> {plain(before.path)} -> {plain(after.path)}"))
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
