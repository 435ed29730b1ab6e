"""``mode="shared"``: several processes, here or on other machines, write one run and stay apart in it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from livescript import QUIET, command, write_script
from rundata import DEAD, Writer

import artline as art
from artline.errors import NotFoundError, UsageError
from artline.runs.store import RunStore
from artline.runs.sync import sync
from artline.settings import load_settings

WORKER = """
    run = art.init(project="p", id="shared", mode="shared", config={"lr": 0.1},
                   tags=["t"] if os.environ.get("RANK") == "0" else None,
                   settings={"quiet": True, "save_code": False, "stats_interval": 0.05})
    print("label", run.label, run.primary, flush=True)
    sys.stdin.readline()
    for step in range(20):
        run.log({"loss": step + run.settings.stats_interval, f"{run.label}/own": step})
    print("unfinished line of", run.label, end="", flush=True)
    while not any(getattr(companion, "_step", 0) for companion in run._companions):
        time.sleep(0.01)  # until the system was sampled
    run.finish(exit_code=int(sys.argv[1]))
    """


def start(script: Path, rank: int, code: int = 0, root: Path | None = None) -> subprocess.Popen[str]:
    import os

    environment = {**os.environ, "RANK": str(rank), **({"ART_HOME": str(root)} if root else {})}
    return subprocess.Popen(
        command(script, str(code)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def end(processes: list[subprocess.Popen[str]]) -> None:
    """Let all of them go on once each has begun its run, and wait for their ends."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("label rank_")
    for process in processes:
        process.communicate("\n", timeout=60)
        assert process.returncode == 0


def test_ranks_of_a_launcher_write_one_run_and_stay_apart(store_root: Path) -> None:
    script = write_script(WORKER)
    end([start(script, rank, code=3 if rank == 1 else 0) for rank in range(3)])
    run = art.Api().run("p/shared")
    assert (run.state, run.exit_code) == ("finished", 0)  # as rank 0 ended, whoever ended last
    assert (run.tags, run.config) == (["t"], {"lr": 0.1})
    assert run.name == RunStore.open(load_settings()).get("p", "shared").name != ""
    assert run.metadata["program"] == str(script)
    writers = {writer.label: writer for writer in run.writers()}
    assert sorted(writers) == ["rank_0", "rank_1", "rank_2"]
    assert [writers[f"rank_{n}"].state for n in range(3)] == ["finished", "failed", "finished"]
    assert len({writer.pid for writer in writers.values()}) == 3
    rows = run.history(keys=["loss"])
    assert sorted(row["_step"] for row in rows) == sorted([*range(20)] * 3)  # nobody's row is lost
    for rank in range(3):
        label = f"rank_{rank}"
        assert [row[f"{label}/own"] for row in run.history(keys=[f"{label}/own"])] == [*range(20)]
        said = [f"label {label} {rank == 0}", f"unfinished line of {label}"]
        assert list(run.logs(label=label)) == said
        assert list(run.logs(label=label, tail=1)) == said[1:]
        assert set(said) <= set(run.logs())
        own = run.system_metrics(label)
        assert own
        assert {"proc.memory.rssMB", "cpu"} <= {key for row in own for key in row}
        assert not [key for row in own for key in row if "/l:" in key]
    names = {key for row in run.system_metrics() for key in row}
    assert {f"proc.memory.rssMB/l:rank_{rank}" for rank in range(3)} <= names
    with pytest.raises(NotFoundError, match="It has: rank_0, rank_1, rank_2"):
        list(run.logs(label="rank_9"))


def test_the_console_of_one_process_on_the_command_line(store_root: Path) -> None:
    from click.testing import CliRunner

    from artline.cli.group import art as group

    first = Writer(store_root, attempt=1, process=replace(DEAD, label="a"))
    other = Writer(store_root, attempt=2, process=replace(DEAD, label="b"))
    for writer, text in ((first, b"one\n"), (other, b"two\n"), (first, b"three\n")):
        writer.console(text)
    first.finish()
    other.finish()
    for arguments in ([], ["-f"]):
        said = CliRunner().invoke(group, ["logs", "p/r1", "--label", "a", *arguments])
        assert (said.exit_code, said.output) == (0, "one\nthree\n")
    assert CliRunner().invoke(group, ["logs", "p/r1", "--label", "c"]).exit_code == 3


def test_machines_that_share_no_disk_are_brought_together(store_root: Path, tmp_path: Path) -> None:
    script = write_script(WORKER)
    other = tmp_path / "other"
    end([start(script, 0), start(script, 1, root=other)])
    sync(RunStore.open(load_settings()), other)
    run = art.Api().run("p/shared")
    assert sorted(writer.label for writer in run.writers()) == ["rank_0", "rank_1"]
    assert len(run.history(keys=["loss"])) == 40
    assert list(run.logs(label="rank_1"))[-1] == "unfinished line of rank_1"


def test_labels_by_the_names_of_wandb_and_by_rank(store_root: Path) -> None:
    shared = {**QUIET, "x_label": "node-a", "x_primary": False}
    with art.init("p", id="r", mode="shared", settings=shared) as run:
        assert (run.label, run.primary, run.settings.update_finish_state) == ("node-a", False, False)
        assert run.name
    with art.init("p", id="r", mode="shared", name="named", settings={**QUIET, "rank": 0}) as run:
        assert (run.label, run.primary, run.settings.update_finish_state) == ("rank_0", True, True)
    settings = {**QUIET, "rank": 1, "x_update_finish_state": True}
    with art.init("p", id="r", mode="shared", settings=settings) as run:
        assert (run.label, run.primary, run.settings.update_finish_state) == ("rank_1", False, True)
    found = art.Api().run("p/r")
    assert found.name == "named"
    assert [writer.label for writer in found.writers()] == ["node-a", "rank_0", "rank_1"]
    for wrong in ({"rank": -1}, {"rank": "0"}, {"label": "a/b"}, {"label": "x" * 65}):
        with pytest.raises(UsageError):
            art.init("p", mode="shared", settings={**QUIET, **wrong})


def test_the_state_is_that_of_the_processes_that_decide(store_root: Path) -> None:
    first = Writer(store_root, attempt=1, process=replace(DEAD, label="a"))
    other = Writer(store_root, attempt=2, process=replace(DEAD, label="b", decides=False))
    first.finish("failed", 3, after=5)
    other.finish("finished", 0, after=50)
    run = art.Api().run("p/r1")
    assert (run.state, run.exit_code) == ("failed", 3)
