"""Routes: what is asked for, by whom it may be, what goes in and what comes out, in one declaration each.

The same declarations answer requests and make ``openapi.json``, so that the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from artline.server.directory import Role

if TYPE_CHECKING:
    from starlette.requests import Request

    from artline.server.app import State
    from artline.server.directory import Account
    from artline.server.stores import TeamStore

__all__ = ["Call", "Reply", "Route"]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path under ``/api/v1``.

    ``role`` is what the caller needs in the project that the path names, or in its team where it names none;
    ``Role.NONE`` lets in everybody with a valid key. ``query`` is a dataclass of the parameters, ``body`` and
    ``answer`` are types: ``bytes`` for what is no JSON, None for nothing. A ``streamed`` handler is a
    coroutine that reads the request itself.
    """

    method: str
    path: str
    handler: Callable[[Call], Any]
    summary: str
    role: Role = Role.READ
    query: type | None = None
    body: Any = None
    answer: Any = None
    streamed: bool = False
    server_admin: bool = False
    errors: tuple[int, ...] = field(default=(404,))


@dataclass(slots=True)
class Call:
    """A request that may be answered: who asks, of which team and project, and what."""

    state: State
    request: Request
    account: Account
    key_id: str
    request_id: str
    path: dict[str, str]
    query: Any = None
    body: Any = None

    @property
    def team(self) -> TeamStore:
        """The store of the team in the path."""
        return self.state.stores.of(self.path["team"])

    @property
    def place(self) -> dict[str, str]:
        """Team and project of the path, as the stores' methods take them."""
        return {"entity": self.path["team"], "project": self.path["project"]}

    def check(self, project: str, role: Role) -> None:
        """Raise NotFoundError or AuthError unless the caller may do so much in a project of the team."""
        self.state.check(self.account, self.path["team"], project, role)

    def audit(self, action: str, target: str, **detail: Any) -> None:
        """Add a line to the audit log."""
        client = self.request.client
        self.state.directory.record(
            self.account.name,
            self.key_id,
            action,
            target,
            detail,
            request_id=self.request_id,
            address=client.host if client else "",
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is no JSON, or that has a status or headers of its own."""

    content: bytes
    media_type: str = "application/octet-stream"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
