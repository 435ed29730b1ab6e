"""Artifacts: the same folders and files stored and fetched by each tool in turn, and checked afterwards."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from benchmarks.bench import Bench, remove, settle
from benchmarks.data import change_tree, insert, make_file, make_tree
from benchmarks.peers.comparison import Column, Comparison, Kind
from benchmarks.peers.environments import UnavailableError
from benchmarks.peers.tools import Place, Tool

__all__ = ["compare_files"]

MIB = 1 << 20
PIECE = 1 << 20
LIMIT_SECONDS = 1800.0
LEAST_KEPT = 0.99
SEEDS = count(100)  # each change brings bytes that no tool has seen
Turn = Callable[[Bench, Tool, Path], dict[str, float | None]]


def compare_files(
    bench: Bench, tools: Sequence[tuple[Column, Tool | None]], groups: Sequence[str]
) -> Comparison:
    """Measure the groups (``small``, ``large``, ``insert``) on each tool; None stands for a missing one.

    Every tool first runs each group on a sliver of the data: what is imported and compiled then is not
    measured, and one that fails is left out with its reason.
    """
    files, size, half = bench.count(20_000), bench.count(2048), bench.count(1024, 16)
    kinds = {
        "small": [
            Kind("put", f"put {files:,} × 8 KiB", "s"),
            Kind("put-sync", "the same, and `sync` after it", "s"),
            Kind("again", "put again, unchanged", "s"),
            Kind("changed", "put again, 1 % changed", "s"),
            Kind("get", "get into a fresh folder", "s"),
            Kind("small-stored", f"kept after these three puts of {files * 8192 / MIB:,.0f} MiB", "MiB"),
            Kind("small-peak", "peak memory of these", "MiB"),
        ],
        "large": [
            Kind("large-put", f"put one file of {size:,} MiB", "s"),
            Kind("large-put-sync", "the same, and `sync` after it", "s"),
            Kind("large-get", "get it into a fresh folder", "s"),
            Kind("large-peak", "peak memory of both", "MiB"),
        ],
        "insert": [
            Kind("insert", f"1 MiB inserted in {half:,} MiB: newly kept", "MiB"),
            Kind("insert-put", "the put of it", "s"),
        ],
    }
    table = Comparison("files", [kind for group in groups for kind in kinds[group]])
    table.columns += [column for column, _ in tools]
    bench_files = {
        "small": lambda: make_tree(bench.work / "tree", files, 8192),
        "large": lambda: make_file(bench.work / "large.bin", size * MIB),
        "insert": lambda: _versions(bench.work / "insert", half * MIB),
    }
    slivers = {
        "small": lambda: make_tree(bench.work / "sliver", 200, 8192),
        "large": lambda: make_file(bench.work / "sliver.bin", MIB),
        "insert": lambda: _versions(bench.work / "sliver-insert", 4 * MIB),
    }
    for group in groups:
        sliver = slivers[group]()
        for column, tool in _working(tools):
            with _problems(column):
                TURNS[group](bench, tool, sliver)
        remove(sliver)
        source = bench_files[group]()
        for turn in range(1 if group == "insert" else bench.repeat):
            for column, tool in _working(tools):
                print(f"measuring: {group}, round {turn + 1}, {column.name}", file=sys.stderr, flush=True)
                with _problems(column):
                    table.add(column, **TURNS[group](bench, tool, source))
        remove(source)
    return table


def small_turn(bench: Bench, tool: Tool, tree: Path) -> dict[str, float | None]:
    with _place(bench) as place:
        source = tool.prepare(place, tree)
        settle()
        put = tool.put(place, source)
        synced = _sync()
        _check_kept(place, source)
        again = changed = None
        if tool.again:
            settle()
            again = tool.put(place, source)
            change_tree(source, 0.01, seed=next(SEEDS))
            settle()
            changed = tool.put(place, source)
        kept = _bytes(place.store) / MIB
        got = None
        if tool.gets:
            target = place.folder / "target"
            tool.prepare_get(place, source)
            settle()
            got = tool.get(place, source, target)
            _check_same(source, tool.found(source, target))
        done = [one for one in (put, again, changed, got) if one]
        return {
            "put": put.seconds,
            "put-sync": put.seconds + synced,
            "again": again.seconds if again else None,
            "changed": changed.seconds if changed else None,
            "get": got.seconds if got else None,
            "small-stored": kept if tool.again else None,
            "small-peak": max((one.peak_mib for one in done if one.peak_mib), default=None),
        }


def large_turn(bench: Bench, tool: Tool, file: Path) -> dict[str, float | None]:
    with _place(bench) as place:
        source = tool.prepare(place, file)
        settle()
        put = tool.put(place, source)
        synced = _sync()
        _check_kept(place, source)
        got = None
        if tool.gets:
            target = place.folder / "target"
            tool.prepare_get(place, source)
            settle()
            got = tool.get(place, source, target)
            _check_same(source, tool.found(source, target))
        peaks = [one.peak_mib for one in (put, got) if one and one.peak_mib]
        return {
            "large-put": put.seconds,
            "large-put-sync": put.seconds + synced,
            "large-get": got.seconds if got else None,
            "large-peak": max(peaks, default=None),
        }


def insert_turn(bench: Bench, tool: Tool, folder: Path) -> dict[str, float | None]:
    if not tool.again:
        return {}
    with _place(bench) as place:
        data = folder / "data.bin"
        shutil.copyfile(folder / "first.bin", data)
        source = tool.prepare(place, data)
        tool.put(place, source)
        _check_kept(place, source)
        before = _bytes(place.store)
        shutil.copyfile(folder / "second.bin", source)
        settle()
        put = tool.put(place, source)
        kept = (_bytes(place.store) - before) / MIB
        if kept < LEAST_KEPT:
            raise UnavailableError(f"of the MiB inserted it kept {kept:.2f}")
        if tool.gets:
            target = place.folder / "target"
            tool.prepare_get(place, source)
            tool.get(place, source, target)
            _check_same(source, tool.found(source, target))
        data.unlink()
        return {"insert": kept, "insert-put": put.seconds}


TURNS: dict[str, Turn] = {"small": small_turn, "large": large_turn, "insert": insert_turn}


def _versions(folder: Path, size: int) -> Path:
    insert(make_file(folder / "first.bin", size, seed=5), folder / "second.bin", MIB)
    return folder


def _working(tools: Sequence[tuple[Column, Tool | None]]) -> Iterator[tuple[Column, Tool]]:
    for column, tool in tools:
        if tool is not None and not column.problem:
            yield column, tool


@contextmanager
def _problems(column: Column) -> Iterator[None]:
    try:
        yield
    except UnavailableError as error:
        column.problem = str(error)
        print(f"{column.name}: {error}", file=sys.stderr, flush=True)


@contextmanager
def _place(bench: Bench) -> Iterator[Place]:
    folder = bench.work / "turn"
    try:
        yield Place(folder, LIMIT_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync() -> float:
    begun = time.perf_counter()
    os.sync()
    return time.perf_counter() - begun


def _check_kept(place: Place, source: Path) -> None:
    """Refuse a put that cannot have kept random bytes, which do not compress."""
    wanted, kept = _bytes(source), _bytes(place.store)
    if kept < LEAST_KEPT * wanted:
        raise UnavailableError(f"of {wanted:,} bytes it kept {kept:,}")


def _check_same(source: Path, copy: Path) -> None:
    """Refuse a get that brought anything but what was put, byte for byte."""
    wanted, found = _files(source), _files(copy)
    if len(wanted) != len(found):
        raise UnavailableError(f"of {len(wanted):,} files it brought back {len(found):,}")
    for (name, path), (other, brought) in zip(wanted, found, strict=True):
        if name != other or not _equal(path, brought):
            raise UnavailableError(f"it brought back {other} with other bytes or under another name")


def _equal(one: Path, other: Path) -> bool:
    with open(one, "rb") as left, open(other, "rb") as right:
        while True:
            piece = left.read(PIECE)
            if piece != right.read(PIECE):
                return False
            if not piece:
                return True


def _files(path: Path) -> list[tuple[str, Path]]:
    if path.is_file():
        return [("", path)]
    return sorted((str(one.relative_to(path)), one) for one in path.rglob("*") if one.is_file())


def _bytes(path: Path) -> int:
    return sum(one.stat().st_size for _, one in _files(path))
