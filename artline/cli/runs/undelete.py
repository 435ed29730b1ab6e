"""``art runs undelete``: bring deleted runs back."""

from __future__ import annotations

from artline.cli.command import command
from artline.cli.options import run_argument


@command("undelete", examples=["art runs ls --deleted", "art runs undelete k3x9qf0a"], exits=[3, 7])
@run_argument("runs", nargs=-1, required=True, metavar="RUN…")
def undelete(runs: tuple[str, ...]) -> None:
    """Bring deleted runs back.

    With everything they had.
    """
    from artline.cli.stores import find_run, open_runs

    store = open_runs()
    for record in [find_run(store, run, deleted=True) for run in runs]:
        store.undelete(record.project, record.run_id, entity=record.entity)
        print(f"{record.path} is back")
