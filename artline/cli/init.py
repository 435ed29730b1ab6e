"""``art init``: make a folder a project."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.options import json_option


@command(
    "init",
    examples=["art init", "art init detect-pedestrians", "art init digits --root .artline"],
    exits=[5, 6],
    meanings={6: "the folder has an art.toml already, which was left as it is"},
    shape='{"file": str, "project": str, "root": str}',
)
@click.argument("project", required=False)
@click.option(
    "--root",
    metavar="DIR",
    help="Keep the store of this project in DIR (relative to art.toml), not in the common one.",
)
@json_option
def init(project: str | None, root: str | None, as_json: bool) -> None:
    """Make this folder a project: write art.toml.

    PROJECT is the name of the folder unless given. An art.toml that exists is never overwritten. Everything
    else works without one, too: see art status for what is set and by whom.
    """
    from pathlib import Path

    from artline.artifacts.refs import check_name
    from artline.cli.output import print_json
    from artline.settings import create_project_file, load_settings

    folder = Path.cwd()
    name = check_name(project or folder.name, "project")
    file = create_project_file(folder, name, root)
    settings = load_settings()
    if as_json:
        print_json({"file": file, "project": settings.project, "root": settings.root})
        return
    print(f"project '{name}' in {file}, store in {settings.root}")
    if settings.project != name:
        print(f"but {settings.sources['project']} sets the project to '{settings.project}' at present")
