"""One metric of a run as a series: its steps, times and values, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from artline.errors import NotFoundError
from artline.runs.records import HISTORY

if TYPE_CHECKING:
    from artline.runs.listing import RunRecord
    from artline.runs.store import RunStore

__all__ = ["Series", "match_keys", "read_series"]

_TOGETHER = 32  # keys read in one pass


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one key, in order of their steps; times are seconds since 1970."""

    key: str
    steps: tuple[int, ...]
    times: tuple[float, ...]
    values: tuple[Any, ...]

    @property
    def numbers(self) -> list[float]:
        """The values that are numbers; neither NaN nor booleans are among them."""
        return [
            value
            for value in self.values
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
        ]

    @property
    def last(self) -> Any:
        """The value of the highest step; None when there is none."""
        return self.values[-1] if self.values else None

    @property
    def smallest(self) -> float | None:
        """The smallest number; None when there is none."""
        return min(self.numbers, default=None)

    @property
    def largest(self) -> float | None:
        """The largest number; None when there is none."""
        return max(self.numbers, default=None)


def match_keys(
    store: RunStore, record: RunRecord, patterns: Sequence[str] = (), *, stream: str = HISTORY
) -> list[str]:
    """Return the keys of a run that equal or match (``train/*``) a pattern; every key without patterns.

    Raises NotFoundError for a pattern that nothing matches, naming what there is.
    """
    known = [metric.key for metric in store.metrics(record, stream)]
    if not patterns:
        return known
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [pattern] if pattern in known else [key for key in known if fnmatchcase(key, pattern)]
        if not matching:
            some = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
            raise NotFoundError(
                f"run '{record.run_id}' has no metric that matches '{pattern}'. It has: {some or 'none'}"
            )
        found.update(dict.fromkeys(matching))
    return list(found)


def read_series(
    store: RunStore, record: RunRecord, keys: Sequence[str], *, stream: str = HISTORY
) -> list[Series]:
    """Return the exact series of some keys of a run; steps and times are those of ``history``."""
    result = []
    for start in range(0, len(keys), _TOGETHER):
        part = keys[start : start + _TOGETHER]
        columns: dict[str, tuple[list[int], list[float], list[Any]]] = {key: ([], [], []) for key in part}
        for row in store.history(record, part, stream=stream):
            for key in part:
                if key in row:
                    steps, times, values = columns[key]
                    steps.append(row["_step"])
                    times.append(row["_timestamp"])
                    values.append(row[key])
        for key, (steps, times, values) in columns.items():
            result.append(Series(key, tuple(steps), tuple(times), tuple(values)))
    return result
