"""Rows about a store on S3, beside plain boto3 and s3fs with the same files on the same server."""

from __future__ import annotations

import itertools
import statistics
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.bench import CHECKOUT, Bench, Row, median, remove, settle
from benchmarks.data import make_file, make_tree
from benchmarks.peers.environments import environment

__all__ = ["remote_rows"]

MIB = 1 << 20
BUCKET = "artline"
TOOLS = ("boto3", "s3fs")


def remote_rows(bench: Bench) -> Iterator[Row]:
    """Start SeaweedFS as the tests do, on loopback: what is compared is requests and CPU, not a network."""
    sys.path.insert(0, str(CHECKOUT / "tests"))
    boto3 = environment("boto3", bench.work.parent / "peers").python
    server = import_module("services.seaweed").Seaweed()
    bench.extra = server.environment()
    try:
        files = bench.count(20_000)
        tree = make_tree(bench.work / "remote", files, 8192)
        yield from _rows(bench, boto3, "small", f"{files:,} x 8 KiB", tree, 0.1, "a tenth of")
        remove(tree)
        size = bench.count(1024) * MIB
        file = make_file(bench.work / "remote.bin", size)
        yield from _rows(bench, boto3, "large", f"one file of {size // MIB:,} MiB", file, 1.2, "1.2 x")
        remove(file)
    finally:
        bench.extra = {}
        server.stop()


def _rows(
    bench: Bench, boto3: Path | None, name: str, what: str, source: Path, share: float, words: str
) -> Iterator[Row]:
    numbers = itertools.count()
    puts: dict[str, list[dict[str, Any]]] = {tool: [] for tool in ("artline", *TOOLS)}
    gets: dict[str, list[dict[str, Any]]] = {tool: [] for tool in puts}
    for turn in range(bench.repeat):  # each in turn, so that a slow minute of the machine hits all
        for tool in puts:
            prefix = f"{name}-{tool}-{turn}"
            target = bench.work / "pulled"
            store = bench.fresh_store()
            settle()
            if tool == "artline":
                place = {"ART_BUCKET": f"s3://{BUCKET}/{prefix}"}
                puts[tool].append(bench.child(store, "put", source, name, extra=place))
                settle()
                place["ART_CACHE"] = str(bench.work / f"cache-{name}-{next(numbers)}")
                gets[tool].append(bench.child(store, "get", name, target, extra=place))
                remove(Path(place["ART_CACHE"]))
                remove(store)
            else:
                where: dict[str, Any] = {"python": boto3} if tool == "boto3" else {}
                puts[tool].append(bench.child(store, f"{tool}_put", source, BUCKET, prefix, **where))
                settle()
                gets[tool].append(bench.child(store, f"{tool}_get", target, BUCKET, prefix, **where))
            remove(target)
    for act, verb, figures in (("put", "put", puts), ("get", "get, verified,", gets)):
        floor = statistics.median(figure["seconds"] for figure in figures["boto3"])
        others = ", ".join(
            f"{tool} {median(figures[tool], 'seconds'):.1f} s, {median(figures[tool], 'peak_mib'):.0f} MiB"
            for tool in TOOLS
        )
        yield Row(
            f"remote-{name}-{act}",
            f"{verb} {what} on S3: the call",
            median(figures["artline"], "seconds"),
            "s",
            floor=floor,
            floor_what="boto3, 16 threads" if name == "small" else "boto3, its transfer manager",
            target=share * floor,
            target_what=f"{words} boto3",
            peak=median(figures["artline"], "peak_mib"),
            note=others,
        )
