"""Counts of this replica in the text form that Prometheus reads."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict

__all__ = ["Counts"]

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds


class Counts:
    """Requests by route and status with their durations, and totals of what was taken in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._seconds: dict[tuple[str, str], float] = defaultdict(float)
        self._totals: dict[str, int] = defaultdict(int)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        with self._lock:
            self._requests[method, route, status] += 1
            buckets = self._buckets.setdefault((method, route), [0] * (len(_BOUNDS) + 1))
            buckets[bisect_left(_BOUNDS, seconds)] += 1
            self._seconds[method, route] += seconds

    def add(self, name: str, number: int) -> None:
        """Add to a total, such as ``journal_bytes``."""
        with self._lock:
            self._totals[name] += number

    def text(self) -> str:
        """Return everything counted since this replica started."""
        lines = ["# TYPE artline_requests_total counter"]
        with self._lock:
            for (method, route, status), number in sorted(self._requests.items()):
                labels = f'method="{method}",route="{route}",status="{status}"'
                lines.append(f"artline_requests_total{{{labels}}} {number}")
            lines.append("# TYPE artline_request_seconds histogram")
            for (method, route), buckets in sorted(self._buckets.items()):
                labels = f'method="{method}",route="{route}"'
                below = 0
                for bound, number in zip((*map(str, _BOUNDS), "+Inf"), buckets, strict=True):
                    below += number
                    lines.append(f'artline_request_seconds_bucket{{{labels},le="{bound}"}} {below}')
                lines.append(f"artline_request_seconds_sum{{{labels}}} {self._seconds[method, route]:.6f}")
                lines.append(f"artline_request_seconds_count{{{labels}}} {below}")
            for name, number in sorted(self._totals.items()):
                lines += [f"# TYPE artline_{name}_total counter", f"artline_{name}_total {number}"]
        return "\n".join([*lines, ""])
