"""``art runs rm``: delete runs."""

from __future__ import annotations

from artline.cli.command import command
from artline.cli.options import run_argument


@command("rm", examples=["art runs rm k3x9qf0a", "art runs rm k3x9qf0a 7d2m1c4e"], exits=[3, 7])
@run_argument("runs", nargs=-1, required=True, metavar="RUN…")
def rm(runs: tuple[str, ...]) -> None:
    """Delete runs; undelete brings them back.

    A deleted run is in no listing any more. The versions it made stay, and lineage keeps telling of it.
    """
    from artline.cli.stores import find_run, open_runs

    store = open_runs()
    for record in [find_run(store, run) for run in runs]:
        store.delete(record.project, record.run_id, entity=record.entity)
        print(f"deleted {record.path}. Bring it back: art runs undelete {record.project}/{record.run_id}")
