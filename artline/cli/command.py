"""What a command of ``art`` is: a click command that also states its examples, exit codes and JSON shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from artline.cli.exits import EXIT_CODES

__all__ = ["CONTEXT_SETTINGS", "ArtCommand", "command"]

CONTEXT_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class ArtCommand(click.Command):
    """A command with ``examples``, ``exits`` (code to meaning) and, where it takes --json, its ``shape``."""

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        exits: Mapping[int, str] | None = None,
        shape: str = "",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("context_settings", CONTEXT_SETTINGS)
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.exits = dict(sorted((exits or {}).items()))
        self.shape = shape

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, the JSON shape and the exit codes under the options."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        if self.shape:
            with formatter.section("JSON"):
                for line in self.shape.strip("\n").splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
        if self.exits:
            with formatter.section("Exit codes"):
                formatter.write_dl([(str(code), meaning) for code, meaning in self.exits.items()])


def command(
    name: str,
    *,
    examples: Sequence[str],
    exits: Sequence[int] = (),
    meanings: Mapping[int, str] | None = None,
    shape: str = "",
) -> Callable[[Callable[..., Any]], ArtCommand]:
    """Make a function a command; its docstring is the help, and its first line the one-line help.

    ``exits`` are the codes it can end with beyond 0, 1, 2 and 130 (and 5, where 7 is one: a store may be out
    of reach or forbidden), ``meanings`` what a code means in this command where the general word is too
    wide, ``shape`` the document that ``--json`` prints.
    """
    codes = {0, 1, 2, 130, *exits, *((5,) if 7 in exits else ())}
    table = {code: EXIT_CODES[code] for code in codes} | dict(meanings or {})

    def decorate(function: Callable[..., Any]) -> ArtCommand:
        return click.command(name, cls=ArtCommand, examples=examples, exits=table, shape=shape)(function)

    return decorate
