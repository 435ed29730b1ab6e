"""The catalog: one suite for SQLite and PostgreSQL, then what only a file can suffer."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError as ConstraintError

import artline.storage.migrations
from artline.errors import (
    ArtlineError,
    AuthError,
    IntegrityError,
    StoreLockedError,
    StoreTooNewError,
    StoreUnavailableError,
    UsageError,
)
from artline.storage import schema
from artline.storage.catalog import Catalog, latest_revision, migrate
from artline.storage.migrations import revisions
from artline.storage.migrations.snapshot import snapshot

META = schema.store_meta


def open_once(url: str, start: threading.Barrier, results: multiprocessing.Queue[str]) -> None:
    start.wait()
    try:
        results.put(Catalog.open(url).revision)
    except ArtlineError as error:
        results.put(repr(error))


class CatalogSuite:
    """What every catalog does."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def catalog(self, url: str) -> Iterator[Catalog]:
        catalog = Catalog.open(url, lock_timeout=0.3)
        yield catalog
        catalog.close()

    def test_new_catalog_has_the_latest_schema(self, catalog: Catalog) -> None:
        assert catalog.revision == latest_revision()

    def test_migrations_build_what_the_tables_declare(self, catalog: Catalog) -> None:
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        tables = {table.name for table in (schema.store_meta, schema.pack, schema.chunk, schema.lease)}
        with catalog.read() as connection:
            context = MigrationContext.configure(
                connection,
                opts={"include_object": lambda item, name, kind, *_: kind != "table" or name in tables},
            )
            assert compare_metadata(context, schema.metadata) == []

    def test_write_is_seen_by_others_after_it_ends(self, catalog: Catalog, url: str) -> None:
        with catalog.write() as connection:
            connection.execute(META.insert().values(key="a", value="1"))
        other = Catalog.open(url)
        with other.read() as connection:
            assert connection.scalar(sa.select(META.c.value)) == "1"
        other.close()

    def test_write_that_raises_leaves_nothing(self, catalog: Catalog) -> None:
        def fail() -> None:
            with catalog.write() as connection:
                connection.execute(META.insert().values(key="a", value="1"))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        with catalog.read() as connection:
            assert connection.execute(META.select()).all() == []

    def test_read_is_one_snapshot(self, catalog: Catalog) -> None:
        count = sa.select(sa.func.count()).select_from(META)
        with catalog.read() as reader:
            assert reader.scalar(count) == 0
            with catalog.write() as writer:
                writer.execute(META.insert().values(key="a", value="1"))
            assert reader.scalar(count) == 0

    def test_upsert(self, catalog: Catalog) -> None:
        with catalog.write() as connection:
            for value in ("1", "2"):
                statement = catalog.upsert(META).values(key="a", value=value)
                connection.execute(
                    statement.on_conflict_do_update(index_elements=["key"], set_={"value": value})
                )
        with catalog.read() as connection:
            assert connection.scalar(sa.select(META.c.value)) == "2"

    def test_constraint_violations_stay_recognisable(self, catalog: Catalog) -> None:
        with pytest.raises(ConstraintError), catalog.write() as connection:
            connection.execute(META.insert(), [{"key": "a", "value": "1"}] * 2)

    def test_serialized_writers_do_not_interleave(self, catalog: Catalog, url: str) -> None:
        patient = Catalog.open(url)

        def add_ten() -> None:
            for _ in range(10):
                with patient.write() as connection:
                    patient.serialize(connection, "counter")
                    rows = connection.scalar(sa.select(sa.func.count()).select_from(META)) or 0
                    connection.execute(META.insert().values(key=f"k{rows}", value=""))

        with ThreadPoolExecutor(4) as pool:
            for task in [pool.submit(add_ten) for _ in range(4)]:
                task.result()
        patient.close()
        with catalog.read() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(META)) == 40

    def test_newer_schema_is_refused(self, catalog: Catalog, url: str) -> None:
        with catalog.write() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999_future'")
        with pytest.raises(StoreTooNewError, match="9999_future"):
            Catalog.open(url)

    def test_migrate_names_both_revisions(self, catalog: Catalog, url: str) -> None:
        assert migrate(url, dry_run=True) == (latest_revision(), latest_revision())
        assert migrate(url) == (latest_revision(), latest_revision())

    def test_processes_may_create_it_at_once(self, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        start, results = context.Barrier(3), context.Queue()
        openers = [context.Process(target=open_once, args=(url, start, results)) for _ in range(3)]
        for opener in openers:
            opener.start()
        assert [results.get(timeout=60) for _ in openers] == [latest_revision()] * 3
        for opener in openers:
            opener.join()


class TestSQLiteCatalog(CatalogSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return str(tmp_path / "place" / "catalog.db")

    def test_commits_are_durable(self, catalog: Catalog) -> None:
        with catalog.read() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2

    def test_locked_by_another_process(self, catalog: Catalog, url: str) -> None:
        holder = sqlite3.connect(url, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLockedError, match=r"catalog\.db"), catalog.write():
            pass
        with catalog.read() as connection:  # readers never wait for a writer
            assert connection.execute(META.select()).all() == []
        holder.close()

    def test_not_a_database(self, url: str) -> None:
        Path(url).parent.mkdir()
        Path(url).write_bytes(b"this is no database, whatever its name says\n" * 100)
        with pytest.raises(IntegrityError, match="damaged"):
            Catalog.open(url)

    def test_damaged_database(self, catalog: Catalog, url: str) -> None:
        with catalog.write() as connection:
            connection.execute(META.insert(), [{"key": str(n), "value": "x" * 500} for n in range(2000)])
        catalog.close()
        with open(url, "r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * (os.path.getsize(url) - 8192))
        with (
            pytest.raises(IntegrityError, match="damaged"),
            Catalog.open(url).read() as connection,
        ):
            connection.execute(META.select()).all()

    def test_place_that_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreUnavailableError):
            Catalog.open(str(tmp_path / "file" / "catalog.db"))

    def test_folder_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "catalog.db").mkdir()
        with pytest.raises(StoreUnavailableError):
            Catalog.open(str(tmp_path / "catalog.db"))

    def test_disk_full(self, on_small_disk: Callable[[str], str]) -> None:
        printed = on_small_disk(
            """
            from artline.errors import StoreFullError
            from artline.storage.catalog import Catalog
            from artline.storage.schema import store_meta
            catalog = Catalog.open("catalog.db")
            try:
                with catalog.write() as connection:
                    rows = [{"key": str(n), "value": "x" * 900} for n in range(20_000)]
                    connection.execute(store_meta.insert(), rows)
            except StoreFullError as error:
                print(error)
            with catalog.read() as connection:
                print(connection.execute(store_meta.select()).all())
            """
        )
        assert "is full. Free space" in printed
        assert printed.endswith("[]\n")

    def test_no_permission(
        self, unprivileged: list[str], foreign_folder: Path, seal: Callable[[Path], None]
    ) -> None:
        Catalog.open(str(foreign_folder / "catalog.db")).close()
        seal(foreign_folder)
        code = (
            "import sys; from artline.storage.catalog import Catalog; from artline.errors import AuthError\n"
            "try:\n    c = Catalog.open(sys.argv[1])\n    c.write().__enter__()\n"
            "except AuthError as error: print('refused', error)"
        )
        command = [*unprivileged, sys.executable, "-c", code, str(foreign_folder / "catalog.db")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout.startswith("refused the store may be read here and not written"), done

    def test_permission_error_of_the_caller_is_not_the_catalogs(self, catalog: Catalog) -> None:
        with pytest.raises(PermissionError) as caught, catalog.write():
            raise PermissionError("my own")
        assert not isinstance(caught.value, AuthError)

    def test_opening_a_current_catalog_does_not_import_alembic(self, url: str) -> None:
        Catalog.open(url).close()
        code = (
            "import sys; from artline.storage.catalog import Catalog; Catalog.open(sys.argv[1])\n"
            "print('alembic' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"


class TestPostgresCatalog(CatalogSuite):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url

    def test_lock_held_by_another(self, catalog: Catalog, url: str) -> None:
        other = Catalog.open(url)
        with other.write() as holder:
            holder.exec_driver_sql("LOCK TABLE store_meta IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StoreLockedError), catalog.write() as connection:
                connection.execute(META.insert().values(key="a", value="1"))
        other.close()

    def test_reading_cannot_write(self, catalog: Catalog) -> None:
        with pytest.raises(sa.exc.DBAPIError, match="read-only"), catalog.read() as connection:
            connection.execute(META.insert().values(key="a", value="1"))


def test_server_that_is_away(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://postgres@/x?host={tmp_path}"
    with pytest.raises(StoreUnavailableError, match="out of reach"):
        Catalog.open(url)


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://", "sqlite:///:memory:", "nonsense://x"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        Catalog.open(url)


def test_password_is_not_shown(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://postgres:hunter2@/x?host={tmp_path}"
    with pytest.raises(StoreUnavailableError) as caught:
        Catalog.open(url)
    assert "hunter2" not in str(caught.value)


def test_revisions_form_one_chain() -> None:
    assert list(revisions()) == sorted(revisions())
    assert revisions()[0] == "0001_storage"


def test_new_sqlite_catalog_is_what_all_migrations_make(tmp_path: Path) -> None:
    kept = Path(artline.storage.migrations.__file__).with_name("latest.sql").read_text()
    assert kept == snapshot(), "make it anew: python -m artline.storage.migrations.snapshot > …/latest.sql"
    program = (
        "import sys; from artline.storage.catalog import Catalog; "
        f"Catalog.open({str(tmp_path / 'new.db')!r}).close(); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
