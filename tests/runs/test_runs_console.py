"""Console capture: the terminal sees what it saw before, and the journal has it all."""

from __future__ import annotations

import errno
import os
import pty
import signal
import subprocess
import termios
import threading
from pathlib import Path

import pytest
from livescript import (
    command,
    console_of,
    finish_of,
    journals,
    records_of,
    run_script,
    wait_until,
    write_script,
)

from artline.runs import records
from artline.runs.api import Api
from artline.settings import Settings

BEGIN = "run = art.init(project='p', settings={'quiet': True, 'stats_interval': 60})\n"


def only(root: Path) -> Path:
    [path] = journals(root)
    return path


def test_text_of_the_process_its_children_and_c_code_is_passed_on_and_kept(store_root: Path) -> None:
    script = write_script(
        BEGIN
        + """
import ctypes, subprocess
print("from python")
sys.stdout.flush()
subprocess.run(["sh", "-c", "echo from a child; echo to stderr >&2"])
libc = ctypes.CDLL(None)
libc.printf(b"from C\\n")
libc.fflush(None)
os.write(1, b"raw \\xff bytes\\r50%\\r100%\\n")
print("no newline at the end", end="")
"""
    )
    done = subprocess.run(command(script), capture_output=True, timeout=60, check=True)
    expected = b"from python\nfrom a child\nfrom C\nraw \xff bytes\r50%\r100%\nno newline at the end"
    assert done.stdout == expected
    assert done.stderr == b"to stderr\n"
    assert console_of(only(store_root)) == expected
    assert console_of(only(store_root), "stderr") == b"to stderr\n"


def test_output_before_and_after_the_run_is_passed_on_only(store_root: Path) -> None:
    done = run_script(
        """
        print("before")
        with art.init(project="p", settings={"quiet": True}):
            print("during")
        print("after")
        """
    )
    assert done.stdout == "before\nduring\nafter\n"
    assert console_of(only(store_root)) == b"during\n"


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "os.abort()"])
def test_a_sudden_death_loses_no_text(store_root: Path, end: str) -> None:
    code = {"_": 0, "k": -signal.SIGKILL, "a": -signal.SIGABRT}[end[3]]
    for _ in range(5):
        done = run_script(BEGIN + f"os.write(1, b'x' * 60_000 + b'end')\n{end}", code=code)
        assert done.stdout == "x" * 60_000 + "end"


def test_a_log_opened_for_appending_is_appended_to(store_root: Path) -> None:
    Path("log").write_text("earlier\n")
    script = write_script(BEGIN + "print('now')\nos.write(2, b'error\\n')")
    with open("log", "ab") as log:
        subprocess.run(command(script), stdout=log, stderr=log, timeout=60, check=True)
    assert sorted(Path("log").read_text().splitlines()) == ["earlier", "error", "now"]
    assert console_of(only(store_root)) == b"now\n"


def test_a_child_that_outlives_the_process_can_still_write(store_root: Path) -> None:
    done = run_script(
        BEGIN
        + """
import subprocess
child = subprocess.Popen(["sh", "-c", "read x; for i in 1 2 3; do echo late $i; done"], stdin=subprocess.PIPE)
print("the parent is done")
"""
    )
    assert done.stdout == "the parent is done\nlate 1\nlate 2\nlate 3\n"
    assert console_of(only(store_root)) == b"the parent is done\n"


def test_a_forked_child_that_outlives_a_killed_process_can_still_write(store_root: Path) -> None:
    done = run_script(
        BEGIN
        + """
ready, go = os.pipe()
if os.fork() == 0:
    os.close(go)
    os.read(ready, 1)
    os.write(1, b"y" * 300_000 + b"late")
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
""",
        code=-signal.SIGKILL,
    )
    assert done.stdout == "y" * 300_000 + "late"


def test_much_output_arrives_whole_in_bounded_memory(store_root: Path) -> None:
    script = write_script(
        BEGIN
        + """
import resource
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
line = b"0123456789abcdef" * 4096
for _ in range(1600):
    os.write(1, line)
run.finish()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 80 * 1024, grown
"""
    )
    with open("out", "wb") as out:
        subprocess.run(command(script), stdout=out, check=True, timeout=120)
    assert Path("out").stat().st_size == 1600 * 65536
    kept = sum(len(r.data) for r in records_of(only(store_root)) if isinstance(r, records.Console))
    assert kept > 10 * 65536


def test_the_descriptors_are_given_back(store_root: Path) -> None:
    run_script(
        """
        def shape():
            return [(s.st_dev, s.st_ino) for s in map(os.fstat, (1, 2))]
        def count():
            return len(os.listdir("/proc/self/fd"))
        before, fds = shape(), count()
        for _ in range(3):
            run = art.init(project="p", settings={"quiet": True})
            assert shape() != before
            run.finish()
            assert shape() == before
        assert count() <= fds + 1, (fds, count())
        """
    )


def test_a_program_that_redirects_later_keeps_its_redirection(store_root: Path) -> None:
    run_script(
        BEGIN
        + """
fd = os.open("mine.txt", os.O_WRONLY | os.O_CREAT)
os.dup2(fd, 1)
run.finish()
os.write(1, b"still mine")
"""
    )
    assert Path("mine.txt").read_bytes() == b"still mine"


