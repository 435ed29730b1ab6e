"""``sync`` brings runs in from this root or another, again and again, side by side, and after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rundata import DEAD, Writer

from artline.errors import NotFoundError
from artline.runs.records import Process
from artline.runs.store import RunStore
from artline.runs.sync import sync
from artline.settings import Settings


@pytest.fixture
def store(store_root: Path) -> Iterator[RunStore]:
    opened = RunStore.open(Settings(root=store_root))
    yield opened
    opened.close()


@pytest.fixture
def offline(tmp_path: Path) -> Path:
    """The root of a machine that never saw the store: a finished, a dead and a going run, with files."""
    root = tmp_path / "offline"
    for run_id, process in (("done", None), ("dead", DEAD), ("live", None)):
        writer = Writer(root, run_id, process=process)
        writer.rows({"loss": [1.0, 2.0]}, "d")
        writer.console(run_id.encode() + b"\n")
        folder = root / "runs" / "p" / run_id / "files" / "sub"
        folder.mkdir(parents=True)
        (folder / "note.txt").write_text(run_id)
        if run_id == "done":
            writer.finish()
    return root


def check_moved(store: RunStore) -> None:
    for run_id, state in (("done", "finished"), ("dead", "crashed"), ("live", "running")):
        run = store.get("p", run_id)
        assert run.state == state
        assert [row["loss"] for row in store.history(run)] == [1.0, 2.0]
        assert b"".join(piece.data for piece in store.console(run)) == run_id.encode() + b"\n"
        (file,) = store.files(run)
        assert file.name == "sub/note.txt"
        assert file.path.read_text() == run_id


def test_own_journals_are_drained(store: RunStore, store_root: Path) -> None:
    Writer(store_root, "a").finish()
    Writer(store_root, "b")
    report = sync(store)
    assert report.runs == ("local/p/a", "local/p/b")
    assert report.records == 3
    assert report.remaining == 1
    again = sync(store)
    assert (again.records, again.runs, again.remaining) == (0, (), 1)


def test_another_roots_runs_move_here(store: RunStore, offline: Path) -> None:
    report = sync(store, offline)
    assert report.runs == ("local/p/dead", "local/p/done", "local/p/live")
    assert (report.files, report.remaining) == (3, 1)
    check_moved(store)
    left = sorted(path.relative_to(offline).as_posix() for path in offline.rglob("*") if path.is_file())
    assert left == ["journal/p/live/live-1.journal", "runs/p/live/files/sub/note.txt"]
    again = sync(store, offline)
    assert (again.records, again.files, again.remaining) == (0, 0, 1)
    check_moved(store)


@pytest.mark.parametrize("part", ["journal", "journal/p", "journal/p/done", "journal/p/done/done-1.journal"])
def test_any_part_of_a_root_can_be_named(store: RunStore, offline: Path, part: str) -> None:
    sync(store, offline / part)
    assert store.get("p", "done").state == "finished"
    assert store.count("p") == (3 if part in ("journal", "journal/p") else 1)


def test_a_journal_from_another_machine_stays_until_it_is_finished(store: RunStore, tmp_path: Path) -> None:
    writer = Writer(tmp_path / "usb", process=Process(1, 1, "b", "", "far-away"), at=1000.0)
    writer.rows({"loss": [1.0]}, "d")
    os.utime(writer.path, (1000.0, 1000.0))
    assert sync(store, tmp_path / "usb").remaining == 1
    assert store.get("p", "r1").state == "crashed"
    writer.rows({"loss": [2.0]}, "d")
    writer.finish()
    assert sync(store, tmp_path / "usb").remaining == 0
    run = store.get("p", "r1")
    assert run.state == "finished"
    assert [row["loss"] for row in store.history(run)] == [1.0, 2.0]


def test_a_path_that_does_not_exist_is_named(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        sync(store, tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_runs_that_the_other_store_took_in_are_copied(
    kind: str, request: pytest.FixtureRequest, store_root: Path, tmp_path: Path
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else ""
    store = RunStore.open(Settings(root=store_root, catalog=url))
    Writer(store_root, "mine").finish()
    root = tmp_path / "laptop"
    other = RunStore.open(Settings(root=root))
    ended = Writer(root, "ended", name="n", tags=["a"], host="laptop")
    ended.config(lr=0.5)
    ended.rows({"loss": [float(at) for at in range(20_000)]}, "d")
    ended.console(b"out\n")
    ended.finish()
    going = Writer(root, "going")
    going.rows({"loss": [1.0]}, "d")
    going.console(b"one\n")
    other.ingest()
    going.rows({"loss": [2.0]}, "d")
    going.console(b"two\n")

    def contents(of: RunStore, run_id: str) -> tuple[object, ...]:
        run = of.get("p", run_id)
        output = b"".join(piece.data for piece in of.console(run))
        return (run.name, run.state, run.tags, run.config, run.summary, run.info, of.history(run), output)

    report = sync(store, root)
    assert report.runs == ("local/p/ended", "local/p/going")
    assert report.clashing == ()
    assert contents(store, "ended") == contents(other, "ended")
    assert [found.run_id for found in store.find("p", {"config.lr": 0.5, "tags": "a"}).runs] == ["ended"]
    going.finish()
    assert sync(store, root).records == 1
    other.ingest()
    assert [row["loss"] for row in store.history(store.get("p", "going"))] == [1.0, 2.0]
    assert b"".join(piece.data for piece in store.console(store.get("p", "going"))) == b"one\ntwo\n"
    assert store.get("p", "going").state == "finished"
    again = sync(store, root)
    assert (again.records, again.runs) == (0, ())
    sync(store)
    assert store.count("p") == 3
    other.close()
    store.close()


def test_a_different_run_of_the_same_id_is_named_and_left(
    store: RunStore, store_root: Path, tmp_path: Path
) -> None:
    Writer(store_root, "same", writer="here").finish()
    store.ingest()
    root = tmp_path / "laptop"
    Writer(root, "same", writer="there").finish()
    other = RunStore.open(Settings(root=root))
    other.ingest()
    assert sync(store, root).clashing == ("local/p/same",)
    other.close()


SYNC = """
    import sys
    from pathlib import Path
    from artline.runs.store import RunStore
    from artline.runs.sync import sync
    from artline.settings import Settings

    store = RunStore.open(Settings(root=Path(sys.argv[1])))
    print("ready", flush=True)
    sys.stdin.readline()
    sync(store, sys.argv[2])
    print("done", flush=True)
