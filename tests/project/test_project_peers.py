"""The comparison with other tools: what it measures, what it checks, and what it says when a tool fails."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.bench import Bench
from benchmarks.peers.compare import compare
from benchmarks.peers.comparison import Column, Comparison, Kind
from benchmarks.peers.drivers import check
from benchmarks.peers.drivers.wandb import records
from benchmarks.peers.environments import PINNED, Environment, UnavailableError, brief, environment
from benchmarks.peers.file_rows import compare_files
from benchmarks.peers.log_rows import extrapolated
from benchmarks.peers.measure import Measured, measure
from benchmarks.peers.page import markdown, part, text, write_part
from benchmarks.peers.tools import Copy, Place

CHECKOUT = Path(__file__).parents[2]
VARIABLES = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "bench"
    folder.mkdir()
    return folder


def test_artline_and_the_floors_fill_every_row(work: Path, tmp_path: Path) -> None:
    tables = compare(
        Bench(work, repeat=1, scale=0.001), [], ("small", "large", "insert", "log"), tmp_path / "peers"
    )
    files, logging = tables
    assert [column.problem for table in tables for column in table.columns] == [""] * 4
    ours = next(column for column in files.columns if column.name == "artline")
    assert all(files.median(ours, kind) is not None for kind in files.kinds)
    kept = files.figures["artline", "small-stored"][0]
    assert 20 * 8192 / (1 << 20) <= kept < 3
    assert 1 <= files.figures["artline", "insert"][0] <= 8
    ours = next(column for column in logging.columns if column.name == "artline")
    assert all(logging.median(ours, kind) is not None for kind in logging.kinds)
    assert not list(work.iterdir())
    shown = text(tables)
    assert "put 20 × 8 KiB, s" in shown
    assert "floor: numbers packed into a file" in shown


def test_a_tool_that_cannot_be_installed_is_named_with_the_reason(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "cp", "env", "id"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(programs))  # no restic, and no apt-get to install it with
    (table,) = compare(Bench(work, repeat=1, scale=0.001), ["restic"], ("insert",), tmp_path / "peers")
    (missing,) = (column for column in table.columns if column.problem)
    assert missing.name == "restic"
    assert missing.problem.startswith("not installed: Missing: restic (the names of Debian packages)")
    assert "- restic: **not measured, or not to the end**: not installed" in markdown(
        [table], 1, "2026-11-23", 0.0
    )


class Forgetful(Copy):
    def get(self, place: Place, source: Path, target: Path) -> Measured:
        done = super().get(place, source, target)
        next(path for path in target.rglob("*") if path.is_file()).unlink()
        return done


class Careless(Copy):
    def get(self, place: Place, source: Path, target: Path) -> Measured:
        done = super().get(place, source, target)
        path = max(path for path in target.rglob("*") if path.is_file())
        path.write_bytes(path.read_bytes()[::-1])
        return done


class Idle(Copy):
    def put(self, place: Place, source: Path) -> Measured:
        return place.run(["true"])


class Broken(Copy):
    def put(self, place: Place, source: Path) -> Measured:
        return place.run(["sh", "-c", "echo 'Error: no room in /secret/place/store' >&2; exit 3"])


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (Forgetful, "of 200 files it brought back 199"),
        (Careless, "with other bytes"),
        (Idle, "of 1,638,400 bytes it kept 0"),
        (Broken, "ended with 3: Error: no room in …/store"),
    ],
)
def test_a_tool_that_did_not_do_the_work_gets_no_figure(work: Path, kind: type[Copy], problem: str) -> None:
    column = Column("it")
    table = compare_files(
        Bench(work, repeat=1, scale=0.001), [(column, kind(environment("cp", work)))], ["small"]
    )
    assert problem in column.problem
    assert table.figures == {}
    assert not list(work.iterdir())


def test_the_memory_of_all_processes_counts(tmp_path: Path) -> None:
    hold = "data = bytearray(80 << 20); print('held', flush=True); input()"
    script = f"""
