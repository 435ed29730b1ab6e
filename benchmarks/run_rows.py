"""Rows about runs: importing, a short run, logging, reading back."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator

from benchmarks.bench import Bench, Row, median, remove

IMPORT_TIMES = 15


def import_rows(bench: Bench) -> Iterator[Row]:
    bare, ours = [], []
    bench.timed([sys.executable, "-c", "import artline"])  # compile once
    for _ in range(IMPORT_TIMES):
        bare.append(bench.timed([sys.executable, "-c", "pass"])[0] * 1000)
        ours.append(bench.timed([sys.executable, "-c", "import artline"])[0] * 1000)
    floor = statistics.median(bare)
    yield Row(
        "import",
        "import artline, over bare Python",
        statistics.median(ours) - floor,
        "ms",
        floor=floor,
        floor_what="bare Python",
        target=60,
    )


def short_rows(bench: Bench) -> Iterator[Row]:
    target = bench.work / "short.jsonl"
    store = bench.fresh_store()
    bench.child(store, "short_run")
    figures, floors = [], []
    for _ in range(max(5, bench.repeat)):
        floors.append(bench.child(store, "short_floor", target)["process_seconds"])
        figures.append(bench.child(store, "short_run"))
    yield Row(
        "short",
        "init, one log, finish: the whole process",
        median(figures, "process_seconds"),
        "s",
        floor=statistics.median(floors),
        floor_what="JSON lines",
        target=0.2,
        peak=median(figures, "peak_mib"),
    )
    remove(store)


def log_rows(bench: Bench) -> Iterator[Row]:
    calls = bench.count(20_000, 100)
    records = bench.work / "records.bin"
    figures, floors, reads, read_floors = [], [], [], []
    for _ in range(bench.repeat):
        floors.append(bench.child(bench.work, "log_floor", calls, records))
        store = bench.fresh_store()
        figures.append(bench.child(store, "log", calls))
        read_floors.append(bench.child(store, "read_floor", calls, records))
        reads.append(bench.child(store, "read", calls))
        remove(store)
    packed = "struct, 64 KiB writes"
    peak = median(figures, "peak_mib")
    targets = {"mean_us": 10, "p50_us": None, "p99_us": None, "in_all_us": 25}
    whats = {
        "mean_us": "mean",
        "p50_us": "median",
        "p99_us": "99th percentile",
        "in_all_us": "in all, finish included",
    }
    for key, target in targets.items():
        yield Row(
            f"log-{key.removesuffix('_us').replace('_', '-')}",
            f"{calls:,} x log of 10 scalars, a call: {whats[key]}",
            median(figures, key),
            "µs",
            floor=median(floors, key),
            floor_what=packed,
            target=target,
            peak=peak,
        )
    yield Row("log-memory", f"{calls:,} x log of 10 scalars: peak memory", peak, "MiB", target=60)
    yield Row(
        "read",
        f"one metric's {calls:,} points read back",
        median(reads, "seconds") * 1000,
        "ms",
        floor=median(read_floors, "seconds") * 1000,
        floor_what="struct file",
        target=10,
        peak=median(reads, "peak_mib"),
    )
    yield Row(
        "read-first",
        "the same, first time: imports, catalog, ingestion of all 10 metrics",
        median(reads, "first_seconds") * 1000,
        "ms",
    )
