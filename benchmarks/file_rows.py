"""Rows about artifacts: many small files, one large file, a small change in a large file."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import Bench, Row, median, remove, settle
from benchmarks.data import change_tree, insert, make_file, make_tree

MIB = 1 << 20
MEMORY = 400.0


def small_rows(bench: Bench) -> Iterator[Row]:
    files = bench.count(20_000)
    tree = make_tree(bench.work / "tree", files, 8192)
    stores: list[Path] = []

    def fresh_put() -> dict[str, float]:
        stores.append(bench.fresh_store())
        return bench.child(stores[-1], "put", tree, "tree")

    def again() -> dict[str, float]:
        return bench.child(stores[-1], "put", tree, "tree")

    def pull() -> dict[str, float]:
        figure = bench.child(stores[-1], "get", "tree", bench.work / "pulled")
        remove(bench.work / "pulled")
        return figure

    puts, copies = bench.alternate(fresh_put, lambda: bench.copy(tree, durable=True))
    floor = statistics.median(copies)
    yield Row(
        "small-put",
        f"put {files:,} x 8 KiB: the whole process",
        median(puts, "process_seconds"),
        "s",
        floor=floor,
        floor_what="cp -r, sync",
        target=floor,
        target_what="cp -r, sync",
        peak=median(puts, "peak_mib"),
        note=f"{median(puts, 'seconds'):.2f} s in the call",
    )
    for store in stores[:-1]:
        remove(store)
    unchanged, _ = bench.alternate(again, None)
    yield Row(
        "small-again",
        "put them again, unchanged: the call",
        median(unchanged, "seconds"),
        "s",
        target=0.5,
        peak=median(unchanged, "peak_mib"),
        note=f"{median(unchanged, 'process_seconds'):.2f} s the whole process",
    )
    pulls, copies = bench.alternate(pull, lambda: bench.copy(tree, durable=False))
    floor = statistics.median(copies)
    yield Row(
        "small-get",
        "get them into a fresh folder, verified: the whole process",
        median(pulls, "process_seconds"),
        "s",
        floor=floor,
        floor_what="cp -r",
        target=1.3 * floor,
        target_what="1.3 x cp -r",
        peak=median(pulls, "peak_mib"),
        note=f"{median(pulls, 'seconds'):.2f} s in the call",
    )
    changed = []
    for turn in range(bench.repeat):
        count = change_tree(tree, 0.01, seed=100 + turn)
        changed.append(again())
    yield Row(
        "small-changed",
        f"put them again, {count:,} changed: the call",
        median(changed, "seconds"),
        "s",
        target=0.7,
        peak=median(changed, "peak_mib"),
        note=f"{median(changed, 'process_seconds'):.2f} s the whole process",
    )
    remove(tree)
    remove(stores[-1])


def large_rows(bench: Bench) -> Iterator[Row]:
    size = bench.count(2048) * MIB
    file = make_file(bench.work / "large.bin", size)
    stores: list[Path] = []

    def fresh_put() -> dict[str, float]:
        if stores:
            remove(stores.pop())
            settle()  # as before a copy: giving 2 GiB back to the file system is no part of the figure
        stores.append(bench.fresh_store())
        return bench.child(stores[-1], "put", file, "large")

    def pull() -> dict[str, float]:
        figure = bench.child(stores[-1], "get", "large", bench.work / "pulled")
        remove(bench.work / "pulled")
        return figure

    puts, copies = bench.alternate(fresh_put, lambda: bench.copy(file, durable=True))
    floor = statistics.median(copies)
    yield Row(
        "large-put",
        f"put one file of {size // MIB:,} MiB: the whole process",
        median(puts, "process_seconds"),
        "s",
        floor=floor,
        floor_what="cp, sync",
        target=1.3 * floor,
        target_what="1.3 x cp, sync",
        peak=median(puts, "peak_mib"),
        note=f"{median(puts, 'seconds'):.2f} s in the call",
    )
    pulls, copies = bench.alternate(pull, lambda: bench.copy(file, durable=False))
    floor = statistics.median(copies)
    yield Row(
        "large-get",
        "get it into a fresh folder, verified: the whole process",
        median(pulls, "process_seconds"),
        "s",
        floor=floor,
        floor_what="cp",
        target=1.2 * floor,
        target_what="1.2 x cp",
        peak=median(pulls, "peak_mib"),
        note=f"{median(pulls, 'seconds'):.2f} s in the call",
    )
    yield Row(
        "large-memory",
        "the same: peak memory",
        max(f["peak_mib"] for f in puts + pulls),
        "MiB",
        target=MEMORY,
    )
    remove(file)
    remove(stores[-1])


def insert_rows(bench: Bench) -> Iterator[Row]:
    size = bench.count(1024, 32) * MIB
    file = make_file(bench.work / "first" / "data.bin", size, seed=5)
    store = bench.fresh_store()
    bench.child(store, "put", file, "data")
    before = stored(store)
    copy = insert(file, bench.work / "second" / "data.bin", MIB)
    figure = bench.child(store, "put", copy, "data")
    yield Row(
        "insert",
        f"1 MiB inserted in {size // MIB:,} MiB: newly stored",
        (stored(store) - before) / MIB,
        "MiB",
        floor=1.0,
        floor_what="the insertion",
        target=5,
        peak=figure["peak_mib"],
        note=f"{figure['seconds']:.2f} s in the call",
    )
    remove(file.parent)
    remove(copy.parent)
    remove(store)


def stored(store: Path) -> int:
    """Return how many bytes the bucket of a store holds."""
    return sum(path.stat().st_size for path in (store / "bucket").rglob("*") if path.is_file())
