"""Training goes on: full and failing disks, lost folders, clocks, forks, spawns, threads, signals."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from livescript import QUIET, command, finish_of, history_of, journals, run_script, wait_until, write_script
from services import faults

import artline as art
from artline.runs import recorder as recorder_module
from artline.runs.rows import RowQueue
from artline.runs.store import RunStore
from artline.runs.sync import sync
from artline.settings import load_settings

BEGIN = """\
settings = {"flush_interval": 0.05, "console": False, "save_code": False, "quiet": True}
run = art.init(project="p", id="r", settings=settings)
"""


def only(root: Path) -> Path:
    [path] = journals(root)
    return path


def values(path: Path, key: str) -> list[Any]:
    return [row[key] for row in history_of(path) if key in row]


def warnings(text: str) -> list[str]:
    return [line for line in text.splitlines() if "warning" in line]


# Disks


def test_a_real_disk_that_fills_up_and_gets_room_again(store_root: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    script = write_script(
        BEGIN
        + textwrap.dedent("""
        root = os.environ["ART_HOME"]
        with open(f"{root}/ballast", "wb", buffering=0) as ballast:
            try:
                while ballast.write(bytes(4096)):
                    pass
            except OSError:
                pass
        for n in range(50_000):
            run.log({"n": n, "x": n / 7})
        run._recorder.flush()
        assert run._recorder.trouble
        os.unlink(f"{root}/ballast")
        run.finish()
        import shutil
        [journal] = [e.path for f in os.scandir(f"{root}/journal/p") for e in os.scandir(f.path)]
        shutil.copy(journal, sys.argv[1])
        """)
    )
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    mount = 'mount -t tmpfs -o size=4m tmpfs "$1" && shift && exec "$@"'
    done = subprocess.run(
        [*namespace, "sh", "-c", mount, "sh", "small", *command(script, str(tmp_path / "kept.journal"))],
        cwd=tmp_path,
        env={**os.environ, "ART_HOME": str(tmp_path / "small")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert values(tmp_path / "kept.journal", "n") == list(range(50_000))
    assert len(warnings(done.stderr)) == 2  # it fails; it works again
    assert done.stderr.count("No space left") == 1


def test_what_a_full_disk_never_takes_is_brought_in_from_elsewhere(store_root: Path) -> None:
    done = run_script(
        """
        settings = {"flush_interval": 0.02, "console": False, "save_code": False, "quiet": True}
        run = art.init(project="p", id="r", settings=settings)
        run.log({"n": 0})
        run._recorder.flush()
        real = os.pwrite
        def full(fd, data, at):
            if os.readlink(f"/proc/self/fd/{fd}").startswith(os.environ["ART_HOME"]):
                raise OSError(28, "No space left on device")
            return real(fd, data, at)
        os.pwrite = full
        for n in range(1, 1000):
            run.log({"n": n})
        """
    )
    assert len(warnings(done.stderr)) == 2  # it fails; where it all is
    place = Path(done.stderr.partition("art sync ")[2].split()[0])
    store = RunStore.open(load_settings(root=store_root))
    store.ingest()
    assert store.get("p", "r").state == "crashed"
    for _ in range(2):
        sync(store, place.parent)
        run = store.get("p", "r")
        assert run.state == "finished"
        assert [row["n"] for row in store.history(run, ["n"])] == list(range(1000))
    assert not place.exists()
    place.parent.rmdir()
    store.close()


def test_a_file_system_that_turns_read_only(store_root: Path, tmp_path: Path) -> None:
    script = write_script(BEGIN + "for n in range(300):\n    run.log({'n': n})\n    time.sleep(0.002)\n")
    inject = "inject=pwrite64:error=EROFS:when=3..9"
    trace = [
        faults.strace(),
        "-f",
        "-qq",
        "-o",
        str(tmp_path / "trace"),
        "-e",
        "trace=pwrite64",
        "-e",
        inject,
    ]
    done = subprocess.run([*trace, *command(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert values(only(store_root), "n") == list(range(300))
    assert len(warnings(done.stderr)) in (0, 2), done.stderr  # it fails; it works again
    assert "Read-only file system" in (tmp_path / "trace").read_text()


def test_a_disk_that_comes_and_goes_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store_root: Path
) -> None:
    run = art.init(project="p", settings={**QUIET, "flush_interval": 60.0})
    real = os.pwrite
    for n in range(10):
        monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        run.log({"n": n})
        run._recorder.flush()
        monkeypatch.setattr(os, "pwrite", real)
        run._recorder.flush()
    run.finish()
    assert values(only(store_root), "n") == list(range(10))
    assert len(warnings(capsys.readouterr().err)) == 2


def test_a_slow_sync_holds_up_nothing_that_is_logged_meanwhile(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncing, release = threading.Event(), threading.Event()
    real = os.fsync

    def fsync(fd: int) -> None:
        syncing.set()
        release.wait(60)
        real(fd)

    monkeypatch.setattr(recorder_module, "FSYNC_INTERVAL", 0.01)
    monkeypatch.setattr(os, "fsync", fsync)
    run = art.init(project="p", settings={**QUIET, "flush_interval": 0.02})
    assert syncing.wait(60)
    run.log({"n": 1})
    wait_until(lambda: values(only(store_root), "n"), "a row on disk during a sync")
    release.set()
    run.finish()
    assert finish_of(only(store_root)) == ("finished", 0)


def test_a_sync_that_fails_aside_is_made_up_for_before_it_counts(
    store_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = threading.Event()
    synced = []
    real = os.fsync

    def fsync(fd: int) -> None:
        if threading.current_thread().name == "artline-sync":
            failed.set()
            raise OSError(5, "Input/output error")
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(recorder_module, "FSYNC_INTERVAL", 0.01)
    monkeypatch.setattr(os, "fsync", fsync)
    run = art.init(project="p", settings={**QUIET, "flush_interval": 0.02})
    assert failed.wait(60)
    run._recorder.flush()
    assert str(only(store_root)) in synced
    assert str(only(store_root).parent) in synced  # its name, and those of the folders above it
    assert str(store_root.parent) in synced
    run.finish()
    assert not warnings(capsys.readouterr().err)


# Folders


def test_the_whole_root_deleted_under_a_run(store_root: Path) -> None:
    done = run_script(
        BEGIN.replace("0.05", "60")
        + textwrap.dedent("""
        import shutil
        for n in range(100):
            run.log({"n": n})
            if n == 50:
                run._recorder.flush()
                shutil.rmtree(os.environ["ART_HOME"])
        """)
    )
    assert values(only(store_root), "n") == list(range(100))
    assert finish_of(only(store_root)) == ("finished", 0)
    assert len(warnings(done.stderr)) == 1


def test_a_root_that_is_gone_for_good_is_told_of_and_rescued(store_root: Path) -> None:
    done = run_script(
        BEGIN.replace("0.05", "60")
        + textwrap.dedent("""
        import shutil
        for n in range(100):
            run.log({"n": n})
            if n == 50:
                run._recorder.flush()
                shutil.rmtree(os.environ["ART_HOME"])
                open(os.environ["ART_HOME"], "w").close()
        """)
    )
    assert len(warnings(done.stderr)) == 2
    place = Path(done.stderr.partition("art sync ")[2].split()[0])
    assert values(place, "n") == list(range(100))
    place.unlink()
    place.parent.rmdir()


# Memory


@pytest.mark.parametrize(("outage", "rows"), [("refused", 60_000), ("hanging", 40_000)])
def test_memory_stays_bounded_while_the_store_is_away(store_root: Path, outage: str, rows: int) -> None:
    """As in hours, with limits an eighth as high: rows, output, summary and config."""
    run_script(
        f"outage, rows = {outage!r}, {rows}\n"
        + textwrap.dedent("""
        import resource, threading, time
        from artline.runs import recorder, rows as queue
        recorder.MOST_PENDING >>= 3
        queue.MOST_CELLS >>= 3
        queue.WAKE_CELLS >>= 3
        settings = {"flush_interval": 0.05, "save_code": False, "quiet": True}
        run = art.init(project="p", settings=settings)
        run.log({"n": 0})
        run._recorder.flush()
        real, back = os.pwrite, threading.Event()
        def away(fd, data, at):
            if not back.is_set():
                if outage == "refused":
                    raise OSError(5, "Input/output error")
                back.wait(60)
            return real(fd, data, at)
        os.pwrite = away
        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize() >> 20
        before = resident()
        row = {f"x{k}": k / 7 for k in range(10)}
        slowest = 0.0
        for n in range(rows):
            run.log(row)
            if n % 1000 == 0:
                print("x" * 30_000)
                begun = time.monotonic()
                run.summary[f"s{n % 100}"] = [n] * 1000
                run.config.update({"n": n, "text": "y" * 10_000}, allow_val_change=True)
                slowest = max(slowest, time.monotonic() - begun)
        grown = resident() - before
        assert grown < 100, grown
        assert slowest < 10, slowest
        back.set()
        run._recorder.flush()
        run.log({"last": 1})
        run.finish()
        print("grown by", grown, "MiB")
        """)
    )
    kept = history_of_any(only(store_root))
    assert kept[0] == {"n": 0}
    assert kept[-1] == {"last": 1}
    assert 10_000 < len(kept) < rows
    assert finish_of(only(store_root)) == ("finished", 0)


def history_of_any(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a journal although some were dropped."""
    from livescript import records_of

    from artline.runs.records import Rows

    return [
        dict(zip(record.keys, row, strict=True))
        for record in records_of(path)
        if isinstance(record, Rows) and record.stream == "history"
        for row in zip(*record.columns, strict=True)
    ]


