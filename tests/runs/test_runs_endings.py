"""Every way a process ends leaves its run in the right state, and the process with the right status."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from livescript import (
    command,
    console_of,
    finish_of,
    history_of,
    journals,
    records_of,
    run_script,
    wait_until,
    write_script,
)

BEGIN = "run = art.init(project='p', settings={'stats_interval': 60})\nrun.log({'a': 1})\n"


def only(root: Path) -> Path:
    [path] = journals(root)
    return path


@pytest.mark.parametrize(
    ("body", "code", "ending"),
    [
        ("", 0, ("finished", 0)),
        ("run.finish()", 0, ("finished", 0)),
        ("run.finish(exit_code=3)", 0, ("failed", 3)),
        ("raise ValueError('no')", 1, ("failed", 1)),
        ("sys.exit(0)", 0, ("finished", 0)),
        ("sys.exit()", 0, ("finished", 0)),
        ("sys.exit(7)", 7, ("failed", 7)),
        ("sys.exit('a reason')", 1, ("failed", 1)),
        ("try:\n    sys.exit(7)\nexcept SystemExit:\n    run.log({'a': 2})", 0, ("finished", 0)),
        ("try:\n    sys.exit(7)\nexcept SystemExit:\n    pass", 0, ("finished", 0)),
        ("try:\n    sys.exit(7)\nexcept SystemExit:\n    pass\nsys.exit(4)", 4, ("failed", 4)),
        ("exit(2)", 2, ("failed", 2)),
        ("quit()", 0, ("finished", 0)),
        ("raise KeyboardInterrupt", -2, ("killed", 130)),
        ("with run:\n    sys.exit(5)", 5, ("failed", 5)),
        ("with run:\n    raise SystemExit(5)", 5, ("failed", 5)),
        ("try:\n    with run:\n        1 / 0\nexcept ZeroDivisionError:\n    pass", 0, ("failed", 1)),
        ("with run:\n    run.log({'a': 2})", 0, ("finished", 0)),
        ("os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)", -15, ("killed", 143)),
        ("os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)", -2, ("killed", 130)),
        ("import atexit\natexit.register(exec, '1')\nraise KeyboardInterrupt", -2, ("killed", 130)),
        ("os._exit(4)", 4, None),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9, None),
        ("os.abort()", -6, None),
    ],
)
def test_an_ending_and_its_state(
    store_root: Path, body: str, code: int, ending: tuple[str, int] | None
) -> None:
    run_script(BEGIN + body, code=code)
    assert finish_of(only(store_root)) == ending


@pytest.mark.parametrize(
    ("handling", "code", "ending"),
    [("SIG_DFL", -1, ("killed", 129)), ("SIG_IGN", 0, ("finished", 0))],  # nohup ignores the signal
)
def test_a_terminal_that_goes_away_kills_unless_that_is_ignored(
    store_root: Path, handling: str, code: int, ending: tuple[str, int]
) -> None:
    setup = f"signal.signal(signal.SIGHUP, signal.{handling})\n"
    run_script(setup + BEGIN + "os.kill(os.getpid(), signal.SIGHUP)", code=code)
    assert finish_of(only(store_root)) == ending


def test_a_traceback_reaches_the_terminal_and_the_log(store_root: Path) -> None:
    done = run_script(BEGIN + "raise ValueError('the reason')", code=1)
    assert "ValueError: the reason" in done.stderr
    assert b"ValueError: the reason" in console_of(only(store_root), "stderr")


def test_a_handler_of_the_program_keeps_sigterm_for_itself(store_root: Path) -> None:
    run_script(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        + BEGIN
        + "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)",
        code=9,
    )
    assert finish_of(only(store_root)) == ("failed", 9)


def test_hooks_are_gone_when_the_run_is_over(store_root: Path) -> None:
    run_script(
        """
        before = sys.excepthook, sys.exit, signal.getsignal(signal.SIGTERM), type(exit).__call__
        run = art.init(project="p")
        assert sys.excepthook is not before[0]
        run.finish()
        after = sys.excepthook, sys.exit, signal.getsignal(signal.SIGTERM), type(exit).__call__
        assert after == before
        """
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_logging_ends_the_run_in_order(
    store_root: Path, number: signal.Signals
) -> None:
    script = write_script(
        BEGIN
        + """
