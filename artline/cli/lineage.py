"""``art lineage``: what led to a version or run, and what came of it."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, json_option, project_option

FORMATS = ("tree", "mermaid", "dot", "json", "openlineage", "prov")


@command(
    "lineage",
    examples=[
        "art lineage digits-mlp:production",
        "art lineage digits:v1 --down --depth 2",
        "art lineage digits-mlp:v3 --format dot | dot -Tsvg > lineage.svg",
        "art lineage digits-mlp:v3 --format openlineage | jq -c '.[]'   # one event a line",
        "art lineage my-project/k3x9qf0a          # a run",
    ],
    exits=[3, 7],
    shape="""
{"subject": key, "nodes": [{"key": key, "kind": "artifact" | "run", "type": str, "digest": str,
                            "aliases": [str], "deleted": bool}],
 "edges": [{"source": key, "target": key, "role": "input" | "output", "use_as": str}]}
key: "entity/project/name:v3" of a version, "entity/project/id" of a run
""",
)
@artifact_argument("ref", metavar="REF|RUN")
@project_option
@click.option("--up", "direction", flag_value="up", help="Only what led to it.")
@click.option("--down", "direction", flag_value="down", help="Only what came of it.")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Follow at most N edges in a row.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="tree", show_default=True, help="How to draw it."
)
@json_option
def lineage(
    ref: str, project: str | None, direction: str | None, depth: int | None, form: str, as_json: bool
) -> None:
    """Show what a version was made from and what was made of it.

    The runs that made it, the versions those used, and so on up; the runs that used it, the versions those
    made, and so on down. Works for a run, too. The formats openlineage (events, one a run) and prov (W3C
    PROV-JSON) are JSON for other tools. No version ever leads to itself: that a run uses what it made, or
    logs again what it was made from, is not recorded.
    """
    from artline.artifacts import interchange, render
    from artline.cli.output import print_json
    from artline.cli.stores import lineage_subject, open_runs

    store = open_runs(project)
    way = direction if direction in ("up", "down") else "both"
    graph = store.artifacts.lineage(lineage_subject(store, ref), way, depth)  # type: ignore[arg-type]
    if as_json or form == "json":
        print_json(render.as_dict(graph))
    elif form == "openlineage":
        print_json(interchange.openlineage(graph))
    elif form == "prov":
        print_json(interchange.prov(graph))
    else:
        print({"tree": render.tree, "mermaid": render.mermaid, "dot": render.dot}[form](graph))
