"""Power failures while runs are logged and taken in: what was synced is there, in order, once."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from artline.errors import RunNotFoundError
from artline.runs.journal import read_journal
from artline.runs.records import Rows
from artline.runs.store import RunStore
from artline.settings import load_settings
from proof.disk import Disk, _applied, calls, record
from proof.powerloss import Failure, Recording


def make(folder: Path, seed: int) -> Recording:
    """Run the workload under strace and return what it did."""
    root, log = folder / "traced", folder / "trace"
    root.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ART_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-m", "proof.journal_work", str(root), str(seed)]
    done = record(command, log, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [
        call
        for call in calls(log)
        if call.name != "write" or call.place()[0] == 1 or str(root) in call.place()[1]
    ]
    log.unlink()
    recording = Recording(str(root), {}, found, [])
    disk = recording.disk()
    for call in found:
        disk.apply(call)
    for path in root.rglob("*.journal"):  # the record must tell the same as the disk
        file = disk.now[str(path)]
        assert _applied(file.synced, file.pending) == path.read_bytes()
    return recording


def fail(recording: Recording, failures: Iterable[Failure], target: Path) -> None:
    """Cut the power at each of these moments (in order), and check what is left in ``target``."""
    disk, done = recording.disk(), 0
    for number, failure in enumerate(failures):
        for call in recording.calls[done : failure.moment]:
            disk.apply(call)
        done = failure.moment
        place = target / str(number)  # another each time: a process knows the catalogs that it has opened
        disk.leave(place, random.Random(failure.seed), failure.mode)
        try:
            verify(place, disk)
        except Exception as error:
            raise AssertionError(f"{failure}: {disk.said}: {error!r}") from error
        shutil.rmtree(place)


def verify(root: Path, disk: Disk) -> None:
    """Take in what is left, and compare it with what was acknowledged, and with what was synced."""
    owed: dict[str, int] = {}
    ended = set()
    for line in disk.said:
        name, count, what = line.split()
        owed[name] = int(count)
        if what == "finished":
            ended.add(name)
    for path, count in _synced(disk, root / "synced").items():
        owed[path] = max(count, owed.get(path, 0))
    store = RunStore.open(load_settings(root=root))
    try:
        for _ in range(2):
            store.ingest()
        for name in ("first", "second", "third"):
            try:
                run = store.get("p", name)
            except RunNotFoundError:
                assert name not in owed, f"{name} is gone; {owed[name]} rows were safe"
                continue
            numbers = [row["n"] for row in store.history(run, ["n"])]
            assert numbers == list(range(len(numbers))), f"{name}: {numbers}"
            assert len(numbers) >= owed.get(name, 0), f"{name}: {len(numbers)} rows of {owed[name]}"
            assert run.state in ({"finished"} if name in ended else {"finished", "crashed"}), run.state
    finally:
        store.close()


def _synced(disk: Disk, scratch: Path) -> dict[str, int]:
    """Return how many rows the synced part of each journal holds whose name is certain too."""
    found = {}
    for path, file in disk.certain.items():
        folder, _, name = path.rpartition("/")
        places = disk.certain_folders
        if name.endswith(".journal") and file.synced and folder in places and disk._reached(folder, places):
            scratch.write_bytes(file.synced)
            rows = [frame.record for frame in read_journal(scratch)]
            found[folder.rpartition("/")[2]] = sum(
                len(rows.steps) for rows in rows if isinstance(rows, Rows) and rows.stream == "history"
            )
            scratch.unlink()
    return found
