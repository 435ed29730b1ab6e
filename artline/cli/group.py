"""The ``art`` command: its table of commands, loaded one by one as they are called."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from artline import __version__
from artline.cli.command import CONTEXT_SETTINGS
from artline.cli.exits import EXIT_CODES, finish

__all__ = ["SECTIONS", "LazyGroup", "art"]

COMPLETE_VARIABLE = "_ART_COMPLETE"

# Each command's line stands here as well as in its own file, so that `art --help` loads none of them.
SECTIONS: dict[str, dict[str, str]] = {
    "Start": {
        "init": "Make this folder a project: write art.toml.",
        "login": "Keep the key of a server, so that it is used from now on.",
        "logout": "Forget the key of a server on this machine.",
        "status": "Show the settings and their sources, and what the store holds.",
        "doctor": "Check that this machine can hold a store; name remedies.",
        "completion": "Print the script that completes commands and names in a shell.",
    },
    "Versions": {
        "push": "Store a file or folder as a version of an artifact.",
        "pull": "Write a version to disk, verified; or everything pinned.",
        "pin": "Pin artifacts to exact versions in art.lock.",
        "ls": "List artifacts, the versions of one, or the files of a version.",
        "show": "Show everything known about a version.",
        "diff": "Compare the files of two versions, and the rows in them.",
        "alias": "Point aliases at a version, or remove them.",
        "tag": "Add tags to a version, or remove them.",
        "link": "Make a version one of a collection's, too.",
        "unlink": "Take a linked version out of its collection.",
        "protect": "Protect aliases of an artifact, or list those that are.",
        "rm": "Delete a version; undelete brings it back until gc has passed.",
        "drafts": "List, finish and give up drafts that several runs share.",
        "retain": "Say which versions of an artifact go by themselves.",
        "undelete": "Bring a deleted version back.",
        "verify": "Check a version's content, or a folder against a version.",
        "cat": "Write one file of a version to standard output.",
    },
    "Lineage": {
        "lineage": "Show what a version was made from and what was made of it.",
    },
    "Runs": {
        "runs": "List, show, label and delete runs.",
        "metrics": "Show a run's metrics: last value, bounds and course.",
        "logs": "Print what a run wrote to its console.",
        "files": "List the files a run kept, or copy them out.",
        "sync": "Take in what runs have logged and no reader has met yet.",
        "export": "Write runs and their history to CSV, JSON lines or Parquet.",
    },
    "Store": {
        "gc": "Free what no version refers to; counts only, unless --delete.",
        "fsck": "Check the store; name each damaged version, file and journal.",
        "cache": "Show or clean the cache of what was fetched.",
        "migrate": "Bring the catalog to the schema of this Artline.",
        "server": "Serve a store to a team, and say who may come in.",
    },
}


class LazyGroup(click.Group):
    """A click group whose commands are imported when first asked for.

    ``sections`` maps a heading to its commands and their one-line helps; ``package`` is where the module
    of each lies, one named as the command, holding a command of the same name.
    """

    def __init__(
        self, *args: Any, package: str, sections: Mapping[str, Mapping[str, str]], **kwargs: Any
    ) -> None:
        kwargs.setdefault("context_settings", CONTEXT_SETTINGS)
        super().__init__(*args, **kwargs)
        self.package = package
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the help."""
        return [name for commands in self.sections.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command named so, or return None where there is none."""
        if cmd_name not in self.list_commands(ctx):
            return None
        found = getattr(import_module(f"{self.package}.{cmd_name}"), cmd_name)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a name that is nearly right is answered with the right one."""
        from difflib import get_close_matches

        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx) and not ctx.resilient_parsing:
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"there is no command '{name}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section with its commands."""
        width = max(len(name) for name in self.list_commands(ctx))
        for title, commands in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), line) for name, line in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete the names of commands without importing them."""
        from click.shell_completion import CompletionItem

        lines = {name: line for commands in self.sections.values() for name, line in commands.items()}
        items = [
            CompletionItem(name, help=line) for name, line in lines.items() if name.startswith(incomplete)
        ]
        return (
            items
            if items or not incomplete.startswith("-")
            else click.Command.shell_complete(self, ctx, incomplete)
        )

    def main(  # type: ignore[override]  # click's overloads allow returning; this always exits
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run the command line and exit with its code; see ``artline.cli.exits``."""
        extra.pop("standalone_mode", None)
        name = prog_name if prog_name in ("art", "artline") else "art"
        request = os.environ.get(COMPLETE_VARIABLE)
        if request:
            from artline.cli.shells import answer

            sys.exit(answer(self, name, request))
        for stream in (sys.stdout, sys.stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="backslashreplace")  # names need not be printable in this locale
        arguments = list(sys.argv[1:] if args is None else args)

        def work() -> None:
            with self.make_context(name, arguments, **extra) as context:
                self.invoke(context)

        sys.exit(finish(work))


@click.group(
    "art",
    cls=LazyGroup,
    package="artline.cli",
    sections=SECTIONS,
    epilog="Exit codes: "
    + ", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())
    + ". Each command's help says which it uses.",
)
@click.version_option(__version__, "--version", message="artline %(version)s")
def art() -> None:
    """Keep versions of datasets, models and tables, and the runs that made them.

    Versions are named NAME:VERSION (digits:v3), NAME:ALIAS (digits:latest) or NAME@DIGEST, with PROJECT/
    before them for another project than the one set. Start with: art init, then art push FOLDER NAME.
    """
