"""``art drafts ls``: the open drafts."""

from __future__ import annotations

from artline.cli.command import command
from artline.cli.documents import DRAFT_SHAPE
from artline.cli.options import artifact_argument, json_option, project_option


@command(
    "ls",
    examples=["art drafts ls", "art drafts ls predictions", "art drafts ls --json | jq -r '.drafts[].id'"],
    exits=[7],
    shape='{"drafts": [DRAFT]}\n' + DRAFT_SHAPE,
)
@artifact_argument("name", required=False, metavar="[NAME]")
@project_option
@json_option
def ls(name: str | None, project: str | None, as_json: bool) -> None:
    """List the open drafts that runs contribute to.

    Those of the project, or of one artifact. Files and sizes are of all contributions together; what
    several runs sent counts for each.
    """
    from artline.artifacts.drafts import list_drafts
    from artline.cli.documents import draft_document
    from artline.cli.output import Column, print_json, print_table
    from artline.cli.stores import open_artifacts
    from artline.cli.values import ago, count, size

    store = open_artifacts(project)
    found = list_drafts(store, name)
    if as_json:
        became = {
            version: store.by_id(version).qualified_name
            for draft in found
            if (version := draft.version_id) is not None
        }
        print_json({"drafts": [draft_document(draft, became.get(draft.version_id or -1)) for draft in found]})
        return
    print_table(
        [
            Column("ARTIFACT"),
            Column("ID", flexible=True),
            Column("RUNS", right=True),
            Column("FILES", right=True),
            Column("SIZE", right=True),
            Column("LATEST"),
            Column("EXPIRES"),
        ],
        [
            [
                draft.name,
                draft.distributed_id,
                count(len(draft.contributions)),
                count(draft.file_count),
                size(draft.size),
                ago(draft.touched_at),
                ago(draft.expires_at),
            ]
            for draft in found
        ],
        empty=f"no open drafts in project '{store.settings.project}'",
    )
