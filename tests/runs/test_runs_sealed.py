"""Sealed histories are checked, never read wrong, and swept only where no run can need them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rundata import Writer

from artline.artifacts.fsck import check
from artline.artifacts.repair import repair
from artline.artifacts.retention import collect
from artline.artifacts.sealed_files import SealedSweep
from artline.cli.group import art
from artline.errors import IntegrityError
from artline.runs import chunks, samples, sealed
from artline.runs.schema import metric_file, run
from artline.runs.store import RunStore
from artline.settings import Settings
from artline.storage.catalog import Catalog
from artline.storage.content import ContentStore

NOW = timedelta(0)
ROWS = 700


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 128)
    monkeypatch.setattr(sealed, "_FEWEST_ROWS", 128)
    monkeypatch.setattr(sealed, "SEAL_VALUES", 1024)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, store_root: Path) -> Iterator[RunStore]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    opened = RunStore.open(Settings(root=store_root, catalog=url))
    yield opened
    opened.close()


@pytest.fixture
def local(store_root: Path) -> Iterator[RunStore]:
    opened = RunStore.open(Settings(root=store_root))
    yield opened
    opened.close()


def log(root: Path, run_id: str = "r1", count: int = ROWS) -> None:
    columns = {"loss": [at / 7 for at in range(count)], "acc": list(range(count))}
    writer = Writer(root, run_id, at=0.0)
    writer.rows(columns, "dq")
    writer.finish()


def files(root: Path, run_id: str = "*") -> list[Path]:
    return sorted(root.glob(f"bucket/metrics/p/{run_id}/*.parquet"))


def rows(store: RunStore, run_id: str = "r1") -> list[dict[str, Any]]:
    return store.history(store.get("p", run_id))


def sweep(store: RunStore, grace: timedelta = NOW, *, dry_run: bool = False) -> SealedSweep:
    return collect(store.artifacts, grace=grace, dry_run=dry_run).histories


def age(store: RunStore, seconds: float) -> None:
    """Let what the collector goes by have happened earlier."""
    table = metric_file.c
    with store.catalog.write() as conn:
        earlier = {
            "created_at": table.created_at - seconds,
            "condemned_at": table.condemned_at - seconds,
        }
        conn.execute(metric_file.update().values(earlier))


def known(store: RunStore) -> set[str]:
    with store.catalog.read() as conn:
        return set(conn.scalars(sa.select(metric_file.c.name)))


class KilledError(BaseException):
    """The process ends here."""


def die(*_: object) -> bool:
    raise KilledError


def test_what_is_gone_or_short_is_found_by_its_size(store: RunStore, store_root: Path) -> None:
    log(store_root)
    log(store_root, "r2")
    store.ingest()
    report = check(store.artifacts)
    assert (report.ok, report.histories) == (True, len(files(store_root)))
    gone, (short, *_) = files(store_root, "r1")[0], files(store_root, "r2")
    whole = {gone: gone.read_bytes(), short: short.read_bytes()}
    gone.unlink()
    short.write_bytes(whole[short][:-1])
    report = check(store.artifacts)
    assert [(loss.version, loss.path.rpartition("/")[2]) for loss in report.losses] == [
        ("run local/p/r1", gone.name),
        ("run local/p/r2", short.name),
    ]
    assert "missing" in report.losses[0].problem
    assert "rows of loss, acc" in report.losses[0].problem
    size = len(whole[short])
    assert f"{size - 1} bytes instead of {size}" in report.losses[1].problem
    assert not report.ok
    for file, content in whole.items():
        file.write_bytes(content)
    assert check(store.artifacts, full=True).ok
    assert len(rows(store)) == len(rows(store, "r2")) == ROWS


def test_the_command_names_run_file_and_keys(local: RunStore, store_root: Path) -> None:
    log(store_root)
    local.ingest()
    assert "history file" in CliRunner().invoke(art, ["fsck"]).stdout
    [file, *_] = files(store_root)
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 16
    file.write_bytes(data)
    assert CliRunner().invoke(art, ["fsck"]).exit_code == 0  # the size is right
    done = CliRunner().invoke(art, ["fsck", "--full"])
    assert done.exit_code == 4
    [line] = [line for line in done.stdout.splitlines() if file.name in line]
    assert "run local/p/r1" in line
    assert "checksum" in line
    assert "loss, acc" in line
    assert "from a backup of the bucket" in line
    assert "--repair" not in done.output  # that would not help
    told = json.loads(CliRunner().invoke(art, ["fsck", "--full", "--json"]).stdout)
    assert [loss["version"] for loss in told["losses"]] == ["run local/p/r1"]
    file.unlink()
    done = CliRunner().invoke(art, ["export", "p/r1", "-o", "out.csv"])
    assert done.exit_code == 4
    assert "run local/p/r1" in done.output
    assert file.name in done.output
    assert not Path("out.csv").exists()


def readers(store: RunStore) -> list[Callable[[], object]]:
    record = store.get("p", "r1")
    return [
        lambda: store.history(record),
        lambda: store.history(record, ["acc"]),
        lambda: list(store.scan_history(record)),
        lambda: list(store.scan_columns(record)),
        lambda: store.samples(record, 20),
        lambda: store.curves(record, ["loss"], low=3, high=200),
    ]


def test_every_way_of_reading_names_file_and_run(
    store: RunStore, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "_FEW_ROWS", 64)
    log(store_root)
    store.ingest()
    for file in files(store_root):
        file.unlink()
    for read in readers(store):
        with pytest.raises(IntegrityError, match=r"run local/p/r1 .*history-\d+-000000-\w+\.parquet"):
            read()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_found_and_never_read_as_a_value(
    local: RunStore, store_root: Path, data: st.DataObject
) -> None:
    if not files(store_root):
        log(store_root)
        local.ingest()
    [file, *_] = files(store_root)
    whole = file.read_bytes()
    place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    flipped = bytearray(whole)
    flipped[place] ^= 1 << bit
    file.write_bytes(flipped)
    try:
        assert not check(local.artifacts, full=True).ok
        reader = RunStore.open(Settings(root=store_root))  # without what was read before
        expected = [(at / 7, at) for at in range(ROWS)]
        try:
            assert [(row["loss"], row["acc"]) for row in rows(reader)] == expected
        except IntegrityError as error:
            refused = error.message
        else:
            refused = file.name
        reader.close()
        assert file.name in refused
    finally:
        file.write_bytes(whole)


def test_what_a_killed_process_left_is_swept_a_day_later(
    store: RunStore, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(store_root)
    with monkeypatch.context() as patch:
        patch.setattr(sealed, "_turn_to", die)
        with pytest.raises(KilledError):
            store.ingest()
    [left] = files(store_root)
    expected = rows(store)
    assert len(expected) == ROWS
    store.seal()
    kept = [file for file in files(store_root) if file != left]
    assert kept
    assert check(store.artifacts).ok
    assert sweep(store) == SealedSweep()
    age(store, 90_000)
    assert sweep(store, timedelta(days=7)) == SealedSweep()
    would = sweep(store, dry_run=True)
    assert (would.deleted, would.interrupted, would.freed_bytes) == (1, 1, left.stat().st_size)
    assert left.exists()
    assert sweep(store) == would
    assert files(store_root) == kept
    assert sweep(store) == SealedSweep()
    assert rows(store) == expected


def test_a_file_that_is_being_written_stays(
    store: RunStore, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = sealed._turn_to

    def collect_first(*args: Any) -> bool:
        assert sweep(store) == SealedSweep()
        return turn(*args)

    monkeypatch.setattr(sealed, "_turn_to", collect_first)
    log(store_root)
    store.ingest()
    assert files(store_root)
    assert store.seal() == 0
    assert len(rows(store)) == ROWS
    assert check(store.artifacts, full=True).ok


def test_a_writer_that_slept_for_days_is_told_that_its_file_went(
    store: RunStore, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = sealed._turn_to

    def sleep_first(*args: Any) -> bool:
        age(store, 90_000)
        assert sweep(store).interrupted == 1
        return turn(*args)

    log(store_root)
    with monkeypatch.context() as patch:
        patch.setattr(sealed, "_turn_to", sleep_first)
        store.ingest()
    assert files(store_root) == []
    assert known(store) == set()
    assert len(rows(store)) == ROWS
    assert store.seal() > 0
    assert len(rows(store)) == ROWS


def test_of_two_that_seal_at_once_one_leaves_nothing(
    store: RunStore, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = sealed._turn_to

    def be_slower(*args: Any) -> bool:
        monkeypatch.setattr(sealed, "_turn_to", turn)
        assert store.seal() > 0
        return turn(*args)

    log(store_root)
    monkeypatch.setattr(sealed, "_turn_to", be_slower)
    store.ingest()
    assert {f"metrics/p/r1/{file.name}" for file in files(store_root)} == known(store)
    age(store, 90_000)
    assert sweep(store) == SealedSweep()
    assert len(rows(store)) == ROWS


def test_histories_of_removed_runs_go_after_the_grace_period(store: RunStore, store_root: Path) -> None:
    log(store_root)
    log(store_root, "r2")
    store.ingest()
    before, size = files(store_root), sum(file.stat().st_size for file in files(store_root, "r1"))
    store.delete("p", "r1")  # it can come back
    assert sweep(store, dry_run=True) == SealedSweep()
    with store.catalog.write() as conn:
        conn.execute(run.delete().where(run.c.run_id == "r1"))
    number = len(files(store_root, "r1"))
    week = timedelta(days=7)
    assert sweep(store, week, dry_run=True) == SealedSweep(condemned=number)
    assert sweep(store, week) == SealedSweep(condemned=number)
    assert sweep(store, week) == SealedSweep()
    assert files(store_root) == before
    assert check(store.artifacts).ok
    age(store, 8 * 86_400)
    assert sweep(store, week, dry_run=True) == SealedSweep(deleted=number, freed_bytes=size)
    assert sweep(store, week).deleted == number
    assert files(store_root) == files(store_root, "r2")
    assert known(store) == {f"metrics/p/r2/{file.name}" for file in files(store_root)}
    assert len(rows(store, "r2")) == ROWS


def test_a_sweep_that_died_is_finished_by_the_next(
    local: RunStore, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(store_root)
    local.ingest()
    with local.catalog.write() as conn:
        conn.execute(run.delete())
    bucket = type(local.content.bucket)
    with monkeypatch.context() as patch:
        patch.setattr(bucket, "delete", die)
        with pytest.raises(KilledError):
            sweep(local)
    assert files(store_root)
    assert check(local.artifacts).ok
    sweep(local)
    assert files(store_root) == []
    assert known(local) == set()


def test_a_rebuilt_catalog_leaves_sealed_files_alone(store_root: Path) -> None:
    log(store_root)
    store = RunStore.open(Settings(root=store_root))
    with store.content.writer() as writer:  # a bucket without packs is taken for a new one's
        writer.add_bytes(b"content")
        writer.flush()
    store.ingest()
    store.close()
    before = files(store_root)
    for part in store_root.glob("catalog.db*"):
        part.unlink()
    ContentStore.open(Settings(root=store_root), adopt=True)
    again = RunStore.open(Settings(root=store_root))
    done = repair(again.artifacts)
    assert done.report.strangers == tuple(f"metrics/p/r1/{file.name}" for file in before)
    assert done.report.ok
    log(store_root, "r2")
    again.ingest()
    for _ in range(2):
        age(again, 8 * 86_400)
        assert sweep(again) == SealedSweep()
    assert files(store_root, "r1") == before
    query = f"SELECT count(*), max(acc) FROM '{store_root}/bucket/metrics/p/r1/history-*.parquet'"
    with duckdb.connect() as connection:
        [(count, most)] = connection.execute(query).fetchall()
    assert count == most + 1 > 500
    assert "left alone" in CliRunner().invoke(art, ["fsck"]).stderr
    again.close()


def test_files_sealed_before_they_had_rows_get_them(store: RunStore, store_root: Path) -> None:
    log(store_root)
    store.ingest()
    names = known(store)
    with store.catalog.write() as conn:
        conn.execute(sa.text("DROP TABLE metric_file"))
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '0012_alerts'"))
    url = store.settings.catalog or str(store_root / "catalog.db")
    Catalog.open(url).close()
    assert known(store) == names
    assert check(store.artifacts, full=True).ok
    age(store, 90_000)
    assert sweep(store) == SealedSweep()
    assert len(rows(store)) == ROWS
    files(store_root)[0].unlink()
    assert [loss.version for loss in check(store.artifacts).losses] == ["run local/p/r1"]
