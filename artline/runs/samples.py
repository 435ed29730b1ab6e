"""Some records of a long history that keep its shape: found through the pyramid, then read exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from artline.runs.charts import read_curves
from artline.runs.history import STEP, count_rows, list_metrics, read_history, thin_records
from artline.runs.sealed import ChunkFiles

__all__ = ["read_samples"]

# A shorter history is read whole, and thinned then.
_FEW_ROWS = 16_384
_MOST_CURVES = 64


def read_samples(
    conn: sa.Connection,
    files: ChunkFiles,
    run: int,
    samples: int,
    *,
    stream: str,
    origin: float,
    keys: Sequence[str] | None = None,
    x_axis: str = STEP,
) -> list[dict[str, Any]] | None:
    """Return at most ``samples`` records, as ``thin_records`` chooses them; None for a history that is short.

    Records are exact and sorted by ``x_axis``. Where there is room for it, each key's smallest and largest
    value in each stretch are among them; otherwise they lie at even distances.
    """
    if samples < 1 or count_rows(conn, run, stream, keys) <= max(_FEW_ROWS, 16 * samples):
        return None
    known = [metric.key for metric in list_metrics(conn, files, run, stream)]
    names = [key for key in known if keys is None or key in keys]
    stretches = (samples - 2) // (2 * max(1, len(names)))
    chosen: set[int] = set()
    if stretches >= 1:
        for curve in read_curves(
            conn, files, run, names, stream=stream, origin=origin, x_axis=x_axis, buckets=stretches
        ):
            for count, low, high in zip(curve.count, curve.min_step, curve.max_step, strict=True):
                chosen |= {low, high} if count else set()
            if x_axis == STEP and len(curve):
                chosen |= {curve.start[0], curve.end[-1]}
    if not chosen:
        for curve in read_curves(
            conn, files, run, names[:_MOST_CURVES], stream=stream, origin=origin, buckets=samples
        ):
            chosen |= {*curve.start, *curve.end[-1:]}
    steps = sorted(chosen)
    if stretches < 1 and len(steps) > samples:
        stride = (len(steps) - 1) / max(1, samples - 1)
        steps = [steps[round(at * stride)] for at in range(samples)] if samples > 1 else steps[-1:]
    records = read_history(conn, files, run, stream=stream, origin=origin, keys=keys, steps=steps)
    if x_axis != STEP:
        records = sorted((row for row in records if x_axis in row), key=lambda row: row[x_axis])
    return thin_records(records, samples)
