"""System calls that fail: a workload goes on while every so often one of them returns an error, by strace."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artline.artifacts.fsck import check
from artline.artifacts.store import ArtifactStore
from artline.settings import load_settings
from proof import workload
from proof.powerloss import read_everything

CALLS = (
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "link",
    "unlink",
    "mkdir",
    "ftruncate",
    "write",
    "pread64",
)
ERRORS = ("EIO", "ENOSPC")


@dataclass(frozen=True)
class Fault:
    """Each thread's call of this name fails with ``error`` the ``first`` time and every ``step`` times after.

    With the error ``KILL`` the process is killed there.
    """

    call: str
    error: str
    first: int
    step: int
    seed: int

    @property
    def expression(self) -> str:
        action = "signal=KILL" if self.error == "KILL" else f"error={self.error}"
        return f"inject={self.call}:{action}:when={self.first}+{self.step}"


def choose(source: random.Random) -> Fault:
    """Return some fault."""
    error = source.choice((*ERRORS, "KILL"))
    call = source.choice(CALLS)
    if error == "ENOSPC" and call in ("pread64", "fdatasync"):
        call = "pwrite64"
    return Fault(call, error, source.randrange(1, 60), source.randrange(5, 80), source.randrange(50))


def suffer(fault: Fault, folder: Path) -> int:
    """Run a workload with a fault, check the store afterwards; return how many operations were refused."""
    root = folder / "store"
    workload.prepare(root)
    with opened(root):
        pass  # so that a migration of many steps is behind it
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ART_", "COV"))}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    strace = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={fault.call}"]
    command = [*strace, "-e", fault.expression]
    command += [sys.executable, "-m", "proof.workload", str(root), str(fault.seed), "14"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.endswith("}")]
    allowed = -9 if fault.error == "KILL" else 0
    unheard = fault.call == "write" and "OSError: [Errno" in done.stderr and "in tell" in done.stderr
    # The catalog may fail whenever it is tried, as where each opening has more calls than there are between
    # two failures; the process says so, and ends.
    ended = done.stderr.splitlines()[-1:] and done.stderr.splitlines()[-1].startswith("artline.errors.Store")
    assert done.returncode in (0, allowed) or unheard or ended, f"{fault}: {done.stderr[-3000:]}"
    for one in told:
        if one["operation"] and not one["refusal"]:
            _happened(one["operation"], one["state"])
    _check(root, told, exact=done.returncode == 0)
    return sum(bool(one["refusal"]) for one in told)


def _happened(operation: list[Any], state: dict[str, Any]) -> None:
    """Make sure that what was acknowledged is visible."""
    kind, *rest = operation
    if kind == "log":
        versions = state[rest[0]]
        assert [deleted for _, aliases, deleted in versions.values() if "latest" in aliases] == [False]
    elif kind in ("rm", "undelete"):
        assert state[rest[0]][f"v{rest[1]}"][2] is (kind == "rm"), operation
    elif kind == "alias":
        assert rest[2] in state[rest[0]][f"v{rest[1]}"][1], operation


def _check(root: Path, told: list[dict[str, Any]], *, exact: bool) -> None:
    """Check that the store is sound and takes more, and shows what was told last."""
    with opened(root) as store:
        seen = workload.visible(store)
        assert not exact or not told or seen == told[-1]["state"], (seen, told[-1]["state"])
        for _ in range(2):
            report = check(store, full=True)
            assert report.ok, report
            read_everything(store, workload.visible(store))
            workload.perform(store, ("log", "after", {"p": 1, "q": 2}))
            workload.perform(store, ("gc", True))


@contextmanager
def opened(root: Path) -> Iterator[ArtifactStore]:
    """Open a store for a moment."""
    from artline.storage import content

    store = ArtifactStore.open(load_settings(root=root))
    try:
        yield store
    finally:
        store.catalog.close()
        content._open_stores.clear()