def test_closed_streams_are_no_obstacle(store_root: Path) -> None:
    script = write_script("os.close(1)\nsys.stdout = None\n" + BEGIN + "os.write(2, b'heard')\n")
    done = subprocess.run(command(script), capture_output=True, timeout=60, check=True)
    assert done.stderr == b"heard"
    assert console_of(only(store_root), "stderr") == b"heard"


def test_a_reader_that_goes_away_is_met_as_without_capture(store_root: Path) -> None:
    script = write_script(
        BEGIN
        + """
try:
    while True:
        os.write(1, b"line\\n" * 1000)
except BrokenPipeError:
    run.finish(exit_code=3)
"""
    )
    with subprocess.Popen(command(script), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(timeout=60) == 0
    assert finish_of(only(store_root)) == ("failed", 3)


def test_a_resumed_run_appends_to_its_output(store_root: Path) -> None:
    for n in range(2):
        run_script(
            f"""
            run = art.init(project="p", id="r", resume="allow", settings={{"quiet": True}})
            print("attempt {n}")
            """
        )
    assert list(Api(Settings(root=store_root)).run("p/r").logs()) == ["attempt 0", "attempt 1"]


def test_capture_can_be_turned_off(store_root: Path) -> None:
    done = run_script(BEGIN + "print('x')", environment={"ART_CONSOLE": "false"})
    assert done.stdout == "x\n"
    assert console_of(only(store_root)) == b""


def read_terminal(master: int, into: bytearray) -> None:
    while True:
        try:
            data = os.read(master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return
        if not data:
            return
        into += data


def test_a_terminal_stays_a_terminal(store_root: Path) -> None:
    script = write_script(
        BEGIN
        + """
import shutil
print(sys.stdout.isatty(), os.isatty(1), os.isatty(2), os.get_terminal_size(1))
sys.stdout.write("10%\\r100%\\n")
print("\\x1b[31mred\\x1b[0m", file=sys.stderr)
"""
    )
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (33, 101))
    seen = bytearray()
    reader = threading.Thread(target=read_terminal, args=(master, seen))
    reader.start()
    process = subprocess.Popen(
        command(script), stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    assert process.wait(timeout=60) == 0
    reader.join(60)
    os.close(master)
    text = bytes(seen)
    size = b"os.terminal_size(columns=101, lines=33)"
    assert b"True True True " + size + b"\r\n10%\r100%\r\n" in text
    assert b"100%\r\n\x1b[31mred\x1b[0m\r\n" in text
    expected = b"True True True " + size + b"\n10%\r100%\n\x1b[31mred\x1b[0m\n"
    assert console_of(only(store_root)) == expected  # of one terminal both streams are one


def test_both_streams_of_a_terminal_stay_in_order(store_root: Path) -> None:
    script = write_script(BEGIN + "for n in range(500):\n    os.write(1 + n % 2, b'%d ' % n)\n")
    master, slave = pty.openpty()
    seen = bytearray()
    reader = threading.Thread(target=read_terminal, args=(master, seen))
    reader.start()
    process = subprocess.Popen(
        command(script), stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    assert process.wait(timeout=60) == 0
    reader.join(60)
    os.close(master)
    expected = b"".join(b"%d " % n for n in range(500))
    assert bytes(seen) == expected
    assert console_of(only(store_root)) == expected


def test_a_stream_that_leads_elsewhere_is_heard(store_root: Path) -> None:
    run_script(
        """
        import io
        sys.stdout = io.StringIO()
        run = art.init(project="p", settings={"quiet": True, "stats_interval": 60})
        print("as in a notebook \\ud800")
        os.write(1, b"and as outside\\n")
        run.finish()
        print("after")
        assert sys.stdout.getvalue() == "as in a notebook \\ud800\\nafter\\n"
        assert "write" not in vars(sys.stdout)
        """
    )
    assert sorted(console_of(only(store_root)).splitlines()) == [
        b"and as outside",
        b"as in a notebook \\ud800",
    ]


def test_a_death_on_a_terminal_loses_no_text(store_root: Path) -> None:
    script = write_script(BEGIN + "os.write(1, b'z' * 2000 + b'end')\nos.kill(os.getpid(), signal.SIGKILL)")
    master, slave = pty.openpty()
    seen = bytearray()
    reader = threading.Thread(target=read_terminal, args=(master, seen))
    reader.start()
    process = subprocess.Popen(
        command(script), stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    assert process.wait(timeout=60) == -signal.SIGKILL
    reader.join(60)
    os.close(master)
    assert bytes(seen) == b"z" * 2000 + b"end"


def test_ctrl_c_on_a_terminal_ends_the_run_as_killed(store_root: Path) -> None:
    script = write_script(BEGIN + "print('ready', flush=True)\ntime.sleep(60)")
    master, slave = pty.openpty()
    seen = bytearray()
    reader = threading.Thread(target=read_terminal, args=(master, seen))
    reader.start()
    # setsid -c makes the terminal the controlling one, so that the key reaches the process as a signal
    process = subprocess.Popen(
        ["setsid", "-c", "-w", *command(script)], stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    wait_until(lambda: b"ready" in seen, "the program's word")
    os.write(master, b"\x03")
    process.wait(timeout=60)
    reader.join(60)
    os.close(master)
    assert b"KeyboardInterrupt" in seen
    assert finish_of(only(store_root)) == ("killed", 130)
