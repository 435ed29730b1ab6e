"""Printing: aligned tables and fields for people, one JSON document for programs."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from artline.cli.values import instant, plain

__all__ = [
    "Column",
    "bold",
    "dim",
    "green",
    "json_text",
    "note",
    "print_fields",
    "print_json",
    "print_json_lists",
    "print_table",
    "red",
    "yellow",
]

_END = object()
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, whether it aligns right, whether it gives way when space is short."""

    title: str
    right: bool = False
    flexible: bool = False


def colours(stream: Any = None) -> bool:
    """Say whether to colour: on a terminal only, and never under NO_COLOR or TERM=dumb."""
    stream = stream or sys.stdout
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _styled(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if text and colours() else text


def bold(text: str) -> str:
    """Return ``text`` bold on a terminal."""
    return _styled("1", text)


def dim(text: str) -> str:
    """Return ``text`` dimmed on a terminal."""
    return _styled("2", text)


def red(text: str) -> str:
    """Return ``text`` red on a terminal."""
    return _styled("31", text)


def green(text: str) -> str:
    """Return ``text`` green on a terminal."""
    return _styled("32", text)


def yellow(text: str) -> str:
    """Return ``text`` yellow on a terminal."""
    return _styled("33", text)


def json_text(document: Any, indent: int | None = 2) -> str:
    """Write JSON: times as ISO 8601 in UTC, NaN and infinities as text, keys in the order given."""
    clean = _clean(document)
    text = _encoder(indent, False).encode(clean)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a file name that is no UTF-8
        text = _encoder(indent, True).encode(clean)
    return text


@functools.cache
def _encoder(indent: int | None, ascii_only: bool) -> json.JSONEncoder:
    return json.JSONEncoder(indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def print_json(document: Any) -> None:
    """Print one JSON document, as UTF-8 whatever the locale."""
    _write(json_text(document) + "\n")


def print_json_lists(head: Mapping[str, Any], lists: Mapping[str, Iterable[Any]]) -> None:
    """Print one JSON document: the fields of ``head``, then lists by name, one item a line.

    The items are never in memory together, however many there are.
    """
    _write(json_text(head)[:-1].rstrip())
    for name, items in lists.items():
        source = iter(items)
        start = "[" if (item := next(source, _END)) is _END else f"[\n    {json_text(item, indent=None)}"
        _write(f",\n  {json_text(name)}: {start}")
        while batch := list(itertools.islice(source, 1000)):
            _write("".join(f",\n    {json_text(item, indent=None)}" for item in batch))
        _write("]" if item is _END else "\n  ]")
    _write("\n}\n")


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], empty: str = "") -> None:
    """Print rows under their headings, aligned; ``empty`` is said on stderr when there are none.

    On a terminal the flexible column is cut so that a row fits its width; in a pipe nothing is cut.
    """
    if not rows:
        if empty:
            note(empty)
        return
    cells = [[_line(cell) for cell in row] for row in rows]
    widths = [
        max(display_width(column.title), *(display_width(row[i]) for row in cells))
        for i, column in enumerate(columns)
    ]
    if sys.stdout.isatty():
        spare = shutil.get_terminal_size().columns - sum(widths) - 2 * (len(columns) - 1)
        for i, column in enumerate(columns):
            if spare < 0 and column.flexible:
                narrowed = max(8, widths[i] + spare)
                spare += widths[i] - narrowed
                widths[i] = narrowed
    print(dim(_row([column.title for column in columns], columns, widths)))
    for row in cells:
        print(_row(row, columns, widths))


def print_fields(fields: Mapping[str, str | None], indent: str = "") -> None:
    """Print names and values in two columns, leaving out what is None or empty."""
    shown = {name: value for name, value in fields.items() if value}
    width = max((display_width(name) for name in shown), default=0)
    for name, value in shown.items():
        lines = [_line(line) for line in value.splitlines()] or [""]
        print(f"{indent}{dim(_pad(name, width))}  {lines[0]}")
        for line in lines[1:]:
            print(f"{indent}{'':{width}}  {line}")


def note(text: str) -> None:
    """Say something on stderr that is no result, so that a pipe carries results only."""
    print(text, file=sys.stderr)


def display_width(text: str) -> int:
    """Return how many terminal cells ``text`` takes."""
    if text.isascii() and "\x1b" not in text:
        return len(text)
    text = _ESCAPE.sub("", text)
    return sum(
        0
        if unicodedata.combining(c) or unicodedata.category(c) == "Cf"
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


def _line(text: str) -> str:
    """Spell out control characters, but keep the colours that were put in here."""
    if text.isprintable():
        return text
    parts = _ESCAPE.split(text) if colours() else [text]
    marks = _ESCAPE.findall(text) if colours() else []
    return "".join(plain(part) + mark for part, mark in zip(parts, [*marks, ""], strict=True))


def _write(text: str) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8"))


def _row(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    parts = [
        _pad(_cut(cell, width), width, right=column.right)
        for cell, column, width in zip(cells, columns, widths, strict=True)
    ]
    return "  ".join(parts).rstrip()


def _pad(text: str, width: int, *, right: bool = False) -> str:
    space = " " * max(0, width - display_width(text))
    return space + text if right else text + space


def _cut(text: str, width: int) -> str:
    if display_width(text) <= width:
        return text
    text = _ESCAPE.sub("", text)
    while text and display_width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _clean(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, datetime):
        return instant(value).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return _clean(value.value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): _clean(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _clean(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(item) for item in value]
    item = getattr(value, "item", None)
    if callable(item):  # a numpy scalar
        return _clean(item())
    raise TypeError(f"{type(value).__name__} has no JSON form")
