"""Metric definitions (``define_metric``) and the summary they make of logged rows.

Both sides use this: the training process for ``run.summary``, and readers when they take in a journal, so
a summary is the same whoever computes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from artline.errors import UsageError
from artline.runs.records import Rows

__all__ = ["GOALS", "RULES", "Definition", "Definitions", "SummaryBuilder"]

RULES = ("min", "max", "mean", "last", "first", "best", "none", "copy")
GOALS = ("minimize", "maximize")


@dataclass(frozen=True, slots=True)
class Definition:
    """What one ``define_metric`` call says of the metrics that match ``name``; None leaves a field open.

    ``name`` is a metric's full name or a glob in which ``*`` stands for any text.
    """

    name: str
    step_metric: str | None = None
    step_sync: bool | None = None
    summary: tuple[str, ...] | None = None
    goal: str | None = None
    hidden: bool | None = None
    overwrite: bool = False

    @classmethod
    def parse(
        cls,
        name: str,
        step_metric: str | Definition | None = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | Sequence[str] | None = None,
        goal: str | None = None,
        overwrite: bool | None = None,
    ) -> Definition:
        """Check the arguments of ``define_metric`` and return the definition. Raises UsageError."""
        if not isinstance(name, str) or not name:
            raise UsageError(f"define_metric: the name must be a non-empty text, not {name!r}")
        if isinstance(step_metric, Definition):
            step_metric = step_metric.name
        if step_metric is not None and (not isinstance(step_metric, str) or not step_metric):
            raise UsageError(f"define_metric('{name}'): step_metric must be a metric's name")
        if step_metric is not None and "*" in step_metric:
            raise UsageError(f"define_metric('{name}'): step_metric '{step_metric}' must not be a glob")
        rules: tuple[str, ...] | None = None
        if summary is not None:
            words = summary.split(",") if isinstance(summary, str) else list(summary)
            rules = tuple(dict.fromkeys(_rule(name, word) for word in words))
            if "none" in rules and len(rules) > 1:
                raise UsageError(f"define_metric('{name}'): summary 'none' excludes the others")
            if len(rules) > 1:  # as in wandb, where copy beside other rules says nothing
                rules = tuple(rule for rule in rules if rule != "copy")
        if goal is not None:
            goal = {"min": "minimize", "max": "maximize"}.get(goal, goal)
            if goal not in GOALS:
                raise UsageError(f"define_metric('{name}'): goal must be one of {', '.join(GOALS)}")
        return cls(name, step_metric, step_sync, rules, goal, hidden, bool(overwrite))

    def to_json(self) -> dict[str, Any]:
        """Return the definition as plain JSON, open fields left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.summary is not None:
            values["summary"] = list(self.summary)
        if not self.overwrite:
            values["overwrite"] = None
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Definition:
        """Rebuild a definition from ``to_json``; unknown fields are ignored."""
        known = {f.name for f in fields(cls)}
        kept = {name: value for name, value in values.items() if name in known}
        if kept.get("summary") is not None:
            kept["summary"] = tuple(kept["summary"])
        return cls(**kept)


def _rule(name: str, word: str) -> str:
    word = word.strip().lower()
    if word not in RULES:
        raise UsageError(f"define_metric('{name}'): unknown summary '{word}'. Known: {', '.join(RULES)}")
    return word


class Definitions:
    """The definitions of a run in the order they were made, and what they say together of one metric.

    A later definition of the same name adds to the earlier one, or replaces it with ``overwrite``. For
    one metric, matching globs apply in order and the definition by its full name last.
    """

    def __init__(self, items: Iterable[Definition] = ()) -> None:
        self._items: dict[str, Definition] = {}
        self._resolved: dict[str, Definition] = {}
        self.synced = False  # whether any definition asks for step_sync
        self.step_metrics: frozenset[str] = frozenset()
        for item in items:
            self.add(item)

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, item: Definition) -> None:
        """Take in one more definition."""
        earlier = self._items.pop(item.name, None)
        self._items[item.name] = item if earlier is None or item.overwrite else _merge(earlier, item)
        self._resolved.clear()
        self.step_metrics = frozenset(
            found.step_metric for found in self._items.values() if found.step_metric is not None
        )
        self.synced = any(
            found.step_metric is not None and found.step_sync is not False for found in self._items.values()
        )

    def resolve(self, key: str) -> Definition:
        """Return everything said of one metric."""
        found = self._resolved.get(key)
        if found is None:
            found = Definition(key)
            for name, item in self._items.items():
                if "*" in name and name != key and _pattern(name).fullmatch(key):
                    found = _merge(found, item)
            if key in self._items:
                found = _merge(found, self._items[key])
            if len(self._resolved) > 100_000:
                self._resolved.clear()
            self._resolved[key] = found
        return found

    def missing_steps(self, keys: Sequence[str]) -> list[str]:
        """Return the step metrics that a row of these keys lacks and that step_sync adds to it."""
        if not self.synced:
            return []
        wanted: dict[str, None] = {}
        for key in keys:
            rule = self.resolve(key)
            if rule.step_metric is not None and rule.step_sync is not False:
                wanted[rule.step_metric] = None
        return [name for name in wanted if name not in keys]

    def to_json(self) -> list[dict[str, Any]]:
        """Return every definition as plain JSON, in order."""
        return [item.to_json() for item in self._items.values()]


