"""The command line: one file a command, each loaded only when it is called."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> None:
    """Run ``art`` with ``args`` (the process's own when None) and leave by SystemExit with its exit code."""
    from artline.cli.group import art

    art.main(args)
