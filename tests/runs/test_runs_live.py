"""A run in this process: rows, steps, config, summary and metadata as they reach the journal."""

from __future__ import annotations

import argparse
import copy
import enum
import json
import math
import os
import pickle
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from livescript import config_of, finish_of, history_of, info_of, journals, records_of, wait_until

import artline as art
from artline.errors import ConfigLockedError, SourceNotFoundError, UsageError
from artline.runs import records
from artline.runs.recorder import Recorder
from artline.runs.rows import RowQueue
from artline.runs.run import Run

QUIET = {"quiet": True, "console": False, "save_code": False, "stats_interval": 600.0}


@pytest.fixture
def run(store_root: Path) -> Iterator[Run]:
    made = art.init(project="p", settings=QUIET)
    yield made
    made.finish()


def journal(run: Run) -> Path:
    [path] = [path for path in journals(run.settings.root) if path.parent.name == run.id]
    return path


def rows(run: Run) -> list[dict[str, Any]]:
    run.finish()
    return history_of(journal(run))


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
    [row] = rows(run)
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
    assert math.isnan(rows(run)[0]["x"])


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
    [row] = rows(run)
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
    first, second = rows(run)
    assert first == {"_step": 0, "a.b.c": 1, "a.0": 2, "list": [1, "a", None]}
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
    assert [row["_step"] for row in rows(run)] == [0]


def test_a_dict_that_holds_itself_is_refused(run: Run) -> None:
    data: dict[str, Any] = {}
    data["self"] = data
    with pytest.raises(UsageError, match="nested deeper"):
        run.log(data)


