"""The directory: accounts and their keys, teams and who may do what in them."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError as ConstraintError

from artline.artifacts.refs import check_name
from artline.errors import ConflictError, NotFoundError, SignInError, UsageError
from artline.server import schema
from artline.server.migrations import DIRECTORY
from artline.storage.catalog import Catalog

if TYPE_CHECKING:
    pass

__all__ = [
    "Account",
    "AuditEvent",
    "Directory",
    "KeyInfo",
    "Member",
    "NewKey",
    "Role",
    "Team",
    "TeamRole",
    "read_role",
]

_PREFIX = "art"
_KEPT = 5.0  # seconds that what was looked up is believed; so long a revoked key may still work
_USED = 60.0


class Role(IntEnum):
    """What somebody may do in a team or project; each may do what those before it may."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


def read_role(text: str) -> Role:
    """Return the role of that name. Raises UsageError."""
    try:
        role = Role[text.upper()]
    except KeyError:
        role = Role.NONE
    if role is Role.NONE:
        raise UsageError(f"'{text}' is no role. Use read, write or admin")
    return role


@dataclass(frozen=True, slots=True)
class Account:
    """A person or a service that may come in; times in seconds since 1970."""

    id: int
    name: str
    kind: str
    admin: bool
    default_team: str
    created_at: float
    disabled_at: float | None


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """An API key without its secret."""

    id: str
    account: str
    name: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    used_at: float | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time its text is told."""

    id: str
    text: str
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Team:
    """A team: ``name`` is what stands in front of its projects."""

    id: int
    name: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in a team, and as what."""

    account: str
    kind: str
    role: str


