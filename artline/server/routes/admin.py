"""Accounts, teams, roles and the audit log."""

from __future__ import annotations

from dataclasses import dataclass

from artline.server.directory import Account, AuditEvent, KeyInfo, Member, NewKey, Role, Team, read_role
from artline.server.routes.viewer import KeyRequest
from artline.server.routing import Call, Route

__all__ = ["ROUTES"]

_MOST = 1000


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to be made."""

    name: str
    kind: str = "person"
    admin: bool = False
    default_team: str = ""


@dataclass(frozen=True, slots=True)
class AccountEdit:
    """What is to change about an account; None leaves it."""

    disabled: bool | None = None
    default_team: str | None = None


@dataclass(frozen=True, slots=True)
class NewTeam:
    """A team to be made."""

    name: str


@dataclass(frozen=True, slots=True)
class RoleGiven:
    """What somebody is to be: read, write or admin."""

    role: str


@dataclass(frozen=True, slots=True)
class Visibility:
    """Who sees a project: the team, or (private) those with a grant."""

    visibility: str


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Which lines of the audit log: those older than line ``before``, at most ``limit``."""

    before: int | None = None
    limit: int = 100


def list_accounts(call: Call) -> list[Account]:
    return call.state.directory.accounts()


def create_account(call: Call) -> Account:
    new: NewAccount = call.body
    account = call.state.directory.create_account(
        new.name, kind=new.kind, admin=new.admin, team=new.default_team
    )
    call.audit("account.create", account.name, kind=new.kind, admin=new.admin)
    return account


def edit_account(call: Call) -> Account:
    name, edit = call.path["account"], call.body
    directory = call.state.directory
    account = directory.account(name)
    if edit.disabled is not None:
        account = directory.set_disabled(name, edit.disabled)
    if edit.default_team is not None:
        directory.set_default_team(name, edit.default_team)
        account = directory.account(name)
    call.audit("account.edit", name, disabled=edit.disabled, default_team=edit.default_team)
    return account


def list_keys(call: Call) -> list[KeyInfo]:
    call.state.directory.account(call.path["account"])
    return call.state.directory.keys(call.path["account"])


def create_key(call: Call) -> NewKey:
    name = call.path["account"]
    key = call.state.directory.create_key(name, call.body.name, lifetime=call.body.lifetime)
    call.audit("key.create", key.id, account=name)
    return key


def revoke_key(call: Call) -> None:
    call.state.directory.revoke_key(call.path["key"], call.path["account"])
    call.audit("key.revoke", call.path["key"], account=call.path["account"])


def list_teams(call: Call) -> list[Team]:
    return call.state.directory.teams()


def create_team(call: Call) -> Team:
    team = call.state.directory.create_team(call.body.name)
    call.audit("team.create", team.name)
    return team


def list_members(call: Call) -> list[Member]:
    return call.state.directory.members(call.path["team"])


def set_member(call: Call) -> None:
    team, account = call.path["team"], call.path["account"]
    call.state.directory.set_member(team, account, read_role(call.body.role))
    call.audit("member.set", team, account=account, role=call.body.role)


def remove_member(call: Call) -> None:
    team, account = call.path["team"], call.path["account"]
    call.state.directory.set_member(team, account, Role.NONE)
    call.audit("member.remove", team, account=account)


def set_grant(call: Call) -> None:
    team, project, account = call.path["team"], call.path["project"], call.path["account"]
    call.state.directory.set_grant(team, project, account, read_role(call.body.role))
    call.audit("grant.set", f"{team}/{project}", account=account, role=call.body.role)


def remove_grant(call: Call) -> None:
    team, project, account = call.path["team"], call.path["project"], call.path["account"]
    call.state.directory.set_grant(team, project, account, Role.NONE)
    call.audit("grant.remove", f"{team}/{project}", account=account)


def set_visibility(call: Call) -> None:
    team, project = call.path["team"], call.path["project"]
    call.state.directory.set_visibility(team, project, call.body.visibility)
    call.audit("visibility.set", f"{team}/{project}", visibility=call.body.visibility)


def read_audit(call: Call) -> list[AuditEvent]:
    page: AuditPage = call.query
    return call.state.directory.audit(before=page.before, limit=max(1, min(page.limit, _MOST)))


def _admin(method: str, path: str, handler: object, summary: str, **more: object) -> Route:
    return Route(method, f"/admin{path}", handler, summary, Role.NONE, server_admin=True, **more)  # type: ignore[arg-type]  # passed on as they are


ROUTES = (
    _admin("GET", "/accounts", list_accounts, "List accounts.", answer=list[Account]),
    _admin("POST", "/accounts", create_account, "Make an account.", body=NewAccount, answer=Account),
    _admin(
        "PATCH", "/accounts/{account}", edit_account, "Change an account.", body=AccountEdit, answer=Account
    ),
    _admin("GET", "/accounts/{account}/keys", list_keys, "List an account's keys.", answer=list[KeyInfo]),
    _admin(
        "POST",
        "/accounts/{account}/keys",
        create_key,
        "Make a key for an account.",
        body=KeyRequest,
        answer=NewKey,
    ),
    _admin("DELETE", "/accounts/{account}/keys/{key}", revoke_key, "Revoke a key."),
    _admin("GET", "/teams", list_teams, "List teams.", answer=list[Team]),
    _admin("POST", "/teams", create_team, "Make a team.", body=NewTeam, answer=Team),
    _admin("GET", "/audit", read_audit, "Read the audit log.", query=AuditPage, answer=list[AuditEvent]),
    Route("GET", "/stores/{team}/members", list_members, "List a team's members.", answer=list[Member]),
    Route(
        "PUT",
        "/stores/{team}/members/{account}",
        set_member,
        "Make somebody a member, or change their role.",
        Role.ADMIN,
        body=RoleGiven,
    ),
    Route(
        "DELETE",
        "/stores/{team}/members/{account}",
        remove_member,
        "Take somebody out of a team.",
        Role.ADMIN,
    ),
    Route(
        "PUT",
        "/stores/{team}/projects/{project}/grants/{account}",
        set_grant,
        "Let somebody into one project.",
        Role.ADMIN,
        body=RoleGiven,
    ),
    Route(
        "DELETE",
        "/stores/{team}/projects/{project}/grants/{account}",
        remove_grant,
        "Take that back.",
        Role.ADMIN,
    ),
    Route(
        "PUT",
        "/stores/{team}/projects/{project}/visibility",
        set_visibility,
        "Make a project private, or let the team in.",
        Role.ADMIN,
        body=Visibility,
    ),
)
