"""MongoDB-style filters over runs, as SQL.

``{"state": "finished", "$or": [{"tags": "best"}, {"summary.acc": {"$gte": 0.9}}]}``
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from artline.errors import UsageError
from artline.runs.attributes import attribute, lookup_text
from artline.runs.schema import run, run_attr, run_tag

__all__ = ["ATTRIBUTE_PREFIXES", "COLUMNS", "Scope", "attribute_key", "compile_filters"]

COLUMNS: dict[str, sa.Column[Any]] = {
    "id": run.c.run_id,
    "run_id": run.c.run_id,
    "name": run.c.name,
    "display_name": run.c.name,
    "displayName": run.c.name,
    "state": run.c.state,
    "notes": run.c.notes,
    "group": run.c.group_name,
    "job_type": run.c.job_type,
    "jobType": run.c.job_type,
    "created_at": run.c.created_at,
    "createdAt": run.c.created_at,
    "started_at": run.c.started_at,
    "ended_at": run.c.ended_at,
    "heartbeat_at": run.c.heartbeat_at,
    "heartbeatAt": run.c.heartbeat_at,
    "runtime": run.c.runtime,
    "duration": run.c.runtime,
    "exit_code": run.c.exit_code,
    "attempt": run.c.attempt,
    "last_step": run.c.last_step,
}
ATTRIBUTE_PREFIXES = {"config.": "config.", "summary.": "summary.", "summary_metrics.": "summary."}

_OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$regex", "$not")
_LOGIC = ("$and", "$or", "$nor")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "$gt": lambda column, value: column > value,
    "$gte": lambda column, value: column >= value,
    "$lt": lambda column, value: column < value,
    "$lte": lambda column, value: column <= value,
}
Clause = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Scope:
    """The projects whose runs are looked for, and whether a condition on an attribute holds for many runs."""

    projects: Sequence[int]
    is_wide: Callable[[sa.Select[Any]], bool] = lambda _: False


def compile_filters(filters: Mapping[str, Any] | None, scope: Scope) -> Clause:
    """Return the SQL condition on table ``run`` for runs of the scope's projects.

    Raises UsageError for an unknown field or operator.

    As in MongoDB: ``$ne`` and ``$nin`` also match runs that lack the key, and equality with None
    matches a key that is null or absent. ``tags`` holds when any tag does.
    """
    if not filters:
        return sa.true()
    if not isinstance(filters, Mapping):
        raise UsageError(f"filters must be a dict like {{'config.lr': {{'$lt': 0.1}}}}, not {filters!r}")
    return sa.and_(*(_clause(name, value, scope) for name, value in filters.items()))


def attribute_key(field: str) -> str | None:
    """Return the indexed key of a config or summary field, None for any other field."""
    for prefix, stored in ATTRIBUTE_PREFIXES.items():
        if field.startswith(prefix) and len(field) > len(prefix):
            return stored + field[len(prefix) :]
    return None


def _clause(name: str, value: Any, scope: Scope) -> Clause:
    if name in _LOGIC:
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise UsageError(f"{name} takes a non-empty list of filters, not {value!r}")
        parts = [compile_filters(part, scope) for part in value]
        if name == "$and":
            return sa.and_(*parts)
        return sa.or_(*parts) if name == "$or" else sa.not_(sa.or_(*parts))
    if name == "$not":
        return sa.not_(compile_filters(value, scope))
    if name.startswith("$"):
        raise UsageError(f"unknown filter operator '{name}'. Known: {', '.join((*_LOGIC, *_OPERATORS))}")
    return _field(name, value, scope)


def _field(name: str, value: Any, scope: Scope) -> Clause:
    conditions = value if _is_operators(value) else {"$eq": value}
    key = attribute_key(name)
    parts: list[Clause] = []
    for operator, operand in conditions.items():
        if operator == "$not":
            parts.append(sa.not_(_field(name, operand, scope)))
        elif operator not in _OPERATORS:
            raise UsageError(
                f"unknown filter operator '{operator}' on '{name}'. Known: {', '.join(_OPERATORS)}"
            )
        elif operator in ("$in", "$nin"):
            if not isinstance(operand, Sequence | set | frozenset) or isinstance(operand, str):
                raise UsageError(f"{operator} on '{name}' takes a list, not {operand!r}")
            found = sa.or_(sa.false(), *(_test(name, key, "$eq", item, scope) for item in operand))
            parts.append(found if operator == "$in" else sa.not_(found))
        elif operator == "$ne":
            parts.append(sa.not_(_test(name, key, "$eq", operand, scope)))
        else:
            parts.append(_test(name, key, operator, operand, scope))
    return sa.and_(*parts)


def _is_operators(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(str(name).startswith("$") for name in value)


def _test(name: str, key: str | None, operator: str, operand: Any, scope: Scope) -> Clause:
    if operator == "$regex":
        _check_pattern(name, operand)
    if key is not None:
        return _test_attribute(key, operator, operand, scope)
    if name == "tags":
        return _test_tags(operator, operand)
    column = COLUMNS.get(name)
    if column is None:
        raise UsageError(
            f"unknown filter field '{name}'. Known: {', '.join(sorted({*COLUMNS, 'tags'}))}, "
            "config.<key>, summary.<key>"
        )
    return _test_column(name, column, operator, operand)


def _test_attribute(key: str, operator: str, operand: Any, scope: Scope) -> Clause:
    table = run_attr.alias().c  # its own alias: an order may join the same table

    def holds(*conditions: Any) -> Clause:
        found = sa.select(table.run_id).where(table.project_id.in_(scope.projects), *conditions)
        if scope.is_wide(found):  # looking at one run after the other ends sooner than listing most of them
            return sa.exists().where(table.run_id == run.c.id, *conditions)
        # A list of runs: the database may begin with the rarest condition.
        return run.c.id.in_(found)

    mine = table.key == lookup_text(key)
    if operator == "$exists":
        found = holds(sa.or_(mine, table.key.startswith(key + ".", autoescape=True)))
        return found if operand else sa.not_(found)
    if operator == "$eq":
        if operand is None:
            return sa.not_(holds(mine, table.kind != "z"))
        wanted = attribute(_plain(operand))
        conditions = [mine, table.kind == wanted.kind]
        if wanted.number is not None:
            conditions.append(table.number == wanted.number)
        if wanted.text is not None:
            conditions.append(table.text == wanted.text)
        return holds(*conditions)
    if operator == "$regex":
        return holds(mine, table.kind == "s", table.text.regexp_match(operand))
    wanted = attribute(_plain(operand))
    if wanted.kind == "n" and wanted.number is not None:
        return holds(mine, table.kind == "n", _COMPARE[operator](table.number, wanted.number))
    if wanted.kind == "s":
        return holds(mine, table.kind == "s", _COMPARE[operator](table.text, wanted.text))
    raise UsageError(f"{operator} on '{key}' takes a number or a text, not {operand!r}")


def _test_tags(operator: str, operand: Any) -> Clause:
    table = run_tag.c
    mine = table.run_id == run.c.id
    if operator == "$exists":
        return sa.exists().where(mine) if operand else sa.not_(sa.exists().where(mine))
    if operator == "$regex":
        return sa.exists().where(mine, table.tag.regexp_match(operand))
    if operator == "$eq" and isinstance(operand, str):
        return sa.exists().where(mine, table.tag == operand)
    raise UsageError(f"{operator} on 'tags' with {operand!r} is not defined. Use a tag, $in, $nin or $regex")


def _test_column(name: str, column: sa.Column[Any], operator: str, operand: Any) -> Clause:
    is_text = isinstance(column.type, sa.Text)
    absent = sa.or_(column.is_(None), column == "") if is_text else column.is_(None)  # "": nobody set it
    if operator == "$exists":
        return sa.not_(absent) if operand else absent
    if operator == "$regex":
        if not is_text:
            raise UsageError(f"$regex on '{name}' is not defined: it is no text")
        return column.regexp_match(operand)
    if operand is None:
        return absent
    value = _plain(operand)
    if name.lower().endswith(("_at", "createdat", "heartbeatat")):
        value = _seconds(name, value)
    if is_text != isinstance(value, str):
        raise UsageError(f"filter on '{name}' takes {'a text' if is_text else 'a number'}, not {operand!r}")
    clause: Clause
    if operator == "$eq":
        clause = column == value
        return clause
    clause = _COMPARE[operator](column, value)
    return clause


def _seconds(name: str, value: Any) -> Any:
    """Return a time given as seconds, datetime or ISO 8601 text (UTC unless it says otherwise) in seconds."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise UsageError(
                f"filter on '{name}' takes seconds or a time like 2026-01-31T12:00:00, not {value!r}"
            ) from None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return value


def _plain(value: Any) -> Any:
    """Return a numpy scalar as the Python value it holds."""
    item = getattr(value, "item", None)
    return item() if callable(item) and not isinstance(value, Mapping) else value


def _check_pattern(name: str, pattern: Any) -> None:
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise UsageError(f"$regex on '{name}' is no regular expression: {error}") from None
