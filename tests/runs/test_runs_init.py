"""``init``: its parameters, resuming, several runs, modes, the environment, and what it must not import."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from livescript import (
    command,
    config_of,
    finish_of,
    history_of,
    info_of,
    journals,
    records_of,
    run_script,
    write_script,
)
from rundata import DEAD, Writer

import artline as art
from artline.errors import (
    ConflictError,
    NotFoundError,
    RunNotFoundError,
    StoreUnavailableError,
    UsageError,
)
from artline.runs import records
from artline.runs.current import get_run
from artline.runs.init import init
from artline.settings import load_settings

QUIET = {"quiet": True, "console": False, "save_code": False, "stats_interval": 600.0}


def test_a_run_that_only_logs_imports_nothing_heavy(store_root: Path) -> None:
    run_script(
        """
        run = art.init(project="p")
        run.log({"a": 1.0})
        run.summary["a"]
        run.finish()
        heavy = {"sqlalchemy", "alembic", "numpy", "pyarrow", "requests", "fsspec", "click", "asyncio"}
        print(sorted(heavy & set(sys.modules)))
        assert not heavy & set(sys.modules)
        """
    )


def test_what_it_prints_is_one_line_each_and_nothing_when_quiet(store_root: Path) -> None:
    body = "run = art.init(project='p', name='calm-fox-1', id='abc')\nrun.finish()"
    done = run_script(body)
    begin, end = done.stderr.splitlines()
    assert begin == f"artline: run calm-fox-1 (abc) begins in project p, kept in {store_root}"
    assert end.startswith("artline: run calm-fox-1 finished after ")
    assert end.endswith("Look: art runs show p/abc")
    again = run_script(body.replace("abc", "def"), environment={"ART_QUIET": "1"})
    assert again.stderr == ""


def test_the_environment_describes_a_run(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ART_PROJECT": "from-env",
        "ART_ENTITY": "team",
        "ART_RUN_ID": "r1",
        "ART_NAME": "named",
        "ART_TAGS": "a, b,,a",
        "ART_NOTES": "noted",
        "ART_RUN_GROUP": "grouped",
        "ART_JOB_TYPE": "train",
    }.items():
        monkeypatch.setenv(name, value)
    with init(settings=QUIET) as run:
        assert run.path == "team/from-env/r1"
        assert (run.name, run.tags, run.notes) == ("named", ("a", "b"), "noted")
        assert (run.group, run.job_type) == ("grouped", "train")
    with init("other", id="r2", name="mine", tags=["x"], settings=QUIET) as run:
        assert (run.project, run.id, run.name, run.tags) == ("other", "r2", "mine", ("x",))


@pytest.mark.parametrize(
    "arguments",
    [
        {"project": "../up"},
        {"project": "a/b"},
        {"project": ""},
        {"id": "../up"},
        {"id": "a b"},
        {"entity": "a/b"},
    ],
)
def test_names_that_could_escape_are_refused(store_root: Path, arguments: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        init(**{"project": "p", **arguments}, settings=QUIET)  # type: ignore[arg-type]  # wrong on purpose
    assert get_run() is None


@pytest.mark.parametrize(
    "arguments", [{"mode": "x"}, {"resume": "x"}, {"reinit": "x"}, {"settings": {"x": 1}}]
)
def test_words_that_mean_nothing_are_refused(store_root: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        init("p", **{"settings": QUIET, **arguments})


def test_a_root_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match="ART_HOME"):
        init("p", settings={**QUIET, "root": str(tmp_path / "file" / "store")})
    assert get_run() is None


def test_a_taken_id_is_refused_and_resume_goes_on(store_root: Path) -> None:
    with init("p", id="r", settings=QUIET, config={"lr": 1}, tags=["t"], name="n") as first:
        first.define_metric("acc", summary="max")
        first.log({"acc": 5, "loss": 3})
        first.log({"acc": 4})
        first.summary["note"] = "kept"
    for resume in (None, "never", False):
        with pytest.raises(ConflictError, match="resume='allow'"):
            init("p", id="r", settings=QUIET, resume=resume)  # type: ignore[arg-type]  # the literal is checked
    with init("p", id="r", settings=QUIET, resume="allow", config={"lr": 2, "new": 1}) as second:
        assert second.resumed
        assert (second.step, second.name, second.tags) == (2, "n", ("t",))
        assert second.config.as_dict() == {"lr": 2, "new": 1}
        assert dict(second.summary) == {"acc": {"max": 5}, "loss": 3, "note": "kept"}
        second.log({"acc": 4})
        assert second.summary["acc.max"] == 5
    one, two = journals(store_root)
    assert [row["_step"] for row in history_of(two)] == [2]
    start = records_of(two)[0]
    assert isinstance(start, records.Start)
    assert start.attempt == 2
    assert "name" not in start.info
    assert config_of(two) == {"lr": 2, "new": 1}
    assert finish_of(one) == finish_of(two) == ("finished", 0)


def test_must_resume_what_is_there(store_root: Path) -> None:
    with pytest.raises(RunNotFoundError, match="resume='allow'"):
        init("p", id="r", settings=QUIET, resume="must")
    with pytest.raises(UsageError, match="ART_RUN_ID"):
        init("p", settings=QUIET, resume="must")
    init("p", id="r", settings=QUIET, resume="allow").finish()
    with init("p", id="r", settings=QUIET, resume="must") as run:
        assert run.resumed


def test_resuming_what_a_reader_has_taken_in(store_root: Path) -> None:
    from artline.runs.store import RunStore

    with init("p", id="r", settings=QUIET, config={"lr": 1}, name="n", tags=["t"]) as first:
        first.define_metric("acc", summary="mean")
        first.log({"acc": 1})
        first.log({"acc": 2}, step=41)
    store = RunStore.open(load_settings())
    store.ingest()
    assert journals(store_root) == []
    with init("p", id="r", settings=QUIET, resume="must") as second:
        assert (second.step, second.name, second.tags) == (42, "n", ("t",))
        assert second.config.as_dict() == {"lr": 1}
        second.log({"acc": 6})
        assert second.summary["acc.mean"] == 3.0
    store.ingest()
    found = store.get("p", "r")
    assert (found.attempt, found.state, found.name, found.last_step) == (2, "finished", "n", 42)
    assert found.summary["acc.mean"] == 3.0


def test_resuming_when_only_the_first_journal_was_left_behind(store_root: Path) -> None:
    elsewhere = replace(DEAD, host="another-machine")
    first = Writer(store_root, process=elsewhere, at=time.time() - 3600)
    first.rows({"x": [0.0, 1.0]}, "d")
    os.utime(first.path, (1.0, 1.0))  # silent for long, and nobody here can look at its process
    with init(project="p", id="r1", resume="allow", settings=QUIET) as second:
        assert second.step == 2
        second.log({"x": 2.0})
    assert art.Api().run("p/r1").state == "finished"
    assert [path.stem for path in journals(store_root)] == [first.writer]
    with init(project="p", id="r1", resume="allow", settings=QUIET) as third:
        assert third.step == 3
        assert third.summary["x"] == 2.0
    third_start = next(records_of(path)[0] for path in journals(store_root) if path != first.path)
    assert isinstance(third_start, records.Start)
    assert third_start.attempt == 3


def test_auto_resumes_what_did_not_finish(store_root: Path) -> None:
    script = """
        run = art.init(project="p", resume="auto", settings={"quiet": True})
        run.log({"a": 1})
        print(run.id, run.resumed, run.step, flush=True)
        if len(sys.argv) > 1:
            run._recorder.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        """
    first = run_script(script, "die", code=-9).stdout.split()
    second = run_script(script, "die", code=-9).stdout.split()
    third = run_script(script).stdout.split()
    fourth = run_script(script).stdout.split()
    assert first[0] == second[0] == third[0] != fourth[0]
    assert [first[1:], second[1:], third[1:], fourth[1:]] == [
        ["False", "1"],
        ["True", "2"],
        ["True", "3"],
        ["False", "1"],
    ]


def test_auto_leaves_a_run_alone_that_somebody_writes(store_root: Path) -> None:
    first = init("p", settings=QUIET, resume="auto")
    second = run_script("""
        run = art.init(project="p", resume="auto", settings={"quiet": True})
        print(run.id, run.resumed)
        """).stdout.split()
    first.finish()
    assert second[0] != first.id
    assert second[1] == "False"


def test_auto_waits_for_silence_where_it_cannot_look(store_root: Path) -> None:
    elsewhere = replace(DEAD, host="another-machine")
    first = Writer(store_root, "far", process=elsewhere)
    first.rows({"x": [0.0]}, "d")
    (store_root / "runs" / "p").mkdir(parents=True)
    remembered = store_root / "runs" / "p" / "resume-auto"
    remembered.write_text("far\n")
    with init("p", settings=QUIET, resume="auto") as run:
        assert run.id != "far"
    remembered.write_text("far\n")
    os.utime(first.path, (1.0, 1.0))
    with init("p", settings=QUIET, resume="auto") as run:
        assert (run.id, run.step) == ("far", 1)


def test_joining_a_run_that_is_written_is_told(store_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = init("p", id="r", settings=QUIET)
    init("p", id="r", resume="allow", reinit="create_new", settings=QUIET).finish()
    assert "is still being written by another process" in capsys.readouterr().err
    first.finish()
    init("p", id="r", resume="allow", settings=QUIET).finish()
    assert "still being written" not in capsys.readouterr().err


def test_a_second_init_returns_ends_or_adds(store_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = init("p", settings=QUIET)
    assert init("p", settings=QUIET) is first
    assert "is in progress" in capsys.readouterr().err
    second = init("p", settings=QUIET, reinit=True)
    assert first.state == "finished"
    third = init("p", settings=QUIET, reinit="create_new")
    assert second.state == third.state == "running"
    assert get_run() is second
    art.log({"second": 1})
    third.log({"third": 1})
    assert init("p", settings=QUIET) is third  # the one begun last
    third.finish()
    assert get_run() is second
    fourth = init("p", settings=QUIET, reinit="create_new")
    fifth = init("p", settings=QUIET, reinit="finish_previous")
    assert second.state == fourth.state == "finished"
    assert get_run() is fifth
    fifth.finish()
    with init("p", settings=QUIET, reinit="create_new", id="alone") as alone:
        assert get_run() is None
        alone.log({"alone": 1})
    by_id = {path.parent.name: history_of(path) for path in journals(store_root)}
    assert by_id == {
        first.id: [],
        second.id: [{"_step": 0, "second": 1}],
        third.id: [{"_step": 0, "third": 1}],
        fourth.id: [],
        fifth.id: [],
        "alone": [{"_step": 0, "alone": 1}],
    }


def test_shared_mode_adds_a_writer_to_a_run(store_root: Path) -> None:
    script = write_script(
        """
        run = art.init(project="p", id="shared", mode="shared", settings={"quiet": True, "save_code": False})
        run.log({"rank": int(sys.argv[1])})
        sys.stdin.read()
        """
    )
    processes = [subprocess.Popen(command(script, str(n)), stdin=subprocess.PIPE) for n in range(3)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    found = journals(store_root)
    assert {path.parent.name for path in found} == {"shared"}
    assert sorted(history_of(path)[0]["rank"] for path in found) == [0, 1, 2]
    assert [history_of(path)[0]["_step"] for path in found] == [0, 0, 0]


def test_disabled_costs_nothing(store_root: Path) -> None:
    with init("p", mode="disabled", config={"a": {"b": 1}}, name="n", tags=["t"]) as run:
        run.log({"x": object()})
        run.define_metric("x", summary="max")
        run.summary["best"] = 1
        run.config.c = 2
        run.tags += ("u",)
        assert run.config.as_dict() == {"a": {"b": 1}, "c": 2}
        assert run.summary.best == 1
        assert (run.name, run.tags, run.step, run.disabled) == ("n", ("t", "u"), 0, True)
        folder = Path(run.dir)
        (folder / "f").write_text("x")
    assert run.state == "finished"
    assert not folder.exists()
    assert not store_root.exists()


def test_files_may_be_kept_elsewhere(store_root: Path, tmp_path: Path) -> None:
    with init("p", dir=tmp_path / "elsewhere", settings=QUIET) as run:
        assert run.dir == str(tmp_path / "elsewhere")
    [path] = journals(store_root)
    assert info_of(path)["dir"] == run.dir


def test_artifacts_are_logged_and_used_by_the_run(store_root: Path) -> None:
    Path("data").mkdir()
    Path("data/a.txt").write_text("a")
    with init("p", settings=QUIET) as run:
        run.log({"before": 1})
        logged = run.log_artifact("data", name="digits", type="dataset", aliases=["good"])
        model = art.Artifact("model", type="model")
        model.add_file("data/a.txt")
        art.log_artifact(model)
        alone = run.log_artifact(Path("data/a.txt"))
    with init("p", settings=QUIET) as reader:
        used = reader.use_artifact("digits:good")
        assert art.use_artifact(used).digest == used.digest
        with pytest.raises(NotFoundError):
            reader.use_artifact("nothing:latest")
        with pytest.raises(NotFoundError):
            reader.log_artifact("no such file")
    assert used.digest == logged.digest
    assert alone.type == "unspecified"
    assert alone.name.startswith(f"run-{run.id}-a.txt:")
    assert logged.logged_by() == run.path
    assert reader.path in used.used_by()
    edges = [r for path in journals(store_root) for r in records_of(path) if isinstance(r, records.Edge)]
    assert sorted(edge.role for edge in edges) == ["input", "input", "output", "output", "output"]


def test_a_lock_decides_which_version_is_used(store_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from artline.artifacts.pins import Lock, pin_of, write_lock

    with init("p", settings={**QUIET, "quiet": False}) as run:
        for text in ("one", "two"):
            Path("a.txt").write_text(text)
            logged = run.log_artifact("a.txt", name="x")
            if text == "one":
                write_lock("art.lock", Lock((pin_of(logged),)))
        assert run.use_artifact("x:latest").version == "v0"
        assert run.use_artifact("x:v1").version == "v1"
    assert capsys.readouterr().err.count("x:latest is x:v0, pinned by art.lock") == 1


def test_artifacts_belong_to_the_store_of_the_run(store_root: Path, tmp_path: Path) -> None:
    Path("a.txt").write_text("a")
    with init("p", settings={**QUIET, "root": str(tmp_path / "other")}) as run:
        draft = art.Artifact("x", type="t")
        draft.add_file("a.txt")
        assert run.log_artifact(draft).version == "v0"
    assert (tmp_path / "other" / "catalog.db").exists()
    assert not store_root.exists()


def test_a_disk_that_is_full_does_not_end_the_training(store_root: Path) -> None:
    # A limit on the size of files is refused by the system just as a full disk is.
    done = run_script(
        """
        import resource
        run = art.init(project="p", settings={"flush_interval": 0.02, "console": False, "save_code": False})
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        for n in range(20_000):
            run.log({"n": n})
        assert run.summary["n"] == 19_999
        for _ in range(3):
            run._recorder.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        """
    )
    assert done.stderr.count("cannot write") == 1
    [path] = journals(store_root)
    assert [row["n"] for row in history_of(path)] == list(range(20_000))
    assert finish_of(path) == ("finished", 0)


def test_an_interactive_run_has_no_program(store_root: Path) -> None:
    code = "import artline as art; art.init(project='p').finish()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=dict(os.environ))
    [path] = journals(store_root)
    assert info_of(path)["program"] == "<python>"
