"""How long versions are kept: the time to live of one, and how it reads."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum

from artline.errors import UsageError

__all__ = ["TTL", "ArtifactTTL", "read_ttl", "span", "ttl_of", "ttl_seconds", "ttl_text"]

FOREVER = 0.0  # how the catalog says that a version does not grow old
LONGEST = timedelta(days=365_000)


class ArtifactTTL(Enum):
    """What a version's ``ttl`` may be set to besides a time."""

    INHERIT = 0
    """The version goes as the retention rule of its artifact says; so it is unless something else is said."""
    DISABLED = 1
    """The version never goes by itself, whatever the rule; None says the same."""


TTL = timedelta | ArtifactTTL


def read_ttl(value: timedelta | ArtifactTTL | None) -> TTL:
    """Return what a ttl was set to; raise UsageError unless it is a time above 0, None or an ArtifactTTL."""
    if value is None:
        return ArtifactTTL.DISABLED
    if isinstance(value, ArtifactTTL):
        return value
    if not isinstance(value, timedelta):
        raise UsageError(
            f"ttl must be a timedelta, None or an ArtifactTTL, not {type(value).__name__}. "
            "Write timedelta(days=30)"
        )
    if not timedelta(0) < value <= LONGEST:
        raise UsageError(f"ttl must be longer than 0 and at most {LONGEST.days} days, not {value}")
    return value


def ttl_seconds(ttl: TTL) -> float | None:
    """Return a ttl as the catalog has it: seconds, 0 for disabled, None for inherited."""
    if isinstance(ttl, timedelta):
        return ttl.total_seconds()
    return FOREVER if ttl is ArtifactTTL.DISABLED else None


def ttl_of(seconds: float | None) -> TTL:
    """Return what the catalog has as a ttl."""
    if seconds is None:
        return ArtifactTTL.INHERIT
    return timedelta(seconds=seconds) if seconds > FOREVER else ArtifactTTL.DISABLED


def ttl_text(ttl: TTL) -> str:
    """Return a ttl for people: ``30 days``, ``disabled``, ``inherited``."""
    if isinstance(ttl, timedelta):
        return span(ttl)
    return "disabled" if ttl is ArtifactTTL.DISABLED else "inherited"


def span(time: timedelta) -> str:
    """Return a length of time for people, in the largest unit that it is whole in."""
    for unit, seconds in (("day", 86400), ("hour", 3600), ("minute", 60)):
        amount, rest = divmod(time.total_seconds(), seconds)
        if amount and not rest:
            return f"{amount:.0f} {unit}{'s' * (amount > 1)}"
    rest = time.total_seconds()
    return f"{rest:g} second{'s' * (rest != 1)}"
