"""Config, summary and descriptions of a run, and the module functions that reach them."""

from __future__ import annotations

import argparse
import copy
import enum
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livescript import (
    QUIET,
    config_of,
    info_of,
    journal_of,
    journals,
)

import artline as art
from artline.errors import ConfigLockedError, SourceNotFoundError, UsageError
from artline.runs.run import Run


@pytest.fixture
def run(store_root: Path) -> Iterator[Run]:
    made = art.init(project="p", settings=QUIET)
    yield made
    made.finish()


def test_logging_after_the_end_is_refused(run: Run) -> None:
    run.log({"a": 1})
    run.finish()
    for attempt in (
        lambda: run.log({"a": 2}),
        lambda: run.define_metric("a"),
        lambda: run.config.update({"x": 1}),
        lambda: run.summary.update({"x": 1}),
    ):
        with pytest.raises(UsageError, match="has ended"):
            attempt()
    run.finish()
    assert (run.state, run.exit_code) == ("finished", 0)


def test_summary_is_live_and_explicit_values_win(run: Run) -> None:
    run.define_metric("acc", summary="max")
    run.define_metric("val/*", summary="min,mean")
    for n in (1, 5, 3):
        run.log({"acc": n / 10, "loss": 10 - n, "val/x": n})
    assert dict(run.summary) == {
        "acc": {"max": 0.5},
        "loss": 7,
        "val/x": {"min": 1, "mean": 3.0},
    }
    assert run.summary["acc.max"] == run.summary["acc"]["max"] == run.summary.acc["max"] == 0.5
    run.summary["loss"] = -1
    run.summary.update({"nested": {"a": np.float32(0.5)}, "path": Path("x")})
    run.log({"loss": 4})
    assert run.summary.loss == -1
    assert run.summary["nested"] == {"a": 0.5}
    del run.summary["loss"]
    assert "loss" not in run.summary
    with pytest.raises(KeyError):
        del run.summary["loss"]
    with pytest.raises(UsageError, match=r"summary\.bad"):
        run.summary["bad"] = object()
    with pytest.raises(AttributeError, match="no key 'nothing'"):
        _ = run.summary.nothing
    run.finish()
    assert run.summary["acc.max"] == 0.5
    assert copy.deepcopy(run.summary) == run.summary.as_dict()


class Colour(enum.Enum):
    RED = "red"


def test_config_is_nested_locked_and_recorded(store_root: Path) -> None:
    with art.init(
        project="p", settings=QUIET, config={"lr": 0.1, "opt": {"name": "sgd", "betas": (1, 2)}}
    ) as run:
        run.config.epochs = 3
        run.config["opt"]["momentum"] = 0.9
        run.config.opt.nesterov = True
        run.config["seed.a"] = np.int64(4)
        run.config.colour, run.config.path, run.config.odd = Colour.RED, Path("/x"), print
        assert run.config.opt.momentum == run.config["opt.momentum"] == 0.9
        assert "opt" in run.config
        assert "nothing" not in run.config
        run.config.lr = 0.1
        with pytest.raises(ConfigLockedError, match="allow_val_change"):
            run.config.lr = 0.2
        with pytest.raises(ConfigLockedError):
            run.config.update({"fresh": 1, "opt": 3})
        assert "fresh" not in run.config
        run.config.setdefaults({"lr": 9, "batch": 32, "opt": {"name": "adam", "eps": 1e-8}})
        run.config.update(argparse.Namespace(lr=0.3), allow_val_change=True)
        run.config.update({"opt": "plain"}, allow_val_change=True)
        run.config.nan = math.nan
        run.config.nan = math.nan
        with pytest.raises(AttributeError, match="Known keys"):
            _ = run.config.nothing
        with pytest.raises(UsageError, match="config takes"):
            run.config.update([1])
        kept = pickle.loads(pickle.dumps(run.config))
        assert kept["seed"] == {"a": 4}
    found = config_of(journal_of(run))
    assert math.isnan(found.pop("nan"))
    assert found == {
        "lr": 0.3,
        "opt": "plain",
        "epochs": 3,
        "seed.a": 4,
        "colour": "red",
        "path": "/x",
        "odd": str(print),
        "batch": 32,
    }


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("c.json", '{"a": {"b": 1}}', {"a.b": 1}),
    ],
)
def test_config_files(store_root: Path, name: str, text: str, expected: dict[str, Any]) -> None:
    Path(name).write_text(text)
    run = art.init(project="p", settings=QUIET, config=name)
    run.finish()
    assert config_of(journal_of(run)) == expected


def test_config_files_that_cannot_be_read_are_named(store_root: Path) -> None:
    Path("bad.json").write_text("{")
    Path("list.json").write_text("[]")
    with pytest.raises(SourceNotFoundError, match=r"none\.json"):
        art.init(project="p", settings=QUIET, config="none.json")
    for name in ("bad.json", "list.json"):
        with pytest.raises(UsageError, match=name):
            art.init(project="p", settings=QUIET, config=name)
    assert journals(store_root) == []


def test_descriptions_may_change_while_it_runs(store_root: Path) -> None:
    run = art.init(
        project="p",
        settings=QUIET,
        name="first",
        notes="n",
        tags=["a", "a", "b"],
        group="g",
        job_type="train",
    )
    assert (run.name, run.notes, run.tags, run.group, run.job_type) == (
        "first",
        "n",
        ("a", "b"),
        "g",
        "train",
    )
    run.name = "second"
    run.tags += ("c",)
    run.notes = "m"
    run.finish()
    info = info_of(journal_of(run))
    assert (info["name"], info["tags"], info["notes"]) == ("second", ["a", "b", "c"], "m")
    with pytest.raises(UsageError, match="tag"):
        art.init(project="p", settings=QUIET, tags=[""])


def test_what_a_run_tells_of_itself(run: Run) -> None:
    assert run.path == f"local/p/{run.id}"
    assert run.state == "running"
    assert run.url is None
    assert Path(run.dir).is_dir()
    assert run.id in run.dir
    assert art.run is run
    assert run.name.count("-") == 2
    assert "running" in repr(run)


def test_the_module_functions_act_on_the_run(run: Run) -> None:
    art.define_metric("a", summary="max")
    art.log({"a": 2})
    art.log({"a": 1})
    art.config.lr = 5
    assert art.summary["a.max"] == 2
    assert run.config.lr == 5
    art.finish()
    assert run.state == "finished"
    assert art.run is None


def test_without_a_run_the_module_functions_say_what_to_do(store_root: Path) -> None:
    assert art.run is None
    art.finish()
    for attempt in (
        lambda: art.log({"a": 1}),
        lambda: art.config.lr,
        lambda: art.config["lr"],
        lambda: art.summary.update({}),
        lambda: setattr(art.config, "a", 1),
        lambda: art.log_artifact("x"),
        lambda: art.use_artifact("x:latest"),
    ):
        with pytest.raises(UsageError, match=r"artline\.init"):
            attempt()
