"""Fifty live runs of several processes, while others list them, follow one and export them."""

from __future__ import annotations

import io
import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from livescript import command, wait_until, write_script

from artline.runs.export import every_run, export_history
from artline.runs.follow import follow_output
from artline.runs.store import RunStore
from artline.settings import load_settings

PROCESSES, RUNS, ROWS = 5, 10, 60

TRAINING = f"""
settings = {{"flush_interval": 0.05, "save_code": False, "quiet": True, "stats_interval": 0.5}}
number = int(sys.argv[1])
runs = [
    art.init(
        project="p", id=f"r{{number}}-{{k}}", reinit="create_new", settings={{**settings, "console": k == 0}}
    )
    for k in range({RUNS})
]
print("begun", flush=True)
for n in range({ROWS}):
    for run in runs:
        run.log({{"n": n, "loss": 1 / (n + 1)}})
    print("line", n, flush=True)
    time.sleep(0.01)
for run in reversed(runs):
    run.finish()
"""


def test_readers_of_fifty_live_runs(store_root: Path) -> None:
    script = write_script(TRAINING)
    children = [
        subprocess.Popen(
            command(script, str(number)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for number in range(PROCESSES)
    ]
    ended = threading.Event()
    failures: list[BaseException] = []
    followed: list[bytes] = []
    exported: list[int] = []

    def reader(work: Callable[[RunStore], None]) -> threading.Thread:
        def main() -> None:
            store = RunStore(load_settings(project="p"), RunStore.open(load_settings(project="p")).catalog)
            try:
                work(store)
            except BaseException as error:  # noqa: BLE001  # told by the test
                failures.append(error)

        thread = threading.Thread(target=main)
        thread.start()
        return thread

    def listing(store: RunStore) -> None:
        while not ended.is_set():
            store.ingest()
            for run in store.find("p", limit=100).runs:
                assert run.state in ("running", "finished")
                numbers = [row["n"] for row in store.history(run, ["n"])]
                assert numbers == list(range(len(numbers)))

    def following(store: RunStore) -> None:
        while not any(run.run_id == "r0-0" for run in store.find("p", limit=100).runs):
            store.ingest()
        record = store.get("p", "r0-0")
        followed.extend(piece.data for piece in follow_output(store, record, stream="stdout", interval=0.05))

    def exporting(store: RunStore) -> None:
        while not ended.is_set():
            runs = every_run(store)
            if runs:
                file = io.BytesIO()
                report = export_history(store, runs, file, "jsonl", keys=())
                rows = [json.loads(line) for line in file.getvalue().splitlines()]
                assert len(rows) == report.rows
                exported.append(report.rows)

    def begun() -> bool:
        first = RunStore.open(load_settings())
        first.ingest()
        return first.count() > 0

    wait_until(begun, "a first run")
    readers = [reader(listing), reader(following), reader(exporting)]
    for child in children:
        assert child.communicate()[1] == ""
        assert child.returncode == 0
    ended.set()
    for thread in readers:
        thread.join()
    assert not failures, failures
    store = RunStore.open(load_settings())
    store.ingest()
    found = store.find("p", limit=100).runs
    assert len(found) == PROCESSES * RUNS
    for run in found:
        assert run.state == "finished"
        assert [row["n"] for row in store.history(run, ["n"])] == list(range(ROWS))
    lines = [line for line in b"".join(followed).split(b"\n") if line.startswith(b"line")]
    assert lines == [b"line %d" % n for n in range(ROWS)]
    assert exported == sorted(exported)
    assert not list((store_root / "journal").rglob("*.journal"))
    store.close()
