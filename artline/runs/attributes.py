"""The typed index over config and summary: what the runs table filters and sorts on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from artline.runs.schema import run_attr, upsert

__all__ = ["Attribute", "attribute", "clean_text", "lookup_text", "write_attributes"]

# PostgreSQL refuses index rows beyond a third of a page, so long texts are indexed by prefix and hash.
_LONGEST_TEXT = 400
_PREFIX = 360
_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class Attribute:
    """A JSON value as the index holds it: what it is, its number, its text."""

    kind: str
    number: float | None
    text: str | None


def attribute(value: Any) -> Attribute:
    """Return how a JSON value is indexed. Numbers beyond 2**53 keep their digits as text as well."""
    if value is None:
        return Attribute("z", None, None)
    if isinstance(value, bool):
        return Attribute("b", float(value), "true" if value else "false")
    if isinstance(value, int):
        try:
            number = float(value)
        except OverflowError:
            number = float("inf") if value > 0 else float("-inf")
        return Attribute("n", number, str(value) if abs(value) > _EXACT else None)
    if isinstance(value, float):
        return Attribute("n", None, "nan") if value != value else Attribute("n", value, None)
    if isinstance(value, str):
        return Attribute("s", None, lookup_text(value))
    return Attribute("j", None, lookup_text(json.dumps(value, sort_keys=True)))


def clean_text(text: str) -> str:
    """Return text that every database takes: no NUL, no lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def write_attributes(
    conn: sa.Connection,
    project: int,
    run: int,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    prefix: str,
) -> None:
    """Bring the index of a run from the flat values ``before`` to ``after``, touching only what changed."""
    rows = []
    for key, value in after.items():
        found = attribute(value)
        if key in before and attribute(before[key]) == found:
            continue
        rows.append(
            {
                "run_id": run,
                "key": lookup_text(f"{prefix}.{key}"),
                "project_id": project,
                "kind": found.kind,
                "number": found.number,
                "text": found.text,
            }
        )
    gone = [lookup_text(f"{prefix}.{key}") for key in before.keys() - after.keys()]
    for at in range(0, len(gone), 500):
        conn.execute(
            sa.delete(run_attr).where(run_attr.c.run_id == run, run_attr.c.key.in_(gone[at : at + 500]))
        )
    if rows:
        statement = upsert(conn, run_attr)
        conn.execute(
            statement.on_conflict_do_update(
                index_elements=["run_id", "key"],
                set_={name: statement.excluded[name] for name in ("project_id", "kind", "number", "text")},
            ),
            rows,
        )


def lookup_text(text: str) -> str:
    """Return text in a form short enough for an index: itself, or its beginning and a digest of it."""
    text = clean_text(text)
    if len(text) <= _LONGEST_TEXT:
        return text
    from hashlib import blake2b

    return f"{text[:_PREFIX]}…{blake2b(text.encode(), digest_size=16).hexdigest()}"
