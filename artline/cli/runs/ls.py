"""``art runs ls``: the runs of a project."""

from __future__ import annotations

from typing import Any

import click

from artline.cli.command import command
from artline.cli.documents import RUN_SHAPE
from artline.cli.options import json_option, project_option
from artline.errors import UsageError


@command(
    "ls",
    examples=[
        "art runs ls",
        "art runs ls --state finished --sort -summary.acc --column config.lr --column summary.acc",
        """art runs ls --filter '{"config.lr": {"$lt": 0.01}, "tags": "paper"}' --json""",
    ],
    exits=[3, 7],
    shape='{"runs": [RUN], "more": bool}\n' + RUN_SHAPE,
)
@project_option
@click.option("-A", "--all-projects", is_flag=True, help="The runs of every project.")
@click.option(
    "--state", metavar="STATE", help="Only pending, running, finished, failed, crashed or killed runs."
)
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="Only runs with this tag; all of them if several."
)
@click.option("--group", metavar="GROUP", help="Only runs of this group.")
@click.option("--job-type", metavar="TYPE", help="Only runs of this job type.")
@click.option("--filter", "filters", metavar="JSON", help="A filter in MongoDB's form, beyond the above.")
@click.option(
    "--sort", default="-created_at", show_default=True, metavar="FIELD",
    help="Sort by created_at, name, runtime, config.KEY, summary.KEY, …; - before it for largest first.",
)  # fmt: skip
@click.option(
    "-c", "--column", "columns", multiple=True, metavar="FIELD", help="Show config.KEY or summary.KEY, too."
)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="Show N runs.",
)
@click.option("--deleted", is_flag=True, help="Show the deleted runs instead.")
@json_option
def ls(
    project: str | None,
    all_projects: bool,
    state: str | None,
    tags: tuple[str, ...],
    group: str | None,
    job_type: str | None,
    filters: str | None,
    sort: str,
    columns: tuple[str, ...],
    limit: int,
    deleted: bool,
    as_json: bool,
) -> None:
    """List runs, filtered and sorted.

    What runs have logged until now is taken in first.
    """
    from artline.cli.documents import run_document
    from artline.cli.output import Column, note, print_json, print_table
    from artline.cli.stores import open_runs
    from artline.cli.values import ago, duration, number

    conditions: list[dict[str, Any]] = [{"tags": tag} for tag in tags]
    conditions += [
        {field: value}
        for field, value in (("state", state), ("group", group), ("job_type", job_type))
        if value
    ]
    if filters:
        conditions.append(read_filters(filters))
    store = open_runs(project)
    place = None if all_projects else store.settings.project
    store.ingest(place)
    page = store.find(
        place, {"$and": conditions} if conditions else None, order=sort, limit=limit, deleted=deleted
    )
    if as_json:
        print_json({"runs": [run_document(run) for run in page.runs], "more": page.after is not None})
        return
    print_table(
        [
            *([Column("PROJECT")] if all_projects else []),
            Column("RUN"),
            Column("NAME", flexible=True),
            Column("STATE"),
            Column("JOB"),
            Column("CREATED"),
            Column("RUNTIME", right=True),
            *(Column(field.upper(), right=True) for field in columns),
            Column("TAGS", flexible=True),
        ],
        [
            [
                *([run.project] if all_projects else []),
                run.run_id,
                run.name,
                coloured(run.state),
                run.job_type,
                ago(run.created_at),
                duration(run.runtime),
                *(number(field_of(run, field)) for field in columns),
                ", ".join(run.tags),
            ]
            for run in page.runs
        ],
        empty="no runs" + (" match" if conditions else f" in project '{place}'" if place else ""),
    )
    if page.after is not None:
        note(f"the first {limit} runs; more with --limit")


def read_filters(text: str) -> dict[str, Any]:
    import json

    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--filter is no JSON ({error}): {text}") from None
    if not isinstance(value, dict):
        raise UsageError("""--filter takes a JSON object, such as '{"config.lr": {"$lt": 0.01}}'""")
    return value


def field_of(run: Any, field: str) -> Any:
    part, _, key = field.partition(".")
    if part not in ("config", "summary") or not key:
        raise UsageError(f"--column takes config.KEY or summary.KEY, not '{field}'")
    return getattr(run, part).get(key)


def coloured(state: str) -> str:
    from artline.cli.output import green, red, yellow

    paint = {"running": green, "pending": yellow, "failed": red, "crashed": red, "killed": red}.get(state)
    return paint(state) if paint else state
