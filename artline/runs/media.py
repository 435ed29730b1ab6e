"""Media of a run: encoded and written in the background, while the row that logs them goes on.

``log`` hands media over and returns. One thread encodes them, writes each file once, under its digest, below
``media`` in the run's folder, and then lets the value follow as a row of its own at the same step. At most
``MOST_WAITING`` bytes wait (or one value, if it is larger): beyond that ``log`` waits, for as long as the
thread gets on with it, and after ``LONGEST_WAIT`` seconds without progress media are dropped with a warning.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from artline.errors import MissingExtraError, UsageError
from artline.runs import notices
from artline.runs.late import Late
from artline.runs.run import Companion
from artline.runs.values import JsonText

if TYPE_CHECKING:
    from artline.artifacts.media import Media
    from artline.runs.media_files import MediaFolder
    from artline.runs.run import Run

__all__ = ["LONGEST_WAIT", "MOST_WAITING", "LateMedia", "MediaDesk", "loggable"]

MOST_WAITING = 256 * 1024 * 1024  # bytes of media that may wait to be encoded
LONGEST_WAIT = 10.0  # seconds without progress that a caller waits for room
MOST_ITEMS = 10_000  # media in one list
KILLED_PATIENCE = 5.0  # seconds of work when the process was asked to end
OVERHEAD = 1024  # bytes that a waiting one is taken for beyond its content
RETRIES = (0.1, 1.0, 5.0)  # seconds between the attempts to write a file

_DRAWN = ("savefig", "get_figure", "tobitmap")  # figures, what is in them, PIL images
_FRAMES = ("DataFrame", "Table", "RecordBatch")


class LateMedia(Late):
    """Media in a row, alone or several of one class."""

    __slots__ = ("items", "listed")

    def __init__(self, items: list[Media], listed: bool) -> None:
        super().__init__(sum(item.held for item in items) + OVERHEAD * len(items))
        self.items: list[Media | None] = [*items]
        self.listed = listed


def loggable(key: str, value: Any) -> LateMedia | JsonText | None:
    """Return what becomes of media, or of what media are made of, in a row; None for anything else.

    Figures of matplotlib and PIL images become Image, figures of Plotly Plotly, tables of pandas, Polars and
    Arrow Table. Raises UsageError for a list of different things, MissingExtraError.
    """
    listed = isinstance(value, (list, tuple))
    if listed and not value:
        return None
    first = _media_of(value[0] if listed else value)
    if first is None:
        return None
    items = [first]
    if listed:
        if len(value) > MOST_ITEMS:
            raise UsageError(f"log: '{key}' is a list of {len(value):,} media, more than {MOST_ITEMS:,}")
        for item in value[1:]:
            media = _media_of(item)
            if type(media) is not type(first):
                raise UsageError(
                    f"log: '{key}' is a list of a {type(value[0]).__name__} and a {type(item).__name__}. "
                    "Log a list of one kind of media"
                )
            items.append(media)
    if first.record_type == "histogram":  # numbers, and at hand
        records = [_record_of(item) for item in items]
        return JsonText(json.dumps(records if listed else records[0], separators=(",", ":")))
    if first.kind == "table" and find_spec("pyarrow") is None:
        raise MissingExtraError(
            f"log: '{key}' is a table, which needs pyarrow. Install it: pip install 'artline[table]'"
        )
    for item in items:
        item.hold()
    return LateMedia(items, listed)


def _record_of(histogram: Any) -> dict[str, Any]:
    record: dict[str, Any] = histogram.to_record()
    return record


def _media_of(value: Any) -> Media | None:
    known = sys.modules.get("artline.artifacts.media.base")
    if known is not None and isinstance(value, known.Media):
        media: Media = value
        return media.snapshot() if hasattr(media, "snapshot") else media
    for kind in type(value).__mro__[:-1]:
        library = kind.__module__.partition(".")[0]
        if library in ("pandas", "polars", "pyarrow") and kind.__name__ in _FRAMES:
            from artline.artifacts.table import Table

            return Table(dataframe=value)
        if library in ("PIL", "matplotlib") and any(hasattr(value, name) for name in _DRAWN):
            from artline.artifacts.media import Image

            return Image(value)
        if library == "plotly" and hasattr(value, "to_plotly_json"):
            from artline.artifacts.media import Plotly

            return Plotly(value)
    if type(value) is type(sys) and value.__name__ == "matplotlib.pyplot":
        from artline.artifacts.media import Image

        return Image(value)
    return None


class MediaDesk(Companion):
    """Takes the media of a run in, and works them off in a thread that begins with the first of them.

    Callers hold no lock that the thread takes, so a signal handler may log media or end the run.
    """

    patience = 60.0

    def __init__(self, run: Run) -> None:
        self._run = run
        self._folder: MediaFolder | None = None
        self._waiting: deque[LateMedia] = deque()
        self._admitted = 0  # bytes ever let in; callers count them
        self._done = 0  # bytes ever worked off; the thread counts them
        self._lock = threading.RLock()  # of the callers alone
        self._bell = threading.Lock()
        self._bell.acquire()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._stuck_at = -1  # how much was done when a caller last waited in vain
        self._failing = False
        self._lost = 0
        self._told: set[str] = set()

    def take(self, values: Sequence[Late]) -> None:
        """Take media in; wait for room if there is none."""
        for value in values:
            if not isinstance(value, LateMedia) or not self._has_room(value.held):
                continue
            with self._lock:
                self._admitted += value.held
                if self._thread is None:
                    self._thread = threading.Thread(target=self._loop, name="artline-media", daemon=True)
                    self._thread.start()
            self._waiting.append(value)
            self._wake()

    def stop(self, timeout: float) -> None:
        """Work off what waits, for at most ``timeout`` seconds."""
        self._stopping = True
        self._wake()
        if self._run.state == "killed":  # whoever asks a process to end does not wait for long
            timeout = min(timeout, KILLED_PATIENCE)
        if self._thread is not None:
            self._thread.join(timeout)
            self._lost += len(self._waiting) + self._thread.is_alive()
            if self._folder is not None:
                self._folder.close()
        if self._lost:
            notices.warn(f"media: {self._lost:,} could not be written to {self._run.dir} and are lost")
            self._lost = 0

    def _has_room(self, size: int) -> bool:
        seen, since = self._done, time.monotonic()
        while True:
            waiting = self._admitted - self._done
            if waiting <= 0 or waiting + size <= MOST_WAITING:
                return True
            now = time.monotonic()
            if self._done != seen:
                seen, since = self._done, now
            elif now - since > LONGEST_WAIT or self._stuck_at == seen:
                self._stuck_at = seen
                self._lost += 1
                self._tell("room", f"nothing was written for {LONGEST_WAIT:.0f} s; what comes now is dropped")
                return False
            self._wake()
            time.sleep(0.002)

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is awake already
            self._bell.release()

    def _loop(self) -> None:
        while True:
            try:
                value = self._waiting.popleft()
            except IndexError:
                if self._stopping:
                    return
                self._bell.acquire()
                continue
            self._work_off(value)

    def _work_off(self, value: LateMedia) -> None:
        records = []
        share = value.held // len(value.items)
        kind: Any = type(value.items[0])
        for n, item in enumerate(value.items):
            assert item is not None
            try:
                records.append(self._keep(item))
            except OSError as error:
                self._lost += 1
                self._refused(error)
            except Exception as error:  # noqa: BLE001  # whatever it is, the training goes on
                self._lost += 1
                self._tell(f"{type(error).__name__}: {error}", f"one {kind.kind} cannot be kept: {error}")
            item.release()
            value.items[n] = item = None
            self._done += share
        self._done += value.held - share * len(value.items)
        if records:
            found = kind.join_records(records) if value.listed else records[0]
            text = JsonText(json.dumps(found, separators=(",", ":")))
            value.settle(text, self._run.queue.follow)

    def _keep(self, item: Media) -> dict[str, Any]:
        """Write the files of one, again if the disk refuses; raise OSError if it goes on to."""
        if self._folder is None:
            from artline.runs.media_files import MediaFolder

            self._folder = MediaFolder(self._run)
        for pause in () if self._failing or self._stopping else RETRIES:
            try:
                return _recorded(item, self._folder)
            except OSError as error:
                self._refused(error)
                time.sleep(pause)
        try:
            record = _recorded(item, self._folder)
        except OSError:
            self._failing = True
            raise
        self._failing = False
        return record

    def _refused(self, error: OSError) -> None:
        self._tell(
            "disk", f"cannot write under {self._run.dir}: {error.strerror or error}. The program goes on"
        )

    def _tell(self, what: str, text: str) -> None:
        """Warn of each kind of trouble once."""
        if what not in self._told and len(self._told) < 100:
            self._told.add(what)
            notices.warn(f"media: {text}")


def _recorded(item: Media, folder: MediaFolder) -> dict[str, Any]:
    """Write the files of one; an OSError is of the disk, UsageError of an encoder that reports one."""
    try:
        return item.to_record(folder)
    except OSError as error:
        if error.errno is None:
            raise UsageError(str(error)) from error
        raise
