"""``art runs tag``: tags of a run."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import json_option, run_argument


@command(
    "tag",
    examples=["art runs tag k3x9qf0a paper baseline", "art runs tag k3x9qf0a paper --remove"],
    exits=[3, 7],
    shape='{"id": str, "tags": [str]}',
)
@run_argument()
@click.argument("tags", nargs=-1, required=True, metavar="TAG…")
@click.option("--remove", is_flag=True, help="Take the tags off the run.")
@json_option
def tag(run: str, tags: tuple[str, ...], remove: bool, as_json: bool) -> None:
    """Add tags to a run, or remove them."""
    from artline.cli.output import print_json
    from artline.cli.stores import find_run, open_runs

    store = open_runs()
    record = find_run(store, run)
    kept = [name for name in record.tags if name not in tags]
    wanted = kept if remove else [*kept, *dict.fromkeys(tags)]
    record = store.update(record.project, record.run_id, entity=record.entity, tags=wanted)
    if as_json:
        print_json({"id": record.run_id, "tags": record.tags})
    else:
        print(f"{record.run_id}  {', '.join(record.tags) or 'no tags'}")
