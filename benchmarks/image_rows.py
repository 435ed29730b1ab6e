"""Rows about media: what a step of a thousand images costs the training, and how much memory waits."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, Row, median, remove

__all__ = ["image_rows"]

STEPS = 4


def image_rows(bench: Bench) -> Iterator[Row]:
    count = bench.count(1000, 10)
    figures, floors = [], []
    for _ in range(bench.repeat):
        floors.append(bench.child(bench.work, "images_floor", count))
        store = bench.fresh_store()
        figures.append(bench.child(store, "images", count, STEPS))
        remove(store)
    yield Row(
        "images-step",
        f"one step of {count:,} images of 224 x 224, in the caller",
        median(figures, "first_seconds") * 1000,
        "ms",
        floor=median(floors, "seconds") * 1000,
        floor_what="copies of the arrays",
        target=500,
    )
    yield Row(
        "images-all",
        f"{STEPS} such steps without a pause, in all, finish included",
        median(figures, "seconds"),
        "s",
    )
    yield Row(
        "images-memory",
        "the same: peak memory, 144 MiB of arrays included",
        median(figures, "peak_mib"),
        "MiB",
        target=700,
    )
