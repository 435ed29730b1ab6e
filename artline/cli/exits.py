"""Exit codes, and the way every error ends the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click

from artline.errors import ArtlineError, AuthError

__all__ = ["EXIT_CODES", "INTERRUPTED", "finish"]

INTERRUPTED = 130

EXIT_CODES = {
    0: "done",
    1: "failed",
    2: "wrong usage",
    3: "not found",
    4: "content does not match its digest",
    5: "not allowed",
    6: "conflict with the state of the store",
    7: "store or network out of reach",
    INTERRUPTED: "interrupted",
}


def finish(work: Callable[[], object]) -> int:
    """Call ``work``; return the exit code, having printed an error to stderr where there was one.

    A reader that closed the pipe early (``art ls | head``) is not an error. An unexpected exception is
    reported in a line; with ``ART_DEBUG=1`` its traceback is printed too.
    """
    try:
        try:
            work()
            code = 0
        except click.exceptions.Exit as end:
            code = end.exit_code
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.ctx.get_help(), file=sys.stderr)
        code = error.exit_code
    except click.UsageError as error:
        code = _report(error.format_message(), _help_line(error.ctx), code=error.exit_code)
    except click.ClickException as error:
        code = _report(error.format_message(), code=error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        code = _report("interrupted", code=INTERRUPTED)
    except BrokenPipeError:
        code = 0
    except ArtlineError as error:
        code = _report(str(error), code=error.exit_code, error=error)
    except PermissionError as error:
        place = error.filename if error.filename is not None else "a file"
        code = _report(
            f"no permission for {place}. Check its owner and mode, and those of its folders",
            code=AuthError.exit_code,
            error=error,
        )
    except Exception as error:  # noqa: BLE001 - the last resort of the program: reported, never hidden
        text = " ".join(str(error).split())
        code = _report(
            f"unexpected {type(error).__name__}{f': {text}' if text else ''}",
            "This is a defect in Artline, or in what it was given. Set ART_DEBUG=1 to see the traceback.",
            code=1,
            error=error,
        )
    _flush()
    return code


def _report(message: str, *more: str, code: int, error: Exception | None = None) -> int:
    try:
        if error is not None and os.environ.get("ART_DEBUG", "") not in ("", "0"):
            import traceback

            traceback.print_exception(error)
        print(f"error: {message}", *(line for line in more if line), sep="\n", file=sys.stderr)
    except OSError:
        pass  # nobody is left to read it; the exit code still tells
    return code


def _help_line(context: click.Context | None) -> str:
    return f"See: {context.command_path} --help" if context is not None else ""


def _flush() -> None:
    """Flush both streams; point one whose reader is gone at the null device, so that exiting is silent."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            try:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
            except (OSError, ValueError):
                pass
