"""What is logged comes back: values, steps, threads, and what is refused."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from livescript import (
    QUIET,
    history_of,
    journal_of,
    rows_of,
)

import artline as art
from artline.errors import UsageError
from artline.runs.rows import RowQueue
from artline.runs.run import Run


@pytest.fixture
def run(store_root: Path) -> Iterator[Run]:
    made = art.init(project="p", settings=QUIET)
    yield made
    made.finish()


def test_scalars_of_every_plain_type_come_back_exactly(run: Run) -> None:
    run.log(
        {
            "f": 0.1,
            "i": 7,
            "b": True,
            "s": "ü\ud800",
            "n": None,
            "inf": math.inf,
            "big": 2**70,
            "low": -(2**63),
        }
    )
    [row] = rows_of(run)
    assert row == {
        "_step": 0,
        "f": 0.1,
        "i": 7,
        "b": True,
        "s": "ü\ud800",
        "n": None,
        "inf": math.inf,
        "big": 2**70,
        "low": -(2**63),
    }
    assert type(row["b"]) is bool


def test_nan_is_a_value(run: Run) -> None:
    run.log({"x": math.nan})
    assert math.isnan(rows_of(run)[0]["x"])


def test_numpy_scalars_and_small_arrays_are_numbers(run: Run) -> None:
    run.log(
        {
            "f32": np.float32(0.5),
            "f64": np.float64(0.25),
            "i": np.int64(3),
            "u": np.uint64(2**64 - 1),
            "b": np.bool_(True),
            "one": np.array([4.0]),
            "nought": np.array(5),
            "many": np.array([[1, 2], [3, 4]]),
            "empty": np.array([]),
            "long": np.longdouble(1.5),
            "decimal": Decimal("1.5"),
            "day": np.datetime64("2026-11-23"),
        }
    )
    [row] = rows_of(run)
    del row["_step"]
    assert row == {
        "f32": 0.5,
        "f64": 0.25,
        "i": 3,
        "u": 2**64 - 1,
        "b": True,
        "one": 4.0,
        "nought": 5,
        "many": [[1, 2], [3, 4]],
        "empty": [],
        "long": 1.5,
        "decimal": 1.5,
        "day": "2026-11-23",
    }


def test_nested_dicts_are_dotted_and_lists_are_copied(run: Run) -> None:
    items = [1, "a", None]
    run.log({"a": {"b": {"c": 1}, 0: 2, "none": {}}, "list": items})
    items.append("later")
    run.log({"list": items})
    first, second = rows_of(run)
    assert first == {"_step": 0, "a.b.c": 1, "a.0": 2, "a.none": {}, "list": [1, "a", None]}
    assert second["list"] == [1, "a", None, "later"]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"model": object()}, "'model'"),
        ({"a": {"b": object()}}, "'a.b'"),
        ({"f": lambda: 1}, "'f'"),
        ({"c": 1j}, "'c'"),
        ({"bytes": b"x"}, "'bytes'"),
        ({"list": [object()]}, r"'list'\[0\]"),
        ({1: 2}, "1"),
        ({"": 2}, "empty"),
        ({"_step": 2}, "'_step'"),
        ([("a", 1)], "dict"),
        (None, "dict"),
    ],
)
def test_what_cannot_be_logged_is_refused_by_name(run: Run, data: Any, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        run.log(data)
    run.log({"fine": 1})
    assert [row["_step"] for row in rows_of(run)] == [0]


def test_a_dict_that_holds_itself_is_refused(run: Run) -> None:
    data: dict[str, Any] = {}
    data["self"] = data
    with pytest.raises(UsageError, match="nested deeper"):
        run.log(data)


def test_ten_thousand_keys_and_long_texts_in_one_call(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.log({f"k{n}": float(n) for n in range(10_000)})
    run.log({"text": "x" * 3_000_000})
    wide, long = rows_of(run)
    assert len(wide) == 10_001
    assert len(long["text"]) == 1 << 20
    assert capsys.readouterr().err.count("'text' is a text of 3,000,000 characters") == 1


def test_steps_as_in_wandb(run: Run) -> None:
    run.log({"a": 1})
    run.log({"b": 1}, commit=False)
    run.log({"c": 1})
    run.log({"a": 2}, step=5)
    run.log({"b": 2}, step=5)
    run.log({"a": 3}, step=6)
    assert run.step == 6
    run.log({"z": 1})
    run.log({"a": 4}, step=20, commit=True)
    assert run.step == 21
    run.log({"late": 1}, step=2)
    run.log({"late": 2}, step=3)
    run.log({"d": 1}, step=30)
    assert rows_of(run) == [
        {"_step": 0, "a": 1},
        {"_step": 1, "b": 1, "c": 1},
        {"_step": 5, "a": 2, "b": 2},
        {"_step": 6, "a": 3, "z": 1},
        {"_step": 20, "a": 4},
        {"_step": 2, "late": 1},
        {"_step": 3, "late": 2},
        {"_step": 30, "d": 1},
    ]


def test_a_later_value_of_the_same_step_wins(run: Run) -> None:
    run.log({"a": 1, "b": 1}, step=1)
    run.log({"a": 2.5}, step=1)
    assert rows_of(run) == [{"_step": 1, "a": 2.5, "b": 1}]


@pytest.mark.parametrize("step", ["x", 1.5, 2**63, math.nan, None.__class__])
def test_a_step_that_is_no_whole_number_is_refused(run: Run, step: Any) -> None:
    with pytest.raises(UsageError, match="step"):
        run.log({"a": 1}, step=step)


def test_steps_may_be_numpy_integers_and_negative(run: Run) -> None:
    run.log({"a": 1}, step=np.int32(-4))
    assert rows_of(run) == [{"_step": -4, "a": 1}]


def test_columns_whose_integers_outgrow_64_bits_keep_every_value(run: Run) -> None:
    values = [1, 2**63 - 1, 2**63, -(2**63) - 1, 5, 10**4000]
    for value in values:
        run.log({"n": value, "m": 1})
    run.log({"n": 10**5000})
    run.log({"n": [10**5000, -(10**5000)]})
    run.config.seed = -(10**5000)
    assert run.config.seed == -math.inf
    assert [row["n"] for row in rows_of(run)] == [*values, math.inf, [math.inf, -math.inf]]


def test_many_threads_lose_nothing_and_share_the_steps(run: Run) -> None:
    def work(name: str) -> None:
        for n in range(2000):
            run.log({name: n})

    threads = [threading.Thread(target=work, args=(f"t{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = rows_of(run)
    assert [row["_step"] for row in found] == list(range(8000))
    for k in range(4):
        assert [row[f"t{k}"] for row in found if f"t{k}" in row] == list(range(2000))


def test_rows_of_a_fast_loop_with_texts_are_all_there(run: Run) -> None:
    for n in range(30_000):
        run.log({"n": n, "half": n / 2, "even": n % 2 == 0, "word": f"w{n}"})
    found = rows_of(run)
    assert len(found) == 30_000
    assert found[12_345] == {"_step": 12_345, "n": 12_345, "half": 6172.5, "even": False, "word": "w12345"}


scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    calls=st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abcd"), scalar, min_size=1),
            st.none() | st.integers(-3, 6),
            st.sampled_from([None, True, False]),
        ),
        max_size=25,
    )
)
def test_any_sequence_of_calls_against_a_plain_model(
    store_root: Path, calls: list[tuple[dict[str, Any], int | None, bool | None]]
) -> None:
    expected: list[tuple[int, dict[str, Any]]] = []
    pending: tuple[int, dict[str, Any]] | None = None
    current = 0
    run = art.init(project="p", settings={**QUIET, "flush_interval": 60.0}, reinit="create_new")
    for data, step, commit in calls:
        run.log(data, step=step, commit=commit)
        at = step if step is not None else pending[0] if pending else current
        if pending and pending[0] != at:
            expected.append(pending)
            current = max(current, pending[0] + 1)
            pending = None
        row = (at, {**(pending[1] if pending else {}), **data})
        if commit if commit is not None else step is None:
            expected.append(row)
            pending, current = None, max(current, at + 1)
        else:
            pending, current = row, max(current, at)
        assert run.step == current
    if pending:
        expected.append(pending)
    summary: dict[str, Any] = {}
    for _, row_values in expected:
        summary.update(row_values)
    run.finish()
    found = [(row.pop("_step"), row) for row in history_of(journal_of(run))]
    assert json.dumps(found) == json.dumps(expected)
    assert json.dumps(dict(run.summary), sort_keys=True) == json.dumps(summary, sort_keys=True)


def test_step_metrics_are_added_to_rows_that_lack_them(run: Run) -> None:
    run.define_metric("epoch", summary="none")
    run.define_metric("val/*", step_metric="epoch")
    run.log({"val/a": 1})
    run.log({"epoch": 3, "loss": 1})
    run.log({"val/a": 2})
    run.log({"epoch": 4.5, "val/a": 3})
    run.log({"val/a": 4})
    assert rows_of(run) == [
        {"_step": 0, "val/a": 1},
        {"_step": 1, "epoch": 3, "loss": 1},
        {"_step": 2, "val/a": 2, "epoch": 3},
        {"_step": 3, "epoch": 4.5, "val/a": 3},
        {"_step": 4, "val/a": 4, "epoch": 4.5},
    ]


@pytest.mark.parametrize("early", [False, True])
def test_steps_do_not_depend_on_when_a_waiting_row_is_written(early: bool) -> None:
    queue = RowQueue(lambda: None)
    steps = []
    for step in (10, 3, None, None, 20, 2, None, None):
        queue.log({"a": 1}, step=step)
        steps.append(queue.step)
        if early:
            queue.commit(older_than=-1.0)
    assert steps == [10, 11, 11, 12, 20, 21, 21, 22]
    assert sorted({item[1] for item in queue.items}) == [2, 3, 10, 11, 20, 21]


def test_an_enumeration_of_texts_is_logged_as_its_text(run: Run) -> None:
    class Mode(str, Enum):  # noqa: UP042  # StrEnum says its value, this kind its member's name
        FAST = "fast"

    run.log({"mode": Mode.FAST})
    run.config["mode"] = Mode.FAST
    assert rows_of(run)[0]["mode"] == "fast"
    assert run.config["mode"] == "fast"
