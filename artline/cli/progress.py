"""A progress bar on stderr: only on a terminal, silent in a pipe."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
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
        self._lengths = [20, 10]  # of the bar itself, if there is room for one
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
            if now - self._drawn < _INTERVAL and not self._finishing():
                return
            self._drawn = now
            self._marks.append((now, self.bytes))
            while len(self._marks) > 2 and self._marks[0][0] < now - _WINDOW:
                del self._marks[0]
            line = self.line(now, self._width())
            self._stream.write(f"\r{line}\x1b[K")
            self._stream.flush()

    def measure(self, path: str) -> None:
        """Find the totals of the file or folder at ``path`` in the background."""
        if self.active:
            threading.Thread(target=self._measure, args=(path,), daemon=True).start()

    def line(self, now: float, width: int = 1000) -> str:
        """Return the text at the moment ``now``; where that is too wide, what matters least goes first."""
        texts = self._texts(now)
        text = next(texts)
        while display_width(text) >= width:
            shorter = next(texts, None)
            if shorter is None:
                return text[: max(1, width - 1)]
            text = shorter
        return text

    def _texts(self, now: float) -> Iterator[str]:
        label, total = plain(self.label), max(self.total_bytes, self.bytes) if self.total_bytes else 0
        first, before = self._marks[0] if len(self._marks) > 1 else (self._start, 0)
        rate = (self.bytes - before) / (now - first) if now > first else 0.0
        saved = self._saved() if self._saved is not None else 0
        files = count(self.files, self._noun)
        amount = [size(self.bytes)] if self.bytes else []
        lesser = {"files": files} if self.files or not self.bytes else {}
        if rate > 0:
            lesser["rate"] = f"{size(rate)}/s"
        if self._finishing():
            lesser["left"] = "finishing"
        elif rate > 0 and total > self.bytes:
            lesser["left"] = f"{duration((total - self.bytes) / rate)} left"
        if saved > 0:
            lesser["saved"] = f"{size(saved)} saved"
        if self.total_files:
            done = max(self.total_files, self.files)
            full = {"files": f"{count(self.files)} of {count(done, self._noun)}"}
            full |= {part: text for part, text in lesser.items() if part != "files"}
        else:
            full = lesser
        if total:
            ahead = [f"{size(self.bytes)} of {size(total)}"]
            while self._lengths:  # one that was too long once is not tried again: a bar should not jump
                length = self._lengths[0]
                filled = length * self.bytes // total
                bar = "█" * filled + "░" * (length - filled)
                yield f"{label} {bar} " + ", ".join([*ahead, *full.values()])
                del self._lengths[0]
            yield f"{label} " + ", ".join([*ahead, *full.values()])
            percent = f"{100 * self.bytes // total}%"
            yield f"{label} " + ", ".join([f"{percent} of {size(total)}", *lesser.values()])
            amount = [percent]
        else:
            yield f"{label} " + ", ".join([*amount, *full.values()])
        yield f"{label} " + ", ".join([*amount, *lesser.values()])
        for part in ("files", "saved", "rate", "left"):
            if lesser.pop(part, "") and (amount or lesser):
                yield f"{label} " + ", ".join([*amount, *lesser.values()])
        yield ", ".join([*amount, files][:1])

    def _finishing(self) -> bool:
        """Tell whether all was seen, and what remains is to store it."""
        return bool(self.total_bytes) and self.bytes >= self.total_bytes and self.files >= self.total_files

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return shutil.get_terminal_size().columns

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
