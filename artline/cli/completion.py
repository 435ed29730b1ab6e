"""``art completion``: the script that completes commands and names."""

from __future__ import annotations

import click

from artline.cli.command import command
from artline.cli.shells import SCRIPTS


@command(
    "completion",
    examples=[
        'eval "$(art completion bash)"                              # in ~/.bashrc',
        'eval "$(art completion zsh)"                               # in ~/.zshrc, after compinit',
        "art completion fish > ~/.config/fish/completions/art.fish",
    ],
)
@click.argument("shell", type=click.Choice(tuple(SCRIPTS)))
def completion(shell: str) -> None:
    """Print the script that completes commands and names in a shell.

    Projects, artifacts, versions and runs are completed from the store, options and files as usual.
    """
    for name in ("art", "artline"):
        click.echo(SCRIPTS[shell] % {"name": name})
