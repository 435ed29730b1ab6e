"""The rows of ``art diff --rows``: as lines that people read, and as documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from artline.cli.output import green, note, red, yellow
from artline.cli.values import count, plain
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.diff import Diff
    from artline.artifacts.rows import DuplicateKey, RowChange, RowDiff

__all__ = ["RowReport"]

WIDTH = 60  # of a cell


class RowReport:
    """The changed files of rows of a difference, compared by key.

    A file without a key column is left out, saying so, unless none has it: then the UsageError is raised.
    """

    def __init__(self, found: Diff, keys: tuple[str, ...]) -> None:
        from artline.artifacts.row_files import ROW_SUFFIXES, has_rows

        self._diffs: dict[str, RowDiff] = {}
        failures: list[UsageError] = []
        for _, entry in found.changed:
            if has_rows(entry.path):
                try:
                    self._diffs[entry.path] = found.rows(entry.path, keys)
                except UsageError as error:
                    failures.append(error)
        if failures and not self._diffs:
            raise failures[0]
        for failure in failures:
            note(f"not compared: {failure}")
        if found and not self._diffs:
            note(f"no file of rows changed ({', '.join(ROW_SUFFIXES)})")

    def print(self, path: str, limit: int) -> None:
        """Print what changed in one file, at most ``limit`` rows of it, with 0 their counts only."""
        found = self._diffs.get(path)
        if found is None:
            return
        for name in found.columns_removed:
            print(red(f"    - column {plain(name)}"))
        for name in found.columns_added:
            print(green(f"    + column {plain(name)}"))
        for change in islice(found.changes(), limit):
            key = _cells(change.key)
            if change.kind == "removed":
                print(red(f"    - {key}"))
            elif change.kind == "added":
                print(green(f"    + {key}"))
            else:
                print(yellow(f"    ~ {key}") + f"  {_changed(change)}")
        rows = found.added + found.removed + found.changed
        for duplicate in islice(found.duplicate_keys(), max(0, limit - rows)):
            told = "differing" if duplicate.differs else "the same"
            print(f"    ! {_cells(duplicate.key)}  {duplicate.old} and {count(duplicate.new, 'row')}, {told}")
        if rows + found.duplicates > limit > 0:
            print(f"    … {count(rows + found.duplicates - limit)} more (--limit)")
        duplicates = f", {count(found.duplicates, 'duplicate key')}" if found.duplicates else ""
        print(
            f"    {count(found.added, 'row')} added, {count(found.removed)} removed, "
            f"{count(found.changed)} changed{duplicates}"
        )

    def tables(self) -> list[dict[str, Any]]:
        """Return the counts of each file."""
        return [
            {
                "path": path,
                "key": found.key,
                "columns_added": found.columns_added,
                "columns_removed": found.columns_removed,
                "added": found.added,
                "removed": found.removed,
                "changed": found.changed,
                "duplicates": found.duplicates,
            }
            for path, found in self._diffs.items()
        ]

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield every row of every file that changed."""
        for path, found in self._diffs.items():
            for change in found.changes():
                yield {
                    "path": path,
                    "change": change.kind,
                    "key": _plain_cells(change.key),
                    "columns": change.columns,
                    "old": _plain_cells(change.old),
                    "new": _plain_cells(change.new),
                }
            for duplicate in found.duplicate_keys():
                yield _duplicate(path, duplicate)


def _duplicate(path: str, duplicate: DuplicateKey) -> dict[str, Any]:
    return {
        "path": path,
        "change": "duplicate",
        "key": _plain_cells(duplicate.key),
        "old": duplicate.old,
        "new": duplicate.new,
        "differs": duplicate.differs,
    }


def _changed(change: RowChange) -> str:
    old, new = change.old or {}, change.new or {}
    return ", ".join(
        f"{plain(name)}: {_cell(old[name]) if name in old else 'absent'} -> "
        f"{_cell(new[name]) if name in new else 'absent'}"
        for name in change.columns
    )


def _cells(key: Mapping[str, Any]) -> str:
    return " ".join(f"{plain(name)}={_cell(value)}" for name, value in key.items())


def _cell(value: Any) -> str:
    if isinstance(value, str):
        # As it is where that is clear, in quotes where it could be taken for something else.
        text = plain(value)
        if (
            text != value
            or not text
            or text != text.strip()
            or text == "null"
            or "," in text
            or " -> " in text
        ):
            text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, bytes):
        text = f"0x{value.hex()}"
    elif value is None:
        text = "null"
    else:
        text = plain(str(value))
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _plain_cells(cells: Mapping[str, Any] | None) -> Any:
    return None if cells is None else {name: _plain_cell(value) for name, value in cells.items()}


def _plain_cell(value: Any) -> Any:
    """Return a cell in a form that JSON has: dates, decimals and the like as text."""
    if isinstance(value, Mapping):
        return _plain_cells(value)
    if isinstance(value, list):
        return [_plain_cell(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float | bytes):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
