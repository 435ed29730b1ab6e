"""Strict steps, timeouts, being preempted, nested summaries, the rules of definitions."""

from __future__ import annotations

import time
from datetime import timedelta
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
    for wrong in (-1, float("nan"), "soon"):
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


def test_a_finish_that_does_not_wait_loses_nothing(store_root: Path) -> None:
    run_script(
        """
        run = art.init(project="p", id="r", settings={"quiet": True, "console": False})
        for n in range(1000):
            run.log({"a": n})
        run.log({"image": art.Image([[0, 255]])})
        run.finish(exit_code=3, timeout=0)
        assert art.run is None
        """
    )
    found = art.Api().run("p/r")
    assert (found.state, found.exit_code, found.summary["a"]) == ("failed", 3, 999)
    assert found.summary["image"]["path"]


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
    art.init("p", id=run.id, resume="must", settings=QUIET).finish()
    assert (run.load().state, run.preempting) == ("finished", False)


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


def test_alerts_reach_the_terminal_and_the_store(
    store_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**QUIET, "quiet": False, "label": "rank_1"}
    with art.init("p", id="r", settings=settings) as run:
        for n in range(3):
            run.alert("Loss is high", f"at step {n}", level="warn")
            run.alert("always", level=art.AlertLevel.ERROR, wait_duration=0)
            run.alert("seldom", wait_duration=timedelta(hours=1))
        art.alert("x" * 100, "t" * 200_000)
        for wrong in ({"title": " "}, {"title": "a", "level": "BAD"}, {"title": "a", "wait_duration": "1"}):
            with pytest.raises(UsageError, match="alert"):
                run.alert(**{"text": "", **wrong})  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(UsageError, match="has ended"):
        run.alert("late")
    said = [line for line in capsys.readouterr().err.splitlines() if "alert (" in line]
    assert said[:3] == [
        "artline: alert (WARN): Loss is high: at step 0",
        "artline: alert (ERROR): always",
        "artline: alert (INFO): seldom",
    ]
    alerts = art.Api().run("p/r").alerts()
    assert [(alert.level, alert.title, len(alert.text)) for alert in alerts] == [
        ("WARN", "Loss is high", 9),
        ("ERROR", "always", 0),
        ("INFO", "seldom", 0),
        ("ERROR", "always", 0),
        ("ERROR", "always", 0),
        ("INFO", "x" * 63 + "…", 100_000),
    ]
    assert {alert.label for alert in alerts} == {"rank_1"}
    with art.init(mode="disabled") as nothing:
        nothing.alert("a", "b", level="whatever")


def test_a_title_that_never_repeats_keeps_memory_bounded(store_root: Path) -> None:
    from artline.runs.run_alerts import MOST_TITLES

    with art.init("p", settings=QUIET) as run:
        for n in range(MOST_TITLES + 10):
            run.alert(f"number {n}")
        assert run._alerts is not None
        assert len(run._alerts) == MOST_TITLES


def test_alerts_are_copied_with_their_run(store_root: Path, tmp_path: Path) -> None:
    from artline.runs.store import RunStore
    from artline.runs.sync import sync
    from artline.settings import load_settings

    other = tmp_path / "other"
    with art.init("p", id="r", settings={**QUIET, "root": str(other)}) as run:
        run.alert("title", "text")
    assert len(art.Api(root=str(other)).run("p/r").alerts()) == 1  # its catalog has it now
    sync(RunStore.open(load_settings()), other)
    [alert] = art.Api().run("p/r").alerts()
    assert (alert.title, alert.text) == ("title", "text")


def test_odd_values_come_back_from_the_store(store_root: Path) -> None:
    import math

    odd = {
        "inf": math.inf,
        "low": -math.inf,
        "tiny": 5e-324,
        "zero": -0.0,
        "wide": 2**63 - 1,
        "huge": 10**300,
        "negative": -(2**70),
        "flag": True,
        "none": None,
        "text": "ü\ud800\0☃",
        "list": [1, "a", None, [math.inf]],
    }
    wide = {f"k{n}": float(n) for n in range(10_000)}
    with art.init("p", settings=QUIET) as run:
        run.log({**odd, "nan": math.nan, "digits": 10**20_000})
        run.log(wide)
        run.log({"changes": 1})
        run.log({"changes": 0.5})
        run.log({"changes": "now a text"})
        run.summary.update({**odd, "nan": math.nan})
    found = art.Api().run(f"p/{run.id}")
    first, second, *rest = found.history()
    assert math.isnan(first["nan"])
    assert first["digits"] == math.inf  # more digits than JSON may have
    assert {key: first[key] for key in odd} == odd
    assert math.copysign(1, first["zero"]) == -1
    assert type(first["flag"]) is bool
    assert {key: value for key, value in second.items() if not key.startswith("_")} == wide
    assert [row["changes"] for row in rest] == [1, 0.5, "now a text"]
    assert {key: found.summary[key] for key in odd} == odd
    assert len(found.metrics()) == len(odd) + 2 + 10_000 + 1
