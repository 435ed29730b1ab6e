"""Journals reach the catalog exactly once, whoever drains them and whenever somebody dies."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rundata import DEAD, Writer, this_process

from artline.errors import RunNotFoundError, StoreLockedError
from artline.runs.chunks import CHUNK_ROWS, MAX_KEY_SETS
from artline.runs.ingest import is_damage
from artline.runs.journals import open_journal
from artline.runs.records import Config, File, Heartbeat, Process, Update
from artline.runs.schema import metric_chunk, metric_group
from artline.runs.store import RunStore
from artline.settings import Settings, load_settings


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, store_root: Path) -> Iterator[RunStore]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    opened = RunStore.open(Settings(root=store_root, catalog=url))
    yield opened
    opened.close()


@pytest.fixture
def local(store_root: Path) -> Iterator[RunStore]:
    opened = RunStore.open(Settings(root=store_root, lock_timeout=0.2))
    yield opened
    opened.close()


def losses(store: RunStore, run_id: str = "r1") -> list[float]:
    return [row["loss"] for row in store.history(store.get("p", run_id)) if "loss" in row]


def test_a_finished_run_arrives_whole_and_its_journal_goes(store: RunStore, store_root: Path) -> None:
    writer = Writer(
        store_root, name="first", tags=["b", "a"], notes="n", group="g", job_type="train", host="h"
    )
    writer.append(Config({"lr": 0.1, "opt.name": "adam"}))
    writer.rows({"loss": [3.0, math.nan, -0.0], "epoch": [1, 2, 3]}, "dq")
    writer.rows({"flag": [True], "text": ['"x"'], "none": ["null"], "huge": [str(2**70)]}, "?jjj")
    writer.summary(best=0.5)
    writer.append(Update({"name": "renamed", "git": {"commit": "c"}}), File("requirements.txt", "end"))
    writer.console(b"hello\nworld")
    writer.finish(after=60.0)
    assert store.ingest() > 5
    run = store.get("p", "r1")
    assert (run.name, run.notes, run.group, run.job_type, run.tags) == (
        "renamed",
        "n",
        "g",
        "train",
        ("a", "b"),
    )
    assert run.config == {"lr": 0.1, "opt.name": "adam"}
    assert run.info == {"host": "h", "git": {"commit": "c"}}
    assert (run.state, run.exit_code, run.runtime, run.last_step) == ("finished", 0, 60.0, 3)
    assert run.summary["best"] == 0.5
    assert run.summary["epoch"] == 3
    assert run.summary["huge"] == 2**70
    rows = store.history(run)
    assert [row["_step"] for row in rows] == [0, 1, 2, 3]
    assert math.isnan(rows[1]["loss"])
    assert math.copysign(1, rows[2]["loss"]) == -1
    assert {name: rows[3][name] for name in ("flag", "text", "none", "huge")} == {
        "flag": True,
        "text": "x",
        "none": None,
        "huge": 2**70,
    }
    assert rows[2]["_runtime"] == pytest.approx(2.0)
    assert b"".join(piece.data for piece in store.console(run)) == b"hello\nworld"
    assert not writer.path.exists()
    assert store.ingest() == 0


def test_a_journal_synced_again_changes_nothing(store: RunStore, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.rows({"loss": [1.0, 2.0]}, "d")
    writer.console(b"once\n")
    copy = writer.path.read_bytes()
    writer.finish()
    whole = writer.path.read_bytes()
    store.ingest()
    for data in (copy, whole):
        writer.path.parent.mkdir(parents=True, exist_ok=True)
        writer.path.write_bytes(data)
        fresh = RunStore(store.settings, store.catalog)
        assert fresh.ingest() == 0
    assert losses(store) == [1.0, 2.0]
    assert b"".join(piece.data for piece in store.console(store.get("p", "r1"))) == b"once\n"
    assert not writer.path.exists()


def test_live_rows_are_seen_as_they_come(store: RunStore, store_root: Path) -> None:
    writer = Writer(store_root)
    expected: list[float] = []
    for at in range(40):
        writer.rows({"loss": [float(at)]}, "d")
        expected.append(float(at))
        assert store.ingest() == 1 + (at == 0)
        assert losses(store) == expected
    assert store.get("p", "r1").state == "running"
    with store.catalog.read() as conn:
        chunks = conn.execute(
            sa.select(sa.func.count()).select_from(metric_chunk).where(metric_chunk.c.ordinal == 0)
        ).scalar_one()
    assert chunks <= 6
    writer.finish()
    store.ingest()
    assert losses(store) == expected


def test_a_torn_frame_is_read_when_it_is_whole(store: RunStore, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.rows({"loss": [1.0]}, "d")
    before = writer.path.stat().st_size
    writer.rows({"loss": [2.0]}, "d")
    whole = writer.path.read_bytes()
    for cut in (before + 1, before + 20, len(whole) - 1):
        writer.path.write_bytes(whole[:cut])
        drained = store.drain()
        assert not drained.damages
        assert losses(store) == [1.0]
    writer.path.write_bytes(whole)
    assert store.ingest() == 1
    assert losses(store) == [1.0, 2.0]


@pytest.mark.parametrize("place", ["length", "payload", "number"])
def test_a_flipped_bit_is_reported_with_file_and_offset(
    store: RunStore, store_root: Path, place: str
) -> None:
    writer = Writer(store_root, process=DEAD)
    writer.rows({"loss": [1.0]}, "d")
    offset = writer.path.stat().st_size
    for value in (2.0, 3.0, 4.0):
        writer.rows({"loss": [value]}, "d")
    data = bytearray(writer.path.read_bytes())
    data[offset + {"length": 1, "number": 8, "payload": 40}[place]] ^= 16
    writer.path.write_bytes(bytes(data))
    for _ in range(2):
        (damage,) = store.drain().damages
        assert damage.path == writer.path
        assert damage.offset == offset
        assert str(offset) in str(damage)
        assert str(writer.path) in str(damage)
    assert losses(store) == [1.0]
    assert store.get("p", "r1").state == "crashed"
    assert writer.path.exists()


def test_a_frame_that_is_finished_while_it_is_looked_at_is_no_damage(
    local: RunStore, store_root: Path
) -> None:
    writer = Writer(store_root)
    writer.rows({"loss": [1.0]}, "d")
    journal = open_journal(writer.path)
    assert journal is not None
    batch = journal.read(1 << 20)
    assert batch is not None
    journal.advance(batch)
    begin = writer.journal.end
    writer.append(Heartbeat(1.0), Heartbeat(2.0), Heartbeat(3.0))
    whole = writer.path.read_bytes()
    writer.path.write_bytes(whole[: begin + 5])
    assert journal.read(1 << 20) is None
    assert journal.damage
    writer.path.write_bytes(whole)
    assert not is_damage(journal, gone=False)
    assert not is_damage(journal, gone=True)


def test_what_the_catalog_cannot_keep_stops_no_other_run(store: RunStore, store_root: Path) -> None:
    good, bad, other = (Writer(store_root, name) for name in ("good", "bad", "other"))
    for writer in (good, bad, other):
        writer.rows({"loss": [1.0, 2.0]}, "d")
    bad.finish(exit_code=2**70)
    drained = store.drain()
    assert [damage.path for damage in drained.damages] == [bad.path]
    assert losses(store, "good") == losses(store, "other") == [1.0, 2.0]
    good.rows({"loss": [3.0]}, "d")
    drained = store.drain()
    assert [damage.path for damage in drained.damages] == [bad.path]
    assert losses(store, "good") == [1.0, 2.0, 3.0]
    assert bad.path.exists()


def test_a_file_that_is_no_journal_is_reported(store: RunStore, store_root: Path) -> None:
    Writer(store_root, "good").finish()
    alien = store_root / "journal" / "p" / "alien.journal"
    alien.write_bytes(b"something else entirely")
    (damage,) = store.drain().damages
    assert damage.path == alien
    assert store.get("p", "good").state == "finished"
    assert alien.exists()


def test_a_dead_process_leaves_a_crashed_run_with_all_its_rows(store: RunStore, store_root: Path) -> None:
    writer = Writer(store_root, process=DEAD)
    writer.rows({"loss": [1.0, 2.0]}, "d")
    torn = writer.path.read_bytes() + b"\x20\x00\x00\x00torn"
    writer.path.write_bytes(torn)
    drained = store.drain()
    assert drained.crashed == 1
    assert not drained.damages
    assert losses(store) == [1.0, 2.0]
    assert store.get("p", "r1").state == "crashed"
    assert not writer.path.exists()


def test_silence_means_crashed_only_until_the_run_is_heard_again(store: RunStore, store_root: Path) -> None:
    elsewhere = Process(1, 1, "other-boot", "", "another-host")
    writer = Writer(store_root, process=elsewhere, at=1000.0)
    writer.rows({"loss": [1.0]}, "d")
    assert store.ingest() == 2
    assert store.get("p", "r1").state == "running"
    os.utime(writer.path, (1000.0, 1000.0))
    assert store.drain().crashed == 1
    assert store.get("p", "r1").state == "crashed"
    assert writer.path.exists()
    writer.append(Heartbeat(2000.0))
    store.ingest()
    assert store.get("p", "r1").state == "running"
    assert store.get("p", "r1").ended_at is None
    writer.finish()
    store.ingest()
    assert store.get("p", "r1").state == "finished"


def test_an_open_run_without_a_journal_is_given_up(store: RunStore, store_root: Path) -> None:
    writer = Writer(store_root, process=DEAD)
    writer.rows({"loss": [1.0]}, "d")
    with store.catalog.write() as conn:
        from artline.runs.intake import take_in
        from artline.runs.journals import open_journal

        journal = open_journal(writer.path)
        assert journal is not None
        batch = journal.read(1 << 20)
        assert batch is not None
        assert take_in(conn, batch) is None
    writer.path.unlink()
    assert store.get("p", "r1").state == "running"
    assert store.drain().crashed == 1
    assert store.get("p", "r1").state == "crashed"


def test_a_resumed_run_runs_again_and_ends_as_its_last_attempt(store: RunStore, store_root: Path) -> None:
    first = Writer(store_root, process=DEAD, at=1000.0)
    first.rows({"loss": [1.0, 2.0]}, "d")
    store.ingest()
    assert store.get("p", "r1").state == "crashed"
    second = Writer(store_root, attempt=2, at=2000.0)
    second.rows({"loss": [3.0]}, "d", steps=[2])
    store.ingest()
    run = store.get("p", "r1")
    assert (run.state, run.attempt, run.created_at, run.started_at) == ("running", 2, 1000.0, 2000.0)
    second.finish("failed", 3)
    store.ingest()
    run = store.get("p", "r1")
    assert (run.state, run.exit_code) == ("failed", 3)
    assert losses(store) == [1.0, 2.0, 3.0]
    assert run.summary["loss"] == 3.0


def test_several_writers_of_one_run_clobber_nothing(store: RunStore, store_root: Path) -> None:
    ranks = [Writer(store_root, writer=f"rank{rank}", at=1000.0 + rank) for rank in range(3)]
    for rank, writer in enumerate(ranks):
        writer.rows({"loss": [float(rank)] * 5, f"rank{rank}": [rank] * 5}, "dq")
        writer.console(f"rank {rank}\n".encode())
    store.ingest()
    ranks[0].finish()
    ranks[1].finish()
    store.ingest()
    assert store.get("p", "r1").state == "running"
    ranks[2].finish()
    store.ingest()
    run = store.get("p", "r1")
    assert run.state == "finished"
    rows = store.history(run)
    assert sorted(row["loss"] for row in rows) == [0.0] * 5 + [1.0] * 5 + [2.0] * 5
    assert {key for row in rows for key in row} >= {"rank0", "rank1", "rank2"}
    assert len({piece.writer for piece in store.console(run)}) == 3


def test_definitions_and_assignments_make_the_summary(store: RunStore, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.define(name="acc", summary=["max"])
    for value in (0.5, 0.9, 0.7):
        writer.rows({"acc": [value], "loss": [value]}, "dd")
        store.ingest()
    writer.summary(loss=-1.0)
    writer.rows({"acc": [0.1], "loss": [5.0]}, "dd")
    store.ingest()
    assert store.get("p", "r1").summary == {"acc.max": 0.9, "loss": -1.0}
    writer.summary("loss")
    store.ingest()
    assert "loss" not in store.get("p", "r1").summary


def test_ever_new_combinations_of_keys_do_not_make_ever_more_groups(
    store: RunStore, store_root: Path
) -> None:
    writer = Writer(store_root)
    names = [f"k{bit}" for bit in range(10)]
    for mask in range(1, MAX_KEY_SETS + 100):
        chosen = [name for bit, name in enumerate(names) if mask >> bit & 1]
        writer.rows({name: [float(mask)] for name in chosen}, "d" * len(chosen), steps=[mask])
        if mask % 50 == 0:
            store.ingest()
    writer.finish()
    store.ingest()
    with store.catalog.read() as conn:
        groups = conn.execute(sa.select(sa.func.count()).select_from(metric_group)).scalar_one()
    assert groups <= MAX_KEY_SETS + len(names)
    rows = store.history(store.get("p", "r1"))
    assert [row["_step"] for row in rows] == list(range(1, MAX_KEY_SETS + 100))
    for row in rows:
        mask = row["_step"]
        assert {key: value for key, value in row.items() if key[0] == "k"} == {
            name: float(mask) for bit, name in enumerate(names) if mask >> bit & 1
        }


def test_many_rows_fill_chunks_in_order(store: RunStore, store_root: Path) -> None:
    writer = Writer(store_root)
    count = 2 * CHUNK_ROWS + 100
    values = [float(at) for at in range(count)]
    for low in range(0, count, 4000):
        writer.rows({"loss": values[low : low + 4000]}, "d")
    store.ingest()
    assert losses(store) == values
    with store.catalog.read() as conn:
        sizes = conn.execute(
            sa.select(metric_chunk.c.count)
            .where(metric_chunk.c.ordinal == 1, metric_chunk.c.level == 0)
            .order_by(metric_chunk.c.seq)
        ).scalars()
        assert list(sizes) == [CHUNK_ROWS, CHUNK_ROWS, 100]


def test_ten_thousand_keys_in_one_row(local: RunStore, store_root: Path) -> None:
    writer = Writer(store_root)
    for step in range(3):
        writer.rows({f"k{at}": [at + step / 4] for at in range(10_000)}, "d" * 10_000)
        local.ingest()
    run = local.get("p", "r1")
    rows = local.history(run)
    assert [len(row) for row in rows] == [10_003] * 3
    assert all(row[f"k{at}"] == at + row["_step"] / 4 for row in rows for at in range(10_000))
    assert [row["k77"] for row in local.scan_history(run, ["k77"])] == [77.0, 77.25, 77.5]
    assert len(run.summary) == 10_000


def test_odd_names_and_texts_are_kept(store: RunStore, store_root: Path) -> None:
    long_key = "k" * 5000
    writer = Writer(store_root, name="nul\x00here", notes="lone \ud800 surrogate", tags=["é\x00"])
    writer.append(Config({long_key: "v" * 5000, "nul": "a\x00b", "nan": math.nan, "huge": 10**400}))
    writer.rows({long_key: [1.0], "ключ/ü": [2.0]}, "dd")
    writer.finish()
    store.ingest()
    run = store.get("p", "r1")
    assert run.config[long_key] == "v" * 5000
    assert run.config["nul"] == "a\x00b"
    assert run.config["huge"] == 10**400
    assert [row[long_key] for row in store.history(run, [long_key])] == [1.0]
    assert [row["ключ/ü"] for row in store.history(run, ["ключ/ü"])] == [2.0]
    assert [r.run_id for r in store.find("p", {f"config.{long_key}": "v" * 5000}).runs] == ["r1"]
    assert store.find("p", {f"config.{long_key}": "v" * 4999}).runs == []


def test_a_locked_catalog_is_an_error_and_what_is_there_can_be_read(
    local: RunStore, store_root: Path
) -> None:
    writer = Writer(store_root)
    writer.rows({"loss": [1.0]}, "d")
    local.ingest()
    writer.rows({"loss": [2.0]}, "d")
    other = sqlite3.connect(store_root / "catalog.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreLockedError):
            local.ingest()
        assert losses(local) == [1.0]
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert local.ingest() == 1
    assert losses(local) == [1.0, 2.0]


def test_empty_journal_folders_go_after_a_while(local: RunStore, store_root: Path) -> None:
    young, old = (Writer(store_root, run_id).path.parent for run_id in ("young", "old"))
    for folder in (young, old):
        next(folder.iterdir()).unlink()
    os.utime(old, (1000.0, 1000.0))
    local.ingest()
    assert young.exists()
    assert not old.exists()


def test_ingesting_one_run_leaves_the_others_alone(store: RunStore, store_root: Path) -> None:
    for run_id in ("a", "b"):
        Writer(store_root, run_id).finish()
    Writer(store_root, "c", project="q").finish()
    store.ingest("p", "a")
    assert store.get("p", "a").state == "finished"
    with pytest.raises(RunNotFoundError):
        store.get("p", "b")
    store.ingest("p")
    assert store.get("p", "b").state == "finished"
    assert [journal.run_id for journal in store.journals()] == ["c"]
    assert store.journals()[0].waiting > 0


INGEST = """
    import sys
    from pathlib import Path
    from artline.runs.store import RunStore
    from artline.settings import Settings

    store = RunStore.open(Settings(root=Path(sys.argv[1]), catalog=sys.argv[2]))
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(sys.argv[3])):
        store.ingest()
    print("done", flush=True)
