"""``art runs``: the commands about runs as a whole."""

from __future__ import annotations

import click

from artline.cli.group import LazyGroup

SECTIONS = {
    "Commands": {
        "ls": "List runs, filtered and sorted.",
        "show": "Show everything known about a run.",
        "tag": "Add tags to a run, or remove them.",
        "note": "Set a run's notes.",
        "rm": "Delete runs; undelete brings them back.",
        "undelete": "Bring deleted runs back.",
    }
}


@click.group("runs", cls=LazyGroup, package="artline.cli.runs", sections=SECTIONS)
def runs() -> None:
    """List, show, label and delete runs.

    A run is named by its id, with PROJECT/ before it for another project than the one set.
    """
