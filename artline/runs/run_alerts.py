"""Alerts: what a run has to tell a person soon."""

from __future__ import annotations

import math
import threading
import time
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from artline.errors import UsageError
from artline.runs import notices
from artline.runs.records import Alert

if TYPE_CHECKING:
    from artline.runs.recorder import Recorder
    from artline.settings import Settings

__all__ = ["AlertLevel", "RunAlerts"]

WAIT = 60.0  # seconds between two alerts of one title, unless said otherwise
LONGEST_TITLE = 64
LONGEST_TEXT = 100_000
MOST_TITLES = 1000  # remembered by when they were last sent

_lock = threading.Lock()


class AlertLevel(Enum):
    """How bad it is."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class RunAlerts:
    """The part of a run that sends alerts."""

    _alerts: dict[str, float] | None = None

    if TYPE_CHECKING:
        settings: Settings
        _recorder: Recorder

        def _writable(self, what: str) -> bool: ...

    def alert(
        self,
        title: str,
        text: str = "",
        level: AlertLevel | str | None = None,
        wait_duration: float | timedelta | None = None,
    ) -> None:
        """Tell a person something: on standard error now, and with the run for whoever reads it.

        ``level``: INFO (default), WARN or ERROR. Another alert of the same title within ``wait_duration``
        (seconds or timedelta, by default a minute) is dropped, so this may stand in a loop. A title is cut
        at 64 characters. Never waits. Raises UsageError.
        """
        title = str(title).strip()
        if not title:
            raise UsageError("alert: the title is empty. Say in a few words what happened")
        word = level.value if isinstance(level, AlertLevel) else str(level or "INFO").upper()
        if word not in AlertLevel.__members__:
            raise UsageError(f"alert: level must be INFO, WARN or ERROR, not {level!r}")
        wait = _seconds(wait_duration)
        if not self._writable("alert") or not self._due(title, wait):
            return
        shown = title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…"
        self._recorder.put(Alert(shown, str(text)[:LONGEST_TEXT], word, time.time()))
        self._recorder.wake()
        if not self.settings.quiet:
            notices.say(f"alert ({word}): {shown}{f': {text}' if text else ''}")

    def _due(self, title: str, wait: float) -> bool:
        with _lock:
            if self._alerts is None:
                self._alerts = {}
            now = time.monotonic()
            if now - self._alerts.get(title, -math.inf) < wait:
                return False
            if len(self._alerts) >= MOST_TITLES:
                del self._alerts[min(self._alerts, key=self._alerts.__getitem__)]
            self._alerts[title] = now
            return True


def _seconds(given: Any) -> float:
    if given is None:
        return WAIT
    if isinstance(given, timedelta):
        given = given.total_seconds()
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given < math.inf:
        raise UsageError(f"alert: wait_duration must be seconds from 0 on, or a timedelta, not {given!r}")
    return float(given)