"""


def start_ingesting(store: RunStore, rounds: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(INGEST),
            str(store.settings.root),
            store.settings.catalog,
            str(rounds),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_ingest_at_once_and_nothing_is_doubled(store: RunStore, store_root: Path) -> None:
    writers = [Writer(store_root, f"r{index}") for index in range(4)]
    readers = [start_ingesting(store, 60) for _ in range(2)]
    for reader in readers:
        assert reader.stdin is not None
        reader.stdin.write("go\n")
        reader.stdin.flush()
    count = 0
    while any(reader.poll() is None for reader in readers) and count < 3000:
        for writer in writers:
            writer.rows({"loss": [float(count)]}, "d")
        count += 1
    for writer in writers:
        writer.console(b"end\n")
        writer.finish()
    for reader in readers:
        out, _ = reader.communicate(timeout=120)
        assert out == "done\n"
        assert reader.returncode == 0
    store.ingest()
    for index in range(4):
        run = store.get("p", f"r{index}")
        assert run.state == "finished"
        assert losses(store, f"r{index}") == [float(at) for at in range(count)]
        assert b"".join(piece.data for piece in store.console(run)) == b"end\n"


def test_a_reader_killed_at_any_moment_neither_repeats_nor_loses(local: RunStore, store_root: Path) -> None:
    writer = Writer(store_root)
    count = 0
    for _ in range(8):
        reader = start_ingesting(local, 1000)
        assert reader.stdin is not None
        reader.stdin.write("go\n")
        reader.stdin.flush()
        for _ in range(200):
            writer.rows({"loss": [float(count)], "twice": [2.0 * count]}, "dd")
            writer.console(f"{count}\n".encode())
            count += 1
        reader.send_signal(signal.SIGKILL)
        reader.communicate()
    writer.finish()
    local.ingest()
    assert losses(local) == [float(at) for at in range(count)]
    output = b"".join(piece.data for piece in local.console(local.get("p", "r1")))
    assert output.split() == [str(at).encode() for at in range(count)]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.dictionaries(
                st.sampled_from(["a", "b", "c"]),
                st.one_of(st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1), st.booleans()),
                min_size=1,
            ),
            st.integers(-5, 20),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_every_value_logged_is_read_back_once(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[dict[str, object], int, bool]]
) -> None:
    root = tmp_path_factory.mktemp("model")
    store = RunStore.open(load_settings(root=root))
    writer = Writer(root)
    expected: dict[tuple[int, str], object] = {}
    letters = {float: "d", int: "q", bool: "?"}
    for values, step, ingest in rows:
        writer.rows(
            {key: [value] for key, value in values.items()},
            "".join(letters[type(value)] for value in values.values()),
            steps=[step],
        )
        expected |= {(step, key): value for key, value in values.items()}
        if ingest:
            store.ingest()
    writer.finish()
    store.ingest()
    run = store.get("p", "r1")
    for found in (store.history(run), list(store.scan_history(run, page_size=1))):
        got = {(row["_step"], key): row[key] for row in found for key in row if key[0] != "_"}
        assert {place: repr(value) for place, value in got.items()} == {
            place: repr(value) for place, value in expected.items()
        }
        assert [row["_step"] for row in found] == sorted({step for step, _ in expected})
    store.close()


def test_this_process_is_alive_and_a_reused_id_is_not() -> None:
    from artline.runs.liveness import is_alive

    assert is_alive(this_process()) is True
    assert is_alive(DEAD) is False
    assert is_alive(Process(1, 1, "x", "", "another-host")) is None
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with open(f"/proc/{child.pid}/stat") as file:
        started = int(file.read().rpartition(")")[2].split()[19])
    me = this_process()
    other = Process(child.pid, started, me.boot_id, me.pid_namespace, me.host)
    assert is_alive(other) is True
    child.communicate(b"\n")
    assert is_alive(other) is False
