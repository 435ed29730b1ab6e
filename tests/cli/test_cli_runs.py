"""The commands about runs, on a real store."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import artline
from artline.cli.group import art

QUIET = {"console": False, "quiet": True, "save_code": False}


def call(*args: object, code: int = 0, text: str | None = None) -> Result:
    done = CliRunner().invoke(art, [str(arg) for arg in args], input=text)
    assert done.exit_code == code, (args, done.output, done.exception)
    return done


def ask(*args: object, code: int = 0) -> Any:
    """Run a command with --json; standard output must be one document and nothing else."""
    return json.loads(call(*args, "--json", code=code).stdout)


def make_run(name: str, **kwargs: Any) -> str:
    """Log a run with a hundred steps of loss and one of accuracy; return its id."""
    with artline.init(project="demo", name=name, settings=QUIET, **kwargs) as run:
        for step in range(100):
            run.log({"train/loss": 1 / (step + 1), "train/lr": 0.1})
        run.log({"val/acc": 0.9, "odd": math.nan, "note": "end"})
    # Afterwards: for files that it finds there the end of a run would take in its journal, too.
    Path(run.dir, "plots").mkdir(parents=True)
    Path(run.dir, "plots", "roc.txt").write_text("curve", encoding="utf-8")
    return run.id


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> str:
    """A finished run in project demo, which is the one set."""
    monkeypatch.setenv("ART_PROJECT", "demo")
    return make_run(
        "first", config={"lr": 0.1, "net": {"width": 8}}, tags=["base"], job_type="train", notes="n"
    )


def test_ls_filters_and_sorts(run: str) -> None:
    second = make_run("second", config={"lr": 0.01}, group="g")
    assert [r["id"] for r in ask("runs", "ls")["runs"]] == [second, run]
    assert [r["id"] for r in ask("runs", "ls", "--sort", "config.lr")["runs"]] == [second, run]
    assert [r["id"] for r in ask("runs", "ls", "--sort", "-config.lr")["runs"]] == [run, second]
    for args, expected in (
        (["--tag", "base"], run),
        (["--group", "g"], second),
        (["--job-type", "train"], run),
        (["--filter", '{"config.lr": {"$lt": 0.05}}'], second),
    ):
        assert [r["id"] for r in ask("runs", "ls", *args)["runs"]] == [expected]
    assert ask("runs", "ls", "--state", "failed")["runs"] == []
    limited = ask("runs", "ls", "--limit", "1")
    assert (len(limited["runs"]), limited["more"]) == (1, True)
    text = call("runs", "ls", "-c", "config.lr", "-c", "summary.val/acc").stdout
    assert "CONFIG.LR" in text
    assert "0.01" in text
    assert "demo" in call("runs", "ls", "-A").stdout
    call("runs", "ls", "--filter", "{", code=2)
    call("runs", "ls", "--filter", "[1]", code=2)
    call("runs", "ls", "-c", "lr", code=2)
    call("runs", "ls", "--sort", "colour", code=2)
    call("runs", "ls", "-p", "other", code=3)


def test_show(run: str) -> None:
    shown = ask("runs", "show", run)
    assert (shown["name"], shown["state"], shown["tags"], shown["notes"]) == (
        "first",
        "finished",
        ["base"],
        "n",
    )
    assert shown["config"] == {"lr": 0.1, "net.width": 8}
    assert shown["summary"]["val/acc"] == 0.9
    assert shown["summary"]["odd"] == "NaN"
    assert shown["exit_code"] == 0
    assert "python" in shown["info"]
    assert ask("runs", "show", f"demo/{run}") == ask("runs", "show", f"local/demo/{run}") == shown
    text = call("runs", "show", run).stdout
    for word in (f"local/demo/{run}", "finished", "base", "net.width", "val/acc"):
        assert word in text
    call("runs", "show", "absent", code=3)
    call("runs", "show", "a/b/c/d", code=2)
    call("runs", "show", "../x", code=2)


def test_tags_notes_and_deletion(run: str) -> None:
    assert ask("runs", "tag", run, "paper", "base")["tags"] == ["base", "paper"]
    assert ask("runs", "tag", run, "base", "--remove")["tags"] == ["paper"]
    call("runs", "note", run, "better")
    assert ask("runs", "show", run)["notes"] == "better"
    call("runs", "note", run, "-", text="from\nstdin\n")
    assert ask("runs", "show", run)["notes"] == "from\nstdin\n"
    assert "removed" in call("runs", "note", run, "").stdout
    call("runs", "rm", run)
    assert ask("runs", "ls")["runs"] == []
    assert [r["id"] for r in ask("runs", "ls", "--deleted")["runs"]] == [run]
    call("runs", "show", run, code=3)
    call("runs", "undelete", run)
    assert ask("runs", "show", run)["tags"] == ["paper"]
    call("runs", "rm", "absent", code=3)


def test_metrics_for_people_and_programs(run: str) -> None:
    found = ask("metrics", run)["metrics"]
    assert sorted(found) == ["note", "odd", "train/loss", "train/lr", "val/acc"]
    loss = found["train/loss"]
    assert (loss["count"], loss["last"], loss["min"], loss["max"]) == (100, 0.01, 0.01, 1.0)
    assert loss["values"] == [1 / (step + 1) for step in range(100)]
    assert loss["steps"] == list(range(100))
    assert found["odd"]["values"] == ["NaN"]
    assert sorted(ask("metrics", run, "train/*")["metrics"]) == ["train/loss", "train/lr"]
    text = call("metrics", run, "train/loss").stdout
    assert "█" in text
    assert "0.01" in text
    rows = list(csv.reader(io.StringIO(call("metrics", run, "train/loss", "note", "--csv").stdout)))
    assert rows[0] == ["key", "step", "time", "value"]
    assert [float(row[3]) for row in rows[1:101]] == loss["values"]
    assert rows[101][3] == "end"
    call("metrics", run, "absent", code=3)
    call("metrics", run, "--csv", "--json", code=2)
    assert ask("metrics", run, "--system")["run"] == f"local/demo/{run}"


def test_files_are_listed_and_copied(run: str, clean_environment: Path) -> None:
    listed = {f["name"]: f for f in ask("files", run)["files"]}
    assert listed["plots/roc.txt"]["size"] == 5
    assert "plots/roc.txt" in call("files", run).stdout
    call("files", run, "plots/*", "--copy", "out")
    assert (clean_environment / "out" / "plots" / "roc.txt").read_text(encoding="utf-8") == "curve"
    call("files", run, "plots/*", "--copy", "out", code=6)
    call("files", run, "*.png", code=3)


def test_export_is_exact(run: str, clean_environment: Path) -> None:
    import pyarrow.parquet as pq

    make_run("second")
    report = call("export", "-o", "all.parquet")
    assert "202 rows of 2 runs" in report.stderr
    table = pq.read_table(clean_environment / "all.parquet")
    assert table.num_rows == 202
    mine = [row for row in table.to_pylist() if row["_run"] == run]
    assert [row["train/loss"] for row in mine[:100]] == [1 / (step + 1) for step in range(100)]
    assert mine[100]["note"] == "end"
    assert math.isnan(mine[100]["odd"])
    lines = [json.loads(line) for line in call("export", run, "--format", "jsonl").stdout.splitlines()]
    assert len(lines) == 101
    assert lines[100]["odd"] == "NaN"
    assert "train/loss" not in lines[100]
    rows = list(csv.DictReader(io.StringIO(call("export", run, "-k", "train/*").stdout)))
    assert [float(row["train/loss"]) for row in rows] == [1 / (step + 1) for step in range(100)]
    assert list(rows[0]) == [
        "_run",
        "_project",
        "_name",
        "_step",
        "_timestamp",
        "_runtime",
        "train/loss",
        "train/lr",
    ]
    whole = list(csv.DictReader(io.StringIO(call("export", "--runs").stdout)))
    assert [row["name"] for row in whole] == ["first", "second"]
    assert whole[0]["config.net.width"] == "8"
    call("export", run, "-k", "absent", code=3)
    call("export", "--runs", "-k", "odd", code=2)
    call("export", "-o", "absent/x.csv", code=5)
    assert sorted(p.name for p in clean_environment.iterdir()) == ["all.parquet"]


def test_sync_takes_in_and_says_so(run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask("sync")
    assert first["runs"] == [f"local/demo/{run}"]
    assert first["records"] > 0
    assert ask("sync")["records"] == 0
    monkeypatch.setenv("ART_HOME", str(tmp_path / "elsewhere"))
    other = make_run("other")
    monkeypatch.setenv("ART_HOME", str(tmp_path / "store"))
    assert ask("sync", tmp_path / "elsewhere")["runs"] == [f"local/demo/{other}"]
    assert ask("metrics", other, "val/acc")["metrics"]["val/acc"]["last"] == 0.9
    assert "0 records" in call("sync").stdout
    call("sync", "absent", code=3)


def test_sync_leaves_a_run_whose_id_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for store in ("elsewhere", "store"):
        monkeypatch.setenv("ART_HOME", str(tmp_path / store))
        make_run(store, id="same")
        ask("sync")
    assert ask("sync", tmp_path / "elsewhere", code=6)["clashing"] == ["local/demo/same"]
    assert ask("runs", "show", "demo/same")["name"] == "store"


SCRIPT = """
import sys
import artline
run = artline.init(project="demo", id="talker", settings={"quiet": True})
for i in range(5):
    print("line", i, flush=True)
