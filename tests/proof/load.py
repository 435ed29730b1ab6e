"""A training under load, to be killed at any moment: every value it logs is a number of its own.

Run it as ``python -m proof.load RUN BOARD SEED INTERVAL SECONDS``. BOARD is a file of eight bytes a number,
which outlives the process: the time (of the machine's monotonic clock) at which ``log`` had returned for it.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import random
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import artline as art
from artline.runs.run import Run

MOST = 1 << 18
KEY = "n."  # what begins so holds numbers


class Board:
    """Hands out numbers, and notes when each was logged."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "r+b")  # noqa: SIM115  (as long as the process)
        self._times = mmap.mmap(self._file.fileno(), MOST * 8)
        self._count = itertools.count()

    def take(self) -> int:
        number = next(self._count)
        if number >= MOST:
            raise StopIteration
        return number

    def logged(self, number: int) -> None:
        struct.pack_into("<d", self._times, 8 * number, time.monotonic())


def rows(run: Run, board: Board, source: random.Random) -> None:
    """One row of ten scalars."""
    n = board.take()
    run.log({"n.0": n, **{f"x{k}": source.random() for k in range(9)}})
    board.logged(n)


def steps(run: Run, board: Board, source: random.Random) -> None:
    """Three calls a step, and now and then a step that comes late."""
    n = board.take()
    run.log({f"n.{n % 3}": n}, step=n // 3)
    board.logged(n)


def commits(run: Run, board: Board, source: random.Random) -> None:
    """Rows in parts."""
    n = board.take()
    run.log({f"n.{n % 4}": n}, commit=n % 4 == 3)
    board.logged(n)


def wide(run: Run, board: Board, source: random.Random) -> None:
    """A thousand keys a row, of changing kinds."""
    n = board.take()
    values = {f"w{k}": source.random() if (n + k) % 5 else str(n) for k in range(1000)}
    run.log({"n.0": n, **values})
    board.logged(n)
    time.sleep(0.002)


def texts(run: Run, board: Board, source: random.Random) -> None:
    """Long texts in the row, and lines on the console."""
    n = board.take()
    print(f"line {n}", flush=True)
    run.log({"n.0": n, "text": "x" * source.randrange(5000)})
    board.logged(n)


def summaries(run: Run, board: Board, source: random.Random) -> None:
    """Rows between reads and writes of summary and config."""
    n = board.take()
    run.log({"n.0": n})
    board.logged(n)
    if n % 50 == 0:
        run.summary["seen"] = run.summary["n.0"]
        run.config.update({"n": n}, allow_val_change=True)


def families(run: Run, board: Board, source: random.Random) -> None:
    """Forked children that log too (which is ignored), and other programs."""
    n = board.take()
    run.log({"n.0": n})
    board.logged(n)
    if n % 200 == 0:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the warning
            with contextlib.suppress(BaseException):
                run.log({"n.0": -1})
            os._exit(0)
        os.waitpid(child, 0)
    if n % 500 == 0:
        subprocess.run(["true"], check=True)


STYLES: tuple[Callable[[Run, Board, random.Random], None], ...] = (
    rows,
    steps,
    commits,
    wide,
    texts,
    summaries,
    families,
)


def busy(stop: threading.Event) -> None:
    """Keep the interpreter, as a training does between its batches."""
    while not stop.is_set():
        sum(range(3000))


def main(arguments: list[str]) -> None:
    name, path, seed, interval, seconds = arguments
    source = random.Random(int(seed))
    board = Board(path)
    settings = {
        "flush_interval": float(interval),
        "heartbeat_interval": 0.2,
        "stats_interval": source.choice([0.1, 15.0]),
        "save_code": source.random() < 0.2,
        "quiet": True,
    }
    style = source.choice(STYLES)
    threads = source.choice([1, 1, 4]) if style in (rows, texts, wide, summaries) else 1
    stop = threading.Event()
    run = art.init(
        project="load", id=name, resume="allow", settings=settings, config={"style": style.__name__}
    )
    end = time.monotonic() + float(seconds)
    if source.random() < 0.5:
        threading.Thread(target=busy, args=(stop,), daemon=True).start()

    def work(own: random.Random) -> None:
        burst = own.choice([1, 10, 200])
        with contextlib.suppress(StopIteration):
            while time.monotonic() < end:
                for _ in range(burst):
                    style(run, board, own)
                time.sleep(own.random() * 0.02)

    workers = [threading.Thread(target=work, args=(random.Random(k),)) for k in range(threads - 1)]
    for worker in workers:
        worker.start()
    work(source)
    for worker in workers:
        worker.join()
    stop.set()
    run.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
