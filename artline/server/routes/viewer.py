"""Who asks, and what they may see."""

from __future__ import annotations

from dataclasses import dataclass

from artline import __version__
from artline.server.directory import KeyInfo, NewKey, Role, TeamRole
from artline.server.routing import Call, Route

__all__ = ["ROUTES", "KeyRequest", "Viewer"]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whoever asks: the account, its teams, the team it works in unless it says so, the server's version."""

    account: str
    kind: str
    admin: bool
    default_team: str
    teams: list[TeamRole]
    key_id: str
    version: str


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key to be made; ``lifetime`` in seconds, None for one that does not expire."""

    name: str = ""
    lifetime: float | None = None


def viewer(call: Call) -> Viewer:
    account, directory = call.account, call.state.directory
    teams = directory.teams_of(account)
    default = account.default_team or (teams[0].team if teams else "")
    return Viewer(account.name, account.kind, account.admin, default, teams, call.key_id, __version__)


def list_own_keys(call: Call) -> list[KeyInfo]:
    return call.state.directory.keys(call.account.name)


def create_own_key(call: Call) -> NewKey:
    key = call.state.directory.create_key(call.account.name, call.body.name, lifetime=call.body.lifetime)
    call.audit("key.create", key.id)
    return key


def revoke_own_key(call: Call) -> None:
    call.state.directory.revoke_key(call.path["key"], call.account.name)
    call.audit("key.revoke", call.path["key"])


ROUTES = (
    Route("GET", "/viewer", viewer, "Tell who asks.", Role.NONE, answer=Viewer),
    Route("GET", "/viewer/keys", list_own_keys, "List one's own keys.", Role.NONE, answer=list[KeyInfo]),
    Route(
        "POST",
        "/viewer/keys",
        create_own_key,
        "Make a key for oneself.",
        Role.NONE,
        body=KeyRequest,
        answer=NewKey,
    ),
    Route("DELETE", "/viewer/keys/{key}", revoke_own_key, "Revoke one of one's own keys.", Role.NONE),
)
