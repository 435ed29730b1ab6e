"""Stores that may be read and not written: a disk mounted read-only, a database user without rights."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from artline.artifacts.artifact import Artifact
from artline.artifacts.store import ArtifactStore
from artline.errors import AuthError, StoreLockedError
from artline.settings import load_settings
from artline.storage.readonly import ReadOnlyFile

READ = """
import artline as art
from artline.artifacts.artifact import Artifact
from artline.artifacts.fsck import check
from artline.artifacts.store import ArtifactStore
from artline.errors import AuthError
store = ArtifactStore.open()
version = store.get("peds:best", project="p")
version.verify(version.download("out"))
print(version.version, [entry.path for entry in version.files()], version.open("a.txt").read())
print([record.version for record in store.versions("p", "peds")], check(store, full=True).ok)
print(art.Api().run("p/r1").history(pandas=False))
for change in (
    lambda: store.set_alias("peds:v0", "other", project="p"),
    lambda: store.use("peds", project="p", run="local/p/r9"),
    lambda: store.delete("peds:v0", project="p"),
    lambda: Artifact("peds", "dataset", store=store).add_file("out/a.txt"),
):
    try:
        change()
        print("changed")
    except AuthError as error:
        print("refused:", "may be read here and not written" in str(error))
"""


@pytest.fixture
def on_read_only_disk(store_root: Path) -> Callable[[Path, str], list[str]]:
    """Return a function that runs Python code where a folder is mounted read-only; it returns the lines.

    The mount is in a mount namespace of the process's own, which needs no rights.
    """

    def run(folder: Path, code: str) -> list[str]:
        namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
        script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -c "$3"'
        command = [*namespace, "sh", "-c", script, "sh", str(folder), sys.executable, textwrap.dedent(code)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a store with two versions and a run, to be copied."""
    code = """
    import io, artline as art
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.store import ArtifactStore
    with art.init(project="p", id="r1") as run:
        run.log({"loss": 0.5})
    store = ArtifactStore.open()
    for text in (b"one", b"two"):
        draft = Artifact("peds", "dataset", store=store)
        draft.add_stream(io.BytesIO(text), "a.txt")
        store.log(draft, project="p", aliases=["best"])
    assert len(art.Api().run("p/r1").history(pandas=False)) == 1
    """
    folder = tmp_path_factory.mktemp("template")
    environment = os.environ | {"ART_HOME": str(folder / "store"), "HOME": str(folder)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "store"


@pytest.fixture
def filled(template: Path, store_root: Path) -> Path:
    """Return the root of a store of the test's own with two versions and a run."""
    shutil.copytree(template, store_root)
    return store_root


@pytest.mark.parametrize("log", ["none", "left behind", "left behind without its index", "in use"])
def test_a_store_on_a_read_only_disk_is_read(
    filled: Path, on_read_only_disk: Callable[[Path, str], list[str]], log: str
) -> None:
    catalog = filled / "catalog.db"
    other = sqlite3.connect(catalog)
    if log != "none":
        other.execute("INSERT INTO store_meta VALUES ('x', 'y')")
        other.commit()
    if log.startswith("left"):  # as a killed process leaves it
        kept = {path: path.read_bytes() for path in filled.glob("catalog.db*")}
        other.close()
        for path, data in kept.items():
            if "index" not in log or not path.name.endswith("-shm"):
                path.write_bytes(data)
    elif log == "none":
        other.close()
    lines = on_read_only_disk(filled, READ)
    assert lines[0] == "v1 ['a.txt'] b'two'"
    assert lines[1] == "['v1', 'v0'] True"
    assert "'loss': 0.5" in lines[2]
    assert lines[3:] == ["refused: True"] * 4
    other.close()


def test_what_cannot_be_taken_in_is_said(
    filled: Path, on_read_only_disk: Callable[[Path, str], list[str]]
) -> None:
    code = "import artline as art; art.init(project='p', id='r2').log({'loss': 1}); art.finish()"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    lines = on_read_only_disk(
        filled,
        """
        import sys
        sys.stderr = sys.stdout
        import artline as art
        from artline.errors import ArtlineError
        print([run.id for run in art.Api().runs("p")])
        try:
            art.init(project="p", id="r3")
        except ArtlineError as error:
            print(error.kind, "Read-only" in str(error))
        """,
    )
    assert any("a journal cannot be taken in, as the store may be read here" in line for line in lines)
    assert "['r1']" in lines
    assert lines[-1] == "store_unavailable True"


def test_only_the_bucket_is_read_only(
    filled: Path, on_read_only_disk: Callable[[Path, str], list[str]]
) -> None:
    lines = on_read_only_disk(
        filled / "bucket",
        """
        import io
        from artline.artifacts.artifact import Artifact
        from artline.artifacts.store import ArtifactStore
        from artline.errors import AuthError
        store = ArtifactStore.open()
        print(store.get("peds", project="p").open("a.txt").read())
        draft = Artifact("peds", "dataset", store=store)
        try:
            draft.add_stream(io.BytesIO(b"new"), "a.txt")
            store.log(draft, project="p")
        except AuthError as error:
            print(error)
        print(store.get("peds", project="p").version)
        """,
    )
    assert lines[0] == "b'two'"
    assert "read-only" in lines[1]
    assert lines[2] == "v1"


def test_a_catalog_that_changes_while_it_is_read_is_no_answer(filled: Path) -> None:
    catalog = filled / "catalog.db"
    frozen = ReadOnlyFile(str(catalog), 1.0)

    def change() -> None:
        with sqlite3.connect(catalog) as other:
            other.execute("INSERT INTO store_meta VALUES (hex(randomblob(8)), 'y')")
        other.close()

    def fail() -> None:
        with frozen.steady():
            change()
            raise sqlite3.DatabaseError("database disk image is malformed")

    with frozen.steady():
        assert frozen.connect().execute("SELECT count(*) FROM artifact").fetchone() == (1,)
    with pytest.raises(StoreLockedError, match="changed by somebody"), frozen.steady():
        change()
    with pytest.raises(StoreLockedError, match="changed by somebody") as caught:
        fail()
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)


