"""``art files``: the files of a run."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import json_option, run_argument


@command(
    "files",
    examples=["art files k3x9qf0a", "art files k3x9qf0a 'plots/*' --copy plots"],
    exits=[3, 5, 6, 7],
    meanings={3: "no such run, or it has no such file", 6: "a file to be copied exists already"},
    shape="""
{"run": "entity/project/id",
 "files": [{"name": str, "path": str, "size": bytes, "modified": time, "policy": str}]}
""",
)
@run_argument()
@click.argument("pattern", required=False)
@click.option("--copy", "target", metavar="DIR", help="Copy the files into DIR; none there is overwritten.")
@json_option
def files(run: str, pattern: str | None, target: str | None, as_json: bool) -> None:
    """List the files a run kept, or copy them out.

    What the run saved or wrote into its folder; PATTERN such as '*.png' selects some.
    """
    from pathlib import Path

    from artline.cli.documents import moment
    from artline.cli.output import Column, print_json, print_table
    from artline.cli.stores import find_run, open_runs
    from artline.cli.values import ago, count, size
    from artline.runs.copying import copy_files, select_files

    store = open_runs()
    record = find_run(store, run)
    found = select_files(store, record, pattern)
    if target is not None:
        copy_files(store, found, Path(target))
    if as_json:
        documents = [
            {
                "name": f.name,
                "path": f.path,
                "size": f.size,
                "modified": moment(f.modified),
                "policy": f.policy,
            }
            for f in found
        ]
        print_json({"run": record.path, "files": documents})
    elif target is not None:
        print(f"{count(len(found), 'file')}, {size(sum(f.size for f in found))} copied to {target}")
    else:
        print_table(
            [Column("SIZE", right=True), Column("CHANGED"), Column("FILE", flexible=True)],
            [[size(f.size), ago(f.modified), f.name] for f in found],
            empty=f"run '{record.run_id}' has no files here",
        )
