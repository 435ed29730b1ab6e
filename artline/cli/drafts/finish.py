"""``art drafts finish``: make the version, where no run is left to do it."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.documents import VERSION_SHAPE
from artline.cli.options import artifact_argument, json_option, project_option


@command(
    "finish",
    examples=[
        "art drafts finish predictions",
        "art drafts finish predictions sweep-7 --alias candidate --metadata rows=120000",
    ],
    exits=[3, 4, 6, 7],
    meanings={6: "runs sent different content under one path, or metadata under one key; it stays open"},
    shape='{"version": VERSION}\n' + VERSION_SHAPE,
)
@artifact_argument("name", metavar="NAME")
@click.argument("draft", metavar="[ID]", required=False)
@click.option("-a", "--alias", "aliases", multiple=True, metavar="ALIAS", help="An alias for the version.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag for the version.")
@click.option(
    "-m", "--metadata", multiple=True, metavar="KEY=VALUE|@FILE",
    help="What is known about the version, as in art push; counts before what runs gave.",
)  # fmt: skip
@click.option("-d", "--description", metavar="TEXT", help="What the version is.")
@project_option
@json_option
def finish(
    name: str,
    draft: str | None,
    aliases: tuple[str, ...],
    tags: tuple[str, ...],
    metadata: tuple[str, ...],
    description: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Make what was contributed to a draft a version.

    For where no run is left to call finish_artifact. The runs that contributed become the version's
    producers. A draft that is finished already is not finished again; the version it became is shown.
    """
    from artline.artifacts.assembly import finish_draft
    from artline.cli.documents import version_document
    from artline.cli.output import print_json
    from artline.cli.stores import open_artifacts
    from artline.cli.values import count, read_metadata, size

    version = finish_draft(
        open_artifacts(project),
        name,
        draft,
        aliases=aliases,
        tags=tags,
        metadata=read_metadata(metadata),
        description=description,
    )
    record = version.record
    if as_json:
        print_json({"version": version_document(record, version.algorithm)})
        return
    print(f"{version.name}  {count(record.file_count, 'file')}, {size(record.size)}")
    print(f"  {', '.join(record.aliases)}")
    print(f"  {version.digest}")
