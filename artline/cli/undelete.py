"""``art undelete``: bring a deleted version back."""

from __future__ import annotations

from artline.cli.command import command
from artline.cli.options import artifact_argument, project_option


@command(
    "undelete",
    examples=["art ls digits --deleted", "art undelete digits:v0"],
    exits=[3, 4, 7],
    meanings={4: "its content has been collected: it cannot come back"},
)
@artifact_argument("refs", nargs=-1, required=True, metavar="NAME:vN…")
@project_option
def undelete(refs: tuple[str, ...], project: str | None) -> None:
    """Bring a deleted version back.

    With its files, metadata, tags and lineage, but without the aliases it had.
    """
    from artline.cli.stores import open_artifacts

    store = open_artifacts(project)
    for ref in refs:
        record = store.undelete(ref)
        print(f"{record.name}:{record.version} is back")
