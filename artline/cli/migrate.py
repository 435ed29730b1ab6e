"""``art migrate``: bring the catalog to this Artline's schema."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import json_option


@command(
    "migrate",
    examples=["art migrate --dry-run", "art migrate"],
    exits=[1, 5, 7],
    meanings={2: "wrong usage, or the store was written by a newer Artline"},
    shape='{"catalog": str, "before": str, "after": str, "migrated": bool}',
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@json_option
def migrate(dry_run: bool, as_json: bool) -> None:
    """Bring the catalog to the schema of this Artline.

    Opening a store does this as well; this command is for doing it at a chosen time, such as before many
    processes start. The catalog is changed in one transaction: it has the old schema or the new one.
    """
    from artline.cli.output import print_json
    from artline.settings import load_settings, redacted_url
    from artline.storage.catalog import migrate as migrate_catalog

    url = load_settings().catalog_url
    before, after = migrate_catalog(url, dry_run=dry_run)
    place = redacted_url(url)
    if as_json:
        print_json(
            {"catalog": place, "before": before, "after": after, "migrated": before != after and not dry_run}
        )
    elif before == after:
        print(f"nothing to do: {place} has schema {after}")
    else:
        print(f"{'would migrate' if dry_run else 'migrated'} {place} from {before or 'nothing'} to {after}")
