"""Options that several commands share, so that they read and complete the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from artline.cli.names import complete_artifact, complete_project, complete_run

__all__ = ["artifact_argument", "json_option", "project_option", "run_argument"]

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")

project_option = click.option(
    "-p",
    "--project",
    metavar="NAME",
    shell_complete=complete_project,
    help="The project to work in, instead of the one set (see art status).",
)


def artifact_argument(name: str = "ref", **kwargs: Any) -> Callable[[F], F]:
    """Return an argument that is a reference to an artifact, completed from the store."""
    kwargs.setdefault("metavar", name.upper().rstrip("S") + ("…" if kwargs.get("nargs") == -1 else ""))
    return click.argument(name, shell_complete=complete_artifact, **kwargs)


def run_argument(name: str = "run", **kwargs: Any) -> Callable[[F], F]:
    """Return an argument that is a run, completed from the store."""
    kwargs.setdefault("metavar", "RUN")
    return click.argument(name, shell_complete=complete_run, **kwargs)
