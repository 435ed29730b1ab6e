"""History and console output are read exactly, whole, in part and in pages."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from rundata import Writer

from artline.errors import IntegrityError, UsageError
from artline.runs.api import Api
from artline.runs.chunks import CHUNK_ROWS
from artline.runs.history import Metric, thin_records
from artline.runs.records import Rewind
from artline.runs.schema import metric_chunk
from artline.runs.store import RunStore
from artline.settings import Settings


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, store_root: Path) -> Iterator[Api]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    opened = Api(Settings(root=store_root, catalog=url))
    yield opened
    opened.store.close()


@pytest.fixture
def store(api: Api) -> RunStore:
    return api.store


def test_rows_of_one_step_become_one_record(api: Api, store_root: Path) -> None:
    writer = Writer(store_root, at=1000.0)
    writer.rows({"a": [1.0, 2.0]}, "d", steps=[3, 7], times=[1001.0, 1005.0])
    writer.rows({"b": [9]}, "q", steps=[3], times=[1002.0])
    writer.rows({"a": [5.0]}, "d", steps=[1], times=[1006.0])
    assert api.run("p/r1").history() == [
        {"_step": 1, "_timestamp": 1006.0, "_runtime": 6.0, "a": 5.0},
        {"_step": 3, "_timestamp": 1002.0, "_runtime": 2.0, "a": 1.0, "b": 9},
        {"_step": 7, "_timestamp": 1005.0, "_runtime": 5.0, "a": 2.0},
    ]


def test_a_value_logged_twice_at_a_step_is_the_later_one_even_if_the_clock_went_back(
    api: Api, store_root: Path
) -> None:
    writer = Writer(store_root, at=1000.0)
    writer.rows({"a": [1.0], "c": [1.0]}, "dd", steps=[3], times=[1005.0])
    writer.rows({"a": [2.0], "b": [3.0]}, "dd", steps=[3], times=[1002.0])
    assert api.run("p/r1").history() == [
        {"_step": 3, "_timestamp": 1002.0, "_runtime": 2.0, "a": 2.0, "b": 3.0, "c": 1.0}
    ]


def test_two_writers_at_one_step_do_not_overwrite_each_other(api: Api, store_root: Path) -> None:
    first, second = (Writer(store_root, writer=f"w{rank}", at=1000.0) for rank in range(2))
    first.rows({"a": [1.0]}, "d", steps=[3])
    api.refresh()
    second.rows({"b": [2.0]}, "d", steps=[3])
    second.rows({"a": [3.0]}, "d", steps=[3])
    rows = api.run("p/r1").history()
    assert [{key: row[key] for key in row if key[0] != "_"} for row in rows] == [
        {"a": 1.0, "b": 2.0},
        {"a": 3.0},
    ]
    assert [row["_step"] for row in rows] == [3, 3]


def test_keys_read_only_their_columns(api: Api, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.rows({"a": [1.0], "b": [2.0], "c": ['{"x": [1, null]}']}, "ddj")
    writer.rows({"b": [4.0]}, "d")
    run = api.run("p/r1")
    assert [row["b"] for row in run.history(keys=["b"])] == [2.0, 4.0]
    assert [row.keys() - {"_step", "_timestamp", "_runtime"} for row in run.history(keys=["a"])] == [{"a"}]
    assert run.history(keys=["c"])[0]["c"] == {"x": [1, None]}
    assert run.history(keys=["nothing"]) == []
    assert run.metrics() == ["a", "b", "c"]
    assert api.store.metrics(run.record) == [
        Metric("history", "a", 1),
        Metric("history", "b", 2),
        Metric("history", "c", 1),
    ]


def test_system_metrics_are_a_stream_of_their_own(api: Api, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.rows({"cpu": [50.0]}, "d", stream="system")
    writer.rows({"loss": [1.0]}, "d")
    run = api.run("p/r1")
    assert [row["cpu"] for row in run.history(stream="system")] == [50.0]
    assert "cpu" not in run.history()[0]
    assert "cpu" not in run.summary
    with pytest.raises(UsageError, match="unknown stream"):
        run.history(stream="other")


def test_scanning_pages_give_what_the_whole_read_gives(api: Api, store_root: Path) -> None:
    writer = Writer(store_root, at=0.0)
    count = 2 * CHUNK_ROWS + 77
    writer.rows({"dense": [float(at) for at in range(count)]}, "d")
    writer.rows({"sparse": list(range(0, count, 100))}, "q", steps=range(0, count, 100))
    shuffled = [(at * 7919) % 1000 for at in range(1000)]
    writer.rows({"shuffled": shuffled}, "q", steps=shuffled)
    run = api.run("p/r1")
    whole = run.history()
    assert len(whole) == count
    assert list(run.scan_history(page_size=10)) == whole
    part = list(run.scan_history(keys=["dense"], min_step=CHUNK_ROWS - 1, max_step=CHUNK_ROWS + 1))
    assert [row["dense"] for row in part] == [CHUNK_ROWS - 1.0, float(CHUNK_ROWS)]
    assert list(run.scan_history(keys=["nothing"])) == []


def test_a_scan_goes_on_while_the_run_is_written(api: Api, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.rows({"a": [float(at) for at in range(CHUNK_ROWS + 10)]}, "d")
    scan = api.run("p/r1").scan_history()
    seen = [next(scan)["a"]]
    writer.rows({"a": [1e9]}, "d")
    api.refresh()
    seen += [row["a"] for row in scan]
    assert seen == [*map(float, range(CHUNK_ROWS + 10)), 1e9]


def test_pandas_frame_has_the_same_rows(api: Api, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.rows({"a": [1.0, 2.0], "b": [1, 2]}, "dq")
    frame = api.run("p/r1").history(pandas=True)
    assert list(frame["a"]) == [1.0, 2.0]
    assert frame["b"].dtype == "int64"
    assert list(frame.columns) == ["_step", "_timestamp", "_runtime", "a", "b"]


def test_x_axis_orders_by_another_metric(api: Api, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.rows({"epoch": [3, 1, 2], "a": [30.0, 10.0, 20.0]}, "qd")
    writer.rows({"a": [99.0]}, "d")
    assert [row["a"] for row in api.run("p/r1").history(keys=["a"], x_axis="epoch")] == [10.0, 20.0, 30.0]


def test_sampling_never_loses_a_spike(api: Api, store_root: Path) -> None:
    values = [math.sin(at / 50) for at in range(5000)]
    values[1234], values[4321], values[77] = 100.0, -100.0, math.nan
    Writer(store_root).rows({"a": values}, "d")
    rows = api.run("p/r1").history(samples=50, keys=["a"])
    assert len(rows) <= 50
    assert {100.0, -100.0} <= {row["a"] for row in rows}
    assert [rows[0]["_step"], rows[-1]["_step"]] == [0, 4999]


def test_sampling_more_keys_than_rows_takes_even_distances() -> None:
    records = [{"_step": at, **{f"k{key}": at for key in range(50)}} for at in range(1000)]
    assert [row["_step"] for row in thin_records(records, 4)] == [0, 333, 666, 999]
    assert [row["_step"] for row in thin_records(records, 1)] == [999]
    assert thin_records(records, 5000) is records


def test_a_damaged_chunk_is_an_error_not_a_wrong_number(store: RunStore, store_root: Path) -> None:
    Writer(store_root).rows({"a": [1.0, 2.0]}, "d")
    store.ingest()
    where = metric_chunk.c.ordinal == 1
    with store.catalog.write() as conn:
        data = bytearray(conn.execute(sa.select(metric_chunk.c.payload).where(where)).scalar_one())
        data[10] ^= 1
        conn.execute(sa.update(metric_chunk).where(where).values(payload=bytes(data)))
    with pytest.raises(IntegrityError, match="checksum"):
        store.history(store.get("p", "r1"))


def test_output_is_followed_from_a_cursor_and_tailed(store: RunStore, store_root: Path) -> None:
    writer = Writer(store_root)
    whole = b""
    cursor = 0
    for at in range(30):
        data = f"line {at} \x1b[1m{'x' * (at * 997 % 9000)}\x1b[0m\r\n".encode()
        writer.console(data, "stderr" if at % 3 else "stdout", after=at)
        whole += data
        store.ingest()
        pieces = list(store.console(store.get("p", "r1"), after=cursor))
        assert b"".join(piece.data for piece in pieces) == data
        cursor = pieces[-1].cursor
    run = store.get("p", "r1")
    assert cursor == len(whole)
    assert b"".join(piece.data for piece in store.console(run)) == whole
    assert list(store.console(run, after=cursor)) == []
    for lines in (1, 2, 7, 29, 30, 100):
        tail = b"".join(piece.data for piece in store.console(run, lines=lines))
        assert tail == b"".join(whole.splitlines(keepends=True)[-lines:])
    errors = b"".join(piece.data for piece in store.console(run, stream="stderr"))
    assert errors == b"".join(line for at, line in enumerate(whole.splitlines(keepends=True)) if at % 3)
    writer.console(b"unfinished")
    store.ingest()
    assert b"".join(piece.data for piece in store.console(run, lines=1)) == b"unfinished"


def test_large_output_lies_in_chunks(store: RunStore, store_root: Path) -> None:
    writer = Writer(store_root)
    block = b"".join(b"%08d\n" % at for at in range(100_000))
    writer.console(block)
    writer.console(block, "stderr", after=1.0)
    store.ingest()
    run = store.get("p", "r1")
    assert b"".join(piece.data for piece in store.console(run)) == block + block
    assert max(len(piece.data) for piece in store.console(run)) <= 256 * 1024
    assert b"".join(piece.data for piece in store.console(run, lines=3)) == block[-27:]


def test_logs_are_lines(api: Api, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.console("früh\nhal".encode())
    writer.console(b"b\r100%\nrest \xff")
    run = api.run("p/r1")
    assert list(run.logs()) == ["früh", "halb\r100%", "rest \ufffd"]
    assert list(run.logs(tail=2)) == ["halb\r100%", "rest \ufffd"]


def test_no_output_is_no_lines(api: Api, store_root: Path) -> None:
    Writer(store_root)
    assert list(api.run("p/r1").logs()) == []
    assert list(api.run("p/r1").logs(tail=5)) == []


def test_records_are_plain_json(api: Api, store_root: Path) -> None:
    Writer(store_root).rows({"a": [1.0], "b": [2], "c": [True], "d": ['"t"']}, "dq?j")
    (record,) = api.run("p/r1").history()
    assert json.loads(json.dumps(record)) == record


def test_a_rewound_run_continues_from_its_step(api: Api, store_root: Path) -> None:
    first = Writer(store_root, at=0.0)
    first.rows({"a": [float(at) for at in range(10)]}, "d")
    first.rows({"cpu": [1.0, 2.0]}, "d", steps=[0, 90], stream="system")
    first.finish()
    assert api.run("p/r1").last_step == 9
    second = Writer(store_root, attempt=2, at=100.0)
    second.append(Rewind(4))
    second.rows({"a": [50.0, 60.0]}, "d", steps=[5, 6])
    run = api.run("p/r1")
    assert [row["a"] for row in run.history()] == [0.0, 1.0, 2.0, 3.0, 4.0, 50.0, 60.0]
    assert list(run.scan_history()) == run.history()
    assert run.last_step == 6
    assert [row["_step"] for row in run.history(stream="system")] == [0, 90]
    third = Writer(store_root, attempt=3, at=200.0)
    third.append(Rewind(1))
    run = api.run("p/r1")
    assert [row["a"] for row in run.history()] == [0.0, 1.0]
    assert run.last_step == 1
