"""``art cache``: what was fetched from a remote bucket, and the files that checkouts are linked to."""

from __future__ import annotations

import click

from artline.cli.group import LazyGroup

SECTIONS = {
    "Commands": {
        "info": "Show what the cache holds, its limit and its disk.",
        "clean": "Remove what the cache holds: by size, by age, or all of it.",
    }
}


@click.group("cache", cls=LazyGroup, package="artline.cli.cache", sections=SECTIONS)
def cache() -> None:
    """Show or clean the cache of what was fetched.

    It keeps pieces of packs from a remote bucket and the files of checkouts made with --link, up to a limit,
    and removes by itself what was not used for the longest time. Nothing in it is the only copy.
    """
