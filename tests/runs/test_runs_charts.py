"""Charts say exactly what their buckets cover, whatever was logged, sealed, rewound or zoomed into."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rundata import Writer

from artline.errors import IntegrityError, UsageError
from artline.runs import chunks, sealed
from artline.runs.api import Api
from artline.runs.charts import Curve
from artline.runs.records import Rewind
from artline.runs.store import RunStore
from artline.runs.sync import sync
from artline.settings import Settings


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make chunks and files small, so that a few thousand rows have several levels of everything."""
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 128)
    monkeypatch.setattr(sealed, "_FEWEST_ROWS", 128)
    monkeypatch.setattr(sealed, "SEAL_VALUES", 2048)
    monkeypatch.setattr(sealed, "_GROUP_CHUNKS", 3)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, store_root: Path) -> Iterator[RunStore]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    opened = RunStore.open(Settings(root=store_root, catalog=url))
    yield opened
    opened.close()


@pytest.fixture
def local(store_root: Path) -> RunStore:
    return RunStore.open(Settings(root=store_root))


def test_a_sealed_history_goes_along_when_a_store_is_copied(store: RunStore, tmp_path: Path) -> None:
    source = RunStore.open(Settings(root=tmp_path / "other"))
    columns = {"a": [at / 7 for at in range(5000)], "t": [json.dumps(str(at)) for at in range(5000)]}
    Writer(tmp_path / "other", at=0.0).rows(columns, "dj")
    source.ingest()
    assert list((tmp_path / "other").glob("bucket/metrics/p/r1/*.parquet"))
    sync(store, tmp_path / "other")
    assert store.history(store.get("p", "r1")) == source.history(source.get("p", "r1"))
    check(chart(store, buckets=30), list(enumerate(columns["a"])))
    assert store.seal() > 1
    check(chart(store, buckets=30, low=100), list(enumerate(columns["a"]))[100:])


def chart(store: RunStore, key: str = "a", **options: Any) -> Curve:
    [curve] = store.curves(store.get("p", "r1"), [key], **options)
    assert len(curve) <= options.get("buckets", 1000)
    assert list(curve.start) == sorted(curve.start)
    return curve


def check(curve: Curve, points: Sequence[tuple[Any, Any]]) -> None:
    """Compare every bucket with the points (x and value) that it covers; buckets may not overlap."""
    told = 0
    for at in range(len(curve)):
        inside = [value for x, value in points if curve.start[at] <= x <= curve.end[at]]
        numbers = [value for value in inside if value == value]
        told += len(inside)
        assert (curve.count[at], curve.nans[at]) == (len(numbers), len(inside) - len(numbers))
        if not numbers:
            assert curve.minimum[at] is curve.first[at] is curve.mean[at] is None
            continue
        assert (curve.minimum[at], curve.maximum[at]) == (min(numbers), max(numbers))
        assert (curve.first[at], curve.last[at]) == (numbers[0], numbers[-1])
        assert curve.mean[at] == pytest.approx(sum(numbers) / len(numbers), rel=1e-6, abs=1e-6)
    assert told == len(points)


@pytest.mark.parametrize("count", [1, 63, 128, 129, 5000, 40_000])
def test_buckets_are_what_their_rows_come_to(store: RunStore, store_root: Path, count: int) -> None:
    source = random.Random(count)
    values = [math.nan if at % 97 == 5 else source.gauss(0, 1) for at in range(count)]
    writer = Writer(store_root, at=1000.0)
    for low in range(0, count, 9000):
        writer.rows({"a": values[low : low + 9000], "n": list(range(low, min(low + 9000, count)))}, "dq")
        store.ingest()
    points = list(enumerate(values))
    for buckets in (1, 7, 100):
        curve = chart(store, buckets=buckets)
        check(curve, points)
        for at, step in enumerate(curve.min_step):
            assert not curve.count[at] or values[step] == curve.minimum[at]
            assert not curve.count[at] or values[curve.max_step[at]] == curve.maximum[at]
    assert count < 5000 or len(curve) > 50
    low, high = count // 3, 2 * count // 3
    check(chart(store, buckets=20, low=low, high=high), points[low : high + 1])
    check(chart(store, buckets=20, low=low), points[low:])
    times = [(1000.0 + at, value) for at, value in points]
    check(chart(store, x_axis="_timestamp", buckets=30), times)
    check(chart(store, x_axis="_runtime", buckets=30, high=high + 0.5), points[: high + 1])
    check(chart(store, "n", buckets=10), [(at, at) for at in range(count)])
    check(chart(store, x_axis="n", buckets=30, low=low), points[low:])


