"""Values as people read and write them: sizes, times, numbers, sparklines, key=value pairs."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from artline.errors import SourceNotFoundError, UsageError

__all__ = [
    "ago",
    "count",
    "duration",
    "exact",
    "instant",
    "number",
    "plain",
    "read_metadata",
    "read_span",
    "size",
    "sparkline",
    "split_aliases",
]

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_BARS = "▁▂▃▄▅▆▇█"


def size(amount: float) -> str:
    """Write a number of bytes with its binary unit: ``512 B``, ``1.5 MiB``."""
    if abs(amount) < 1024:
        return f"{int(amount)} B"
    for unit in _UNITS:
        amount /= 1024
        if abs(amount) < 999.95 or unit == _UNITS[-1]:
            break
    return f"{amount:.1f} {unit}"


def count(amount: int, noun: str = "", plural: str = "") -> str:
    """Write a count with thousands marked, and its noun in the right number."""
    text = f"{amount:,}"
    if not noun:
        return text
    return f"{text} {noun if amount == 1 else plural or noun + 's'}"


def instant(value: datetime | float) -> datetime:
    """Return a moment as an aware datetime in UTC; a number is seconds since 1970."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return datetime.fromtimestamp(value, UTC)


def exact(value: datetime | float) -> str:
    """Write a moment to the second, in local time with its offset."""
    return instant(value).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def ago(value: datetime | float, now: datetime | None = None) -> str:
    """Write a moment relative to now: ``3 minutes ago``; ``in 2 hours`` for one to come."""
    seconds = ((now or datetime.now(UTC)) - instant(value)).total_seconds()
    distance = abs(seconds)
    if distance < 5:
        return "just now"
    for limit, unit, noun in (
        (90, 1, "second"),
        (90 * 60, 60, "minute"),
        (36 * 3600, 3600, "hour"),
        (45 * 86400, 86400, "day"),
        (540 * 86400, 30.44 * 86400, "month"),
        (math.inf, 365.25 * 86400, "year"),
    ):
        if distance < limit:
            text = count(max(1, round(distance / unit)), noun)
            break
    return f"{text} ago" if seconds > 0 else f"in {text}"


def duration(seconds: float) -> str:
    """Write a length of time: ``0.4s``, ``12s``, ``3m 05s``, ``2h 10m``, ``4d 6h``."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def number(value: Any) -> str:
    """Write a metric's value in at most six significant digits; anything else as it reads in JSON."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: ""}[value]
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return str(value)
        from decimal import Decimal

        return f"{Decimal(value):.6g}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return plain(value)
    from artline.cli.output import json_text

    return json_text(value, indent=None)


def plain(text: str) -> str:
    """Return ``text`` with control characters spelt out, so that a name cannot steer a terminal."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == " " else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text
    )


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Draw the course of ``values`` in at most ``width`` bars; each bar shows the extreme of its bucket.

    The extreme is the value farthest from the mean, so that a spike stays visible. What is not finite
    as a float is left out.
    """
    finite = [float(v) for v in values if abs(v) <= sys.float_info.max]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    if high == low:
        return _BARS[3] * min(width, len(finite))
    scale = max(abs(low), abs(high))  # divided out first: the span of two huge values overflows
    mean = math.fsum(v / scale for v in finite) / len(finite)
    buckets = min(width, len(finite))
    bars = []
    for index in range(buckets):
        part = finite[len(finite) * index // buckets : len(finite) * (index + 1) // buckets]
        extreme = max(part, key=lambda v: abs(v / scale - mean))
        share = (extreme / scale - low / scale) / (high / scale - low / scale)
        bars.append(_BARS[round(share * (len(_BARS) - 1))])
    return "".join(bars)


def split_aliases(text: str) -> tuple[str, list[str]]:
    """Split ``NAME[:alias,…]`` into the name and its aliases; raises UsageError for an empty part."""
    name, colon, rest = text.partition(":")
    aliases = rest.split(",") if colon else []
    if not name or (colon and not all(aliases)):
        raise UsageError(f"'{text}' is not a name with aliases. Write NAME or NAME:alias,alias")
    return name, aliases


def read_span(text: str) -> timedelta:
    """Read a length of time such as ``30m``, ``12h``, ``2d``, ``1w`` or ``0``; raises UsageError."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    if text == "0":
        return timedelta()
    if text[-1:] in units and text[:-1].isdecimal() and text.isascii() and len(text) < 8:
        return timedelta(**{units[text[-1]]: int(text[:-1])})
    raise UsageError(f"'{text}' is no length of time. Write 30m, 12h, 2d or 1w")


def read_metadata(items: Iterable[str]) -> dict[str, Any]:
    """Read metadata from ``key=value`` (JSON where it parses, else text) and ``@file.json`` items.

    Later items win. Raises UsageError for an item of neither form or a file that is not a JSON object,
    SourceNotFoundError for a file that does not exist.
    """
    import json

    result: dict[str, Any] = {}
    for item in items:
        if item.startswith("@"):
            file = Path(item[1:])
            try:
                document = json.loads(file.read_text(encoding="utf-8"))
            except FileNotFoundError:
                raise SourceNotFoundError(f"metadata file '{file}' does not exist") from None
            except (OSError, ValueError) as error:
                raise UsageError(f"cannot read metadata from '{file}': {error}") from error
            if not isinstance(document, dict):
                raise UsageError(f"metadata file '{file}' holds no JSON object at its top")
            result.update(document)
            continue
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise UsageError(f"metadata '{item}' is neither key=value nor @file.json")
        try:
            result[key] = json.loads(text, parse_constant=_refuse_constant)
        except ValueError:
            result[key] = text
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")
