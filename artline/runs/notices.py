"""The few lines a run says to its person, on standard error."""

from __future__ import annotations

import contextlib
import sys

__all__ = ["say", "warn"]


def say(line: str) -> None:
    """Write one calm line to standard error; never raises, whatever became of the stream."""
    stream = sys.stderr
    if stream is not None:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # closed, full, or re-entered
            stream.write(f"artline: {line}\n")
            stream.flush()


def warn(line: str) -> None:
    """Write one warning line to standard error, as ``say`` does."""
    say(f"warning: {line}")