print("ready", flush=True)
n = 0
while True:
    run.log({"n": n, "text": "x" * 100})
    n += 1
    if n % 100 == 0:
        run.summary["n"]
"""
    )
    process = subprocess.Popen(command(script), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    wait_until(lambda: history_of(only(store_root))[1:], "a row on disk")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number
    assert finish_of(only(store_root)) == ("killed", 128 + number)
    rows = history_of(only(store_root))[1:]
    assert [row["n"] for row in rows] == list(range(len(rows)))


def test_sigkill_loses_nothing_older_than_a_flush_interval(store_root: Path) -> None:
    script = write_script(
        """
        run = art.init(project="p", settings={"flush_interval": 0.2, "console": False})
        n = 0
        while True:
            run.log({"n": n}, step=n // 3)
            n += 1
            if n % 50 == 0:
                sys.stdout.write(f"{n} {time.monotonic()}\\n")
                sys.stdout.flush()
                time.sleep(0.002)
        """
    )
    process = subprocess.Popen(command(script), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline().split() for _ in range(300)]
    process.kill()
    rest = process.communicate(timeout=60)[0].splitlines()
    said += [line.split() for line in rest if line.count(" ") == 1]
    last = float(said[-1][1])
    acknowledged = max((int(n) for n, at in said if float(at) < last - 1.0), default=0)
    rows = history_of(only(store_root))
    values = [row["n"] for row in rows]
    assert values == sorted(set(values))
    # Values of one step overwrite each other, so of three in a row the last one stays.
    assert {n for n in range(acknowledged) if n % 3 == 2} <= set(values)
    assert finish_of(only(store_root)) is None


def test_a_row_that_waits_for_its_step_is_on_disk_soon(store_root: Path) -> None:
    script = write_script(
        """
        run = art.init(project="p", settings={"flush_interval": 0.05, "console": False})
        run.log({"epoch": 1, "loss": 0.5}, step=7)
        time.sleep(60)
        """
    )
    process = subprocess.Popen(command(script), stderr=subprocess.DEVNULL)
    wait_until(lambda: journals(store_root) and history_of(only(store_root)), "the row on disk")
    process.kill()
    process.wait(timeout=60)
    assert history_of(only(store_root)) == [{"_step": 7, "epoch": 1, "loss": 0.5}]


def test_a_forked_child_never_writes_to_its_parents_journal(store_root: Path) -> None:
    done = run_script(
        BEGIN
        + """
child = os.fork()
if child == 0:
    run.log({"from": "child"})
    run.log({"from": "child"})
    run.summary["from"] = "child"
    print("the child speaks", flush=True)
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
run.log({"a": 2})
"""
    )
    path = only(store_root)
    assert [row["a"] for row in history_of(path)] == [1, 2]
    assert finish_of(path) == ("finished", 0)
    assert done.stderr.count("forked child") == 1
    assert "the child speaks" in done.stdout
    assert b"the child speaks\n" in console_of(path)


def test_fork_while_other_threads_log(store_root: Path) -> None:
    run_script(
        """
        import threading
        run = art.init(project="p", settings={"flush_interval": 0.01})
        stop = threading.Event()
        def work(name):
            n = 0
            while not stop.is_set():
                run.log({name: n})
                n += 1
                if n % 500 == 0:
                    time.sleep(0.001)
        threads = [threading.Thread(target=work, args=(f"t{k}",)) for k in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                run.log({"child": 1})
                os._exit(0)
            os.waitpid(child, 0)
        stop.set()
        for thread in threads:
            thread.join()
        """
    )
    rows = history_of(only(store_root))
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    for name in ("t0", "t1", "t2"):
        values = [row[name] for row in rows if name in row]
        assert values == list(range(len(values)))
    assert not any("child" in row for row in rows)


def test_a_child_that_begins_its_own_run_has_its_own_journal(store_root: Path) -> None:
    run_script(
        BEGIN
        + """
child = os.fork()
if child == 0:
    mine = art.init(project="p", id="child", reinit="create_new")
    mine.log({"b": 1})
    sys.exit(0)
os.waitpid(child, 0)
"""
    )
    by_run = {path.parent.name: path for path in journals(store_root)}
    assert history_of(by_run.pop("child")) == [{"_step": 0, "b": 1}]
    [parent] = by_run.values()
    assert history_of(parent) == [{"_step": 0, "a": 1}]
    assert all(finish_of(path) == ("finished", 0) for path in journals(store_root))


def test_a_child_that_begins_its_own_run_ends_it_by_sigterm(store_root: Path) -> None:
    run_script(
        BEGIN
        + """
ready, say = os.pipe()
child = os.fork()
if child == 0:
    mine = art.init(project="p", id="child", settings={"stats_interval": 60})
    os.write(say, b"x")
    time.sleep(60)
os.read(ready, 1)
os.kill(child, signal.SIGTERM)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
"""
    )
    [path] = [path for path in journals(store_root) if path.parent.name == "child"]
    assert finish_of(path) == ("killed", 143)


def test_multiprocessing_workers_are_terminated_as_ever(store_root: Path) -> None:
    run_script(
        BEGIN
        + """
import multiprocessing
def work():
    time.sleep(60)
context = multiprocessing.get_context("fork")
worker = context.Process(target=work)
worker.start()
worker.terminate()
worker.join(30)
assert worker.exitcode == -signal.SIGTERM, worker.exitcode
"""
    )
    assert finish_of(only(store_root)) == ("finished", 0)


def test_runs_of_worker_processes_end_with_them(store_root: Path) -> None:
    run_script(
        """
        import multiprocessing
        def work(n):
            run = art.init(project="p", id=f"worker{n}", settings={"save_code": False})
            run.log({"n": n})
            if n == 2:
                raise ValueError("no")
            if n == 3:
                sys.exit(4)
        context = multiprocessing.get_context("fork")
        workers = [context.Process(target=work, args=(n,)) for n in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0, 0, 1, 4]
        """
    )
    found = {path.parent.name: path for path in journals(store_root)}
    assert [history_of(found[f"worker{n}"])[0]["n"] for n in range(4)] == [0, 1, 2, 3]
    assert [finish_of(found[f"worker{n}"]) for n in range(4)] == [
        ("finished", 0),
        ("finished", 0),
        ("failed", 1),
        ("failed", 4),
    ]


def test_the_process_is_identified_for_readers(store_root: Path) -> None:
    run_script(BEGIN + "print(os.getpid())")
    start = records_of(only(store_root))[0]
    from artline.runs.liveness import is_alive
    from artline.runs.records import Start

    assert isinstance(start, Start)
    assert start.process.host == os.uname().nodename
    assert start.process.started > 0
    assert is_alive(start.process) is False


def test_this_process_counts_as_alive() -> None:
    from artline.runs.host import describe_process
    from artline.runs.liveness import is_alive

    assert is_alive(describe_process()) is True


def test_an_impatient_second_ctrl_c_still_leaves_a_whole_journal(store_root: Path) -> None:
    done = run_script(
        """
        import threading
        run = art.init(project="p", settings={"stats_interval": 60})
        from artline.runs.run import Companion
        class Impatient(Companion):
            def stop(self, timeout):
                os.kill(os.getpid(), signal.SIGINT)
                threading.Event().wait(30)
            def abandon(self):
                pass
        run.attach(Impatient())
        run.log({"a": 1})
        raise KeyboardInterrupt
        """,
        code=-2,
    )
    assert "KeyboardInterrupt" in done.stderr
    assert history_of(only(store_root)) == [{"_step": 0, "a": 1}]
    assert finish_of(only(store_root)) == ("killed", 130)