print("to stderr", file=sys.stderr, flush=True)
sys.stdin.readline()
print("last words", flush=True)
run.finish()
"""


@pytest.fixture
def talker(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """A live run that has written some lines and ends with some more when told to."""
    monkeypatch.setenv("ART_PROJECT", "demo")
    monkeypatch.setenv("ART_FLUSH_INTERVAL", "0.05")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line == "line 4\n":
            break
    yield process
    process.kill()
    process.communicate()


def follow(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "artline", "logs", "talker", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_logs_follow_a_live_run_to_its_end(talker: subprocess.Popen[str]) -> None:
    with follow("-f") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line == "to stderr\n":
                break
        assert process.poll() is None
        assert talker.stdin is not None
        talker.stdin.write("go\n")
        talker.stdin.flush()
        assert process.stdout.read() == "last words\n"
        assert process.stderr.read() == ""
        assert process.wait() == 0
    output = "".join(f"line {i}\n" for i in range(5)) + "to stderr\nlast words\n"
    assert call("logs", "talker").stdout == output
    assert call("logs", "talker", "-n", "2").stdout == "to stderr\nlast words\n"
    assert call("logs", "talker", "--stream", "stderr").stdout == "to stderr\n"
    document = ask("logs", "talker")
    assert document["state"] == "finished"
    assert "".join(piece["text"] for piece in document["output"]) == output
    call("logs", "talker", "-f", "--json", code=2)
    call("logs", "absent", code=3)


def test_logs_end_with_130_when_interrupted(talker: subprocess.Popen[str]) -> None:
    import signal

    with follow("-f") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.stderr.read() == "error: interrupted\n"


def test_status_tells_without_making_anything(store_root: Path, run: str) -> None:
    seen = ask("status")
    assert seen["settings"]["project"] == {"value": "demo", "source": "$ART_PROJECT"}
    assert seen["settings"]["mode"]["source"] == "default"
    assert seen["store"] is None
    assert seen["journals"]["journals"] == 1
    assert seen["journals"]["size"] > 0
    assert "1 waiting" in call("status").stdout
    assert ask("doctor")["ok"] is True
    assert not (store_root / "catalog.db").exists()
    ask("sync")
    seen = ask("status")
    assert seen["store"]["runs"] == 1
    assert seen["store"]["schema"] == seen["store"]["latest_schema"]
    assert seen["journals"]["journals"] == 0
    assert "1 run" in call("status").stdout


def test_status_and_doctor_without_a_store(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_CATALOG", "")
    assert ask("status")["store"] is None
    assert "no store" in call("status").stdout
    assert ask("doctor")["ok"] is True
    assert not store_root.exists()


def test_status_hides_passwords_and_says_what_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_CATALOG", "postgresql+psycopg://me:secret@127.0.0.1:1/none")
    done = call("status", code=7)
    assert done.stderr.startswith("error: ")
    assert "secret" not in done.output
    broken = {check["name"]: check for check in ask("doctor", code=1)["checks"]}
    assert broken["catalog"]["state"] == "broken"
    assert "secret" not in json.dumps(broken)


def test_doctor_finds_what_is_broken(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_root.write_text("no folder", encoding="utf-8")
    checks = {check["name"]: check for check in ask("doctor", code=1)["checks"]}
    assert checks["root"]["state"] == "broken"
    assert checks["root"]["remedy"]
    assert "broken" in call("doctor", code=1).stdout
    store_root.unlink()
    store_root.mkdir()
    (store_root / "catalog.db").write_text("no database at all, only text" * 100, encoding="utf-8")
    checks = {check["name"]: check for check in ask("doctor", code=1)["checks"]}
    assert checks["catalog"]["state"] == "broken"
    call("ls", code=4)


def test_doctor_finds_orphaned_journals(run: str, store_root: Path) -> None:
    from artline.cli.checks import check_journals
    from artline.settings import load_settings

    ask("sync")
    fresh = make_run("second")
    (journal,) = (store_root / "journal" / "demo" / fresh).glob("*.journal")
    assert check_journals(load_settings()).state == "ok"
    os.utime(journal, (1, 1))
    check = check_journals(load_settings())
    assert (check.state, check.remedy) == ("warning", "art sync")


def test_init_writes_a_project_file_once(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ask("init", "mine", "--root", "store-here")
    assert made["file"] == str(clean_environment / "art.toml")
    assert made["project"] == "mine"
    call("init", "other", code=6)
    assert 'project = "mine"' in (clean_environment / "art.toml").read_text(encoding="utf-8")
    monkeypatch.delenv("ART_HOME")
    assert ask("status")["settings"]["root"]["value"] == str(clean_environment / "store-here")
    (clean_environment / "art.toml").unlink()
    assert ask("init")["project"] == "work"
    (clean_environment / "art.toml").unlink()
    call("init", "not a name", code=2)
    assert not (clean_environment / "art.toml").exists()


def test_migrate_says_before_and_after(store_root: Path) -> None:
    would = ask("migrate", "--dry-run")
    assert would["migrated"] is False
    done = ask("migrate")
    assert done["after"] == would["after"]
    again = ask("migrate")
    assert (again["before"], again["migrated"]) == (done["after"], False)
    assert "nothing to do" in call("migrate").stdout
