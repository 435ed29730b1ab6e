"""Trying again: how long a bucket behind a network is waited for, and how the waits grow."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TRANSIENT_STATUS", "Attempts", "Patience"]

# What HTTP answers with when the same request may succeed later; 52x and 529 are those of proxies.
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})

_FIRST = 0.1
_LONGEST = 10.0
_STRANGER = 10.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a bucket is waited for; in seconds.

    ``timeout`` is how long one request may stay silent, while connecting, sending or receiving, before it is
    given up and sent again. ``retry`` is how long failures may go on without any success in between. A bucket
    that never answered at all is given up after 10 s, as its address is likely to be wrong.
    """

    timeout: float = 30.0
    retry: float = 60.0


class Attempts:
    """The tries of one act. Waits grow exponentially with full jitter, so that clients do not march in step.

    See Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(
        self,
        patience: Patience,
        *,
        known: bool = True,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures = 0
        self._limit = patience.retry if known else min(patience.retry, _STRANGER)
        self._wait = wait
        self._clock = clock
        self._began: float | None = None
        self._row = 0

    def again(self, least: float = 0.0) -> bool:
        """Count a failure, wait, and return True; return False at once when patience has ended.

        ``least`` seconds, which the service asked for, are waited in any case.
        """
        now = self._clock()
        if self._began is None:
            self._began = now
        self.failures += 1
        ceiling = min(_LONGEST, _FIRST * 2.0**self._row)
        delay = max(min(least, _LONGEST), random.uniform(0, ceiling))
        self._row = min(self._row + 1, 16)
        left = self._limit - (now - self._began)
        if left <= 0:
            return False
        self._wait(min(delay, left))
        return True

    def progressed(self) -> None:
        """Begin to count anew: something was achieved since the last failure."""
        self._began = None
        self._row = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the first of the present row of failures."""
        return 0.0 if self._began is None else self._clock() - self._began
