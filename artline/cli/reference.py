"""The reference of the command line, written from the commands.

``python -m artline.cli.reference > docs/cli.md``
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from artline.cli.command import ArtCommand
from artline.cli.exits import EXIT_CODES
from artline.cli.group import LazyGroup, art

__all__ = ["reference"]


def reference() -> str:
    """Return the whole reference as Markdown."""
    return "\n".join(_lines()).rstrip("\n") + "\n"


def _lines() -> Iterator[str]:
    root = click.Context(art, info_name="art")
    yield "# Command line"
    yield ""
    yield "Generated from the commands by `python -m artline.cli.reference > docs/cli.md`; a test holds it."
    yield ""
    yield from _paragraphs(art.help or "")
    yield "Every command that reads takes `--json` and then prints one JSON document on standard output, and"
    yield "nothing else. Messages, warnings and progress go to standard error; progress bars are shown on a"
    yield "terminal only. Colours are used on a terminal only and never when `NO_COLOR` is set. `ART_DEBUG=1`"
    yield "adds the traceback to an error."
    yield ""
    yield "| exit code | meaning |"
    yield "|---|---|"
    yield from (f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    yield ""
    yield from _group(art, root, "art", 2)


def _group(group: LazyGroup, context: click.Context, path: str, level: int) -> Iterator[str]:
    for title, lines in group.sections.items():
        if level == 2:
            yield f"## {title}"
            yield ""
        for name in lines:
            command = group.get_command(context, name)
            assert command is not None
            inner = click.Context(command, info_name=name, parent=context)
            yield from _command(command, inner, f"{path} {name}", 3)
            if isinstance(command, LazyGroup):
                yield from _group(command, inner, f"{path} {name}", level + 1)


def _command(command: click.Command, context: click.Context, path: str, level: int) -> Iterator[str]:
    yield f"{'#' * level} {path}"
    yield ""
    yield from _paragraphs(command.help or "")
    if isinstance(command, click.Group):
        return
    yield "```"
    yield " ".join([path, *command.collect_usage_pieces(context)])
    yield "```"
    yield ""
    options = [
        p.get_help_record(context) for p in command.params if isinstance(p, click.Option) and not p.hidden
    ]
    if options:
        yield "| option | meaning |"
        yield "|---|---|"
        for record in options:
            if record is not None:
                yield "| `{}` | {} |".format(*(text.replace("|", "\\|") for text in record))
        yield ""
    if isinstance(command, ArtCommand):
        yield "```sh"
        yield from command.examples
        yield "```"
        yield ""
        if command.shape:
            yield "With `--json`:"
            yield ""
            yield "```"
            yield from command.shape.strip("\n").splitlines()
            yield "```"
            yield ""
        yield "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in command.exits.items()) + "."
        yield ""


def _paragraphs(text: str) -> Iterator[str]:
    import inspect

    yield from inspect.cleandoc(text).replace("\b\n", "").splitlines()
    yield ""


if __name__ == "__main__":
    sys.stdout.write(reference())
