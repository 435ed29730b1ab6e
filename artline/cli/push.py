"""``art push``: store a file or folder as a version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from artline.cli.command import command
from artline.cli.documents import VERSION_SHAPE
from artline.cli.options import artifact_argument, json_option, project_option

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.cli.progress import Progress


@command(
    "push",
    examples=[
        "art push data/ digits --type dataset",
        "art push model.pt digits-mlp:candidate,v2-trial --type model --metadata acc=0.97",
        "art push data/ digits -m @card.json --tag raw --description 'as it came'",
        "art push s3://bucket/train peds --type dataset       # refers to it, copies nothing",
        "art push s3://bucket/train peds --no-checksum --max-objects 5000",
    ],
    exits=[3, 4, 5, 6, 7],
    meanings={
        3: "the file or folder does not exist",
        4: "a file changed while it was read; nothing was stored",
    },
    shape="""
{"version": VERSION, "new": bool, "run": "entity/project/id",
 "bytes": int, "new_bytes": int, "stored_bytes": int, "deduplicated_bytes": int}
"""
    + VERSION_SHAPE,
)
@click.argument("path", type=click.Path())
@artifact_argument("name", metavar="NAME[:ALIAS,…]")
@click.option(
    "-t", "--type", "kind", default="dataset", show_default=True, metavar="TYPE", help="The artifact's type."
)
@click.option(
    "-m", "--metadata", multiple=True, metavar="KEY=VALUE|@FILE",
    help="What is known about the version; a value that reads as JSON is one, @FILE holds a JSON object.",
)  # fmt: skip
@click.option("-d", "--description", metavar="TEXT", help="What the version is.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag for the version.")
@click.option("--ttl", metavar="TIME", help="Let the version go by itself after this time, such as 30d.")
@click.option(
    "--no-checksum", is_flag=True,
    help="Of a URL: keep no checksums; only sizes, and times of local files, tell of a change.",
)  # fmt: skip
@click.option(
    "--max-objects", type=click.IntRange(min=1), metavar="N",
    help="Of a URL: refuse one with more objects than this (default 10,000,000).",
)  # fmt: skip
@project_option
@json_option
def push(
    path: str,
    name: str,
    kind: str,
    metadata: tuple[str, ...],
    description: str | None,
    tags: tuple[str, ...],
    ttl: str | None,
    no_checksum: bool,
    max_objects: int | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Store a file or folder as a version of an artifact.

    Needs no run: it records itself as a run of job type push. Content that the artifact has already makes
    no new version, and what the store holds already is not stored again. The aliases and latest move to
    the version. A URL (s3://…, file://…) is referred to, not copied. A symbolic link to something inside the
    folder stays a link; of one that points outside, the file or folder it leads to is stored.
    """
    from artline.cli.documents import version_document
    from artline.cli.output import print_json
    from artline.cli.progress import Progress
    from artline.cli.values import count, read_metadata, read_span, size, split_aliases
    from artline.runs.push import push as push_path
    from artline.settings import load_settings
    from artline.storage.arena import WINDOW
    from artline.storage.stream import BUFFERS

    collection, aliases = split_aliases(name)
    settings = load_settings(project=project, console=False)
    bars: list[Progress] = []

    def watch(draft: Artifact) -> Progress:
        def saved() -> int:
            # What was read but is still on its way to a pack is not known to be new yet.
            on_its_way = BUFFERS * WINDOW
            return bars[0].bytes - draft.stats.new_bytes - on_its_way if draft.stats else 0

        bars.append(Progress(f"push {collection}", saved=saved, quiet=settings.quiet))
        bars[0].measure(path)
        return bars[0]

    try:
        done = push_path(
            load_settings(project=project, console=False, quiet=True),
            path,
            collection,
            kind,
            aliases=aliases,
            tags=tags,
            metadata=read_metadata(metadata),
            description=description,
            ttl=read_span(ttl) if ttl is not None else None,
            checksum=not no_checksum,
            max_objects=max_objects,
            watch=watch,
        )
    finally:
        for bar in bars:
            bar.close()
    record, stored = done.version.record, done.stored
    total = stored.bytes if stored else 0
    fresh = stored.new_bytes if stored else 0
    if as_json:
        print_json(
            {
                "version": version_document(record, done.version.algorithm),
                "new": done.is_new,
                "run": done.run,
                "bytes": total,
                "new_bytes": fresh,
                "stored_bytes": stored.stored_bytes if stored else 0,
                "deduplicated_bytes": max(0, total - fresh),
            }
        )
        return
    what = "" if done.is_new else "  (unchanged, no new version)"
    print(f"{record.name}:{record.version}  {count(record.file_count, 'file')}, {size(record.size)}{what}")
    if stored:
        new = f"{size(fresh)} new, stored as {size(stored.stored_bytes)}" if fresh else "nothing new"
        print(f"  {new}; {size(max(0, total - fresh))} deduplicated")
    print(f"  {', '.join(record.aliases)}")
    print(f"  {done.version.digest}")
