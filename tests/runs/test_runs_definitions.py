"""define_metric rules and the summary they make, checked against a plain recomputation."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artline.errors import UsageError
from artline.runs.definitions import RULES, Definition, Definitions, SummaryBuilder
from artline.runs.records import Rows


def batch(key: str, values: list[Any], first: int = 0, types: str = "d") -> Rows:
    count = len(values)
    orders = range(first, first + count)
    return Rows("history", (key,), types, list(orders), [0.0] * count, [values], orders)


def summary(*definitions: Definition, rows: list[Rows]) -> dict[str, Any]:
    builder = SummaryBuilder(Definitions(definitions))
    for item in rows:
        builder.add(item)
    return builder.values()


def test_without_rules_the_last_value_stands_under_its_own_name() -> None:
    assert summary(rows=[batch("loss", [3.0, 2.0]), batch("loss", [2.5], 2)]) == {"loss": 2.5}


def test_each_rule_makes_its_own_value() -> None:
    rule = Definition.parse("acc", summary="min,max,mean,last,first,best", goal="maximize")
    assert summary(rule, rows=[batch("acc", [0.5, 0.9, 0.1, 0.5])]) == {
        "acc.min": 0.1,
        "acc.max": 0.9,
        "acc.mean": 0.5,
        "acc.last": 0.5,
        "acc.first": 0.5,
        "acc.best": 0.9,
    }


def test_best_is_the_lowest_unless_the_goal_says_otherwise() -> None:
    rule = Definition.parse("loss", summary="best")
    assert summary(rule, rows=[batch("loss", [3.0, 1.0, 2.0])]) == {"loss.best": 1.0}


def test_none_keeps_a_metric_out() -> None:
    rule = Definition.parse("noise/*", summary="none")
    assert summary(rule, rows=[batch("noise/a", [1.0]), batch("a", [2.0])]) == {"a": 2.0}


def test_nan_is_a_last_value_but_no_extremum() -> None:
    rule = Definition.parse("x", summary=["min", "max", "mean", "last"])
    found = summary(rule, rows=[batch("x", [math.nan, 2.0, math.inf, math.nan])])
    assert found["x.min"] == 2.0
    assert found["x.max"] == math.inf
    assert found["x.mean"] == math.inf
    assert math.isnan(found["x.last"])


def test_texts_and_huge_integers() -> None:
    rule = Definition.parse("x", summary=["max", "first"])
    texts = [json.dumps("b"), json.dumps(10**30), json.dumps([1]), json.dumps(None)]
    assert summary(rule, rows=[batch("x", texts, types="j")]) == {"x.max": 10**30, "x.first": "b"}


def test_an_integer_beyond_float64_counts_as_infinite_in_a_mean() -> None:
    rule = Definition.parse("x", summary="mean")
    assert summary(rule, rows=[batch("x", [str(10**400)], types="j")]) == {"x.mean": math.inf}


def test_interleaved_frames_keep_the_row_logged_last() -> None:
    late = Rows("history", ("a", "b"), "qq", [0, 2], [0.0] * 2, [[1, 3], [1, 1]], [0, 2])
    early = Rows("history", ("a",), "q", [1], [0.0], [[2]], [1])
    assert summary(rows=[late, early])["a"] == 3


def test_a_later_attempt_wins_whatever_comes_first() -> None:
    builder = SummaryBuilder()
    builder.add(batch("a", [2.0]), attempt=2)
    builder.add(batch("a", [1.0], 50), attempt=1)
    assert builder.values() == {"a": 2.0}


def test_explicit_values_win_until_removed() -> None:
    builder = SummaryBuilder()
    builder.assign({"a": 7, "note": "x"})
    builder.add(batch("a", [1.0]))
    assert builder.values() == {"a": 7, "note": "x"}
    builder.assign({}, ["a"])
    assert builder.values() == {"note": "x"}
    builder.add(batch("a", [2.0], 1))
    assert builder.values() == {"a": 2.0, "note": "x"}


def test_system_rows_do_not_count() -> None:
    builder = SummaryBuilder()
    builder.add(Rows("system", ("cpu",), "d", [0], [0.0], [[1.0]], range(1)))
    assert builder.values() == {}


def test_globs_apply_in_order_and_the_full_name_last() -> None:
    found = Definitions(
        [
            Definition.parse("val/acc", summary="max"),
            Definition.parse("val/*", summary="last", step_metric="epoch"),
            Definition.parse("*", hidden=True, summary="none"),
        ]
    )
    assert found.resolve("val/acc").summary == ("max",)
    assert found.resolve("val/acc").step_metric == "epoch"
    assert found.resolve("val/acc").hidden is True
    assert found.resolve("val/loss").summary == ("none",)
    assert found.resolve("a.b[0]?").summary == ("none",)


def test_a_second_definition_adds_and_overwrite_replaces() -> None:
    found = Definitions([Definition.parse("a", summary="max"), Definition.parse("a", hidden=True)])
    assert (found.resolve("a").summary, found.resolve("a").hidden) == (("max",), True)
    found.add(Definition.parse("a", goal="minimize", overwrite=True))
    assert found.resolve("a") == Definition("a", goal="minimize")


def test_special_characters_in_globs_are_literal() -> None:
    found = Definitions([Definition.parse("layer[0].*", hidden=True)])
    assert found.resolve("layer[0].w").hidden
    assert not found.resolve("layer0.w").hidden


def test_missing_step_metrics_are_named_only_when_synced() -> None:
    found = Definitions([Definition.parse("val/*", step_metric="epoch")])
    assert found.missing_steps(["val/a", "val/b"]) == ["epoch"]
    assert found.missing_steps(["val/a", "epoch"]) == []
    assert found.missing_steps(["train"]) == []
    found.add(Definition.parse("val/*", step_sync=False))
    assert found.missing_steps(["val/a"]) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"name": "a", "summary": "median"},
        {"name": "a", "summary": "none,max"},
        {"name": "a", "goal": "up"},
        {"name": "a", "step_metric": "ep*"},
    ],
)
def test_wrong_definitions_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="define_metric"):
        Definition.parse(**arguments)


def test_definitions_survive_json() -> None:
    rule = Definition.parse("a*", "epoch", False, True, ["max", "min"], "maximize", True)
    assert Definition.from_json(json.loads(json.dumps(rule.to_json()))).summary == ("max", "min")
    found = Definitions([rule, Definition.parse("b")])
    again = Definitions(Definition.from_json(item) for item in found.to_json())
    assert again.resolve("abc") == found.resolve("abc")


@settings(deadline=None)
@given(
    values=st.lists(st.lists(st.floats(-1e9, 1e9) | st.just(math.nan), min_size=1, max_size=5), max_size=6),
    cut=st.integers(0, 6),
    rules=st.sets(st.sampled_from([rule for rule in RULES if rule != "none"])),
)
def test_batches_and_a_saved_state_change_nothing(
    values: list[list[float]], cut: int, rules: set[str]
) -> None:
    definition = Definition.parse("k", summary=sorted(rules)) if rules else None
    builder = SummaryBuilder(Definitions([definition] if definition else []))
    done = 0
    for number, part in enumerate(values):
        if number == cut:
            builder = SummaryBuilder.from_json(json.loads(json.dumps(builder.to_json())))
        builder.add(batch("k", part, done))
        done += len(part)
    flat = [value for part in values for value in part]
    numbers = [value for value in flat if value == value]
    expected: dict[str, float] = {}
    if flat:
        expected |= {"first": flat[0], "last": flat[-1]}
    if numbers:
        expected |= {"min": min(numbers), "max": max(numbers), "best": min(numbers)}
        expected["mean"] = sum(numbers) / len(numbers)
    if rules - {"copy"}:
        wanted = {f"k.{rule}": value for rule, value in expected.items() if rule in rules}
    else:
        wanted = {"k": flat[-1]} if flat else {}
    assert builder.values() == pytest.approx(wanted, nan_ok=True)
