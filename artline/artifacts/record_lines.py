"""What a line of a record may say: checked before any of it goes into a catalog."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from artline.artifacts.refs import check_name, check_tag, check_type

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["check_line", "values_of"]

_LARGEST = 2**63 - 1
_VERSIONS = 10**18  # what a name of a version has room for
_DIGEST = 32


def check_line(line: dict[str, Any]) -> bool:
    """Raise ValueError, TypeError, KeyError or AttributeError for a line that no store writes.

    Names obey the rules of names, and every column has what its table holds. Returns whether the line is
    about something that this version knows.
    """
    from artline.artifacts import schema

    tables = {
        "artifact": (schema.artifact, ("id", "project_id", "name", "changes")),
        "version": (schema.artifact_version, ("id", "artifact_id", "number")),
        "edge": (schema.artifact_edge, ("id", "version_id")),
        "event": (schema.artifact_event, ("id", "version_id")),
    }
    what = line["what"]
    if what not in tables:
        return False
    _check_place(line["of"], versioned=what != "artifact")
    _check_row(line["row"], *tables[what])
    _check_number(line.get("changes", 0))
    if what in ("artifact", "version"):
        _check_parts(line["parts"])
    if what == "artifact":
        check_type(line["row"]["type"])
        _check_number(line["row"]["next_version"], _VERSIONS)
        about = line.get("project", {})
        _check_text(about.get("description", ""))
        _check_time(about.get("created_at", 0.0))
    if what == "version":
        check_type(line["type"])
        if not isinstance(json.loads(line["row"]["metadata"]), dict):
            raise ValueError("metadata that is no object")
    if what == "event" and not isinstance(json.loads(line["row"]["detail"]), dict):
        raise ValueError("the detail of an event that is no object")
    return True


def values_of(table: sa.Table, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that the table has, of those that a record tells, as the catalog keeps them."""
    import sqlalchemy as sa

    values = {}
    for column in table.columns:
        if column.name in fields:
            value = fields[column.name]
            binary = isinstance(column.type, sa.LargeBinary) and value is not None
            values[column.name] = bytes.fromhex(value) if binary else value
    return values


def _check_place(place: Any, *, versioned: bool = True) -> None:
    if not isinstance(place, list) or len(place) != 3 + versioned:
        raise ValueError(f"{place!r} is no place")
    for name in place[:3]:
        check_name(name)
    if versioned:
        _check_number(place[3], _VERSIONS - 1)


def _check_parts(parts: dict[str, list[dict[str, Any]]]) -> None:
    from artline.artifacts.records import ARTIFACT_PARTS, VERSION_PARTS
    from artline.storage.schema import metadata

    for name, rows in parts.items():
        if name not in (*ARTIFACT_PARTS, *VERSION_PARTS):
            continue  # of a later version
        table = metadata.tables[name]
        seen: set[Any] = set()
        for row in rows:
            _check_row(
                row, table, ("version_id", "artifact_id") if "source_id" not in row else ("version_id",)
            )
            if row.get("version_id") is not None:
                _check_place(row["version_id"])
            if "name" in table.c:
                check_tag(row["name"])  # aliases and protected ones are narrower still
            key = row.get("name")
            if key in seen:
                raise ValueError(f"{name} has {key!r} twice")
            seen.add(key)


def _check_row(row: dict[str, Any], table: sa.Table, without: Iterable[str]) -> None:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version

    for column in table.columns:
        if column.name in without:
            continue
        value = row.get(column.name)
        if value is None:
            if not column.nullable:
                raise ValueError(f"no {column.name}")
        elif column.references(artifact_version.c.id):
            _check_place(value)
        elif isinstance(column.type, sa.LargeBinary):
            if len(bytes.fromhex(value)) != _DIGEST:
                raise ValueError(f"{column.name} is no digest")
        elif isinstance(column.type, sa.Boolean):
            if type(value) is not bool:
                raise ValueError(f"{column.name} is {value!r}")
        elif isinstance(column.type, sa.Integer):
            _check_number(value)
        elif isinstance(column.type, sa.Double):
            _check_time(value)
        else:
            _check_text(value)


def _check_number(value: Any, most: int = _LARGEST) -> None:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r} is no number")


def _check_time(value: Any) -> None:
    if type(value) not in (int, float) or not math.isfinite(value) or not abs(value) < _LARGEST:
        raise ValueError(f"{value!r} is no time")


def _check_text(value: Any) -> None:
    if type(value) is not str or "\0" in value:
        raise ValueError(f"{value!r} is no text")
    value.encode()  # half of a surrogate pair cannot be kept
