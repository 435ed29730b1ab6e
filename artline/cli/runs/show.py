"""``art runs show``: everything about a run."""

from __future__ import annotations

from artline.cli.command import command
from artline.cli.documents import RUN_SHAPE
from artline.cli.options import json_option, run_argument


@command(
    "show",
    examples=["art runs show k3x9qf0a", "art runs show digits/k3x9qf0a --json"],
    exits=[3, 7],
    shape="""
RUN with {"info": {…}, "inputs": [version], "outputs": [version], "alerts": [ALERT]}
ALERT: {"at": time, "level": "INFO" | "WARN" | "ERROR", "title": str, "text": str, "label": str}
version: "entity/project/name:v3"
"""
    + RUN_SHAPE,
)
@run_argument()
@json_option
def show(run: str, as_json: bool) -> None:
    """Show everything known about a run.

    Its state, times, config and summary, the versions it used and made, the code, command and machine.
    """
    from artline.cli.documents import alert_document, run_document
    from artline.cli.output import bold, dim, print_fields, print_json
    from artline.cli.runs.ls import coloured
    from artline.cli.stores import find_run, open_runs
    from artline.cli.values import ago, duration, exact, number

    store = open_runs()
    record = find_run(store, run)
    used, made = (
        [version.qualified_name for version in store.artifacts.run_artifacts(record.path, role)]
        for role in ("input", "output")
    )
    alerts = store.alerts(record)
    if as_json:
        about = {"info": record.info, "inputs": used, "outputs": made}
        print_json({**run_document(record), **about, "alerts": [alert_document(alert) for alert in alerts]})
        return
    print(bold(record.path))
    code = "" if record.exit_code in (None, 0) else f" (exit code {record.exit_code})"
    ended = record.ended_at
    print_fields(
        {
            "name": record.name,
            "state": coloured(record.state) + code,
            "job type": record.job_type,
            "group": record.group,
            "tags": ", ".join(record.tags),
            "notes": record.notes,
            "created": f"{ago(record.created_at)} ({exact(record.created_at)})",
            "ended": f"{ago(ended)} ({exact(ended)})" if ended else "",
            "runtime": duration(record.runtime),
            "attempts": str(record.attempt) if record.attempt > 1 else "",
            "last step": "" if record.last_step is None else str(record.last_step),
            "alerts": "\n".join(
                f"{alert.level} {alert.title}: {alert.text}".removesuffix(": ") for alert in alerts
            ),
            "used": "\n".join(used),
            "made": "\n".join(made),
        },
        indent="  ",
    )
    for title, values in (
        ("config", record.config),
        ("summary", record.summary),
        ("about", flat(record.info)),
    ):
        if values:
            print("  " + dim(title))
            print_fields({key: number(value) for key, value in values.items()}, indent="    ")


def flat(values: object, prefix: str = "") -> dict[str, object]:
    """Return nested values under dotted keys, leaving out what is empty."""
    if not isinstance(values, dict):
        return {} if values in (None, "", []) else {prefix: values}
    return {
        key: value
        for name, inner in values.items()
        for key, value in flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }
