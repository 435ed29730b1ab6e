"""A catalog that is lost, old or damaged, and what comes back from the records in the bucket."""

from __future__ import annotations

import contextlib
import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artline.artifacts import records, schema
from artline.artifacts.artifact import Artifact
from artline.artifacts.fsck import check
from artline.artifacts.protection import protected_aliases, set_protection
from artline.artifacts.records import ARTIFACT_PARTS, VERSION_PARTS, checkpoint, note_row, publish
from artline.artifacts.repair import repair
from artline.artifacts.retention import collect
from artline.artifacts.rules import Rule, get_rule, set_rule
from artline.artifacts.store import ArtifactStore
from artline.artifacts.survey import survey_records
from artline.errors import ArtlineError, IntegrityError, ProtectedError, StoreUnavailableError
from artline.settings import Settings, load_settings
from artline.storage import records as stored_records
from artline.storage.bucket import LocalBucket
from artline.storage.catalog import Catalog, sqlite_url
from artline.storage.content import ContentStore
from artline.storage.records import list_records
from artline.storage.schema import metadata, record_object

PLACE: dict[str, Any] = {"project": "p"}


def log(store: ArtifactStore, text: str, name: str = "peds", **how: Any) -> Artifact:
    draft = Artifact(name, "dataset", store=store, metadata=how.pop("metadata", None))
    draft.add_stream(io.BytesIO(text.encode()), "a.txt")
    draft.add_stream(io.BytesIO(b"shared"), "sub/b")
    return store.log(draft, **{**PLACE, **how})


def snapshot(store: ArtifactStore) -> dict[str, Any]:
    """Return everything that is known of every artifact, but for the catalog's own ids."""
    known: dict[str, Any] = {}
    with store.catalog.read() as conn:
        ids = list(conn.scalars(sa.select(schema.artifact_version.c.id)))
        edge = schema.artifact_edge.c
        edges = {
            version_id: sorted(
                tuple(row)
                for row in conn.execute(
                    sa.select(edge.run, edge.role, edge.use_as, edge.at).where(edge.version_id == version_id)
                )
            )
            for version_id in ids
        }
    for version_id in ids:
        version = store.by_id(version_id)
        record = version.record
        source = store.by_id(record.origin_id).record.qualified_name
        history = [(event.at, event.kind, event.run, event.detail) for event in version.history]
        known[record.qualified_name] = (
            record.type, record.digest, record.root, record.size, record.file_count, record.metadata,
            record.description, record.created_at, record.updated_at, record.deleted_at, record.aliases,
            record.tags, source, sorted(history, key=repr), edges[version_id],
        )  # fmt: skip
    with store.catalog.read() as conn:
        for row in conn.execute(sa.select(schema.artifact)):
            known[f"{row.name} as a whole"] = row.type, row.description, row.created_at, row.next_version
            known[f"{row.name}'s protected aliases"] = protected_aliases(conn, row.id)
    return known


class Lost:
    """A store whose catalog can be lost."""

    def __init__(self, request: pytest.FixtureRequest, root: Path, catalog: str, bucket: str) -> None:
        self.request, self.root, self.kind = request, root, catalog
        self.bucket = request.getfixturevalue("s3_url") if bucket == "s3" else ""
        self.url = request.getfixturevalue("postgres_url") if catalog == "postgresql" else ""

    @property
    def settings(self) -> Settings:
        return load_settings(root=self.root, catalog=self.url or None, bucket=self.bucket or None)

    def lose(self) -> None:
        """Leave nothing but the bucket."""
        ContentStore.open(self.settings).catalog.close()
        if self.kind == "postgresql":
            server = self.request.getfixturevalue("postgres")
            name = server.create()
            self.request.addfinalizer(lambda: server.drop(name))
            self.url = server.url(name)
        else:
            for path in self.root.glob("catalog.db*"):
                path.unlink()

    def reopen(self) -> ArtifactStore:
        ContentStore.open(self.settings, adopt=True)
        return ArtifactStore.open(self.settings)


@pytest.fixture
def lose_catalog(store: ArtifactStore, request: pytest.FixtureRequest, store_root: Path) -> Lost:
    return Lost(request, store_root, "sqlite", "folder")


@pytest.mark.parametrize("bucket", ["folder", "s3"])
@pytest.mark.parametrize("catalog", ["sqlite", "postgresql"])
def test_everything_of_artifacts_comes_back(
    request: pytest.FixtureRequest, store_root: Path, tmp_path: Path, tree: Path, catalog: str, bucket: str
) -> None:
    lost = Lost(request, store_root, catalog, bucket)
    store = ArtifactStore.open(lost.settings)
    log(store, "0", aliases=["best"], tags=["x"], run="local/p/r1", metadata={"nan": float("nan"), "ü": [1]})
    log(store, "1", aliases=["best", "prod"])
    log(store, "0", run="local/p/r2")  # content that is there already: no new bytes, no new version
    log(store, "2", name="other", project="q", entity="team")
    whole = Artifact("tree", "dataset", store=store)
    whole.add_dir(tree)
    store.log(whole, **PLACE)
    store.use("peds:v1", run="local/p/r3", use_as="train", **PLACE)
    store.link(store.get("peds:best", **PLACE), "registry/models", aliases=["released"])
    edited = store.get("peds:v1", **PLACE)
    edited.description, edited.tags, edited.metadata = "about", ["good"], {"k": 1}
    edited.save()
    set_protection(store, "peds", ["prod"], **PLACE)
    set_rule(store, "tree", Rule(ttl=timedelta(days=3), keep_last=2), **PLACE)
    log(store, "3")
    store.delete("peds:v0", force=True, **PLACE)
    log(store, "4")
    store.delete("peds:v3", **PLACE)
    store.undelete("peds:v3", **PLACE)
    before = snapshot(store)
    lost.lose()
    with pytest.raises(IntegrityError, match="art fsck --repair"):
        ArtifactStore.open(lost.settings)
    store = lost.reopen()
    done = repair(store)
    assert (done.restored.problems, done.rebuilt.problems, done.unclaimed) == ([], [], ())
    assert (done.report.ok, done.quarantined) == (True, ())
    after = snapshot(store)
    assert sorted(map(repr, after.items())) == sorted(map(repr, before.items()))  # NaN equals nothing
    assert store.get("peds:v1", **PLACE).used_by() == ["local/p/r3"]
    assert get_rule(store, "tree", **PLACE) == Rule(ttl=timedelta(days=3), keep_last=2)
    version = store.get("tree:latest", **PLACE)
    version.verify(version.download(tmp_path / "out"))
    assert log(store, "5").version == "v4"
    with pytest.raises(ProtectedError):
        store.set_alias("peds:v4", "prod", **PLACE)
    assert check(store, full=True).ok
    again = repair(store)
    assert (again.restored.versions, again.restored.artifacts, again.restored.rewritten) == (0, 0, [])


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("log"), st.integers(0, 3), st.sampled_from(["", "a", "b"])),
        st.tuples(st.sampled_from(["delete", "undelete", "tag", "describe"]), st.integers(0, 3), st.just("")),
        st.tuples(st.just("alias"), st.integers(0, 3), st.sampled_from(["a", "b"])),
        st.tuples(st.sampled_from(["checkpoint", "lose"]), st.just(0), st.just("")),
    ),
    min_size=4,
    max_size=10,
)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=_steps)
def test_whatever_happened_comes_back(
    steps: list[tuple[str, int, str]], request: pytest.FixtureRequest, tmp_path_factory: Any
) -> None:
    root = tmp_path_factory.mktemp("any") / "store"
    lost = Lost(request, root, "sqlite", "folder")
    store = ArtifactStore.open(lost.settings)
    for what, number, alias in [*steps, ("lose", 0, "")]:
        ref = f"peds:v{number}"
        with contextlib.suppress(ArtlineError):
            if what == "log":
                log(store, str(number), aliases=[alias] if alias else [])
            elif what == "delete":
                store.delete(ref, delete_aliases=True, **PLACE)
            elif what == "undelete":
                store.undelete(ref, **PLACE)
            elif what == "tag":
                store.set_tags(ref, [f"t{number}"], **PLACE)
            elif what == "describe":
                version = store.get(ref, **PLACE)
                version.description = f"{version.description}more"
                version.save()
            elif what == "alias":
                store.set_alias(ref, alias, **PLACE)
            elif what == "checkpoint":
                checkpoint(store.content)
        if what == "lose":
            before = snapshot(store)
            lost.lose()
            store = lost.reopen()
            done = repair(store)
            assert (done.report.ok, done.restored.problems) == (True, [])
            assert snapshot(store) == before
    store.catalog.close()


def test_many_writers_at_once_leave_a_whole_record(store: ArtifactStore, lose_catalog: Lost) -> None:
    with ThreadPoolExecutor(6) as pool:
        for task in [pool.submit(log, store, str(number)) for number in range(18)]:
            task.result()
    before = snapshot(store)
    lose_catalog.lose()
    store = lose_catalog.reopen()
    assert repair(store).restored.problems == []
    assert snapshot(store) == before
    assert {version.number for version in store.versions("p", "peds")} == set(range(18))


def test_what_is_noted_while_others_write_records_is_not_forgotten(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = log(store, "0").record.id
    write, interrupted = stored_records.write_record, []

    def slow(*arguments: Any) -> str:
        name = write(*arguments)
        if (
            not interrupted
        ):  # another writer records and forgets the same rows, and a third one notes a new one
            interrupted.append(name)
            publish(store.content)
            note(store, version)
        return name

    monkeypatch.setattr(stored_records, "write_record", slow)
    note(store, version)
    assert publish(store.content) == 1
    assert publish(store.content) == 1  # what the third one noted is still to be recorded
    assert publish(store.content) == 0


def note(store: ArtifactStore, version: int) -> None:
    with store.catalog.write() as conn:
        note_row(conn, "version", version)


def test_what_was_rolled_back_is_not_recorded(store: ArtifactStore, lose_catalog: Lost) -> None:
    log(store, "0", aliases=["prod"])
    set_protection(store, "peds", ["prod"], **PLACE)
    before = list_records(store.content)
    with pytest.raises(ProtectedError):
        log(store, "1", aliases=["prod"])
    assert list_records(store.content) == before
    lose_catalog.lose()
    store = lose_catalog.reopen()
    done = repair(store)
    assert [version.number for version in store.versions("p", "peds")] == [0]
    assert len(done.unclaimed) == 1  # the manifest of what was refused


def test_a_record_that_cannot_be_written_is_written_later(
    store: ArtifactStore, lose_catalog: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(store, "0")
    put = LocalBucket.put

    def refuse(self: LocalBucket, name: str, data: Any) -> None:
        if name.startswith("records/"):
            raise StoreUnavailableError("the disk is away")
        put(self, name, data)

    monkeypatch.setattr(LocalBucket, "put", refuse)
    with pytest.raises(StoreUnavailableError, match=r"the change is made .* the disk is away"):
        log(store, "1")
    monkeypatch.undo()
    assert store.get("peds", **PLACE).version == "v1"
    assert check(store).ok  # it waits to be recorded, and that is no damage
    log(store, "2", name="other")
    before = snapshot(store)
    lose_catalog.lose()
    store = lose_catalog.reopen()
    repair(store)
    assert snapshot(store) == before


def test_a_catalog_from_an_old_backup_catches_up(store: ArtifactStore, store_root: Path) -> None:
    log(store, "0", aliases=["best"])
    store.catalog.close()
    backup = store_root.parent / "backup.db"
    shutil.copy(store_root / "catalog.db", backup)
    log(store, "1", aliases=["best"])
    store.set_tags("peds:v0", ["old"], **PLACE)
    log(store, "2", name="other")
    before = snapshot(store)
    store.catalog.close()
    for path in store_root.glob("catalog.db*"):
        path.unlink()
    shutil.copy(backup, store_root / "catalog.db")
    problems = check(store).problems
    assert [text for text in problems if "know more of local/p/peds than" in text]
    assert [text for text in problems if "know more of local/p/other than" in text]
    done = repair(store)
    assert (done.report.ok, done.restored.versions, done.restored.artifacts) == (True, 2, 1)
    assert snapshot(store) == before
    assert log(store, "3").version == "v2"
    assert check(store).ok


@pytest.mark.parametrize("part", ["header", "payload", "index", "trailer"])
def test_a_damaged_record_is_named_and_put_aside(
    store: ArtifactStore, store_root: Path, lose_catalog: Lost, part: str
) -> None:
    log(store, "0")
    log(store, "1")
    (found, _) = sorted(list_records(store.content), key=lambda record: record.stem)
    path = store_root / "bucket" / found.name
    data = bytearray(path.read_bytes())
    data[{"header": 20, "payload": 150, "index": len(data) - 70, "trailer": -12}[part]] ^= 4
    path.write_bytes(data)
    problems = check(store).problems
    assert any(found.name in problem for problem in problems)
    done = repair(store)
    assert done.quarantined == (f"quarantine/{found.name}",)
    assert check(store).ok  # a checkpoint has told everything again
    before = snapshot(store)
    lose_catalog.lose()
    store = lose_catalog.reopen()
    assert repair(store).report.ok
    assert snapshot(store) == before


def test_a_version_whose_record_is_lost_is_named(
    store: ArtifactStore, store_root: Path, lose_catalog: Lost
) -> None:
    log(store, "0")
    log(store, "1")
    log(store, "2")
    records_ = sorted(list_records(store.content), key=lambda record: record.stem)
    (store_root / "bucket" / records_[1].name).unlink()
    gone, unrecorded, *history = check(store).problems
    assert gone.startswith(f"the record {records_[1].name} is gone from {store.content.bucket.url}: ")
    assert unrecorded == "local/p/peds:v1 has no record in the bucket. Write one: art fsck --repair"
    assert any("in the history of local/p/peds:v1 that no record tells so" in told for told in history)
    lose_catalog.lose()
    store = lose_catalog.reopen()
    done = repair(store)
    assert done.restored.problems == ["local/p/peds:v1 has no record: it is lost, or never was"]
    assert len(done.unclaimed) == 1
    assert [version.version for version in store.versions("p", "peds")] == ["v2", "v0"]
    assert log(store, "3").version == "v3"


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE artifact SET description = 'other'", "local/p/peds"),
        ("UPDATE artifact_alias SET name = 'prof' WHERE name = 'prod'", "local/p/peds"),
        ("UPDATE artifact_tag SET name = 'gooe'", "local/p/peds:v0"),
        ("UPDATE artifact_event SET run = 'x' WHERE id = 1", "the history of local/p/peds:v0"),
        ("UPDATE artifact_event SET detail = '{}' WHERE id = 1", "the history of local/p/peds:v0"),
        ("UPDATE artifact_edge SET use_as = 'x'", "the lineage of local/p/peds:v0"),
        ("UPDATE artifact_edge SET run = 'x'", "the lineage of local/p/peds:v0"),
    ],
)
def test_a_row_that_differs_from_its_record_is_named_and_mended(
    store: ArtifactStore, statement: str, told: str
) -> None:
    log(store, "0", aliases=["prod"], tags=["good"], run="local/p/r")
    log(store, "1")
    before = snapshot(store)
    with store.catalog.write() as conn:
        conn.exec_driver_sql(statement)
    (problem,) = check(store).problems
    assert told in problem
    assert repair(store).restored.rewritten == [told]
    assert check(store).ok
    assert snapshot(store) == before


def test_a_lost_record_is_written_anew(store: ArtifactStore, store_root: Path) -> None:
    log(store, "0")
    (found,) = list_records(store.content)
    (store_root / "bucket" / found.name).unlink()
    repair(store)
    assert check(store).ok
    collect(store, dry_run=False)
    collect(store, dry_run=False)
    with store.catalog.read() as conn:
        noted = set(conn.execute(sa.select(record_object.c.name)).scalars())
    assert noted == {record.name for record in list_records(store.content)}


def test_damaged_packs_and_a_lost_catalog(
    store: ArtifactStore, store_root: Path, lose_catalog: Lost, tmp_path: Path
) -> None:
    log(store, "0")
    place = store.content.locate([store.content.algorithm.hash(b"0")])
    (location,) = place.values()
    path = store_root / "bucket" / store.content.pack_object(location.pack_id)
    log(store, "1")
    data = bytearray(path.read_bytes())
    data[3] ^= 1  # the pack's header: its blocks still say what they are
    data[location.position + 64] ^= 1
    path.write_bytes(data)
    unusable = store_root / "bucket" / "packs" / "00" / f"{'0' * 32}.pack"
    unusable.parent.mkdir()
    unusable.write_bytes(b"no pack at all")
    lose_catalog.lose()
    store = lose_catalog.reopen()
    done = repair(store)
    assert [(loss.version, loss.path) for loss in done.report.losses] == [("local/p/peds:v0", "a.txt")]
    assert done.forgotten == 1
    damaged = path.relative_to(store_root / "bucket")
    assert done.quarantined == (f"quarantine/{damaged}", f"quarantine/packs/00/{'0' * 32}.pack")
    assert (
        store.get("peds:v1", **PLACE).download(tmp_path / "out").joinpath("sub/b").read_bytes() == b"shared"
    )
    log(store, "0")
    assert check(store).losses == ()


