"""``art tag``: tags of a version."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, json_option, project_option


@command(
    "tag",
    examples=["art tag digits:v1 reviewed paper", "art tag digits:v1 paper --remove"],
    exits=[3, 7],
    shape='{"name": str, "version": "v3", "tags": [str]}',
)
@artifact_argument("ref")
@click.argument("tags", nargs=-1, required=True, metavar="TAG…")
@project_option
@click.option("--remove", is_flag=True, help="Take the tags off the version.")
@json_option
def tag(ref: str, tags: tuple[str, ...], project: str | None, remove: bool, as_json: bool) -> None:
    """Add tags to a version, or remove them.

    Tags say what a version is like, and any number of versions may have the same one. To name one version,
    use an alias.
    """
    from artline.cli.output import print_json
    from artline.cli.stores import open_artifacts

    version = open_artifacts(project).get(ref)
    kept = [name for name in version.tags if name not in tags]
    version.tags = kept if remove else [*kept, *dict.fromkeys(tags)]
    version.save()
    if as_json:
        record = version.record
        print_json({"name": record.name, "version": record.version, "tags": record.tags})
    else:
        print(f"{version.name}  {', '.join(version.tags) or 'no tags'}")
