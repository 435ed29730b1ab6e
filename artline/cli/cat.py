"""``art cat``: one file of a version."""

from __future__ import annotations

import sys

import click

from artline.cli.command import command
from artline.cli.options import artifact_argument, project_option


@command(
    "cat",
    examples=["art cat digits:v1 labels.csv | head", "art cat digits-mlp:production model.npz > model.npz"],
    exits=[3, 4, 7],
    meanings={3: "no such artifact, version or file"},
)
@artifact_argument("ref")
@click.argument("path")
@project_option
def cat(ref: str, path: str, project: str | None) -> None:
    """Write one file of a version to standard output.

    Its content is checked against its digest as it is read; what is damaged is never written.
    """
    import shutil

    from artline.cli.stores import open_artifacts

    with open_artifacts(project).get(ref).open(path) as source:
        shutil.copyfileobj(source, sys.stdout.buffer, 1 << 20)
