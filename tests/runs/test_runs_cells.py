"""What ``log`` takes can be read as any table: numbers keep their digits, texts are the same everywhere."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from livescript import QUIET

import artline as art
from artline.runs.cells import column_kind, kind_of, typed
from artline.runs.export import FORMATS, every_run, export_history, export_runs
from artline.runs.series import Series
from artline.runs.store import RunStore
from artline.settings import load_settings

TABLES = ("pandas", "polars", "arrow")


def logged(key: str, *values: Any, config: dict[str, Any] | None = None) -> Any:
    with art.init(project="p", id="r", config=config, settings=QUIET) as run:
        for value in values:
            run.log({key: value})
    return art.Api().run("p/r")


def column(run: Any, key: str, format: str) -> list[Any]:
    found = run.history(format=format)[key]
    return list(found.to_pylist() if format == "arrow" else found)


def exported(root: Path, format: str, whole: bool = False) -> bytes:
    store = RunStore.open(load_settings(root=root, project="p"))
    file = io.BytesIO()
    if whole:
        export_runs(every_run(store), file, format)
    else:
        export_history(store, every_run(store), file, format)
    store.close()
    return file.getvalue()


def parquet(root: Path, key: str) -> list[Any]:
    found: list[Any] = pq.read_table(io.BytesIO(exported(root, "parquet")))[key].to_pylist()
    return found


def test_numbers_beyond_floats_are_infinite_among_floats(store_root: Path) -> None:
    run = logged("x", 1.5, 10**400, -(10**400), 10**25)
    assert [row["x"] for row in run.history()] == [1.5, 10**400, -(10**400), 10**25]
    assert column(run, "x", "pandas") == [1.5, 10**400, -(10**400), 10**25]
    for found in (column(run, "x", "polars"), column(run, "x", "arrow"), parquet(store_root, "x")):
        assert found == [1.5, math.inf, -math.inf, 1e25]


@pytest.mark.parametrize(
    "values", [(2**53 + 1, 2**63, -(2**63)), (1, 10**25), (7, -(10**38) + 1)], ids=["64", "25", "38"]
)
def test_whole_numbers_beyond_64_bits_are_exact_decimals(store_root: Path, values: tuple[int, ...]) -> None:
    run = logged("x", *values)
    for format in TABLES:
        assert column(run, "x", format) == list(values)
    assert parquet(store_root, "x") == list(values)
    assert str(run.history(format="arrow").schema.field("x").type) == "decimal128(38, 0)"


def test_longer_whole_numbers_are_exact_texts(store_root: Path) -> None:
    values = [1, 10**38, -(10**400)]
    run = logged("x", *values)
    for found in (column(run, "x", "polars"), column(run, "x", "arrow"), parquet(store_root, "x")):
        assert found == [str(value) for value in values]
    assert column(run, "x", "pandas") == values


def test_whole_numbers_that_rows_lack_are_exact_in_pandas() -> None:
    with art.init(project="p", id="r", settings=QUIET) as run:
        run.log({"a": 2**60 + 1, "b": 2**63 + 1})
        run.log({"c": 1})
    frame = art.Api().run("p/r").history(format="pandas")
    assert (frame["a"][0], frame["b"][0]) == (2**60 + 1, 2**63 + 1)
    assert list(frame["a"].isna()) == list(frame["b"].isna()) == [False, True]
    assert str(frame["c"].dtype) == "float64"


def test_lone_surrogates_are_question_marks_in_every_table(store_root: Path) -> None:
    run = logged("k\ud800", "ü\ud800", config={"c": "\udfff"})
    for format in TABLES:
        assert column(run, "k?", format) == ["ü?"]
    assert parquet(store_root, "k?") == ["ü?"]
    [line] = csv.DictReader(io.StringIO(exported(store_root, "csv").decode()))
    assert line["k?"] == json.loads(exported(store_root, "jsonl"))["k?"] == "ü?"
    assert run.history()[0]["k?"] == "ü\ud800"
    for format in FORMATS:
        assert exported(store_root, format, whole=True)


def test_kinds_of_columns() -> None:
    def kind(*values: Any) -> str:
        return column_kind(map(kind_of, values))

    assert (kind(), kind(None), kind(1, None), kind(True)) == ("text", "text", "int", "bool")
    assert (kind(1, 2**63), kind(1, 10**38, 2**63), kind(2**63, 0.5)) == ("decimal", "digits", "float")
    assert (kind(True, 1), kind("a", 10**40), kind([1])) == ("text", "text", "text")
    assert (typed([1, "\ud800"], "text"), typed(None, "float")) == ('[1, "\\ud800"]', None)


def test_times_of_rows_rise_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    with art.init(project="p", id="r", settings=QUIET) as run:
        run.log({"x": 0})
        monkeypatch.setattr(time, "time", lambda: now() - 86_400)
        run.log({"x": 1})
        run.log({"x": 2}, commit=False)
        run.log({"y": 2})
        monkeypatch.setattr(time, "time", now)
        run.log({"x": 3})
    rows = art.Api().run("p/r").history()
    runtimes = [row["_runtime"] for row in rows]
    assert [row["x"] for row in rows] == [0, 1, 2, 3]
    assert runtimes == sorted(runtimes)
    assert all(0 <= runtime < 600 for runtime in runtimes)
    assert [row["_timestamp"] for row in rows] == sorted(row["_timestamp"] for row in rows)


def test_bounds_of_a_series_are_exact() -> None:
    series = Series("x", (), (), (1.5, math.nan, 10**400, True, "a", -(10**400)))
    assert (series.smallest, series.largest) == (-(10**400), 10**400)
