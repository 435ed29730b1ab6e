"""Strict steps, timeouts, being preempted, nested summaries, the rules of definitions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from livescript import QUIET, info_of, journal_of, journals, rows_of, run_script

import artline as art
from artline.errors import UsageError


def test_steps_that_go_back_are_kept_or_refused(store_root: Path) -> None:
    free = art.init("p", settings=QUIET)
    strict = art.init("p", settings={**QUIET, "strict_steps": True}, reinit="create_new")
    for run in (free, strict):
        run.log({"a": 1}, step=5)
        run.log({"b": 1}, step=5)
        run.log({"a": 2}, step=7)
        run.log({"a": 3})
    free.log({"a": 0}, step=2)
    for step in (7, 5, -1):
        with pytest.raises(UsageError, match=r"step .* comes after step 7, and strict_steps is set"):
            strict.log({"a": 0}, step=step)
    strict.log({"a": 4}, step=8, commit=False)
    with pytest.raises(UsageError, match="after step 8"):
        strict.log({"a": 0}, step=7)
    strict.log({"b": 4}, step=8)
    rows = [{"_step": 5, "a": 1, "b": 1}, {"_step": 7, "a": 3}]
    assert rows_of(strict) == [*rows, {"_step": 8, "a": 4, "b": 4}]
    assert rows_of(free) == [*rows, {"_step": 2, "a": 0}]


def test_a_finish_with_a_timeout_returns(store_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    run = art.init("p", settings=QUIET)
    for wrong in (0, -1, float("nan"), "soon"):
        with pytest.raises(UsageError, match="timeout"):
            run.finish(timeout=wrong)  # type: ignore[arg-type]  # wrong on purpose
    release = threading.Event()
    flush = run._recorder._writer.flush

    def hang(**named: Any) -> None:
        release.wait()
        flush(**named)

    run._recorder._writer.flush = hang  # type: ignore[method-assign]  # a disk that does not answer
    run.log({"a": 1})
    run.finish(exit_code=2, timeout=0.2)
    assert (run.state, run.exit_code) == ("failed", 2)
    assert "hangs" in capsys.readouterr().err
    release.set()
    run._recorder._thread.join(60)


def test_being_preempted_is_on_disk_at_once(store_root: Path) -> None:
    before = time.time()
    run_script(
        """
        run = art.init(project="p", settings={"quiet": True, "console": False})
        art.mark_preempting()
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        code=-9,
    )
    [path] = journals(store_root)
    assert before < info_of(path)["preempting"] < time.time()
    [run] = art.Api().runs("p")
    assert (run.state, run.preempting) == ("crashed", True)


def test_nested_summaries_are_set_where_they_are_read(store_root: Path) -> None:
    with art.init("p", settings=QUIET) as run:
        run.define_metric("acc", summary="max")
        run.log({"acc": 0.5, "deep": {"er": 1}})
        run.summary["best"] = {"epoch": 3, "of": {"all": 1}}
        run.summary["best"]["epoch"] = 4
        run.summary.best.of.all = 2
        run.summary["best.name"] = "x"
        run.summary["acc"]["max"] = 0.75
        del run.summary.best["name"]
        with pytest.raises(KeyError):
            del run.summary["best"]["name"]
        with pytest.raises(AttributeError, match=r"best\.nothing"):
            del run.summary.best.nothing
        assert len(run.summary.best) == 2
        assert list(run.summary.best) == ["epoch", "of"]
        expected = {"acc": {"max": 0.75}, "deep": {"er": 1}, "best": {"epoch": 4, "of": {"all": 2}}}
        assert run.summary.as_dict() == expected
    assert art.Api().run(f"p/{run.id}").summary == expected
    with art.init("p", settings=QUIET) as run:
        run.summary["a"] = {"b": {"c": 1}}
        run.summary["a"] = 1  # a value replaces what was nested in its place
        run.summary["b"] = 1
        run.summary.update(b={"c": 2})
        assert run.summary.as_dict() == {"a": 1, "b": {"c": 2}}
    assert art.Api().run(f"p/{run.id}").summary == {"a": 1, "b": {"c": 2}}


def test_definitions_by_each_rule(store_root: Path) -> None:
    with art.init("p", settings=QUIET) as run:
        epoch = run.define_metric("epoch", hidden=True, summary="none")
        run.define_metric("*", step_metric=epoch, summary="MAX, first")
        run.define_metric("loss", summary="copy")
        run.define_metric("both", summary="copy,min")
        for n in (3, 9, 5):
            run.log({"epoch": n, "loss": n, "both": n, "other": n})
        assert run.summary.as_dict() == {
            "loss": 5,
            "both": {"min": 3},
            "other": {"max": 9, "first": 3},
        }
    found = art.Api().run(f"p/{run.id}")
    assert found.summary == run.summary.as_dict()
    by_name = {item["name"]: item for item in found.record.definitions}
    assert by_name["*"]["step_metric"] == "epoch"
    assert by_name["epoch"]["hidden"] is True


def test_settings_that_are_none(store_root: Path) -> None:
    with pytest.raises(UsageError, match="settings takes a dict"):
        art.init("p", settings=3)  # type: ignore[arg-type]  # wrong on purpose
    run = art.init("p", settings=QUIET)
    assert journal_of(run).exists()
    run.finish()
