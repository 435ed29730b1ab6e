"""Printing: tables, colours, progress, JSON."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from artline.cli.output import Column, display_width, print_fields, print_json_lists, print_table
from artline.cli.progress import Progress


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Column("NAME"), Column("SIZE", right=True)], [["数据", "1"], ["b\x1b[2J", "234"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["NAME      SIZE", "数据         1", "b\\x1b[2J   234"]
    assert {display_width(line) for line in lines} == {14}


def test_an_empty_table_speaks_on_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Column("NAME")], [], empty="nothing here")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "nothing here\n")


def test_fields_leave_out_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"name": "a", "none": None, "long name": "one\ntwo"})
    assert capsys.readouterr().out == "name       a\nlong name  one\n           two\n"


@pytest.mark.parametrize("count", [0, 1, 2, 2500])
def test_a_streamed_list_is_one_document(count: int, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    print_json_lists({"head": {"a": 1}}, {"items": ({"i": i} for i in range(count)), "more": iter([])})
    assert json.loads(capsysbinary.readouterr().out) == {
        "head": {"a": 1},
        "items": [{"i": i} for i in range(count)],
        "more": [],
    }


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_tells_bytes_files_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    now = [0.0]
    terminal = Terminal()
    bar = Progress(
        "push",
        total_files=10,
        total_bytes=100 * 1024,
        saved=lambda: 2048,
        stream=terminal,
        clock=lambda: now[0],
    )
    now[0] = 1.0
    bar(1, 10 * 1024)
    assert (
        bar.line(1.0)
        == "push ██"
        + "░" * 18
        + " 10.0 KiB of 100.0 KiB, 1 of 10 files, 10.0 KiB/s, 9.0s left, 2.0 KiB saved"
    )
    drawn = terminal.getvalue()
    bar(1, 1)
    assert terminal.getvalue() == drawn  # too soon to draw again
    bar(8, 90 * 1024 - 1)
    assert "100.0 KiB of 100.0 KiB, 10 of 10 files, finishing" in terminal.getvalue()
    with bar:
        pass
    assert terminal.getvalue().endswith("\r\x1b[K")
    bar(1, 1)
    assert terminal.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_a_bar_fits_its_terminal(width: int) -> None:
    bar = Progress("push data", total_files=10, total_bytes=10**9, stream=Terminal(), clock=lambda: 0.0)
    bar.bytes = 5 * 10**8
    assert display_width(bar.line(2.0, width)) < width
    assert ("█" in bar.line(2.0, width)) == (width > 80)


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (
            120,
            "push data ██████████░░░░░░░░░░ 476.8 MiB of 953.7 MiB, 3 of 10 files, 238.4 MiB/s, 2.0s left, "
            "4.0 MiB saved",
        ),
        (95, "push data 476.8 MiB of 953.7 MiB, 3 of 10 files, 238.4 MiB/s, 2.0s left, 4.0 MiB saved"),
        (80, "push data 50% of 953.7 MiB, 3 files, 238.4 MiB/s, 2.0s left, 4.0 MiB saved"),
        (65, "push data 50%, 3 files, 238.4 MiB/s, 2.0s left, 4.0 MiB saved"),
        (60, "push data 50%, 238.4 MiB/s, 2.0s left, 4.0 MiB saved"),
        (40, "push data 50%, 238.4 MiB/s, 2.0s left"),
        (30, "push data 50%, 2.0s left"),
        (15, "push data 50%"),
        (10, "50%"),
        (3, "50"),
    ],
)
def test_a_narrow_bar_tells_what_matters_most(width: int, text: str) -> None:
    bar = Progress(
        "push data",
        total_files=10,
        total_bytes=10**9,
        saved=lambda: 4 << 20,
        stream=Terminal(),
        clock=lambda: 0.0,
    )
    bar.files, bar.bytes = 3, 5 * 10**8
    assert bar.line(2.0, width) == text


def test_more_than_was_measured_is_no_more_than_all() -> None:
    bar = Progress("push", total_files=1, total_bytes=1024, stream=Terminal(), clock=lambda: 0.0)
    bar.files, bar.bytes = 2, 2048
    assert bar.line(0.0) == "push " + "█" * 20 + " 2.0 KiB of 2.0 KiB, 2 of 2 files, finishing"


def test_a_bar_is_silent_in_a_pipe_and_when_quiet() -> None:
    for stream, quiet in ((io.StringIO(), False), (Terminal(), True)):
        with Progress("pull", stream=stream, quiet=quiet) as bar:
            bar(1, 1)
        assert stream.getvalue() == ""


def on_a_terminal(*args: str, **environment: str) -> bytes:
    """Run art with stdout and stderr on a pseudo-terminal and return what it wrote there."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "artline", *args],
        stdout=side, stderr=side, env={**os.environ, "TERM": "xterm", **environment},
    )  # fmt: skip
    os.close(side)
    written = b""
    while True:
        try:
            block = os.read(main, 65536)
        except OSError:  # Linux reports the closed other end so
            break
        if not block:
            break
        written += block
    os.close(main)
    assert process.wait() == 0
    return written


def test_colour_and_progress_on_a_terminal_only(clean_environment: Path) -> None:
    Path("data").mkdir()
    for i in range(3):
        Path("data", f"{i}.txt").write_text(str(i), encoding="utf-8")
    assert b"push digits" in on_a_terminal("push", "data", "digits")
    assert b"\x1b[2m" in on_a_terminal("ls")
    assert b"\x1b[" not in on_a_terminal("ls", NO_COLOR="1")
    done = subprocess.run(
        [sys.executable, "-m", "artline", "ls"],
        capture_output=True,
        env={**os.environ, "TERM": "xterm"},
        check=True,
    )
    assert b"\x1b" not in done.stdout
    assert done.stderr == b""


def test_a_reader_that_stops_early_is_no_error(clean_environment: Path) -> None:
    Path("data").mkdir()
    for i in range(3000):
        Path("data", f"file-{i:04}.txt").write_text("x", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "artline", "push", "data", "many"], check=True, capture_output=True)
    for args in (["ls", "many:v0"], ["ls", "many:v0", "--json"]):
        with subprocess.Popen(
            [sys.executable, "-m", "artline", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(10)
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait() == 0