def test_of_an_outage_the_latest_config_summary_and_notes_are_kept(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "MOST_PENDING", 1000)
    run = art.init(project="p", id="r", settings={**QUIET, "flush_interval": 60.0})
    run.config.update({"gone": 1})
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    for n in range(500):
        run.summary["n"] = n
        run.config.update({"lr": n}, allow_val_change=True)
        run.notes = f"note {n}"
        if n % 50 == 0:
            run._recorder.flush()
    assert run._recorder._writer.pending < 100_000
    monkeypatch.setattr(os, "pwrite", real)
    run.finish()
    store = RunStore.open(load_settings(root=store_root))
    store.ingest()
    found = store.get("p", "r")
    assert (found.summary["n"], found.config["lr"], found.config["gone"]) == (499, 499, 1)
    assert found.notes == "note 499"
    store.close()


def test_a_queue_that_nobody_empties_drops_samples_too() -> None:
    from artline.runs.rows import MOST_CELLS, Plan

    queue = RowQueue(lambda: None)
    plan = Plan(("a",), (float,), "system")
    plan.cells = MOST_CELLS // 10
    for n in range(100):
        queue.put_row(plan, n, (1.0,))
    assert len(queue.items) == 11
    assert queue.dropped == 89


# Clocks


@pytest.mark.parametrize("ending", ["run.finish()", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_clock_that_is_set_back_and_forth(store_root: Path, tmp_path: Path, ending: str) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    script = write_script(
        BEGIN
        + textwrap.dedent(f"""
        clock = {str(clock)!r}
        for n, jump in enumerate(["+0", "-3d", "+2d", "-400d", "+0"]):
            open(clock, "w").write(jump)
            for k in range(100):
                run.log({{"n": 100 * n + k}})
            run._recorder.flush()
        {ending}
        """)
    )
    environment = {
        "LD_PRELOAD": faults.faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",
    }
    done = subprocess.run(
        command(script), env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == (0 if "finish" in ending else -9), done.stderr
    assert not warnings(done.stderr)
    store = RunStore.open(load_settings(root=store_root))
    store.ingest()
    run = store.get("p", "r")
    assert run.state == ("finished" if "finish" in ending else "crashed")
    assert [row["n"] for row in store.history(run, ["n"])] == list(range(500))
    assert 0 <= run.runtime < (60 if "finish" in ending else 4 * 86400)
    store.close()


# Processes


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes_that_are_given_the_run(store_root: Path, method: str) -> None:
    done = run_script(
        f"METHOD = {method!r}\n"
        + textwrap.dedent("""
        import multiprocessing
        def work(run, n):
            run.log({"n": -n})
            run.log({"n": -n})
            assert run.config["lr"] == 0.5
            assert run.project == "p"
            run.finish()
            return n
        if __name__ == "__main__":
            settings = {"console": False, "save_code": False, "quiet": True}
            run = art.init(project="p", config={"lr": 0.5}, settings=settings)
            context = multiprocessing.get_context(METHOD)
            with context.Pool(2) as pool:
                jobs = [pool.apply_async(work, (run, n)) for n in range(1, 5)]
                for n in range(1000):
                    run.log({"n": n})
                assert [job.get(60) for job in jobs] == [1, 2, 3, 4]
            process = context.Process(target=work, args=(run, 9))
            process.start()
            process.join(60)
            assert process.exitcode == 0
        """)
    )
    assert values(only(store_root), "n") == list(range(1000))
    assert finish_of(only(store_root)) == ("finished", 0)
    told = warnings(done.stderr)
    assert 1 <= len(told) <= 5  # each copy that is logged to says so once
    assert all("is not recorded" in line for line in told)


def test_a_copy_of_a_run_in_its_own_process_is_the_run(store_root: Path) -> None:
    import copy
    import pickle

    run = art.init(project="p", settings=QUIET)
    assert copy.copy(run) is copy.deepcopy({"run": run})["run"] is run
    assert pickle.loads(pickle.dumps(run)) is run
    run.finish()


def test_threads_tasks_and_executors_log_at_once(store_root: Path) -> None:
    run_script(
        BEGIN
        + textwrap.dedent("""
        import asyncio, threading
        def burst(base):
            for k in range(500):
                run.log({"n": base + k})
        async def task(base):
            for k in range(500):
                run.log({"n": base + k})
                if k % 50 == 0:
                    await asyncio.sleep(0)
        async def main():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, lambda: run.log({"signal": 1}))
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.gather(
                *(task(1000 * n) for n in range(4)),
                *(asyncio.to_thread(burst, 1000 * n + 500) for n in range(4)),
                asyncio.sleep(0.05),
            )
        threads = [threading.Thread(target=burst, args=(1000 * n,)) for n in range(4, 8)]
        for thread in threads:
            thread.start()
        asyncio.run(main())
        for thread in threads:
            thread.join()
        """)
    )
    found = values(only(store_root), "n")
    expected = [1000 * n + k for n in range(4) for k in range(1000)]
    assert sorted(found) == expected + [1000 * n + k for n in range(4, 8) for k in range(500)]
    assert values(only(store_root), "signal") == [1]
    assert [row["_step"] for row in history_of(only(store_root))] == list(range(6001))


# Signals


def interrupt(call: Callable[[], None], at: int, handle: Callable[[], None]) -> bool:
    """Run ``call`` and, before its ``at``-th instruction, ``handle``; tell if it has so many."""
    left = at

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.endswith("runs/rows.py"):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                handle()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return left <= 0


@pytest.mark.parametrize("inner", [{}, {"step": 7}, {"step": 8}, {"commit": False}])
@pytest.mark.parametrize("outer", [{}, {"step": 7}, {"commit": False}])
def test_a_signal_between_any_two_instructions_of_log(outer: dict[str, Any], inner: dict[str, Any]) -> None:
    at = 0
    while True:
        at += 1
        queue = RowQueue(lambda: None, first_step=5)
        queue.log({"first": 1}, commit=False)
        more = interrupt(
            lambda queue=queue: queue.log({"outer": 2}, **outer),  # type: ignore[misc]
            at,
            lambda queue=queue: queue.log({"inner": 3}, **inner),  # type: ignore[misc]
        )
        if not more:
            break
        queue.log({"last": 4})
        queue.commit()
        found: dict[tuple[int, str], Any] = {}
        rows = 0
        for plan, step, _, row in queue.take():
            assert plan is not None
            for key, value in zip(plan.keys, row, strict=True):
                assert (step, key) not in found, f"instruction {at}: {key} is there twice"
                found[step, key] = value
                rows += 1
        assert sorted(found.values()) == [1, 2, 3, 4], f"instruction {at}: {found}"
    assert at > 50


def test_signals_that_log_and_ask_while_the_program_logs(store_root: Path) -> None:
    done = run_script(
        BEGIN
        + textwrap.dedent("""
        handled = 0
        def handle(number, frame):
            global handled
            run.log({"h": handled}, commit=handled % 2 == 0)
            handled += 1
            if handled % 20 == 0:
                assert run.summary.get("h", 0) < handled
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for n in range(3000):
            run.log({"n": n}, step=n // 2)
            if n % 100 == 0:
                run.summary.get("n")
        signal.setitimer(signal.ITIMER_REAL, 0)
        run.finish()
        print(handled)
        """)
    )
    handled = int(done.stdout)
    assert handled > 3
    assert {n for n in range(3000) if n % 2} <= set(values(only(store_root), "n"))
    assert not warnings(done.stderr)


def test_a_process_that_leaves_without_a_word_loses_nothing_older_than_an_interval(store_root: Path) -> None:
    run_script(BEGIN + "for n in range(100):\n    run.log({'n': n})\ntime.sleep(1)\nos._exit(3)\n", code=3)
    assert values(only(store_root), "n") == list(range(100))
    store = RunStore.open(load_settings(root=store_root))
    store.ingest()
    [run] = store.find("p").runs
    assert run.state == "crashed"
    store.close()
