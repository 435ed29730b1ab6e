"""Rewinding a run to a step, and forking a run from a step of another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from livescript import QUIET, run_script
from rundata import Writer

import artline as art
from artline.errors import ConflictError, InvalidNameError, RunNotFoundError, UsageError
from artline.runs.store import RunStore
from artline.settings import load_settings


def steps(name: str, key: str = "a") -> list[tuple[int, Any]]:
    return [(row["_step"], row[key]) for row in art.Api().run(f"p/{name}").history() if key in row]


def record(run_id: str, count: int = 10, **arguments: Any) -> None:
    with art.init("p", id=run_id, settings=QUIET, **arguments) as run:
        run.define_metric("best", summary="max,mean,first")
        for n in range(count):
            run.log({"a": n, "best": -abs(n - 4), "text": f"t{n}"})
        run.summary["noted"] = "by hand"


def test_a_run_goes_on_from_an_earlier_step(store_root: Path) -> None:
    record("r", config={"lr": 1, "deep": {"er": 2}}, name="n", tags=["t"])
    with art.init("p", resume_from="r?_step=5", id="ignored", config={"lr": 3}, settings=QUIET) as run:
        assert (run.id, run.name, run.tags, run.step, run.resumed) == ("r", "n", ("t",), 6, True)
        assert run.config.as_dict() == {"lr": 3, "deep": {"er": 2}}
        assert run.summary.as_dict() == {
            "a": 5,
            "best": {"max": 0, "mean": -11 / 6, "first": -4},
            "text": "t5",
            "noted": "by hand",
        }
        run.log({"a": 100, "best": 50})
        live = run.summary.as_dict()
    found = art.Api().run("p/r")
    assert found.summary == live
    assert found.summary["best"] == {"max": 50, "mean": (50 - 11) / 7, "first": -4}
    assert (found.last_step, found.state, found.record.attempt) == (6, "finished", 2)
    assert steps("r") == [(n, n) for n in range(6)] + [(6, 100)]
    assert [row["_step"] for row in found.scan_history()] == [*range(7)]
    assert [row["text"] for row in found.history(keys=["text"])] == [f"t{n}" for n in range(6)]
    assert {row["a"] for row in found.history(samples=4)} <= {*range(6), 100}
    assert {
        metric.key: metric.row_count for metric in RunStore.open(load_settings()).metrics(found.record)
    } == {
        "a": 7,
        "best": 7,
        "text": 6,
    }


def test_rewinding_again_and_going_on_plainly(store_root: Path) -> None:
    record("r")
    with art.init("p", resume_from="r?_step=7", settings=QUIET) as run:
        run.log({"a": 80})
        run.log({"a": 90})
    with art.init("p", resume_from="r?_step=2", settings=QUIET) as run:
        run.log({"a": 30})
    with art.init("p", id="r", resume="must", settings=QUIET) as run:
        assert (run.step, run.summary["a"]) == (4, 30)
        run.log({"a": 40})
    assert steps("r") == [(0, 0), (1, 1), (2, 2), (3, 30), (4, 40)]
    with art.init("p", resume_from="r?_step=1", settings=QUIET) as run:
        assert run.summary["a"] == 1
    found = art.Api().run("p/r")
    assert (found.last_step, found.summary["a"]) == (1, 1)
    with pytest.raises(UsageError, match="steps up to 1, not step 2"):
        art.init("p", resume_from="r?_step=2", settings=QUIET)


def test_a_fork_begins_with_the_history_of_its_parent(store_root: Path) -> None:
    record("parent", config={"lr": 1}, tags=["t"])
    with art.init("p", fork_from="parent?_step=3", id="child", config={"lr": 2}, settings=QUIET) as run:
        assert (run.id, run.step, run.resumed, run.tags) == ("child", 4, False, ())
        assert run.config.as_dict() == {"lr": 2}
        assert run.summary["a"] == 3
        assert run.summary["best"]["max"] == -1
        run.log({"a": 40, "own": 1})
    with art.init("q", fork_from="p/child?_step=4", settings=QUIET) as run:
        run.log({"a": 50})
    grandchild = art.Api().run(run.path)
    child = art.Api().run("p/child")
    assert child.forked_from == {"run": "local/p/parent", "step": 3}
    assert grandchild.forked_from == {"run": "local/p/child", "step": 4}
    assert art.Api().run("p/parent").forked_from is None
    assert (child.config, child.last_step, child.summary["best"]["mean"]) == ({"lr": 2}, 4, -10 / 4)
    assert steps("child") == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 40)]
    assert [row["a"] for row in grandchild.history(keys=["a"])] == [0, 1, 2, 3, 40, 50]
    assert sorted(grandchild.metrics()) == ["a", "best", "own", "text"]
    assert not child.history(stream="system")
    [curve] = RunStore.open(load_settings()).curves(child.record, ["a"], buckets=3)
    assert (curve.start[0], curve.end[-1], sum(curve.count)) == (0, 4, 5)
    assert (min(curve.minimum), max(curve.maximum)) == (0, 40)
    # What becomes of the parent later changes nothing.
    with art.init("p", resume_from="parent?_step=1", settings=QUIET) as run:
        run.log({"a": 20})
    art.Api().run("p/parent").delete()
    assert steps("child") == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 40)]
    with art.init("p", id="child", resume="must", settings=QUIET) as run:
        assert (run.step, run.summary["a"], run.summary["best"]["first"]) == (5, 40, -4)


def test_a_fork_of_a_run_that_goes_on(store_root: Path) -> None:
    parent = art.init("p", id="parent", settings=QUIET)
    for n in range(3):
        parent.log({"a": n})
    parent.summary  # noqa: B018  # what was logged is taken in
    parent._recorder.flush()
    fork = art.init("p", fork_from="parent?_step=1", reinit="create_new", settings=QUIET)
    parent.log({"a": 3})
    fork.log({"a": 20})
    parent.finish()
    fork.finish()
    assert steps(fork.id) == [(0, 0), (1, 1), (2, 20)]
    assert steps("parent") == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_what_cannot_be_rewound_or_forked(store_root: Path) -> None:
    record("r", 3)
    for arguments in (
        {"resume_from": "r"},
        {"resume_from": "r?_step=x"},
        {"resume_from": "r?_step=-1"},
        {"resume_from": "r?epoch=1"},
        {"fork_from": ""},
        {"fork_from": 3},
        {"resume_from": "r?_step=9"},
        {"fork_from": "r?_step=9"},
        {"resume_from": "r?_step=1", "resume": "allow"},
        {"resume_from": "r?_step=1", "fork_from": "r?_step=1"},
        {"resume_from": "r?_step=1", "mode": "shared"},
        {"resume_from": "q/r?_step=1"},
        {"fork_from": "r?_step=1", "id": "r"},
    ):
        with pytest.raises(UsageError):
            art.init("p", settings=QUIET, **arguments)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(InvalidNameError):
        art.init("p", fork_from="..?_step=1", settings=QUIET)
    with pytest.raises(RunNotFoundError):
        art.init("p", resume_from="none?_step=1", settings=QUIET)
    record("taken", 1)
    with pytest.raises(ConflictError, match="exists already"):
        art.init("p", fork_from="r?_step=1", id="taken", settings=QUIET)
    run_script(
        """
        first = art.init(project="p", id="live", settings={"quiet": True})
        first.log({"a": 1})
        try:
            art.init(project="p", resume_from="live?_step=0", reinit="create_new")
        except art.errors.ConflictError as error:
            assert "is still being written" in str(error)
        else:
            raise AssertionError
        """
    )
    assert steps("r") == [(0, 0), (1, 1), (2, 2)]


def test_a_journal_that_comes_after_the_rewind_counts_up_to_it(store_root: Path, tmp_path: Path) -> None:
    record("r1", 2)
    art.Api().refresh()
    elsewhere = tmp_path / "elsewhere"
    late = Writer(elsewhere, "r1", writer="0001-late", attempt=1)
    with art.init("p", resume_from="r1?_step=1", settings=QUIET) as run:
        run.log({"a": 20})
    art.Api().refresh()
    late.rows({"b": [10.0, 11.0, 12.0, 13.0]}, "d")
    late.finish()
    from artline.runs.sync import sync

    sync(RunStore.open(load_settings()), elsewhere)
    found = art.Api().run("p/r1")
    assert [(row["_step"], row["b"]) for row in found.history(keys=["b"])] == [(0, 10.0), (1, 11.0)]
    assert (found.summary["a"], found.summary["b"], found.last_step) == (20, 11.0, 2)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.lists(
        st.tuples(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(0, 12)),
        min_size=1,
        max_size=4,
    ),
    read_between=st.booleans(),
)
def test_any_rewinds_against_a_plain_model(
    store_root: Path, plan: Sequence[tuple[list[int], int]], read_between: bool
) -> None:
    model: dict[int, int] = {}
    with art.init("p", settings=QUIET) as run:
        run.log({"a": 0}, step=0)
    model[0] = 0
    name, value = run.id, 0
    for logged, back in plan:
        moment = min(back, max(model))
        model = {step: kept for step, kept in model.items() if step <= moment}
        if read_between:
            art.Api().refresh()
        with art.init("p", resume_from=f"{name}?_step={moment}", settings=QUIET) as run:
            assert run.step == moment + 1
            for step in logged:
                value += 1
                # a later attempt's row of a step that is there already would be a record of its own
                at = moment + 1 + step
                run.log({"a": value}, step=at)
                model[at] = value
    found = art.Api().run(f"p/{name}")
    assert [(row["_step"], row["a"]) for row in found.history()] == sorted(model.items())
    assert found.last_step == max(model)
    assert found.summary["a"] == value
