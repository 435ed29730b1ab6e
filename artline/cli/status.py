"""``art status``: the settings in force, and what the store holds."""

from __future__ import annotations

from typing import Any

from artline.cli.command import command
from artline.cli.options import json_option


@command(
    "status",
    examples=["art status", "art status --json | jq -r .settings.root.value"],
    exits=[4, 5, 7],
    shape="""
{"version": str, "settings": {NAME: {"value": any, "source": str}}, "catalog": str, "bucket": str,
 "store": null | {"id": str, "digest": str, "schema": str, "latest_schema": str, "projects": int,
                  "artifacts": int, "versions": int, "runs": int, "logical_bytes": int,
                  "content_bytes": int, "stored_bytes": int, "packs": int, "chunks": int},
 "journals": {"journals": int, "size": bytes, "orphans": [path]}}
""",
)
@json_option
def status(as_json: bool) -> None:
    """Show the settings and their sources, and what the store holds.

    A source is a variable ($ART_…), a file (the project's art.toml or your own) or the default. A store
    that does not exist yet is not made, and waiting journals are not taken in.
    """
    from dataclasses import fields

    from artline import __version__
    from artline.cli.output import Column, dim, print_fields, print_json, print_table
    from artline.cli.values import count, number, size
    from artline.runs.survey import survey, waiting_journals
    from artline.settings import Settings, load_settings, redacted_url

    settings = load_settings()
    values: dict[str, Any] = {
        f.name: getattr(settings, f.name) for f in fields(Settings) if f.name != "sources"
    }
    values.update(
        root=str(settings.root), catalog=redacted_url(settings.catalog), bucket=redacted_url(settings.bucket)
    )
    catalog, bucket = redacted_url(settings.catalog_url), redacted_url(settings.bucket_url)
    if settings.server:
        catalog = bucket = settings.server
    figures = survey(settings)
    waiting = waiting_journals(settings)
    if as_json:
        print_json(
            {
                "version": __version__,
                "settings": {n: {"value": v, "source": settings.sources[n]} for n, v in values.items()},
                "catalog": catalog,
                "bucket": bucket,
                "store": figures,
                "journals": waiting,
            }
        )
        return
    print_table(
        [Column("SETTING"), Column("VALUE", flexible=True), Column("SOURCE")],
        [[n, number(v) or dim("-"), dim(settings.sources[n])] for n, v in values.items()],
    )
    print()
    orphaned = f", {len(waiting.orphans)} of runs that are gone (art sync)" if waiting.orphans else ""
    journals = f"{count(waiting.journals)} waiting ({size(waiting.size)}){orphaned}"
    if figures is None:
        print(f"no store in {settings.root} yet: the first reader or art push makes it")
        print_fields({"journals": journals})
        return
    print_fields(
        {
            "artline": __version__,
            "store": f"{figures.id} ({figures.digest})",
            "catalog": f"{catalog} (schema {figures.schema})" if figures.schema else catalog,
            "bucket": f"{bucket} ({count(figures.packs, 'pack')}, {count(figures.chunks, 'chunk')})",
            "holds": ", ".join(
                (
                    count(figures.projects, "project"),
                    count(figures.artifacts, "artifact"),
                    count(figures.versions, "version"),
                    count(figures.runs, "run"),
                )
            ),
            "size": f"{size(figures.logical_bytes)} in versions, {size(figures.stored_bytes)} stored "
            f"({size(figures.content_bytes)} before compression)",
            "journals": journals,
        }
    )
