"""``art retain``: which versions of an artifact go by themselves."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, json_option, project_option
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.store import ArtifactStore


@command(
    "retain",
    examples=[
        "art retain checkpoints --ttl 30d --keep-last 5",
        "art retain checkpoints --keep-last 1 --no-keep-aliased",
        "art retain checkpoints --forever",
        "art retain checkpoints:v7 --forever   # this version never goes by itself",
        "art retain checkpoints:v8 --ttl 2d    # this one goes after two days",
        "art gc                             # which versions would go, and why",
    ],
    exits=[3, 7],
    shape="""
art retain NAME:     {"name": str, "retention": RULE | null}
art retain NAME:REF: {"name": "entity/project/name:v3", "ttl": seconds | 0 (never goes) | null (by rule),
                      "retention": RULE | null, "expires_at": time | null}
RULE: {"ttl": seconds | null, "keep_last": int | null, "keep_aliased": bool}
""",
)
@artifact_argument("name", metavar="NAME[:VERSION]")
@project_option
@click.option("--ttl", metavar="TIME", help="Let versions go that are older than this, such as 12h or 30d.")
@click.option(
    "--keep-last", type=click.IntRange(min=1), metavar="N", help="Always keep the N newest versions."
)
@click.option(
    "--keep-aliased/--no-keep-aliased", default=None, help="Keep versions with an alias (the default)."
)
@click.option("--forever", is_flag=True, help="Keep every version again; of one version: keep it.")
@click.option("--inherit", is_flag=True, help="Let the rule of its artifact decide on a version again.")
@json_option
def retain(
    name: str,
    project: str | None,
    ttl: str | None,
    keep_last: int | None,
    keep_aliased: bool | None,
    forever: bool,
    inherit: bool,
    as_json: bool,
) -> None:
    """Say which versions of an artifact go by themselves.

    A rule replaces the one before. With both --ttl and --keep-last a version goes when it is older and not
    among the newest. A version may have a ttl of its own, which counts instead of the rule's: the rest of
    the rule holds for it, too. Versions that a run used, that a collection links, art.lock pins or undelete
    brought back stay whatever is said, and so do protected aliases, and all aliases (latest is one) unless
    the rule says --no-keep-aliased. They go when art gc --delete passes, and art undelete brings them back
    until their content is collected.
    """
    from artline.artifacts.refs import parse_ref
    from artline.cli.stores import open_artifacts
    from artline.cli.values import read_span

    span = read_span(ttl) if ttl is not None else None
    if sum((forever, inherit, (ttl, keep_last, keep_aliased) != (None, None, None))) > 1:
        raise UsageError("--forever and --inherit exclude the other options")
    parsed = parse_ref(name)
    store = open_artifacts(project)
    if parsed.alias or parsed.digest:
        if keep_last is not None or keep_aliased is not None:
            raise UsageError(
                f"--keep-last and --keep-aliased are for a whole artifact: art retain {parsed.name}"
            )
        retain_version(store, name, span, forever, inherit, as_json)
    elif inherit:
        raise UsageError(f"--inherit is for one version: art retain {name}:VERSION --inherit")
    else:
        retain_artifact(store, name, span, keep_last, keep_aliased, forever, as_json)


def retain_artifact(
    store: ArtifactStore,
    name: str,
    ttl: timedelta | None,
    keep_last: int | None,
    keep_aliased: bool | None,
    forever: bool,
    as_json: bool,
) -> None:
    from artline.artifacts.rules import Rule, get_rule, set_rule
    from artline.cli.documents import rule_document
    from artline.cli.output import print_json

    if forever:
        set_rule(store, name, None)
    elif (ttl, keep_last, keep_aliased) != (None, None, None):
        set_rule(store, name, Rule(ttl, keep_last, keep_aliased is not False))
    rule = get_rule(store, name)
    if as_json:
        print_json({"name": name, "retention": rule_document(rule)})
    else:
        print(f"{name}: {rule or 'every version is kept that has no ttl of its own'}")


def retain_version(
    store: ArtifactStore, ref: str, ttl: timedelta | None, forever: bool, inherit: bool, as_json: bool
) -> None:
    from artline.artifacts.rules import ages_at
    from artline.artifacts.ttl import ArtifactTTL, ttl_of, ttl_text
    from artline.cli.documents import moment, rule_document
    from artline.cli.output import print_json
    from artline.cli.values import exact

    version = store.get(ref)
    if ttl is not None or forever or inherit:
        version.ttl = ttl if ttl is not None else None if forever else ArtifactTTL.INHERIT
        version.save()
    record = version.record
    rule = store.standing(record.id).rule
    expires = ages_at(record, rule)
    if as_json:
        document = {"name": record.qualified_name, "ttl": record.ttl, "retention": rule_document(rule)}
        print_json({**document, "expires_at": moment(expires)})
        return
    known = ttl_of(record.ttl)
    if known is ArtifactTTL.DISABLED:
        says = "never goes by itself"
    elif known is ArtifactTTL.INHERIT:
        says = f"has no ttl of its own; {rule or 'every such version is kept'}"
    else:
        says = f"has a ttl of {ttl_text(known)}"
    print(f"{version.name} {says}" + (f". Old enough to go: {exact(expires)}" if expires is not None else ""))
