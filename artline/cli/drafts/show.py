"""``art drafts show``: who contributed what."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.documents import DRAFT_SHAPE
from artline.cli.options import artifact_argument, json_option, project_option


@command(
    "show",
    examples=["art drafts show predictions", "art drafts show predictions sweep-7 --json"],
    exits=[3, 7],
    shape="DRAFT\n" + DRAFT_SHAPE,
)
@artifact_argument("name", metavar="NAME")
@click.argument("draft", metavar="[ID]", required=False)
@project_option
@json_option
def show(name: str, draft: str | None, project: str | None, as_json: bool) -> None:
    """Show who contributed what to a draft.

    Of one that is finished the version that it became.
    """
    from artline.artifacts.drafts import find_draft
    from artline.cli.documents import draft_document
    from artline.cli.output import Column, bold, print_fields, print_json, print_table
    from artline.cli.stores import open_artifacts
    from artline.cli.values import ago, count, exact, size

    store = open_artifacts(project)
    found = find_draft(store, name, draft)
    version = store.by_id(found.version_id).qualified_name if found.version_id is not None else None
    if as_json:
        print_json(draft_document(found, version))
        return
    print(bold(f"{found.qualified_name}, draft {found.distributed_id}"))
    print_fields(
        {
            "type": found.type,
            "state": "open" if found.contributions else "finished" if version else "given up",
            "begun": f"{ago(found.created_at)} ({exact(found.created_at)})",
            "expires": ago(found.expires_at) if found.contributions else "",
            "became" if not found.contributions else "became before": version or "",
        },
        indent="  ",
    )
    print_table(
        [
            Column("RUN", flexible=True),
            Column("FILES", right=True),
            Column("SIZE", right=True),
            Column("LATEST"),
            Column("ALIASES"),
        ],
        [
            [c.run, count(c.file_count), size(c.size), ago(c.at), ", ".join(c.aliases)]
            for c in found.contributions
        ],
    )