def _merge(earlier: Definition, later: Definition) -> Definition:
    def pick(name: str) -> Any:
        value = getattr(later, name)
        return getattr(earlier, name) if value is None else value

    names = ("step_metric", "step_sync", "summary", "goal", "hidden")
    return Definition(earlier.name, **{name: pick(name) for name in names})


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, glob.split("*"))), re.DOTALL)


class SummaryBuilder:
    """Build a run's summary from its rows, definitions and explicit assignments, a batch at a time.

    By default, and by the rule ``copy``, a metric's summary is the value logged last, under its own name.
    With other rules it is one value a rule, under ``name.rule`` (``acc.max``). NaN counts for last and
    first, never for min, max, mean and best; text and lists count for last and first only. What was
    assigned explicitly stands until it is removed. Batches of different attempts may come in any order;
    those of one attempt in journal order.
    """

    def __init__(self, definitions: Definitions | None = None) -> None:
        self.definitions = definitions if definitions is not None else Definitions()
        self._last: dict[str, tuple[int, int, Any]] = {}  # attempt, order, value
        self._first: dict[str, tuple[int, int, Any]] = {}
        self._low: dict[str, Any] = {}
        self._high: dict[str, Any] = {}
        self._mean: dict[str, tuple[float, int]] = {}  # sum, count
        self._explicit: dict[str, Any] = {}
        self._above: set[str] = set()  # dotted paths that explicit keys lie below, or did

    def restart(self) -> SummaryBuilder:
        """Return a builder of the same definitions and explicit values that has seen no rows."""
        found = SummaryBuilder(Definitions(Definition.from_json(item) for item in self.definitions.to_json()))
        found.assign(self._explicit)
        return found

    def define(self, definition: Definition) -> None:
        """Apply one more definition to the rows that follow."""
        self.definitions.add(definition)

    def add(self, rows: Rows, attempt: int = 1) -> None:
        """Take in a batch of rows; those of the system stream are ignored."""
        if rows.stream == "history":
            self.add_columns(rows.keys, rows.types, rows.columns, rows.orders, attempt)

    def add_columns(
        self,
        keys: Sequence[str],
        types: str,
        columns: Sequence[Sequence[Any]],
        orders: Sequence[int],
        attempt: int = 1,
    ) -> None:
        """Take in a batch of history rows of one key set, given as the fields of Rows."""
        if not len(orders):
            return
        plain = not self.definitions
        newest = orders[-1]
        for key, letter, column in zip(keys, types, columns, strict=True):
            rules = None if plain else self.definitions.resolve(key).summary
            if rules is None or "last" in rules or "copy" in rules:
                value = column[-1]
                _keep(self._last, key, attempt, newest, json.loads(value) if letter == "j" else value, True)
            if rules is None:
                continue
            if "first" in rules:
                value = column[0]
                _keep(
                    self._first, key, attempt, orders[0], json.loads(value) if letter == "j" else value, False
                )
            if not _NUMERIC.isdisjoint(rules):
                self._numbers(key, rules, _numeric(letter, column))

    def _numbers(self, key: str, rules: Sequence[str], values: Sequence[Any]) -> None:
        if not values:
            return
        goal = self.definitions.resolve(key).goal
        best: Callable[..., Any] | None = None
        if "best" in rules:
            best = max if goal == "maximize" else min
        if "min" in rules or best is min:
            low = min(values)
            self._low[key] = low if key not in self._low else min(low, self._low[key])
        if "max" in rules or best is max:
            high = max(values)
            self._high[key] = high if key not in self._high else max(high, self._high[key])
        if "mean" in rules:
            total, count = self._mean.get(key, (0.0, 0))
            for value in values:
                total += _float(value)
            self._mean[key] = (total, count + len(values))

    def assign(self, values: Mapping[str, Any], removed: Iterable[str] = ()) -> None:
        """Take in explicit assignments and removals. A removed metric comes back when it is logged again.

        A value assigned replaces those assigned below it, and one above it.
        """
        for key in removed:
            self._explicit.pop(key, None)
            base, _, rule = key.rpartition(".")
            for name in (key, base) if rule in _NAMED else (key,):
                for state in (self._last, self._first, self._low, self._high, self._mean):
                    state.pop(name, None)
        for key in values:
            for parent in _parents(key):
                self._explicit.pop(parent, None)
                self._above.add(parent)
            if key in self._above:
                for name in [name for name in self._explicit if name.startswith(f"{key}.")]:
                    del self._explicit[name]
                self._above.discard(key)
            self._explicit[key] = values[key]

    def last(self, key: str) -> Any:
        """Return the value logged last under a key, or None; only for keys whose rules keep it."""
        found = self._last.get(key)
        return None if found is None else found[2]

    def values(self) -> dict[str, Any]:
        """Return the summary: dotted name to value. The caller owns the dict."""
        result: dict[str, Any] = {}
        for key, (_, _, value) in self._last.items():
            rules = self._rules(key)
            if rules is None or "copy" in rules:
                result[key] = value
            elif "last" in rules:
                result[f"{key}.last"] = value
        for key, (_, _, value) in self._first.items():
            if "first" in (self._rules(key) or ()):
                result[f"{key}.first"] = value
        for rule, state in (("min", self._low), ("max", self._high)):
            for key, value in state.items():
                rules = self._rules(key) or ()
                if rule in rules:
                    result[f"{key}.{rule}"] = value
                if "best" in rules and rule == self._best(key):
                    result[f"{key}.best"] = value
        for key, (total, count) in self._mean.items():
            if "mean" in (self._rules(key) or ()):
                result[f"{key}.mean"] = total / count
        result.update(self._explicit)
        return result

    def _rules(self, key: str) -> tuple[str, ...] | None:
        return self.definitions.resolve(key).summary if self.definitions else None

    def _best(self, key: str) -> str:
        return "max" if self.definitions.resolve(key).goal == "maximize" else "min"

    def to_json(self) -> dict[str, Any]:
        """Return the whole state as plain JSON (with NaN and infinities as Python's json writes them)."""
        return {
            "definitions": self.definitions.to_json(),
            "last": {key: list(value) for key, value in self._last.items()},
            "first": {key: list(value) for key, value in self._first.items()},
            "min": dict(self._low),
            "max": dict(self._high),
            "mean": {key: list(value) for key, value in self._mean.items()},
            "explicit": dict(self._explicit),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> SummaryBuilder:
        """Rebuild a builder from ``to_json``; it goes on exactly as the original would."""
        builder = cls(Definitions(Definition.from_json(item) for item in state["definitions"]))
        builder._last = {key: (a, o, v) for key, (a, o, v) in state["last"].items()}
        builder._first = {key: (a, o, v) for key, (a, o, v) in state["first"].items()}
        builder._low = dict(state["min"])
        builder._high = dict(state["max"])
        builder._mean = {key: (total, count) for key, (total, count) in state["mean"].items()}
        builder._explicit = dict(state["explicit"])
        builder._above = {parent for key in builder._explicit for parent in _parents(key)}
        return builder


_NAMED = frozenset(RULES) - {"none", "copy"}
_NUMERIC = frozenset(("min", "max", "mean", "best"))


def _keep(
    state: dict[str, tuple[int, int, Any]], key: str, attempt: int, order: int, value: Any, later: bool
) -> None:
    """Keep the value logged later (or earlier) of the one known and the one given."""
    known = state.get(key)
    if known is None or ((attempt, order) > known[:2] if later else (attempt, order) < known[:2]):
        state[key] = (attempt, order, value)


def _parents(path: str) -> Iterator[str]:
    at = path.find(".")
    while at != -1:
        yield path[:at]
        at = path.find(".", at + 1)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond float64
        return float("inf") if value > 0 else float("-inf")


def _numeric(letter: str, column: Sequence[Any]) -> Sequence[Any]:
    """Return the numbers of a column that can be compared: no NaN, no text."""
    if letter == "q":
        return column
    if letter == "?":
        return [int(value) for value in column]
    if letter == "d":
        return [value for value in column if value == value]
    decoded = [json.loads(text) for text in column]
    return [v for v in decoded if isinstance(v, (int, float)) and not isinstance(v, bool) and v == v]
