"""A server process on a leash, its folder, and waiting until it answers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

LEASH = Path(__file__).with_name("leash.py")
PREFIX = "artline-test"


def missing(what: str, remedy: str) -> None:
    """Fail the test: a part that is not installed is a broken set-up, never a reason to skip."""
    pytest.fail(f"{what} is not installed. {remedy}", pytrace=False)


def short_folder(name: str) -> Path:
    """Make a folder with a short path (a Unix socket path has at most 107 bytes).

    Its name carries this process's id, so that a later session can sweep what a killed one left.
    """
    base = Path(tempfile.gettempdir())
    for old in base.glob(f"{PREFIX}-{name}-*"):
        owner = re.fullmatch(rf"{PREFIX}-{name}-(\d+)-\w+", old.name)
        if owner and not Path(f"/proc/{owner[1]}").exists() and Path("/proc/self").exists():
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{name}-{os.getpid()}-", dir=base))


class Server:
    """One running server; ``stop`` ends it and removes its folder."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        death: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self._death = death
        leash = [sys.executable, "-I", str(LEASH), str(os.getpid()), str(int(death))]
        if user is not None:
            leash += ["--user", user]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*leash, "--", *command],
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Poll until the server answers; False if it ended first, as when a port was taken."""
        deadline = time.monotonic() + seconds
        tick = threading.Event()
        while time.monotonic() < deadline:
            if ready():
                return True
            if self._process.poll() is not None:
                return False
            tick.wait(0.02)
        self.stop(keep=True)
        raise TimeoutError(f"{self._process.args!r} did not answer in {seconds} s:\n{self.tail()}")

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def stop(self, *, keep: bool = False) -> None:
        if self._process.poll() is None:
            self._process.send_signal(self._death)
        self._process.wait(timeout=30)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
