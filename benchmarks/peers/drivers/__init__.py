"""One module a library, run in its own environment: ``python -m benchmarks.peers.drivers.NAME ACT …``.

The acts are named as those of :mod:`benchmarks.child`: ``put``, ``get``, ``log``, ``read``, ``short_run``.
Nothing here may import more than the standard library and the library it drives.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.child import KEYS, peak_mib

__all__ = ["check", "main"]


def main(*acts: Callable[..., dict[str, Any]]) -> None:
    """Run the act that the command line names and print what it tells as one line of JSON."""
    chosen = {act.__name__: act for act in acts}[sys.argv[1]]
    told = chosen(*sys.argv[2:])
    print("\n" + json.dumps({**told, "peak_mib": peak_mib()}), flush=True)


def check(values: Sequence[float], calls: str) -> dict[str, Any]:
    """End with an error unless these are the fourth key's values of a ``log`` of so many calls."""
    wanted = [step * 0.5 + 3 for step in range(int(calls))]
    if len(values) != len(wanted):
        raise SystemExit(f"{len(values)} values of {KEYS[3]} were kept, not {len(wanted)}")
    if any(abs(found - value) > 1e-3 for found, value in zip(values, wanted, strict=True)):
        raise SystemExit(f"the values of {KEYS[3]} that were kept are not those that were logged")
    return {"values": len(values)}