"""


def start_sync(store: RunStore, path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SYNC), str(store.settings.root), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_shells_sync_the_same_folder_at_once(store: RunStore, offline: Path) -> None:
    shells = [start_sync(store, offline) for _ in range(2)]
    for shell in shells:
        go(shell)
    for shell in shells:
        out, _ = shell.communicate(timeout=120)
        assert (out, shell.returncode) == ("done\n", 0)
    sync(store, offline)
    check_moved(store)


def test_a_sync_killed_midway_is_finished_by_the_next(store: RunStore, tmp_path: Path) -> None:
    root = tmp_path / "big"
    count = 60
    for number in range(count):
        writer = Writer(root, f"r{number}")
        writer.rows({"loss": [float(number)] * 50}, "d")
        writer.finish()
        folder = root / "runs" / "p" / f"r{number}" / "files"
        folder.mkdir(parents=True)
        (folder / "model.bin").write_bytes(bytes([number]) * 100_000)
    moved = store.settings.root / "runs" / "p"
    moments: list[Callable[[], bool]] = [
        lambda: not (root / "journal" / "p" / "r10" / "r10-1.journal").exists(),
        lambda: (moved / "r10" / "files" / "model.bin").exists(),
        lambda: (moved / "r40" / "files" / "model.bin").exists(),
    ]
    for moment in moments:
        shell = start_sync(store, root)
        go(shell)
        while shell.poll() is None and not moment():
            pass
        shell.send_signal(signal.SIGKILL)
        shell.communicate()
    sync(store, root)
    assert store.count("p") == count
    for number in range(count):
        run = store.get("p", f"r{number}")
        assert [row["loss"] for row in store.history(run)] == [float(number)] * 50
        (file,) = store.files(run)
        assert file.path.read_bytes() == bytes([number]) * 100_000
    assert not list((root / "journal").rglob("*.journal"))
