"""A progress bar on stderr: only on a terminal, silent in a pipe."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from artline.cli.output import display_width
from artline.cli.values import count, duration, plain, size

__all__ = ["Progress"]

_INTERVAL = 0.1  # seconds between two drawings
_WINDOW = 5.0  # seconds over which the rate is taken


class Progress:
    """Bytes and files done so far, their rate, the time left, and what needed no storing.

    Call it with increments ``(files, bytes)`` from any thread; ``noun`` is what is counted instead of files.
    ``saved`` is asked for the bytes that deduplication saved. Totals may be unknown, or become known while
    it runs (``measure``).
    """

    def __init__(
        self,
        label: str,
        *,
        total_files: int = 0,
        total_bytes: int = 0,
        noun: str = "file",
        saved: Callable[[], int] | None = None,
        stream: TextIO | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = label
        self.total_files = total_files
        self.total_bytes = total_bytes
        self.files = 0
        self.bytes = 0
        self._noun = noun
        self._saved = saved
        self._stream = stream or sys.stderr
        self.active = not quiet and self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._clock = clock
        self._lock = threading.Lock()
        self._marks: list[tuple[float, int]] = []
        self._drawn = -_INTERVAL
        self._start = clock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wipe the bar off the terminal; idempotent."""
        with self._lock:
            if self.active:
                self._stream.write("\r\x1b[K")
                self._stream.flush()
            self.active = False

    def __call__(self, files: int, amount: int) -> None:
        """Add to what is done, and draw where it is time to."""
        with self._lock:
            self.files += files
            self.bytes += amount
            if not self.active:
                return
            now = self._clock()
            if now - self._drawn < _INTERVAL:
                return
            self._drawn = now
            self._marks.append((now, self.bytes))
            while len(self._marks) > 2 and self._marks[0][0] < now - _WINDOW:
                del self._marks[0]
            line = self.line(now, shutil.get_terminal_size().columns)
            self._stream.write(f"\r{line}\x1b[K")
            self._stream.flush()

    def measure(self, path: str) -> None:
        """Find the totals of the file or folder at ``path`` in the background."""
        if self.active:
            threading.Thread(target=self._measure, args=(path,), daemon=True).start()

    def line(self, now: float, width: int = 1000) -> str:
        """Return the text at the moment ``now``, without its lesser parts where it is too wide."""
        first, before = self._marks[0] if len(self._marks) > 1 else (self._start, 0)
        rate = (self.bytes - before) / (now - first) if now > first else 0.0
        done = [count(self.files, self._noun)]
        if self.total_files:
            done = [f"{count(self.files)} of {count(self.total_files, self._noun)}"]
        if self.total_bytes:
            done.insert(0, f"{size(self.bytes)} of {size(self.total_bytes)}")
        elif self.bytes:
            done.insert(0, size(self.bytes))
        if rate > 0:
            done.append(f"{size(rate)}/s")
            if self.total_bytes > self.bytes:
                done.append(f"{duration((self.total_bytes - self.bytes) / rate)} left")
        saved = self._saved() if self._saved is not None else 0
        if saved > 0:
            done.append(f"{size(saved)} saved")
        for length in (20, 10, 0) if self.total_bytes else (0,):
            filled = min(length, length * self.bytes // self.total_bytes) if length else 0
            bar = "█" * filled + "░" * (length - filled) + " " if length else ""
            text = f"{plain(self.label)} {bar}" + ", ".join(done)
            if display_width(text) < width:
                return text
        while len(done) > 1 and display_width(f"{plain(self.label)} " + ", ".join(done)) >= width:
            done.pop()
        return (f"{plain(self.label)} " + ", ".join(done))[: max(1, width - 1)]

    def _measure(self, path: str) -> None:
        files = amount = 0
        folders = [path]
        while folders and self.active:
            folder = folders.pop()
            try:
                if not os.path.isdir(folder):
                    files, amount = files + 1, amount + os.stat(folder).st_size
                    continue
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        elif entry.is_file(follow_symlinks=False):
                            files, amount = files + 1, amount + entry.stat().st_size
            except OSError:
                return  # the command itself says what cannot be read; without totals there is no bar
        with self._lock:
            self.total_files, self.total_bytes = files, amount
