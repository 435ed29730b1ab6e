"""What holds for an artifact as a whole: which aliases are protected, and which versions go by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from artline.artifacts.protection import protected_aliases
from artline.artifacts.rules import Rule, read_rule

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["Standing", "read_standing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Protected aliases, and the retention rule if there is one; ``ttl`` in seconds."""

    protected: tuple[str, ...]
    ruled: bool = False
    ttl: float | None = None
    keep_last: int | None = None
    keep_aliased: bool = True

    @property
    def rule(self) -> Rule | None:
        """The retention rule."""
        if not self.ruled:
            return None
        return Rule(
            None if self.ttl is None else timedelta(seconds=self.ttl), self.keep_last, self.keep_aliased
        )


def read_standing(conn: sa.Connection, artifact_id: int) -> Standing:
    """Return what holds for an artifact, by its id."""
    protected, rule = tuple(protected_aliases(conn, artifact_id)), read_rule(conn, artifact_id)
    if rule is None:
        return Standing(protected)
    ttl = None if rule.ttl is None else rule.ttl.total_seconds()
    return Standing(protected, True, ttl, rule.keep_last, rule.keep_aliased)