def test_an_older_schema_is_named(filled: Path, on_read_only_disk: Callable[[Path, str], list[str]]) -> None:
    with sqlite3.connect(filled / "catalog.db") as catalog:
        catalog.execute("UPDATE alembic_version SET version_num = '0005_retention'")
    catalog.close()
    lines = on_read_only_disk(
        filled,
        """
        from artline.artifacts.store import ArtifactStore
        try:
            ArtifactStore.open()
        except Exception as error:
            print(type(error).__name__, error)
        """,
    )
    assert lines[0].startswith("AuthError the catalog")
    assert "has schema 0005_retention" in lines[0]


def test_a_database_user_without_rights_reads(postgres_url: str, store_root: Path) -> None:
    import sqlalchemy as sa

    settings = load_settings(root=store_root, catalog=postgres_url)
    store = ArtifactStore.open(settings)
    draft = Artifact("peds", "dataset", store=store)
    draft.add_stream(io.BytesIO(b"one"), "a.txt")
    store.log(draft, project="p")
    engine = sa.create_engine(postgres_url)
    role = f"reader_{sa.make_url(postgres_url).database}"
    with engine.begin() as conn:
        conn.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
        conn.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    url = postgres_url.replace("postgres@", f"{role}@")
    reader = ArtifactStore.open(load_settings(root=store_root, catalog=url))
    assert reader.get("peds", project="p").open("a.txt").read() == b"one"
    with pytest.raises(AuthError, match="may be read here and not written"):
        reader.set_alias("peds:v0", "best", project="p")
    reader.catalog.close()
    with engine.begin() as conn:
        conn.exec_driver_sql(f"DROP OWNED BY {role}")
        conn.exec_driver_sql(f"DROP ROLE {role}")
    engine.dispose()


def test_the_copy_of_a_log_goes_with_its_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, place = tmp_path / "source.db", tmp_path / "there"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    writer = sqlite3.connect(source)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE t (x)")
    writer.commit()
    for suffix in ("", "-wal"):
        shutil.copy(f"{source}{suffix}", place / f"catalog.db{suffix}")
    writer.close()
    frozen = ReadOnlyFile(str(place / "catalog.db"), 1.0)
    for _ in range(2):
        connection = frozen.connect()
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        connection.close()
    assert len(os.listdir(tmp_path / "tmp")) == 1
    frozen.close()
    assert os.listdir(tmp_path / "tmp") == []
