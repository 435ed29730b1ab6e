"""``termlog`` and its like: a line for the person at the terminal."""

from __future__ import annotations

from artline.runs.notices import say, warn

__all__ = ["termerror", "termlog", "termwarn"]

_said: set[str] = set()


def termlog(string: str = "", newline: bool = True, repeat: bool = True, prefix: bool = True) -> None:
    """Say a line on standard error; with ``repeat=False`` only once per process."""
    if _due(string, repeat):
        say(string)


def termwarn(string: str, newline: bool = True, repeat: bool = True) -> None:
    """Say a line as a warning; with ``repeat=False`` only once per process."""
    if _due(string, repeat):
        warn(string)


def termerror(string: str, newline: bool = True, repeat: bool = True) -> None:
    """Say a line as an error; with ``repeat=False`` only once per process."""
    if _due(string, repeat):
        say(f"error: {string}")


def _due(line: str, repeat: bool) -> bool:
    if repeat:
        return True
    new = line not in _said
    _said.add(line)
    return new
