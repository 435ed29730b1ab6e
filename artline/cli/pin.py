"""``art pin``: pins in art.lock."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, json_option, project_option
from artline.errors import UsageError


@command(
    "pin",
    examples=[
        "art pin digits digits-mlp:production   # to what these are now",
        "art pin digits:v1                      # digits means v1 from now on",
        "art pin                                # show the pins",
        "art pin --upgrade                      # move all to what they are now",
        "art pin --remove digits",
    ],
    exits=[3, 5, 7],
    meanings={3: "no such artifact or version, or it is not pinned"},
    shape="""
{"file": str, "pins": [{"entity": str, "project": str, "name": str, "alias": str, "version": "v3",
                        "digest": str, "before": "v2" | null}]}
""",
)
@artifact_argument("refs", nargs=-1, metavar="[REF…]")
@click.option("--upgrade", is_flag=True, help="Move the pins of REF, by default all, to what they name now.")
@click.option("--remove", is_flag=True, help="Take the pins of REF out.")
@project_option
@json_option
def pin(refs: tuple[str, ...], upgrade: bool, remove: bool, project: str | None, as_json: bool) -> None:
    """Pin artifacts to exact versions in art.lock.

    The lock is the nearest art.lock at or above this folder; commit it with the code. Under it,
    use_artifact("digits:latest") returns the pinned version, and art pull restores all of them. Without
    REF the pins are shown.
    """
    from artline.artifacts import pinning
    from artline.artifacts.pins import read_lock
    from artline.cli.output import Column, print_json, print_table
    from artline.cli.stores import open_artifacts

    if upgrade and remove:
        raise UsageError("--upgrade and --remove exclude each other")
    if remove and not refs:
        raise UsageError("--remove needs a REF")
    path = pinning.lock_path()
    if upgrade:
        changes = pinning.upgrade(open_artifacts(project), refs, path)
    elif remove:
        changes = pinning.unpin(open_artifacts(project), refs, path)
    elif refs:
        changes = pinning.pin(open_artifacts(project), refs, path)
    else:
        changes = [pinning.Change(found, found) for found in read_lock(path).pins]
    if as_json:
        pins = [
            {
                "entity": now.entity,
                "project": now.project,
                "name": now.name,
                "alias": now.alias,
                "version": change.after.version if change.after else None,
                "digest": change.after.digest if change.after else None,
                "before": change.before.version if change.before else None,
            }
            for change in changes
            if (now := change.after or change.before)
        ]
        print_json({"file": path, "pins": pins})
        return
    rows = []
    for change in changes:
        now = change.after or change.before
        assert now is not None
        moved = change.before is not None and change.before != change.after
        was = change.before.version + " -> " if moved and change.before else ""
        rows.append(
            [now.asked, was + (change.after.version if change.after else "not pinned"), now.digest[:19]]
        )
    print_table([Column("PINNED"), Column("VERSION"), Column("DIGEST")], rows, empty=f"{path} pins nothing")
