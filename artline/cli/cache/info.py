"""``art cache info``: what the cache holds."""

from __future__ import annotations

from artline.cli.command import command
from artline.cli.options import json_option


@command(
    "info",
    examples=["art cache info", "art cache info --json | jq .size"],
    exits=[7],
    shape="""
{"folder": path, "size": bytes, "limit": bytes, "setting": str, "packs": int, "files": int, "linked": int,
 "linked_size": bytes, "oldest": time | null, "disk_free": bytes, "writable": bool}
""",
)
@json_option
def info(as_json: bool) -> None:
    """Show what the cache holds, its limit and its disk.

    Files that a checkout is linked to (linked) take no room of their own and are not part of the size.
    """
    import os

    from artline.cli.documents import moment
    from artline.cli.output import dim, note, print_fields, print_json
    from artline.cli.values import ago, count, size
    from artline.settings import load_settings
    from artline.storage.cache import Cache

    settings = load_settings()
    cache = Cache(settings.cache_folder, settings.cache_size)
    usage = cache.usage()
    there = next(place for place in (cache.folder, *cache.folder.parents) if place.exists())
    writable = os.access(there, os.W_OK)
    if as_json:
        print_json(
            {
                "folder": cache.folder,
                "size": usage.size,
                "limit": cache.limit,
                "setting": settings.cache_size,
                "packs": usage.packs,
                "files": usage.files,
                "linked": usage.linked,
                "linked_size": usage.linked_size,
                "oldest": moment(usage.oldest),
                "disk_free": cache.free_space(),
                "writable": writable,
            }
        )
        return
    linked = (
        f" ({count(usage.linked)} linked by checkouts: {size(usage.linked_size)})" if usage.linked else ""
    )
    print_fields(
        {
            "folder": str(cache.folder),
            "size": f"{size(usage.size)} of {size(cache.limit)}  {dim(f'({settings.cache_size})')}",
            "packs": f"{count(usage.packs)} in pieces",
            "files": f"{count(usage.files)}{linked}",
            "oldest": "" if usage.oldest is None else f"used {ago(usage.oldest)}",
            "disk": f"{size(cache.free_space())} free",
        }
    )
    if not writable:
        note(f"{there} may not be written: nothing is kept. Set ART_CACHE to another folder")
    elif not cache.enabled:
        note("cache_size is 0: nothing is kept")