def test_a_store_file_that_is_lost_or_damaged_is_written_anew(
    store: ArtifactStore, store_root: Path, lose_catalog: Lost
) -> None:
    log(store, "0")
    file = store_root / "bucket" / "store.json"
    for lost in (False, True):
        for text in ("{", None):
            file.unlink()
            if text is not None:
                file.write_text(text)
            if lost:
                lose_catalog.lose()
            store.catalog.close()
            store = lose_catalog.reopen()
            assert repair(store).report.ok
            assert store.get("peds", **PLACE).version == "v0"


def test_a_damaged_row_of_the_catalog_is_named_and_written_anew(store: ArtifactStore) -> None:
    version = log(store, "0", metadata={"lr": 0.1})
    log(store, "1")
    row = schema.artifact_version
    with store.catalog.write() as conn:
        conn.execute(row.update().where(row.c.id == version.record.id).values(metadata='{"lr": 0.9}'))
    assert [text for text in check(store).problems if "local/p/peds:v0 is not what its record says" in text]
    assert repair(store).restored.rewritten == ["local/p/peds:v0"]
    assert store.get("peds:v0", **PLACE).metadata == {"lr": 0.1}
    assert check(store).ok


def test_checkpoints_make_older_records_superfluous(
    store: ArtifactStore, store_root: Path, lose_catalog: Lost
) -> None:
    for number in range(3):
        log(store, str(number))
        collect(store, dry_run=False)
    log(store, "3")
    found = list_records(store.content)
    assert [record.kind for record in found] == ["checkpoints", "changes", "checkpoints", "changes"]
    newest = next(record for record in reversed(found) if record.kind == "checkpoints")
    (store_root / "bucket" / newest.name).unlink()  # the one before it and the changes since tell the same
    before = snapshot(store)
    lose_catalog.lose()
    store = lose_catalog.reopen()
    assert repair(store).restored.problems == []
    assert snapshot(store) == before
    collect(store, dry_run=False)
    collect(store, dry_run=False)
    assert len({record.catalog for record in list_records(store.content)}) == 1  # the lost one's are gone


def test_more_than_fits_in_one_object(
    store: ArtifactStore, lose_catalog: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_AT_ONCE", 3)
    monkeypatch.setattr("artline.storage.records._BLOCK", 200)
    for number in range(3):
        log(store, str(number), tags=["a", "b"])
    before = snapshot(store)
    lose_catalog.lose()
    store = lose_catalog.reopen()
    repair(store)
    assert snapshot(store) == before


def test_records_of_a_later_format_are_refused(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "FORMAT", 2)
    log(store, "0")
    monkeypatch.undo()
    with pytest.raises(ArtlineError, match=r"records of format 2, newer than this Artline reads"):
        survey_records(store.content)


def test_a_store_from_before_there_were_records_gets_them(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    import artline.storage.migrations as migrations

    path = tmp_path / "old.db"
    engine = sa.create_engine(sqlite_url(path))
    with engine.begin() as conn:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = conn
        command.upgrade(config, "0005_retention")
        for statement in (
            "INSERT INTO project VALUES (1, 'e', 'p', '', 1)",
            "INSERT INTO artifact VALUES (1, 1, 'a', 't', '', 1, 1)",
            "INSERT INTO artifact_version VALUES (7, 1, 0, x'00', x'00', 1, 1, '{}', '', 1, 1, NULL)",
            "INSERT INTO artifact_edge VALUES (3, 7, 'e/p/r', 'output', '', 1)",
            "INSERT INTO artifact_event VALUES (5, 7, 1, '', 'alias_added', '{}')",
        ):
            conn.exec_driver_sql(statement)
    engine.dispose()
    catalog = Catalog.open(sqlite_url(path))
    with catalog.read() as conn:
        noted = conn.execute(sa.select(schema.artifact_outbox.c.kind, schema.artifact_outbox.c.row_id)).all()
    catalog.close()
    assert sorted(map(tuple, noted)) == [("artifact", 1), ("edge", 3), ("event", 5), ("version", 7)]


def test_every_table_about_artifacts_is_recorded_or_known_not_to_be() -> None:
    rows = {
        "artifact",
        "artifact_version",
        "artifact_edge",
        "artifact_event",
        *ARTIFACT_PARTS,
        *VERSION_PARTS,
    }
    not_recorded = {"artifact_outbox", "artifact_draft", "artifact_contribution"}  # docs/recovery.md says so
    tables = {name for name in metadata.tables if name.startswith("artifact")}
    assert tables == rows | not_recorded