def test_ten_thousand_keys_and_long_texts_in_one_call(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.log({f"k{n}": float(n) for n in range(10_000)})
    run.log({"text": "x" * 3_000_000})
    wide, long = rows(run)
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
    assert rows(run) == [
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
    assert rows(run) == [{"_step": 1, "a": 2.5, "b": 1}]


@pytest.mark.parametrize("step", ["x", 1.5, 2**63, math.nan, None.__class__])
def test_a_step_that_is_no_whole_number_is_refused(run: Run, step: Any) -> None:
    with pytest.raises(UsageError, match="step"):
        run.log({"a": 1}, step=step)


def test_steps_may_be_numpy_integers_and_negative(run: Run) -> None:
    run.log({"a": 1}, step=np.int32(-4))
    assert rows(run) == [{"_step": -4, "a": 1}]


def test_columns_whose_integers_outgrow_64_bits_keep_every_value(run: Run) -> None:
    values = [1, 2**63 - 1, 2**63, -(2**63) - 1, 5]
    for value in values:
        run.log({"n": value, "m": 1})
    assert [row["n"] for row in rows(run)] == values


def test_many_threads_lose_nothing_and_share_the_steps(run: Run) -> None:
    def work(name: str) -> None:
        for n in range(2000):
            run.log({name: n})

    threads = [threading.Thread(target=work, args=(f"t{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = rows(run)
    assert [row["_step"] for row in found] == list(range(8000))
    for k in range(4):
        assert [row[f"t{k}"] for row in found if f"t{k}" in row] == list(range(2000))


def test_rows_of_a_fast_loop_with_texts_are_all_there(run: Run) -> None:
    for n in range(30_000):
        run.log({"n": n, "half": n / 2, "even": n % 2 == 0, "word": f"w{n}"})
    found = rows(run)
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
    found = [(row.pop("_step"), row) for row in history_of(journal(run))]
    assert json.dumps(found) == json.dumps(expected)
    assert json.dumps(dict(run.summary), sort_keys=True) == json.dumps(summary, sort_keys=True)


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


def test_step_metrics_are_added_to_rows_that_lack_them(run: Run) -> None:
    run.define_metric("epoch", summary="none")
    run.define_metric("val/*", step_metric="epoch")
    run.log({"val/a": 1})
    run.log({"epoch": 3, "loss": 1})
    run.log({"val/a": 2})
    run.log({"epoch": 4.5, "val/a": 3})
    run.log({"val/a": 4})
    assert rows(run) == [
        {"_step": 0, "val/a": 1},
        {"_step": 1, "epoch": 3, "loss": 1},
        {"_step": 2, "val/a": 2, "epoch": 3},
        {"_step": 3, "epoch": 4.5, "val/a": 3},
        {"_step": 4, "val/a": 4, "epoch": 4.5},
    ]


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
    found = config_of(journal(run))
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
    assert config_of(journal(run)) == expected


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
    info = info_of(journal(run))
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


def test_heartbeats_and_the_first_system_sample_come_by_themselves(store_root: Path) -> None:
    run = art.init(
        project="p",
        settings={**QUIET, "flush_interval": 0.02, "heartbeat_interval": 0.05, "stats_interval": 60.0},
    )

    def seen() -> bool:
        found = records_of(journal(run))
        beats = sum(isinstance(record, records.Heartbeat) for record in found)
        return beats >= 2 and any(isinstance(r, records.Rows) and r.stream == "system" for r in found)

    wait_until(seen, "heartbeats and a sample")
    run.finish()
    assert finish_of(journal(run)) == ("finished", 0)
    sample = history_of(journal(run), "system")[0]
    assert sample["_step"] == 0
    for name in ("cpu", "proc.cpu.threads", "proc.memory.rssMB", "memory_percent", "network.sent"):
        assert sample[name] >= 0.0


def test_a_queue_that_nobody_empties_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from artline.runs import rows as rows_module

    monkeypatch.setattr(rows_module, "MOST_CELLS", 1000)
    monkeypatch.setattr(rows_module, "WAKE_CELLS", 500)
    monkeypatch.setattr(rows_module, "LONGEST_WAIT", 0.02)
    woken = []
    queue = RowQueue(lambda: woken.append(1))
    for n in range(5000):
        queue.log({"n": n})
    assert len(queue.items) <= 201
    assert queue.dropped == 5000 - len(queue.items)
    assert woken
    assert len(queue.take()) + queue.dropped == 5000
    queue.log({"n": 1})
    assert len(queue.take()) == 1


def make_recorder(path: Path, **options: Any) -> Recorder:
    process = records.Process(1, 1, "", "", "h")
    start = records.Start("local", "p", "r", "w", 1, 0.0, process, {})
    return Recorder(path, start, flush_interval=0.01, heartbeat_interval=60.0, **options)


END = records.Finish("finished", 0, 1.0, 1.0)


def test_a_deleted_journal_is_written_again_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deep" / "down"
    folder.mkdir(parents=True)
    recorder = make_recorder(folder / "j")
    recorder.queue.log({"a": 1})
    recorder.flush()
    (folder / "j").unlink()
    folder.rmdir()
    recorder.queue.log({"a": 2})
    recorder.flush()
    assert recorder.finish(END, 30)
    assert [row["a"] for row in history_of(folder / "j")] == [1, 2]
    assert capsys.readouterr().err.count("journal was deleted") == 1


def test_failing_writes_cost_one_warning_and_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.pwrite
    full = threading.Event()
    refused = threading.Event()

    def pwrite(fd: int, data: Any, offset: int) -> int:
        if full.is_set():
            refused.set()
            raise OSError(28, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    recorder = make_recorder(tmp_path / "j")
    recorder.queue.log({"a": 1})
    recorder.flush()
    full.set()
    for n in range(20):
        recorder.queue.log({"a": n})
        recorder.flush()
    assert refused.is_set()
    assert recorder.trouble
    full.clear()
    recorder.flush()
    assert not recorder.trouble
    assert recorder.finish(END, 30)
    said = capsys.readouterr().err
    assert said.count("cannot write") == 1
    assert said.count("j works again") == 1
    assert [row["a"] for row in history_of(tmp_path / "j")] == [1, *range(20)]


def test_writes_that_fail_for_long_stay_within_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from artline.runs import recorder as recorder_module

    monkeypatch.setattr(recorder_module, "MOST_PENDING", 10_000)
    recorder = make_recorder(tmp_path / "j")
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    for _ in range(100):
        for n in range(50):
            recorder.queue.log({"a": n})
        recorder.flush()
    assert recorder._writer.pending < 20_000
    monkeypatch.setattr(os, "pwrite", real)
    recorder.flush()
    recorder.queue.log({"after": 1})
    assert recorder.finish(END, 30)
    said = capsys.readouterr().err
    assert "are lost" in said
    found = history_of(tmp_path / "j")
    assert found[-1]["after"] == 1
    assert finish_of(tmp_path / "j") == ("finished", 0)


def test_an_end_that_cannot_be_written_is_told_and_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = make_recorder(tmp_path / "j")
    monkeypatch.setattr(
        os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    assert not recorder.finish(END, 30)
    assert "its end could not be written" in capsys.readouterr().err


def test_a_write_that_hangs_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = make_recorder(tmp_path / "j")
    release = threading.Event()
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (release.wait(60), real(fd)))
    assert not recorder.finish(END, 0.05)
    assert "hangs" in capsys.readouterr().err
    release.set()
    assert recorder.finish(END, 30)


def test_wrong_data_in_the_recorder_does_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = make_recorder(tmp_path / "j")
    recorder.put("not a record")  # type: ignore[arg-type]  # what must never happen
    recorder.flush()
    recorder.queue.log({"a": 1})
    assert recorder.finish(END, 30)
    assert "KeyError" in capsys.readouterr().err
    assert [row["a"] for row in history_of(tmp_path / "j")] == [1]
