"""``art cache clean``: remove what the cache holds."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import json_option
from artline.errors import UsageError


@command(
    "clean",
    examples=[
        "art cache clean --all",
        "art cache clean --size 10GiB",
        "art cache clean --unused 30d --dry-run",
    ],
    exits=[5, 7],
    shape="""
{"dry_run": bool, "entries": int, "bytes": bytes, "size": bytes}
""",
)
@click.option(
    "--size", "most", metavar="SIZE", help="Keep at most this much, such as 10GiB: the latest used."
)
@click.option("--unused", metavar="TIME", help="Remove what was not used for this long, such as 12h or 30d.")
@click.option("--all", "everything", is_flag=True, help="Remove everything.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@json_option
def clean(most: str | None, unused: str | None, everything: bool, dry_run: bool, as_json: bool) -> None:
    """Remove what the cache holds: by size, by age, or all of it.

    Without a choice only what exceeds the limit goes, and what killed processes left. Commands that run
    meanwhile fetch again what they miss. Checkouts keep their files, linked or not.
    """
    import time

    from artline.cli.output import print_json
    from artline.cli.values import count, read_span, size
    from artline.settings import load_settings, parse_size
    from artline.storage.cache import Cache

    if everything and (most is not None or unused is not None):
        raise UsageError("--all leaves nothing that --size or --unused could choose from")
    try:
        limit = None if most is None else parse_size(most)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from None
    since = None if unused is None else time.time() - read_span(unused).total_seconds()
    settings = load_settings()
    cache = Cache(settings.cache_folder, settings.cache_size)
    removed = cache.clean(size=limit, unused_since=since, everything=everything, dry_run=dry_run)
    left = cache.usage().size
    if as_json:
        print_json({"dry_run": dry_run, "entries": removed.entries, "bytes": removed.bytes, "size": left})
        return
    what = count(removed.entries, "entry", "entries")
    if dry_run:
        print(f"would remove {what}, freeing {size(removed.bytes)} of {size(left)}")
    else:
        print(f"removed {what}, freeing {size(removed.bytes)}; {size(left)} left")
