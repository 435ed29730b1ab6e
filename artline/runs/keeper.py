"""The keeper: a process beside a run that takes its files into the content store.

A run that saves files starts one. It is another process so that hashing, compressing and the catalog take
nothing from the training, and so that the last files are kept even when that dies: it hears of files over a
pipe, and the pipe's end is the run's end. What it cannot do now whoever reads the run does later.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artline.errors import ArtlineError, RunNotFoundError
from artline.runs.globs import find_sources, place_source
from artline.runs.run import Companion
from artline.settings import Settings

if TYPE_CHECKING:
    from artline.runs.files import Kept
    from artline.runs.store import RunStore

__all__ = ["Keeper", "main"]

INTERVAL = 10.0  # seconds between two looks at live files, at least
SHARE = 0.05  # of the time, at most, goes into looking at them and storing them
# What further versions of live files may take between them, so that a checkpoint that is written every
# minute does not fill the store: a first amount, and what is added to it per second. The last one is always
# stored.
SPARE = 64 << 20
SPARE_RATE = 64 << 10
_PROBLEMS = 20
_HIGH = 64


class Keeper(Companion):
    """The run's side of the pipe. Never blocks, never raises; ``problem`` says why when it does not work.

    As a companion it is not stopped with the others: it keeps the last files after the run has ended.
    """

    def __init__(self, settings: Settings, run_id: str, folder: Path) -> None:
        self.problem = ""
        self._pid = 0
        self._input = self._output = -1
        self._unsent = b""
        self._answer = b""
        try:
            self._start(settings)
        except (OSError, NotImplementedError) as error:
            self.problem = f"{type(error).__name__}: {error}"
            return
        given = {key: value for key, value in asdict(settings).items() if key != "sources"}
        self.send({"settings": {**given, "root": str(settings.root)}, "run": run_id, "folder": str(folder)})

    def send(self, message: dict[str, Any]) -> None:
        """Hand a message over, now or with the next one."""
        self._unsent += json.dumps(message, default=str).encode() + b"\n"
        self._push()

    def finish(self, timeout: float) -> dict[str, Any] | None:
        """Have everything kept; return what came of it, None when it takes longer and goes on by itself."""
        self.send({"end": True})
        deadline = time.monotonic() + timeout
        try:
            while not self.problem and not self._answer.endswith(b"\n"):
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._push()
                if _readable(self._output, min(left, 0.2)):
                    data = os.read(self._output, 65536)
                    if not data:
                        self.problem = "the process that keeps files ended"
                    self._answer += data
        except OSError as error:
            self.problem = str(error)
        found: dict[str, Any] | None = None
        if self._answer.endswith(b"\n"):
            found = json.loads(self._answer)
        self.close()
        if self._pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0 if found is not None else os.WNOHANG)
        return found if found is not None else {"files": 0, "size": 0, "problems": [self.problem]}

    def abandon(self) -> None:
        """In a forked child: let go of the pipe, so that it ends with the run's own process."""
        self.close()

    def close(self) -> None:
        """Let go of the pipe; the keeper goes on to keep what there is. Idempotent."""
        for fd in (self._input, self._output):
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._input = self._output = -1

    def _push(self) -> None:
        try:
            while self._unsent and self._input >= 0:
                count = os.write(self._input, self._unsent)
                self._unsent = self._unsent[count:]
        except BlockingIOError:
            pass
        except OSError as error:
            self.problem = str(error)

    def _start(self, settings: Settings) -> None:
        import fcntl

        from artline.runs.console import inheritable

        if not sys.executable:
            raise OSError("there is no Python executable to start")
        home = str(Path(__file__).parents[2])
        path = os.environ.get("PYTHONPATH")
        environment = {**os.environ, "PYTHONPATH": home if not path else f"{home}{os.pathsep}{path}"}
        fds = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in self._pipes()]
        read, write = fds
        actions: list[Any] = [
            (os.POSIX_SPAWN_DUP2, read, 0),
            (os.POSIX_SPAWN_DUP2, write, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            *((os.POSIX_SPAWN_CLOSE, fd) for fd in inheritable() if fd > 2),
        ]
        try:
            arguments = [sys.executable, "-P", "-m", "artline.runs.keeper"]
            self._pid = os.posix_spawn(
                sys.executable, arguments, environment, file_actions=actions, setsid=True
            )
        finally:
            for fd in (*fds, *self._theirs):
                os.close(fd)

    def _pipes(self) -> tuple[int, int]:
        read, self._input = os.pipe()
        self._output, write = os.pipe()
        os.set_blocking(self._input, False)
        self._theirs = (read, write)
        return self._theirs


def _readable(fd: int, seconds: float) -> bool:
    """Wait until there is something to read, or the other side has gone; any descriptor will do."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


@dataclass(frozen=True, slots=True)
class _Order:
    """What ``Run.save`` was called with: an absolute pattern, the folder names count from, a policy."""

    pattern: str
    base: str
    policy: str


class _Work:
    """The other side: hears of files, keeps them, and says in the end what came of it."""

    def __init__(self, settings: Settings, run_id: str, folder: Path) -> None:
        from artline.runs.store import RunStore

        self.store: RunStore = RunStore.open(settings)
        self.project = settings.project
        self.run_id = run_id
        self.folder = folder
        self.orders: list[_Order] = []
        self.urgent: set[str] = set()  # to be stored as they are now
        self.seen: dict[str, tuple[int, float]] = {}  # size and time of live files as stored last
        self.names: set[str] = set()
        self.size = 0
        self.problems: list[str] = []
        self.spare = float(SPARE)
        self.spare_at = time.monotonic()
        self.key = 0

    def take(self, message: dict[str, Any]) -> None:
        order = _Order(message["pattern"], message["base"], message["policy"])
        if order not in self.orders:
            self.orders.append(order)
        if order.policy != "end":
            self.urgent.update(message["names"])

    def look(self) -> None:
        """Keep what is to be kept at once, and live files that changed."""
        if not self.key and not self._find():
            return
        policies = dict.fromkeys(self._place("live"), "live")
        again = set(self.urgent)
        due = again | {name for name in policies if self._is_due(name)}
        if due:
            kept = self._keep(names=due, again=again, policies=policies)
            self.urgent &= set(kept.changing)

    def end(self) -> None:
        """Keep everything there is; the run has ended, or its process is gone."""
        self._find()
        policies = {name: policy for policy in ("end", "live") for name in self._place(policy)}
        for _ in range(20):
            if self.key and self._keep(policies=policies, again=self.urgent).complete:
                break
            time.sleep(0.5)

    def _find(self) -> bool:
        """Take in the run's journal until the catalog knows it; tell whether it does."""
        self.store.drain(self.project, self.run_id, folders=False)
        with contextlib.suppress(RunNotFoundError):
            self.key = self.store.get(self.project, self.run_id).key
        return bool(self.key)

    def _keep(self, **arguments: Any) -> Kept:
        from artline.runs.files import keep_files

        kept = keep_files(self.store, self.key, self.folder, **arguments)
        self.names.update(kept.names)
        self.size += kept.size
        self.problems += [problem for problem in kept.problems if problem not in self.problems]
        for name in kept.names:
            with contextlib.suppress(OSError):
                status = os.stat(self.folder / name)
                self.seen[name] = (status.st_size, status.st_mtime)
        return kept

    def _place(self, policy: str) -> Iterator[str]:
        """Yield the names of what matches patterns, having linked into the folder what came since."""
        for order in self.orders:
            if order.policy != policy:
                continue
            for source in find_sources(order.pattern, order.base, self.folder, self.store.settings.root):
                with contextlib.suppress(OSError):
                    place_source(source, self.folder)
                    yield source.name

    def _is_due(self, name: str) -> bool:
        try:
            status = os.stat(self.folder / name)
        except OSError:
            return False
        before = self.seen.get(name)
        if before == (status.st_size, status.st_mtime):
            return False
        now = time.monotonic()
        self.spare = min(self.spare + (now - self.spare_at) * SPARE_RATE, 1 << 40)
        self.spare_at = now
        if before is not None:
            if status.st_size > self.spare:
                return False
            self.spare -= status.st_size
        return True


def main() -> None:
    """Serve one run, until it says so or the pipe ends."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(5)
    lines = _Lines(0)
    first = lines.next(60.0)
    if not first:
        return
    given = first["settings"]
    answer: dict[str, Any] = {"files": 0, "size": 0, "problems": []}
    try:
        work = _Work(Settings(**{**given, "root": Path(given["root"])}), first["run"], Path(first["folder"]))
        try:
            _serve(work, lines)
            work.end()
        finally:
            answer = {"files": len(work.names), "size": work.size, "problems": work.problems[:_PROBLEMS]}
    except (ArtlineError, OSError) as error:
        answer["problems"].append(str(error))
    except Exception as error:  # noqa: BLE001  # said where it can be read; this process has no terminal
        answer["problems"].append(f"{type(error).__name__}: {error}")
    with contextlib.suppress(OSError):  # nobody waits any more
        os.write(1, json.dumps(answer).encode() + b"\n")


def _serve(work: _Work, lines: _Lines) -> None:
    pause = INTERVAL
    while True:
        message = lines.next(pause)
        while message:
            if "end" in message:
                return
            work.take(message)
            message = lines.next(0.0)
        if lines.ended:
            return
        begun = time.monotonic()
        work.look()
        pause = max(INTERVAL, (time.monotonic() - begun) / SHARE)
        if work.urgent:
            pause = 0.5


class _Lines:
    """Messages from a descriptor."""

    def __init__(self, fd: int) -> None:
        self.ended = False
        self._fd = fd
        self._rest = b""

    def next(self, timeout: float) -> dict[str, Any] | None:
        """Return the next message, None when there is none within ``timeout`` seconds or ever."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._rest and not self.ended:
            left = max(0.0, deadline - time.monotonic())
            if not _readable(self._fd, left):
                return None
            data = os.read(self._fd, 65536)
            self._rest += data
            self.ended = not data
        line, newline, self._rest = self._rest.partition(b"\n")
        if not newline:
            return None
        found: dict[str, Any] = json.loads(line)
        return found


if __name__ == "__main__":
    main()
