"""Power failures: whatever moment of a traced workload is the last one, what was acknowledged is there."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artline.artifacts.fsck import check
from artline.artifacts.repair import repair
from artline.artifacts.retention import collect
from artline.artifacts.store import ArtifactStore
from artline.settings import load_settings
from artline.storage.content import ContentStore
from proof import workload
from proof.disk import Call, Disk, calls, record

MODES = ("nothing", "all", "some", "some", "some")


@dataclass
class Recording:
    """The calls of a workload below a root, and the states it acknowledged."""

    root: str
    prepared: dict[str, bytes]
    calls: list[Call]
    states: list[Any]

    def disk(self) -> Disk:
        disk = Disk(self.root)
        for path, data in self.prepared.items():
            disk._name(path, file := _file(data))
            disk.certain[path] = file
        for folder in {path.rpartition("/")[0] for path in self.prepared}:
            disk.folders.add(folder)
            disk.certain_folders.add(folder)
        disk.pending.clear()
        return disk


def _file(data: bytes) -> Any:
    from proof.disk import File

    return File(data)


def make(folder: Path, seed: int) -> Recording:
    """Run the workload under strace and return what it did."""
    root = folder / "traced"
    workload.prepare(root)
    prepared = {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    log = folder / "trace"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ART_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = record(
        [sys.executable, "-m", "proof.workload", str(root), str(seed), "12"], log, env=environment, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-2000:]
    states = [json.loads(line)["state"] for line in done.stdout.splitlines()]
    found = [call for call in calls(log) if str(root) in call.arguments or _is_about(call, str(root))]
    recording = Recording(str(root), prepared, found, states)
    disk = recording.disk()
    for call in found:
        disk.apply(call)
    for path in root.rglob("*"):  # the record must tell the same as the disk
        if path.is_file() and not path.name.endswith("-shm"):
            assert _whole(disk, str(path)) == path.read_bytes(), f"the record of {path} is not what is there"
    log.unlink()
    shutil.rmtree(root)
    return recording


def _is_about(call: Call, root: str) -> bool:
    if call.name in ("openat", "open", "write", "lseek"):
        return True
    return root in call.place()[1] or any(root.encode() in text for text in call.texts())


def _whole(disk: Disk, path: str) -> bytes:
    from proof.disk import _applied

    file = disk.now[path]
    return _applied(file.synced, file.pending)


def moments(recording: Recording) -> list[int]:
    """Return the places in the record behind which something has changed."""
    disk = recording.disk()
    return [index for index, call in enumerate(recording.calls, 1) if disk.apply(call)]


@dataclass(frozen=True)
class Failure:
    """The power goes behind so many calls; ``seed`` decides what of the uncertain is left in ``mode``."""

    moment: int
    mode: str
    seed: int


def choose(source: random.Random, moments: list[int], count: int) -> list[Failure]:
    """Return failures in the order of their moments."""
    chosen = [
        Failure(source.choice(moments), source.choice(MODES), source.getrandbits(32)) for _ in range(count)
    ]
    return sorted(chosen, key=lambda failure: failure.moment)


def fail(recording: Recording, failures: Iterable[Failure], target: Path) -> None:
    """Cut the power at each of these moments (in order), and check what is left in ``target``."""
    disk, done = recording.disk(), 0
    for failure in failures:
        for call in recording.calls[done : failure.moment]:
            disk.apply(call)
        done = failure.moment
        source = random.Random(failure.seed)
        disk.leave(target, source, failure.mode)
        catalog_lost = source.random() < 0.2
        if catalog_lost:
            for path in target.glob("catalog.db*"):
                path.unlink()
        try:
            verify(target, recording.states, len(disk.said), rebuild=catalog_lost)
        except Exception as error:
            raise AssertionError(f"{failure}, catalog lost: {catalog_lost}") from error


def verify(root: Path, states: list[Any], acknowledged: int, *, rebuild: bool = False) -> None:
    """Check a store against the states that were acknowledged: the last one, or the one after it."""
    from artline.storage import content

    settings = load_settings(root=root)
    if rebuild:
        ContentStore.open(settings, adopt=True)
    store = ArtifactStore.open(settings)
    try:
        if rebuild:
            result = repair(store)
            assert result.report.ok, result
        seen = workload.visible(store)
        possible = states[max(0, acknowledged - 1) : acknowledged + 1]
        assert seen in possible, f"{seen} is none of {possible}"
        report = check(store, full=True)
        assert report.ok, report
        read_everything(store, seen)
        draft = ("log", "after", {"p": 1, "q": 2})
        workload.perform(store, draft)
        collect(store, dry_run=False)
        report = check(store, full=True)
        assert report.ok, report
        read_everything(store, workload.visible(store))
    finally:
        store.catalog.close()
        content._open_stores.clear()


def read_everything(store: ArtifactStore, seen: dict[str, Any]) -> None:
    for name, versions in seen.items():
        for version, (_, _, deleted) in versions.items():
            if not deleted:
                found = store.get(f"{name}:{version}", project="p")
                found.manifest.check()
                for entry in found.files():
                    with found.open(entry.path) as stream:
                        assert found.algorithm.hash(stream.read()).hex() == entry.digest.partition(":")[2]
