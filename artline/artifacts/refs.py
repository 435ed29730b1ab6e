"""Names of projects, artifacts, aliases and tags, and the references that are built of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from artline.errors import InvalidNameError, UsageError

__all__ = [
    "LATEST",
    "MAX_NAME",
    "Ref",
    "check_alias",
    "check_name",
    "check_tag",
    "check_type",
    "parse_ref",
    "version_alias",
    "version_number",
]

LATEST = "latest"
MAX_NAME = 128

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_TAG = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_. -]*[A-Za-z0-9_.-])?")
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})")
_VERSION_LIKE = re.compile(r"[vV][0-9]+")


@dataclass(frozen=True, slots=True)
class Ref:
    """A parsed reference: ``[[entity/]project/]name[:version-or-alias][@digest]``.

    ``entity`` and ``project`` are None where the text leaves them open, ``alias`` is empty where it names
    neither a version nor an alias, ``digest`` is empty or ``algorithm:hex``.
    """

    name: str
    alias: str = ""
    digest: str = ""
    project: str | None = None
    entity: str | None = None

    def __str__(self) -> str:
        places = [place for place in (self.entity, self.project) if place is not None]
        alias = f":{self.alias}" if self.alias else ""
        digest = f"@{self.digest}" if self.digest else ""
        return "/".join([*places, self.name]) + alias + digest


def parse_ref(text: str) -> Ref:
    """Split a reference into its parts.

    Raises UsageError for text of another shape and InvalidNameError for a part that breaks its rule.
    """
    rest, at, digest = text.partition("@")
    if at and not re.fullmatch(r"[a-z0-9]+:[0-9a-f]{64}", digest):
        raise UsageError(
            f"reference '{text}' does not end in a digest. Write it as name@blake3:<64 hexadecimal digits>"
        )
    path, colon, alias = rest.partition(":")
    if colon:
        check_alias(alias, reserved=True)
    parts = path.split("/")
    if len(parts) > 3:
        raise UsageError(
            f"reference '{text}' has too many parts. Write [[entity/]project/]name[:version-or-alias]"
        )
    for part, what in zip(reversed(parts), ("artifact", "project", "entity"), strict=False):
        check_name(part, what)
    name, project, entity = [*reversed(parts), None, None][:3]
    assert name is not None
    return Ref(name=name, alias=alias, digest=digest, project=project, entity=entity)


def check_name(name: str, what: str = "artifact") -> str:
    """Return ``name`` when it may name an artifact, project or entity; raise InvalidNameError otherwise."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise InvalidNameError(
            f"{what} name {name!r} is not allowed. Use 1 to {MAX_NAME} letters (A-Z), digits, '_', '-' "
            "and '.', beginning with a letter, a digit or '_'"
        )
    return name


def check_type(name: str) -> str:
    """Return ``name`` when it may be an artifact's type; raise InvalidNameError otherwise."""
    return check_name(name, "type")


def check_alias(alias: str, *, reserved: bool = False) -> str:
    """Return ``alias`` when it may be given to a version.

    ``latest`` and ``v<number>`` belong to the store: they pass only when ``reserved`` is true.
    """
    check_name(alias, "alias")
    if not reserved and (alias == LATEST or _VERSION_LIKE.fullmatch(alias)):
        raise InvalidNameError(
            f"alias '{alias}' is given by the store itself. Choose one that is neither '{LATEST}' "
            "nor 'v' and a number"
        )
    return alias


def check_tag(tag: str) -> str:
    """Return ``tag`` when it may be put on a version; raise InvalidNameError otherwise."""
    if not isinstance(tag, str) or not _TAG.fullmatch(tag) or len(tag) > MAX_NAME:
        raise InvalidNameError(
            f"tag {tag!r} is not allowed. Use 1 to {MAX_NAME} letters (A-Z), digits, '_', '-', '.' and spaces"
        )
    return tag


def version_alias(number: int) -> str:
    """Return the name of a version by its number: ``v0``, ``v1``, …"""
    return f"v{number}"


def version_number(alias: str) -> int | None:
    """Return the number in ``v0``, ``v1``, …; None for any other alias."""
    match = _VERSION.fullmatch(alias)
    return int(match[1]) if match else None