@dataclass(frozen=True, slots=True)
class TeamRole:
    """A team that an account is in, and as what."""

    team: str
    role: str


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that was done, by whom, from where."""

    id: int
    at: float
    account: str
    key_id: str
    action: str
    target: str
    detail: dict[str, Any]
    request_id: str
    address: str


@dataclass(frozen=True, slots=True)
class _Rights:
    """What an account may do in a team: by membership, and by project."""

    member: Role
    grants: dict[str, Role]
    private: frozenset[str]


class Directory:
    """Accounts, keys, teams and roles of one server. Safe to share between threads and replicas.

    Keys and roles are looked up in the database and believed for five seconds.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._keys: dict[str, tuple[float, Account | None, bytes, float | None]] = {}
        self._rights: dict[tuple[int, str], tuple[float, _Rights]] = {}
        self._touched: dict[str, float] = {}

    @classmethod
    def open(cls, url: str, *, lock_timeout: float = 30.0) -> Directory:
        """Open the directory at a catalog URL, creating or migrating it; errors as ``Catalog.open``."""
        return cls(Catalog.open(url, lock_timeout=lock_timeout, chain=DIRECTORY))

    @property
    def catalog(self) -> Catalog:
        """The database."""
        return self._catalog

    def ping(self) -> None:
        """Raise unless the database answers."""
        with self._catalog.read() as conn:
            conn.execute(sa.text("SELECT 1"))

    # Accounts and keys

    def create_account(
        self, name: str, *, kind: str = "person", admin: bool = False, team: str = ""
    ) -> Account:
        """Make an account. Raises ConflictError when the name is taken, InvalidNameError, UsageError."""
        check_name(name, "account")
        if kind not in ("person", "service"):
            raise UsageError(f"'{kind}' is no kind of account. Use person or service")
        values = {
            "name": name,
            "kind": kind,
            "admin": admin,
            "default_team": team,
            "created_at": time.time(),
        }
        try:
            with self._catalog.write() as conn:
                row = conn.execute(sa.insert(schema.account).values(values).returning(schema.account)).one()
        except ConstraintError:
            raise ConflictError(f"there is an account '{name}' already. Choose another name") from None
        return _account(row)

    def account(self, name: str) -> Account:
        """Return an account. Raises NotFoundError."""
        with self._catalog.read() as conn:
            return self._find_account(conn, name)

    def accounts(self) -> list[Account]:
        """Return every account, by name."""
        with self._catalog.read() as conn:
            rows = conn.execute(sa.select(schema.account).order_by(schema.account.c.name))
            return [_account(row) for row in rows]

    def set_disabled(self, name: str, disabled: bool) -> Account:
        """Shut an account out, or let it in again; its keys stay as they are. Idempotent."""
        with self._catalog.write() as conn:
            found = self._find_account(conn, name)
            if (found.disabled_at is not None) != disabled:
                conn.execute(
                    sa.update(schema.account)
                    .where(schema.account.c.id == found.id)
                    .values(disabled_at=time.time() if disabled else None)
                )
            changed = self._find_account(conn, name)
        self._forget()
        return changed

    def set_default_team(self, name: str, team: str) -> None:
        """Say which team an account works in unless it says so."""
        with self._catalog.write() as conn:
            found = self._find_account(conn, name)
            conn.execute(
                sa.update(schema.account).where(schema.account.c.id == found.id).values(default_team=team)
            )
        self._forget()

    def create_key(self, account: str, name: str = "", *, lifetime: float | None = None) -> NewKey:
        """Make a key for an account; ``lifetime`` in seconds. Only its hash is kept. Raises NotFoundError."""
        if lifetime is not None and not 0 < lifetime < 1e10:
            raise UsageError("a key lives for a number of seconds above 0, or for ever")
        number, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        now = time.time()
        expires = None if lifetime is None else now + lifetime
        with self._catalog.write() as conn:
            owner = self._find_account(conn, account)
            conn.execute(
                sa.insert(schema.api_key).values(
                    id=number,
                    account_id=owner.id,
                    name=name,
                    hash=_hash(secret),
                    created_at=now,
                    expires_at=expires,
                )
            )
        return NewKey(number, f"{_PREFIX}_{number}_{secret}", expires)

    def keys(self, account: str | None = None) -> list[KeyInfo]:
        """Return the keys of an account, or of all, newest first."""
        key, owner = schema.api_key.c, schema.account.c
        query = (
            sa.select(
                key.id,
                owner.name.label("account"),
                key.name,
                key.created_at,
                key.expires_at,
                key.revoked_at,
                key.used_at,
            )
            .join(schema.account, owner.id == key.account_id)
            .order_by(key.created_at.desc(), key.id)
        )
        if account is not None:
            query = query.where(owner.name == account)
        with self._catalog.read() as conn:
            return [KeyInfo(*row) for row in conn.execute(query)]

    def revoke_key(self, key_id: str, account: str | None = None) -> None:
        """End a key, of that account if one is given. Idempotent. Raises NotFoundError."""
        key = schema.api_key.c
        with self._catalog.write() as conn:
            where = [key.id == key_id]
            if account is not None:
                where.append(key.account_id == self._find_account(conn, account).id)
            row = conn.execute(sa.select(key.revoked_at).where(*where)).one_or_none()
            if row is None:
                raise NotFoundError(f"there is no key '{key_id}'. List them: art server keys")
            if row.revoked_at is None:
                conn.execute(sa.update(schema.api_key).where(key.id == key_id).values(revoked_at=time.time()))
        self._forget()

    def authenticate(self, text: str) -> tuple[Account, str]:
        """Return the account that a key belongs to, and the key's id.

        Raises SignInError for a key that is none, wrong, expired or revoked, or whose account is shut out.
        Of the first two and of revoked ones it says the same, so that it tells nobody which there are.
        """
        parts = text.split("_", 2)
        if len(parts) != 3 or parts[0] != _PREFIX or not parts[1].isalnum() or len(text) > 200:
            raise _wrong_key()
        now = time.time()
        found = self._keys.get(parts[1])
        if found is None or time.monotonic() - found[0] > _KEPT:
            found = self._look_up(parts[1])
            if len(self._keys) > 10_000:
                self._keys.clear()
            self._keys[parts[1]] = found
        _, account, digest, expires = found
        if not hmac.compare_digest(digest, _hash(parts[2])) or account is None:
            raise _wrong_key()
        if expires is not None and now >= expires:
            raise SignInError("this API key has expired. Ask for a new one, and run: art login")
        if account.disabled_at is not None:
            raise SignInError(f"the account '{account.name}' is shut out of this server")
        if now - self._touched.get(parts[1], 0.0) > _USED:
            self._touched[parts[1]] = now
            self._touch(parts[1], now)
        return account, parts[1]

    def _look_up(self, key_id: str) -> tuple[float, Account | None, bytes, float | None]:
        key = schema.api_key.c
        query = (
            sa.select(schema.account, key.hash, key.expires_at)
            .join(schema.api_key, key.account_id == schema.account.c.id)
            .where(key.id == key_id, key.revoked_at.is_(None))
        )
        with self._catalog.read() as conn:
            row = conn.execute(query).one_or_none()
        if row is None:
            return time.monotonic(), None, b"\0" * 32, None
        return time.monotonic(), _account(row), bytes(row.hash), row.expires_at

    def _touch(self, key_id: str, now: float) -> None:
        with self._catalog.write(durable=False) as conn:
            conn.execute(sa.update(schema.api_key).where(schema.api_key.c.id == key_id).values(used_at=now))

    # Teams and roles

    def create_team(self, name: str) -> Team:
        """Make a team. Raises ConflictError when there is one of that name, InvalidNameError."""
        check_name(name, "team")
        try:
            with self._catalog.write() as conn:
                row = conn.execute(
                    sa.insert(schema.team).values(name=name, created_at=time.time()).returning(schema.team)
                ).one()
        except ConstraintError:
            raise ConflictError(f"there is a team '{name}' already. Choose another name") from None
        return Team(row.id, row.name, row.created_at)

    def teams(self) -> list[Team]:
        """Return every team, by name."""
        with self._catalog.read() as conn:
            rows = conn.execute(sa.select(schema.team).order_by(schema.team.c.name))
            return [Team(row.id, row.name, row.created_at) for row in rows]

    def team(self, name: str) -> Team:
        """Return a team. Raises NotFoundError."""
        with self._catalog.read() as conn:
            return self._find_team(conn, name)

    def teams_of(self, account: Account) -> list[TeamRole]:
        """Return the teams that an account is a member of, with its role in each."""
        query = (
            sa.select(schema.team.c.name, schema.membership.c.role)
            .join(schema.membership, schema.membership.c.team_id == schema.team.c.id)
            .where(schema.membership.c.account_id == account.id)
            .order_by(schema.team.c.name)
        )
        with self._catalog.read() as conn:
            return [TeamRole(*row) for row in conn.execute(query)]

    def members(self, team: str) -> list[Member]:
        """Return who is in a team. Raises NotFoundError."""
        with self._catalog.read() as conn:
            found = self._find_team(conn, team)
            query = (
                sa.select(schema.account.c.name, schema.account.c.kind, schema.membership.c.role)
                .join(schema.membership, schema.membership.c.account_id == schema.account.c.id)
                .where(schema.membership.c.team_id == found.id)
                .order_by(schema.account.c.name)
            )
            return [Member(*row) for row in conn.execute(query)]

    def set_member(self, team: str, account: str, role: Role) -> None:
        """Make an account a member of a team with a role; with ``Role.NONE`` take it out. Idempotent."""
        table = schema.membership
        with self._catalog.write() as conn:
            where = {
                "team_id": self._find_team(conn, team).id,
                "account_id": self._find_account(conn, account).id,
            }
            self._set_role(conn, table, where, role)
        self._forget()

    def set_grant(self, team: str, project: str, account: str, role: Role) -> None:
        """Let an account do something in one project, beside what its membership allows. Idempotent."""
        check_name(project, "project")
        with self._catalog.write() as conn:
            where = {
                "team_id": self._find_team(conn, team).id,
                "project": project,
                "account_id": self._find_account(conn, account).id,
            }
            self._set_role(conn, schema.grant, where, role)
        self._forget()

    def set_visibility(self, team: str, project: str, visibility: str) -> None:
        """Make a project ``private``, or let the ``team`` in again. Idempotent."""
        if visibility not in ("team", "private"):
            raise UsageError(f"'{visibility}' is no visibility. Use team or private")
        check_name(project, "project")
        with self._catalog.write() as conn:
            values = {"team_id": self._find_team(conn, team).id, "project": project}
            insert = self._catalog.upsert(schema.project_setting).values(**values, visibility=visibility)
            conn.execute(
                insert.on_conflict_do_update(
                    index_elements=["team_id", "project"], set_={"visibility": visibility}
                )
            )
        self._forget()

    def role(self, account: Account, team: str, project: str | None = None) -> Role:
        """Return what an account may do in a team, or in one of its projects.

        The server's administrators may do everything. A private project is closed to members without a
        grant, unless they are the team's administrators. ``Role.NONE`` also where there is no such team.
        """
        rights = self._rights_of(account, team)
        if account.admin:
            return Role.ADMIN
        if project is None:
            return rights.member
        given = rights.grants.get(project, Role.NONE)
        if project in rights.private and rights.member is not Role.ADMIN:
            return given
        return max(rights.member, given)

    def hidden_projects(self, account: Account, team: str) -> frozenset[str]:
        """Return the private projects of a team that an account may not see."""
        rights = self._rights_of(account, team)
        if account.admin or rights.member is Role.ADMIN:
            return frozenset()
        return frozenset(name for name in rights.private if not rights.grants.get(name))

    def _rights_of(self, account: Account, team: str) -> _Rights:
        found = self._rights.get((account.id, team))
        if found is not None and time.monotonic() - found[0] <= _KEPT:
            return found[1]
        member, granted, setting = schema.membership.c, schema.grant.c, schema.project_setting.c
        with self._catalog.read() as conn:
            number = conn.scalar(sa.select(schema.team.c.id).where(schema.team.c.name == team))
            role = conn.scalar(
                sa.select(member.role).where(member.team_id == number, member.account_id == account.id)
            )
            grants = conn.execute(
                sa.select(granted.project, granted.role).where(
                    granted.team_id == number, granted.account_id == account.id
                )
            ).all()
            private = conn.scalars(
                sa.select(setting.project).where(setting.team_id == number, setting.visibility == "private")
            ).all()
        rights = _Rights(
            Role[role.upper()] if role else Role.NONE,
            {project: Role[name.upper()] for project, name in grants},
            frozenset(private),
        )
        if len(self._rights) > 10_000:
            self._rights.clear()
        self._rights[account.id, team] = (time.monotonic(), rights)
        return rights

    # What was done

    def record(
        self,
        account: str,
        key_id: str,
        action: str,
        target: str,
        detail: dict[str, Any],
        *,
        request_id: str = "",
        address: str = "",
    ) -> None:
        """Add a line to the audit log."""
        with self._catalog.write() as conn:
            conn.execute(
                sa.insert(schema.audit_event).values(
                    at=time.time(),
                    account=account,
                    key_id=key_id,
                    action=action,
                    target=target,
                    detail=json.dumps(detail, sort_keys=True),
                    request_id=request_id,
                    address=address,
                )
            )

    def audit(self, *, before: int | None = None, limit: int = 100) -> list[AuditEvent]:
        """Return the latest lines of the audit log, newest first, those older than line ``before``."""
        event = schema.audit_event.c
        query = sa.select(schema.audit_event).order_by(event.id.desc()).limit(limit)
        if before is not None:
            query = query.where(event.id < before)
        with self._catalog.read() as conn:
            return [
                AuditEvent(
                    row.id,
                    row.at,
                    row.account,
                    row.key_id,
                    row.action,
                    row.target,
                    json.loads(row.detail),
                    row.request_id,
                    row.address,
                )
                for row in conn.execute(query)
            ]

    def _find_account(self, conn: sa.Connection, name: str) -> Account:
        row = conn.execute(sa.select(schema.account).where(schema.account.c.name == name)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no account '{name}' on this server. List them: art server users")
        return _account(row)

    def _find_team(self, conn: sa.Connection, name: str) -> Team:
        row = conn.execute(sa.select(schema.team).where(schema.team.c.name == name)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no team '{name}' on this server. List them: art server teams")
        return Team(row.id, row.name, row.created_at)

    def _set_role(self, conn: sa.Connection, table: sa.Table, where: dict[str, Any], role: Role) -> None:
        if role is Role.NONE:
            conn.execute(sa.delete(table).filter_by(**where))
            return
        insert = self._catalog.upsert(table).values(**where, role=role.name.lower())
        conn.execute(
            insert.on_conflict_do_update(index_elements=list(where), set_={"role": role.name.lower()})
        )

    def _forget(self) -> None:
        self._keys.clear()
        self._rights.clear()


def _account(row: sa.Row[Any]) -> Account:
    return Account(
        row.id, row.name, row.kind, bool(row.admin), row.default_team, row.created_at, row.disabled_at
    )


def _hash(secret: str) -> bytes:
    """Return what is kept of a secret: it is 256 random bits, so that no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _wrong_key() -> SignInError:
    return SignInError("this API key is not valid here. Ask for one, and run: art login")
