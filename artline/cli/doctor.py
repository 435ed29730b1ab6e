"""``art doctor``: whether this machine can hold a store."""

from __future__ import annotations

import sys
from typing import Any

import click

from artline.cli.command import command
from artline.cli.options import json_option


@command(
    "doctor",
    examples=["art doctor", "art doctor --json | jq '.checks[] | select(.state != \"ok\")'"],
    exits=[1],
    meanings={0: "nothing is broken (there may be warnings)", 1: "something is broken"},
    shape="""
{"ok": bool, "checks": [{"name": str, "state": "ok" | "warning" | "broken",
                         "detail": str, "remedy": str}]}
""",
)
@json_option
def doctor(as_json: bool) -> None:
    """Check that this machine can hold a store; name remedies.

    Looks at Python, the required packages, the native chunker, write permission, disk space, fsync,
    SQLite and its write-ahead log, the clock, the catalog, journals that wait, and the GPU driver.
    """
    from artline.cli import checks
    from artline.cli.output import dim, green, print_json, red, yellow
    from artline.settings import load_settings

    marks: dict[str, Any] = {
        checks.FINE: green("ok     "),
        checks.WEAK: yellow("warning"),
        checks.BROKEN: red("broken "),
    }
    found = []
    for check in checks.run_checks(load_settings()):
        found.append(check)
        if not as_json:
            print(f"{marks[check.state]}  {check.name:<13}  {check.detail}")
            if check.state != checks.FINE:
                print(f"{'':24}{dim('->')} {check.remedy}")
            sys.stdout.flush()
    broken = sum(check.state == checks.BROKEN for check in found)
    if as_json:
        print_json({"ok": not broken, "checks": found})
    if broken:
        raise click.exceptions.Exit(1)
