"""Long histories are read in part, and as tables, without losing what matters."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from rundata import Writer

from artline.errors import UsageError
from artline.runs import chunks, samples, sealed
from artline.runs.api import Api
from artline.settings import Settings


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 128)
    monkeypatch.setattr(sealed, "_FEWEST_ROWS", 128)
    monkeypatch.setattr(sealed, "SEAL_VALUES", 4096)
    monkeypatch.setattr(samples, "_FEW_ROWS", 1000)


@pytest.fixture
def api(store_root: Path) -> Api:
    return Api(Settings(root=store_root))


def spiky(count: int) -> list[float]:
    values = [math.sin(at / 50) for at in range(count)]
    values[count // 4], values[count // 2], values[77] = 100.0, -100.0, math.nan
    return values


def test_samples_of_a_long_history_keep_its_spikes(api: Api, store_root: Path) -> None:
    values = spiky(20_000)
    writer = Writer(store_root, at=5.0)
    writer.rows({"a": values, "b": [-value for value in values], "t": ['"x"'] * 20_000}, "ddj")
    writer.rows({"eval": list(range(200))}, "q", steps=range(0, 20_000, 100))
    run = api.run("p/r1")
    for keys, most in (
        (["a"], 50),
        (["a", "b"], 100),
        (None, 200),
        (None, 5),
        (["t"], 30),
        (["eval", "a"], 60),
    ):
        rows = run.history(samples=most, keys=keys)
        assert 0 < len(rows) <= most
        assert [row["_step"] for row in rows] == sorted({row["_step"] for row in rows})
        exact = {row["_step"]: row for row in run.history(keys=keys)}
        assert all(repr(row) == repr(exact[row["_step"]]) for row in rows)
        if keys is not None and "a" in keys:
            assert {100.0, -100.0} <= {row.get("a") for row in rows}
            assert [rows[0]["_step"], rows[-1]["_step"]] == [0, 19_999]
    by_b = run.history(samples=40, keys=["a"], x_axis="b")
    assert [row["b"] for row in by_b] == sorted(row["b"] for row in by_b)
    assert {100.0, -100.0} <= {row["a"] for row in by_b}


def test_charts_are_had_by_key(api: Api, store_root: Path) -> None:
    Writer(store_root, at=5.0).rows({"a": spiky(5000), "b": list(range(5000))}, "dq")
    found = api.run("p/r1").chart(["a", "b"], "_runtime", buckets=50, high=2000.0)
    assert list(found) == ["a", "b"]
    assert max(value for value in found["a"].maximum if value is not None) == 100.0
    assert (found["b"].maximum[-1], found["b"].end[-1]) == (2000, 2000.0)
    assert len(api.run("p/r1").chart("a", buckets=10)["a"]) == 10


FORMATS = ("pandas", "polars", "arrow")


def cells(frame: Any, format: str) -> list[dict[str, Any]]:
    if format == "pandas":
        rows = frame.to_dict("records")
        return [{key: None if value != value else value for key, value in row.items()} for row in rows]
    rows = frame.to_dicts() if format == "polars" else frame.to_pylist()
    return [{key: None if value != value else value for key, value in row.items()} for row in rows]


@pytest.mark.parametrize("format", FORMATS)
def test_tables_hold_what_rows_do(api: Api, store_root: Path, format: str) -> None:
    writer = Writer(store_root, at=5.0)
    writer.rows({"a": spiky(700), "n": list(range(700)), "yes": [at % 2 == 0 for at in range(700)]}, "dq?")
    writer.rows({"late": [1.5, 2.5], "n": [7, 2**60]}, "dq", steps=[3, 900])
    writer.rows({"a": [5] * 300, "t": ['"x"'] * 300}, "qj", steps=range(1000, 1300))
    run = api.run("p/r1")
    rows = run.history()
    frame = run.history(format=format)
    names = list(frame.columns) if format != "arrow" else frame.column_names
    assert set(names) == {key for row in rows for key in row}
    wanted = [{key: row.get(key) for key in names} for row in rows]
    found = cells(frame, format)
    assert found == [{key: None if value != value else value for key, value in row.items()} for row in wanted]
    few = cells(run.history(samples=20, keys=["a"], format=format), format)
    assert 0 < len(few) <= 20
    assert len(run.history(keys=["nothing"], format=format)) == 0


def test_an_unknown_format_is_named(api: Api, store_root: Path) -> None:
    Writer(store_root).rows({"a": [1.0]}, "d")
    with pytest.raises(UsageError, match="'excel'"):
        api.run("p/r1").history(format="excel")


def test_a_long_scan_is_planned_in_parts(api: Api, store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from artline.runs import history

    monkeypatch.setattr(history, "_PAGE_ROWS", 100)
    monkeypatch.setattr(history, "_PLANNED_CHUNKS", 5)
    writer = Writer(store_root)
    writer.rows({"a": [float(at) for at in range(5000)]}, "d")
    writer.rows({"b": list(range(500))}, "q", steps=range(0, 5000, 10))
    run = api.run("p/r1")
    assert list(run.scan_history(page_size=1)) == run.history()
