"""Power failures while runs are logged and taken in: what was synced is there, in order, once.

Of what was not synced, the first frames may be there.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

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
    frames = logged(recording)
    disk, done = recording.disk(), 0
    for number, failure in enumerate(failures):
        for call in recording.calls[done : failure.moment]:
            disk.apply(call)
        done = failure.moment
        place = target / str(number)  # another each time: a process knows the catalogs that it has opened
        disk.leave(place, random.Random(failure.seed), failure.mode)
        try:
            verify(place, disk, frames)
        except Exception as error:
            raise AssertionError(f"{failure}: {disk.said}: {error!r}") from error
        shutil.rmtree(place)


def logged(recording: Recording) -> dict[str, list[set[int]]]:
    """Return the numbers that each frame of rows holds, in the order of the frames, by run."""
    disk, journals = recording.disk(), {}
    for call in recording.calls:
        disk.apply(call)
        journals.update((path, file) for path, file in disk.now.items() if path.endswith(".journal"))
    with TemporaryDirectory() as scratch:
        return {
            _run_of(path): read_numbers(_applied(file.synced, file.pending), Path(scratch, "whole"))
            for path, file in journals.items()
        }


def read_numbers(content: bytes, scratch: Path) -> list[set[int]]:
    """Return the numbers in each frame of rows of a journal; ``scratch`` is where it is put to read."""
    scratch.write_bytes(content)
    found = [
        set(frame.record.columns[frame.record.keys.index("n")])
        for frame in read_journal(scratch)
        if isinstance(frame.record, Rows) and frame.record.stream == "history"
    ]
    scratch.unlink()
    return found


def verify(root: Path, disk: Disk, frames: dict[str, list[set[int]]]) -> None:
    """Take in what is left, and compare it with what was acknowledged, was synced, and was ever logged.

    A frame is there or not, and none is that follows a lost one. It holds rows of one key set, among which
    rows of others were logged: so numbers may be missing that were not safe, but no other than those of the
    frames at the end.
    """
    owed: dict[str, set[int]] = {}
    ended = set()
    for line in disk.said:
        name, count, what = line.split()
        owed[name] = set(range(int(count)))
        if what == "finished":
            ended.add(name)
    for name, numbers in _synced(disk, root / "synced").items():
        owed[name] = owed.get(name, set()) | numbers
    store = RunStore.open(load_settings(root=root))
    try:
        for _ in range(2):
            store.ingest()
        for name in ("first", "second", "third"):
            try:
                run = store.get("p", name)
            except RunNotFoundError:
                assert name not in owed, f"{name} is gone; {len(owed[name])} rows were safe"
                continue
            found = [row["n"] for row in store.history(run, ["n"])]
            assert found == sorted(set(found)), f"{name}: {found} are not in order, or not once"
            lost = sorted(owed.get(name, set()).difference(found))
            assert not lost, f"{name}: {lost} were safe, and are lost"
            possible = accumulate(frames.get(name, []), set.union, initial=set())
            assert any(numbers == set(found) for numbers in possible), f"{name}: {found} are no first frames"
            assert run.state in ({"finished"} if name in ended else {"finished", "crashed"}), run.state
    finally:
        store.close()


def _synced(disk: Disk, scratch: Path) -> dict[str, set[int]]:
    """Return the numbers that the synced part of each journal holds whose name is certain too."""
    found = {}
    for path, file in disk.certain.items():
        folder = path.rpartition("/")[0]
        places = disk.certain_folders
        if path.endswith(".journal") and file.synced and folder in places and disk._reached(folder, places):
            found[_run_of(path)] = set[int]().union(*read_numbers(file.synced, scratch))
    return found


def _run_of(path: str) -> str:
    return path.split("/")[-2]
