"""``art retain``: which versions of an artifact go by themselves."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, json_option, project_option
from artline.errors import UsageError


@command(
    "retain",
    examples=[
        "art retain checkpoints --ttl 30d --keep-last 5",
        "art retain checkpoints --keep-last 1 --no-keep-aliased",
        "art retain checkpoints --forever",
        "art gc                             # which versions would go, and why",
    ],
    exits=[3, 7],
    shape="""
{"name": str, "retention": RULE | null}
RULE: {"ttl": seconds | null, "keep_last": int | null, "keep_aliased": bool}
""",
)
@artifact_argument("name", metavar="NAME")
@project_option
@click.option("--ttl", metavar="TIME", help="Let versions go that are older than this, such as 12h or 30d.")
@click.option(
    "--keep-last", type=click.IntRange(min=1), metavar="N", help="Always keep the N newest versions."
)
@click.option(
    "--keep-aliased/--no-keep-aliased", default=None, help="Keep versions with an alias (the default)."
)
@click.option("--forever", is_flag=True, help="Keep every version again.")
@json_option
def retain(
    name: str,
    project: str | None,
    ttl: str | None,
    keep_last: int | None,
    keep_aliased: bool | None,
    forever: bool,
    as_json: bool,
) -> None:
    """Say which versions of an artifact go by themselves.

    A rule replaces the one before. With both --ttl and --keep-last a version goes when it is older and not
    among the newest. Versions that a run used, that a collection links, art.lock pins or undelete brought
    back stay whatever the rule says, and so do protected aliases. They go when art gc --delete passes, and
    art undelete brings them back until their content is collected.
    """
    from artline.artifacts.rules import Rule, get_rule, set_rule
    from artline.cli.documents import rule_document
    from artline.cli.output import print_json
    from artline.cli.stores import open_artifacts
    from artline.cli.values import read_span

    store = open_artifacts(project)
    if forever and (ttl, keep_last, keep_aliased) != (None, None, None):
        raise UsageError("--forever excludes the other options")
    if forever:
        set_rule(store, name, None)
    elif (ttl, keep_last, keep_aliased) != (None, None, None):
        span = read_span(ttl) if ttl is not None else None
        set_rule(store, name, Rule(span, keep_last, keep_aliased is not False))
    rule = get_rule(store, name)
    if as_json:
        print_json({"name": name, "retention": rule_document(rule)})
    else:
        print(f"{name}: {rule or 'every version is kept'}")