def test_a_sealed_history_is_read_as_before(store: RunStore, store_root: Path) -> None:
    count = 5000
    texts = [json.dumps(f"text {at} \ud800" if at % 2 else at) for at in range(count)]
    columns = {"a": [at / 7 for at in range(count)], "b": [at % 3 == 0 for at in range(count)], "c.d": texts}
    writer = Writer(store_root, at=0.0)
    writer.rows(columns, "d?j", times=[at * 0.1 for at in range(count)])
    writer.rows({"c": list(range(0, count, 50))}, "q", steps=range(0, count, 50))
    store.drain()
    files = sorted(path.name for path in store_root.glob("bucket/metrics/p/r1/*.parquet"))
    assert len(files) > 3
    assert all(name.startswith("history-") for name in files)
    assert store.seal() == 0
    run = store.get("p", "r1")
    rows = store.history(run)
    assert [row["a"] for row in rows] == columns["a"]
    assert [row["b"] for row in rows] == columns["b"]
    assert [row["c.d"] for row in rows] == [json.loads(text) for text in texts]
    assert [row["_timestamp"] for row in rows] == [
        at * 0.1 if at % 50 else float(count + at // 50) for at in range(count)
    ]
    assert [row["c"] for row in rows if "c" in row] == list(range(0, count, 50))
    assert list(store.scan_history(run)) == rows
    assert [row["a"] for row in store.scan_history(run, ["a"], min_step=200, max_step=400)] == columns["a"][
        200:401
    ]
    check(chart(store, "c.d", buckets=10), [(at, at) for at in range(0, count, 2)])


def test_late_rows_are_found_where_they_belong(local: RunStore, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.rows({"a": [float(at) for at in range(3000)]}, "d")
    writer.rows({"a": [-5.0, 9e9]}, "d", steps=[100, 200])
    writer.rows({"a": [float(at) for at in range(3000, 6000)]}, "d", steps=range(3000, 6000))
    shuffled = random.Random(3).sample(range(6000, 12_000), 6000)
    writer.rows({"a": [float(at) for at in shuffled]}, "d", steps=shuffled)
    local.ingest()
    curve = chart(local, buckets=60)
    assert sum(curve.count) == 12_002
    worst = curve.maximum.index(9e9)
    assert curve.start[worst] <= 200 <= curve.end[worst]
    assert (curve.max_step[worst], curve.end[worst] < 1000) == (200, True)
    assert curve.minimum[curve.min_step.index(100)] == -5.0
    values = [row["a"] for row in local.history(local.get("p", "r1"))]
    assert values[98:103] == [98.0, 99.0, -5.0, 101.0, 102.0]
    assert values[6000:] == [float(at) for at in range(6000, 12_000)]


def test_writers_and_kinds_meet_in_one_curve(local: RunStore, store_root: Path) -> None:
    for rank in range(3):
        writer = Writer(store_root, writer=f"w{rank}", at=0.0)
        writer.rows({"a": [float(at + rank) for at in range(1000)]}, "d")
        writer.rows({"a": [10**6 + rank]}, "q", steps=[1000])
    curve = chart(local_after(local), buckets=50)
    assert sum(curve.count) == 3003
    assert (curve.minimum[0], curve.maximum[-1], curve.end[-1]) == (0.0, 1_000_002.0, 1000)


def local_after(store: RunStore) -> RunStore:
    store.ingest()
    return store


def test_rewound_rows_are_in_no_chart(local: RunStore, store_root: Path) -> None:
    first = Writer(store_root)
    first.rows({"a": [float(at) for at in range(5000)]}, "d")
    first.finish()
    second = Writer(store_root, attempt=2)
    second.append(Rewind(1999))
    second.rows({"a": [-float(at) for at in range(2000, 3000)]}, "d", steps=range(2000, 3000))
    local.ingest()
    points = [(at, float(at) if at < 2000 else -float(at)) for at in range(3000)]
    check(chart(local, buckets=40), points)
    check(chart(local, buckets=40, low=1500, high=2500), points[1500:2501])


def test_what_is_not_there_makes_an_empty_chart(local: RunStore, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.rows({"a": [1.0, math.inf], "t": ['"x"', "null"]}, "dj")
    local.ingest()
    assert len(chart(local, "nothing")) == 0
    assert len(chart(local, x_axis="nothing")) == 0
    assert len(chart(local, low=50)) == 0
    assert len(chart(local, low=5, high=1)) == 0
    assert chart(local, "t").count == (0, 0)
    assert chart(local).maximum == (1.0, math.inf)
    assert chart(local, x_axis="a", buckets=3).count == (1,)
    with pytest.raises(UsageError, match="at least one bucket"):
        chart(local, buckets=0)


def test_a_sealed_file_that_is_gone_or_damaged_is_named(local: RunStore, store_root: Path) -> None:
    Writer(store_root).rows({"a": [float(at) for at in range(3000)]}, "d")
    local.ingest()
    [file] = store_root.glob("bucket/metrics/p/r1/*.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[:2000])
    with pytest.raises(IntegrityError, match=file.name):
        local.history(local.get("p", "r1"))
    file.unlink()
    again = Api(Settings(root=store_root))
    with pytest.raises(IntegrityError, match=rf"run local/p/r1 .*{file.name}"):
        again.run("p/r1").history()
    assert sum(chart(local, buckets=5).count) == 3000
