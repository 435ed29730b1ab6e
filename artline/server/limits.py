"""How many requests a key may make."""

from __future__ import annotations

import threading
import time

from artline.errors import BusyError

__all__ = ["RateLimit"]


class RateLimit:
    """A bucket of tokens for each key, a minute's worth deep, in this replica. 0 allows everything."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def count(self, key: str) -> None:
        """Take a token; raise BusyError when there is none."""
        if not self._per_minute:
            return
        now = time.monotonic()
        with self._lock:
            left, at = self._left.get(key, (float(self._per_minute), now))
            left = min(self._per_minute, left + (now - at) * self._per_minute / 60)
            if left < 1:
                raise BusyError(
                    f"more than {self._per_minute:,} requests a minute with one key. Wait a moment"
                )
            self._left[key] = (left - 1, now)
            if len(self._left) > 100_000:
                self._left.clear()
