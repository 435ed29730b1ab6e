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

    With its files, metadata, tags and lineage, but without the aliases it had. One that went by its age stays
    from then on, until it is given another ttl (art retain NAME:vN --ttl).
    """
    from artline.artifacts.rules import ages_at
    from artline.cli.stores import open_artifacts

    store = open_artifacts(project)
    for ref in refs:
        record = store.undelete(ref)
        name = f"{record.name}:{record.version}"
        ages = ages_at(record, store.standing(record.id).rule) is not None
        came_back = any(event.kind == "undeleted" for event in store.history(record.id))
        if not came_back:
            print(f"{name} was not deleted")
            continue
        stays = f", and stays whatever its age. Let it go again: art retain {name} --ttl 30d"
        print(f"{name} is back{stays if ages else ''}")
