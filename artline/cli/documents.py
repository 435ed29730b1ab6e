"""What the reading commands print with --json: one documented shape for each kind of thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from artline.cli.values import instant

if TYPE_CHECKING:
    from artline.artifacts.drafts import DraftRecord
    from artline.artifacts.manifest import Entry
    from artline.artifacts.rules import Rule
    from artline.artifacts.versions import VersionRecord
    from artline.runs.alerts import RunAlert
    from artline.runs.listing import RunRecord
    from artline.storage.digest import Algorithm

__all__ = [
    "DRAFT_SHAPE",
    "ENTRY_SHAPE",
    "RUN_SHAPE",
    "VERSION_SHAPE",
    "alert_document",
    "draft_document",
    "entry_document",
    "moment",
    "pair_document",
    "rule_document",
    "run_document",
    "version_document",
]

VERSION_SHAPE = """\
VERSION: {"entity": str, "project": str, "name": str, "version": "v3", "type": str,
          "digest": str, "aliases": [str], "tags": [str], "size": bytes, "file_count": int,
          "description": str, "metadata": {…}, "created_at": time, "updated_at": time,
          "deleted_at": time | null, "ttl": seconds | 0 (never goes by itself) | null (by its rule)}"""

DRAFT_SHAPE = """\
DRAFT: {"entity": str, "project": str, "name": str, "id": str, "type": str, "created_at": time,
        "touched_at": time, "expires_at": time | null, "version": "entity/project/name:v3" | null,
        "contributions": [{"run": run, "size": bytes, "file_count": int, "metadata": {…} | null,
                           "description": str | null, "aliases": [str], "tags": [str], "at": time}]}
run: "entity/project/id"; version: what it became the last time; without contributions it is closed"""

ENTRY_SHAPE = """\
ENTRY: {"path": str, "kind": "file" | "executable" | "link" | "folder" | "reference",
        "size": bytes, "digest": str, "target": str (of a link), "uri": str (of a reference)}"""

RUN_SHAPE = """\
RUN: {"entity": str, "project": str, "id": str, "name": str, "state": str, "group": str,
      "job_type": str, "tags": [str], "notes": str, "created_at": time, "started_at": time,
      "ended_at": time | null, "heartbeat_at": time, "runtime": seconds, "exit_code": int | null,
      "last_step": int | null, "config": {dotted key: value}, "summary": {dotted key: value}}"""


def moment(seconds: float | None) -> Any:
    """Return seconds since 1970 as a time, None as None."""
    return None if seconds is None else instant(seconds)


def rule_document(rule: Rule | None) -> dict[str, Any] | None:
    """Return the document of a retention rule, None without one."""
    if rule is None:
        return None
    return {
        "ttl": rule.ttl.total_seconds() if rule.ttl is not None else None,
        "keep_last": rule.keep_last,
        "keep_aliased": rule.keep_aliased,
    }


def version_document(record: VersionRecord, algorithm: Algorithm) -> dict[str, Any]:
    """Return the document of a version."""
    from artline.storage.digest import format_digest

    return {
        "entity": record.entity,
        "project": record.project,
        "name": record.name,
        "version": record.version,
        "type": record.type,
        "digest": format_digest(algorithm, record.digest),
        "aliases": record.aliases,
        "tags": record.tags,
        "size": record.size,
        "file_count": record.file_count,
        "description": record.description,
        "metadata": record.metadata,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
        "deleted_at": moment(record.deleted_at),
        "ttl": record.ttl,
    }


def draft_document(record: DraftRecord, version: str | None = None) -> dict[str, Any]:
    """Return the document of a distributed draft; ``version`` is what it became the last time."""
    return {
        "entity": record.entity,
        "project": record.project,
        "name": record.name,
        "id": record.distributed_id,
        "type": record.type,
        "created_at": moment(record.created_at),
        "touched_at": moment(record.touched_at),
        "expires_at": moment(record.expires_at) if record.contributions else None,
        "version": version,
        "contributions": [
            {
                "run": found.run,
                "size": found.size,
                "file_count": found.file_count,
                "metadata": found.metadata,
                "description": found.description,
                "aliases": found.aliases,
                "tags": found.tags,
                "at": moment(found.at),
            }
            for found in record.contributions
        ],
    }


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return the document of one path of a version."""
    return {
        "path": entry.path,
        "kind": entry.kind.name.lower(),
        "size": entry.size,
        "digest": entry.digest,
        **({"target": entry.target} if entry.target else {}),
        **({"uri": entry.ref} if entry.ref else {}),
    }


def pair_document(pair: tuple[Entry, Entry]) -> dict[str, Any]:
    """Return the document of a path that changed, or moved."""
    return {"old": entry_document(pair[0]), "new": entry_document(pair[1])}


def alert_document(alert: RunAlert) -> dict[str, Any]:
    """Return the document of an alert."""
    return {
        "at": moment(alert.at),
        "level": alert.level,
        "title": alert.title,
        "text": alert.text,
        "label": alert.label,
    }


def run_document(record: RunRecord) -> dict[str, Any]:
    """Return the document of a run."""
    return {
        "entity": record.entity,
        "project": record.project,
        "id": record.run_id,
        "name": record.name,
        "state": record.state,
        "group": record.group,
        "job_type": record.job_type,
        "tags": record.tags,
        "notes": record.notes,
        "created_at": moment(record.created_at),
        "started_at": moment(record.started_at),
        "ended_at": moment(record.ended_at),
        "heartbeat_at": moment(record.heartbeat_at),
        "runtime": record.runtime,
        "exit_code": record.exit_code,
        "last_step": record.last_step,
        "config": record.config,
        "summary": record.summary,
    }
