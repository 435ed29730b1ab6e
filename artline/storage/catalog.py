"""The catalog: one transactional database (SQLite file or PostgreSQL) that every room keeps its rows in."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from artline.errors import (
    AuthError,
    MissingExtraError,
    StoreLockedError,
    StoreTooNewError,
    StoreUnavailableError,
    UsageError,
)
from artline.storage.catalog_errors import damage, mapped, name_of, translate_sqlite
from artline.storage.migrations import STORE, Chain, latest_revision
from artline.storage.readonly import ReadOnlyFile, may_not_write
from artline.storage.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SQLiteInsert
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["Catalog", "latest_revision", "metadata", "migrate", "sqlite_url"]

_DOUBTFUL = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR")
_MIGRATION_LOCK = 0x6172746C696E65  # the PostgreSQL advisory lock taken while migrating: "artline"


def sqlite_url(path: str | os.PathLike[str]) -> str:
    """Return the catalog URL of a SQLite file."""
    return sa.URL.create("sqlite", database=os.fspath(path)).render_as_string(hide_password=False)


class Catalog:
    """A database with the store's schema. Safe to share between threads; each process opens its own."""

    def __init__(self, engine: sa.Engine, place: str, chain: Chain = STORE) -> None:
        self._engine = engine
        self._chain = chain
        self.place = place
        self.dialect: str = engine.dialect.name
        self._revision = ""
        self._frozen: ReadOnlyFile | None = None

    @classmethod
    def open(
        cls, url: str, *, lock_timeout: float = 30.0, upgrade_schema: bool = True, chain: Chain = STORE
    ) -> Catalog:
        """Open the catalog at ``url``, creating it or migrating an older schema.

        A SQLite catalog that this process may not write is opened for reading; writing to it raises
        AuthError, and so does opening one with an older schema.

        ``lock_timeout`` is how many seconds a transaction waits for another writer. With
        ``upgrade_schema`` false an older schema is left as it is. Raises StoreTooNewError,
        StoreLockedError, StoreUnavailableError, IntegrityError (not a database, or a damaged one),
        AuthError, UsageError (a URL of another kind).
        """
        parsed = _parse(url)
        place = parsed.render_as_string(hide_password=True)
        frozen = None
        if parsed.get_backend_name() == "sqlite":
            place = parsed.database or ""
            if may_not_write(place):
                frozen = ReadOnlyFile(place, lock_timeout)
            else:
                _make_folder(Path(place).parent)
            engine = _sqlite_engine(parsed, lock_timeout, frozen)
        else:
            engine = _postgres_engine(parsed, lock_timeout)
        catalog = cls(engine, place, chain)
        catalog._frozen = frozen
        try:
            catalog._check_schema(upgrade_schema, lock_timeout)
        except BaseException:
            catalog.close()
            raise
        _engines.add(engine)
        weakref.finalize(catalog, engine.dispose)
        return catalog

    @property
    def read_only(self) -> bool:
        """Whether this process may read the catalog and not write it."""
        return self._frozen is not None

    @property
    def revision(self) -> str:
        """The revision of the schema in the database ("" before it has one)."""
        return self._revision

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Read one consistent snapshot; nothing can be changed through it on PostgreSQL."""
        with mapped(self.place), self._connect("read") as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sa.Connection]:
        """Run one transaction: committed and durable when the block ends, rolled back when it raises.

        Raises AuthError where the catalog may only be read.

        Without ``durable`` a power failure soon after may undo it, and nothing else.

        On SQLite writers run one after the other (BEGIN IMMEDIATE). On PostgreSQL they run side by
        side (READ COMMITTED): take ``serialize`` where two writers must not interleave. Keep it short.
        Constraint violations come out as ``sqlalchemy.exc.IntegrityError``.
        """
        self.check_writable()
        mode = "write" if durable else "hasty write"
        with mapped(self.place, writing=True), self._connect(mode) as connection, connection.begin():
            if not durable and self.dialect == "postgresql":
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield connection

    @contextlib.contextmanager
    def scratch(self) -> Iterator[sa.Connection]:
        """Run reading statements that need temporary tables, holding up no writer; rolled back at the end."""
        mode = "read" if self.dialect == "sqlite" else "write"
        with mapped(self.place), self._connect(mode) as connection:
            transaction = connection.begin()
            try:
                yield connection
            finally:
                transaction.rollback()

    def serialize(self, connection: sa.Connection, name: str, *, shared: bool = False) -> None:
        """Hold off other transactions that serialize on ``name``, until this one ends.

        With ``shared`` only those that are not shared themselves. Take it before any row is locked. On
        SQLite there is one writer at a time anyway.
        """
        if self.dialect == "postgresql":
            lock = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
            connection.execute(sa.text(f"SELECT {lock}(hashtextextended(:name, 0))"), {"name": name})

    def now(self, connection: sa.Connection) -> float:
        """Return the time in seconds since 1970 by the one clock every client of this catalog shares."""
        if self.dialect == "postgresql":
            return float(connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
        return time.time()

    def read_clock(self) -> float:
        """Return ``now`` outside a transaction."""
        if self.dialect == "postgresql":
            with self.read() as connection:
                return self.now(connection)
        return time.time()

    def upsert(self, table: sa.Table) -> SQLiteInsert | PostgresInsert:
        """Return the dialect's INSERT, which has ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
        if self.dialect == "postgresql":
            from sqlalchemy.dialects import postgresql

            return postgresql.insert(table)
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)

    def check(self) -> list[str]:
        """Return sentences about damage that the database finds in its own structure; reads all of it."""
        if self.dialect != "sqlite":
            return []  # PostgreSQL checks its pages as it reads them (initdb --data-checksums)
        with self.read() as connection:
            found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
            found += [
                f"a row of {row[0]} names a row of {row[2]} that is not there"
                for row in connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(20)
            ]
        return [damage(self.place, " ".join(text.split())).message for text in found if text != "ok"]

    def check_writable(self) -> None:
        """Raise AuthError where the catalog may only be read."""
        if self._frozen is not None:
            raise self._frozen.refuse()

    def close(self) -> None:
        """Close every pooled connection. The catalog can still be used, and opens new ones then."""
        self._engine.dispose()
        if self._frozen is not None:
            self._frozen.close()

    @contextlib.contextmanager
    def _connect(self, mode: str) -> Iterator[sa.Connection]:
        options: dict[str, Any] = {"artline_mode": mode}
        if self.dialect == "postgresql":
            options["isolation_level"] = "REPEATABLE READ" if mode == "read" else "READ COMMITTED"
            options["postgresql_readonly"] = mode == "read"
        steady = self._frozen.steady() if self._frozen is not None else contextlib.nullcontext()
        with steady, self._engine.connect() as connection:
            try:
                yield connection.execution_options(**options)
            except DBAPIError as error:
                if name_of(error.orig).startswith(_DOUBTFUL):
                    connection.invalidate()  # what it keeps of a read that failed, nobody else should get
                raise

    def _check_schema(self, upgrade_schema: bool, lock_timeout: float) -> None:
        self._revision = self._read_revision()
        if self._revision == self._chain.latest or not upgrade_schema:
            return
        if self.read_only:
            raise AuthError(
                f"the catalog {self.place} has schema {self._revision or 'none'} and may not be written here "
                f"to bring it to {self._chain.latest}. Open it once where it may be: art migrate"
            )
        if self.dialect == "sqlite":
            with _file_lock(Path(self.place + ".lock"), lock_timeout):
                self._enable_wal()
                self._migrate()
        else:
            self._migrate()

    def _migrate(self) -> None:
        with self.write() as connection:
            if self.dialect == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            if self._read_revision(connection) != self._chain.latest:
                self._chain.upgrade(connection)
        self._revision = self._chain.latest

    def _enable_wal(self) -> None:
        try:
            with contextlib.closing(sqlite3.connect(self.place, timeout=30.0)) as raw:
                raw.execute("PRAGMA journal_mode=WAL")
        except sqlite3.Error as error:
            raise translate_sqlite(error, self.place) from error

    def _read_revision(self, connection: sa.Connection | None = None) -> str:
        if connection is None:
            with self.read() as fresh:
                return self._read_revision(fresh)
        if not _has_table(connection, "alembic_version"):
            return ""
        revision = str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")
        if revision and revision not in self._chain.revisions:
            raise StoreTooNewError(
                f"the catalog {self.place} has schema {revision}, newer than this Artline knows "
                f"(up to {self._chain.latest}). Upgrade: pip install --upgrade artline. If no newer one was "
                "here, it is damaged"
            )
        return revision


