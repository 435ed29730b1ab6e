"""``art drafts``: the commands about distributed drafts."""

from __future__ import annotations

import click

from artline.cli.group import LazyGroup

SECTIONS = {
    "Commands": {
        "ls": "List the open drafts that runs contribute to.",
        "show": "Show who contributed what to a draft.",
        "finish": "Make what was contributed to a draft a version.",
        "rm": "Give up a draft, or take out what one run contributed.",
    }
}


@click.group("drafts", cls=LazyGroup, package="artline.cli.drafts", sections=SECTIONS)
def drafts() -> None:
    """List, finish and give up drafts that several runs share.

    Runs contribute to the draft of an artifact's name and an id, their group unless they say another
    (run.upsert_artifact), and one of them makes the version (run.finish_artifact). A draft to which nothing
    was contributed for 30 days is given up when art gc --delete passes. ID may be left out where an
    artifact has one open draft.
    """