import subprocess, sys, threading
child = subprocess.Popen([sys.executable, "-c", {hold!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
data = bytearray(80 << 20)
threading.Event().wait(0.5)
child.communicate(b"\\n")
print('{{"run": "x"}}')
print("bye")
"""
    done = measure([["true"], [sys.executable, "-c", script]], tmp_path, VARIABLES, 60)
    assert done.peak_mib is not None
    assert done.peak_mib > 160
    assert done.told == {"run": "x"}


def test_a_command_that_does_not_end_is_ended(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="was ended after 1 s"):
        measure([["sh", "-c", "cat /dev/zero > /dev/null & wait"]], tmp_path, VARIABLES, 1)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "one\nERROR: No matching distribution found for x\nHint: look",
            "ERROR: No matching distribution found for x",
        ),
        ("ERROR: HTTPSConnectionPool(host='a.b', port=443): down", "ERROR: HTTPSConnectionPool(…): down"),
        ("fatal: see https://a.b/c now", "fatal: see … now"),
        ("Traceback:\nValueError: /a/b/c/file is bad", "ValueError: …/file is bad"),
        ("", "it said nothing"),
        ("just words", "just words"),
    ],
)
def test_a_reason_is_one_line_without_addresses_and_folders(said: str, told: str) -> None:
    assert brief(said) == told


APART = ("dvc", "boto3")  # a command, and what the group `remote` is compared with


@pytest.mark.parametrize("name", PINNED)
def test_every_library_is_pinned_with_all_it_needs(name: str) -> None:
    lines = (CHECKOUT / "benchmarks" / "peers" / f"{name}.txt").read_text().splitlines()
    assert all(re.match(r"[a-z0-9.\[\]_-]+==\S+( ; .+)?$", line) for line in lines)
    assert any(line.startswith(f"{name}==") for line in lines)
    assert (CHECKOUT / "benchmarks" / "peers" / "drivers" / f"{name}.py").exists() or name in APART


def sample() -> Comparison:
    table = Comparison("logging", [Kind("mean", "mean", "µs"), Kind("process", "in all", "s")])
    one, other = Column("one", version="1.0"), Column("other", how="offline", problem="it broke")
    table.columns += [one, other]
    for figure in (3.0, 1.0, 200.0):
        table.add(one, mean=figure, process=None)
    table.add(one, process=41.0)
    table.extrapolated.add(("one", "process"))
    return table


def test_the_page_shows_medians_and_what_is_missing() -> None:
    page = markdown([sample()], 3, "2026-11-23", 1.0)
    assert "| one 1.0 | 3.00 | ≈ 41.0 |" in page
    assert "| other, offline | – | – |" in page
    assert "- other, offline: **not measured, or not to the end**: it broke" in page
    assert sample().document()["figures"][0]["taken"] == [3.0, 1.0, 200.0]


def test_each_part_of_the_page_is_written_alone(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n\nOurs.\n")
    assert part(page) == ""
    write_part(page, markdown([sample()], 3, "2026-11-22", 1.0))
    written = markdown([sample()], 3, "2026-11-23", 1.0)
    write_part(page, written)
    assert page.read_text() == f"# Benchmarks\n\nOurs.\n\n{written}"
    assert part(page) == written


@pytest.mark.parametrize(
    "arguments", [["--peers", "--full"], ["--peers", "--only", "import"], ["--peers", "cvs"]]
)
def test_what_cannot_be_compared_is_refused(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--peers" in done.stderr


def test_fewer_calls_scale_the_loop_and_not_the_start() -> None:
    assert extrapolated(process=5.0, short=3.0, times=10) == 23.0
    assert extrapolated(process=2.9, short=3.0, times=10) == 3.0


def test_values_that_were_not_kept_are_told() -> None:
    assert check([3.0, 3.5], "2") == {"values": 2}
    for values in ([3.0], [3.0, 4.0]):
        with pytest.raises(SystemExit):
            check(values, "2")


@given(st.lists(st.binary(max_size=100_000), max_size=5))
def test_records_are_read_across_blocks(written: list[bytes]) -> None:
    data = bytearray(b":W&B\0\0\0")
    for record in written:
        first, left = True, record
        while first or left:
            room = 32768 - len(data) % 32768
            if room < 7:
                data += bytes(room)
                continue
            piece, left = left[: room - 7], left[room - 7 :]
            kind = (1 if first else 4) if not left else (2 if first else 3)
            data += struct.pack("<IHB", 0, len(piece), kind) + piece
            first = False
    assert list(records(bytes(data))) == written


def test_a_copy_is_a_tool_of_this_machine(tmp_path: Path) -> None:
    found = environment("cp", tmp_path)
    assert isinstance(found, Environment)
    assert Path(found.program("cp")).exists()