_engines: weakref.WeakSet[sa.Engine] = weakref.WeakSet()


def _begin_child() -> None:
    """In a forked child: let go of the parent's connections without closing them."""
    for engine in list(_engines):
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_begin_child)


def migrate(url: str, *, dry_run: bool = False) -> tuple[str, str]:
    """Migrate the catalog at ``url``; return its revision before and after (with ``dry_run``: would be)."""
    catalog = Catalog.open(url, upgrade_schema=False)
    before = catalog.revision
    catalog.close()
    if not dry_run:
        Catalog.open(url).close()
    return before, latest_revision()


def _parse(url: str) -> sa.URL:
    if "://" not in url and not url.startswith("sqlite:"):
        url = sqlite_url(Path(url).expanduser().absolute())
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        backend = ""
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise UsageError("the catalog must be a file: an in-memory SQLite database cannot be shared")
        return parsed
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    raise UsageError(
        f"the catalog URL '{url.split('@')[-1]}' is neither SQLite nor PostgreSQL. "
        "Write a path, sqlite:///… or postgresql+psycopg://…"
    )


def _sqlite_engine(url: sa.URL, lock_timeout: float, frozen: ReadOnlyFile | None = None) -> sa.Engine:
    if frozen is not None:
        # Each reading looks anew at how the file is to be opened.
        engine = sa.create_engine("sqlite://", creator=frozen.connect, poolclass=sa.NullPool)
    else:
        engine = sa.create_engine(
            url,
            connect_args={"timeout": lock_timeout, "check_same_thread": False},
            pool_size=8,
            max_overflow=64,
            pool_timeout=lock_timeout,
        )

    @event.listens_for(engine, "connect")
    def connect(raw: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        raw.isolation_level = None  # the "begin" listener below says which kind of BEGIN
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("PRAGMA foreign_keys=ON")
        raw.execute("PRAGMA cache_size=-16384")
        raw.execute("PRAGMA temp_store=FILE")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        mode = connection.get_execution_options().get("artline_mode")
        if mode in ("write", "hasty write"):
            level = "FULL" if mode == "write" else "NORMAL"
            connection.exec_driver_sql(f"PRAGMA synchronous={level}")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _postgres_engine(url: sa.URL, lock_timeout: float) -> sa.Engine:
    timeout = int(lock_timeout * 1000)
    more = " ".join(url.normalized_query.get("options", ()))  # such as a search_path
    try:
        return sa.create_engine(
            url,
            pool_pre_ping=True,
            pool_size=4,
            max_overflow=60,
            pool_timeout=lock_timeout,
            connect_args={
                "connect_timeout": max(2, min(int(lock_timeout), 30)),
                "options": f"-c lock_timeout={timeout} -c idle_in_transaction_session_timeout=600000 {more}",
                "application_name": "artline",
            },
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "a PostgreSQL catalog needs psycopg. Install it: pip install 'artline[postgres]'"
        ) from error


def _has_table(connection: sa.Connection, name: str) -> bool:
    if connection.dialect.name == "sqlite":
        statement = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name"
    else:
        statement = "SELECT 1 WHERE to_regclass(:name) IS NOT NULL"
    return connection.scalar(sa.text(statement), {"name": name}) is not None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except PermissionError as error:
        raise AuthError(f"no permission to create {folder}. Check the owner of its parent") from error
    except OSError as error:
        raise StoreUnavailableError(f"cannot create {folder}: {error.strerror}. Check the path") from error


@contextlib.contextmanager
def _file_lock(path: Path, timeout: float) -> Iterator[None]:
    """Let one process (and one thread of it) create or migrate a SQLite catalog at a time."""
    import fcntl

    deadline = time.monotonic() + timeout
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreLockedError(
                        f"another process has been migrating {path.with_suffix('')} for {timeout:g} s. "
                        "Wait for it to end and try again"
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)
