"""Rows about a version of a million small files: all that one does with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

from benchmarks.bench import Bench, Row, remove, settle
from benchmarks.data import change_tree, make_tree

__all__ = ["million_rows"]

SIZE = 100
MEMORY = 400.0


def million_rows(bench: Bench) -> Iterator[Row]:
    files = bench.count(1_000_000)
    hundredth = max(1, files // 100)
    tree = make_tree(bench.work / "million", files, SIZE)
    pulled = bench.work / "pulled"
    store = bench.fresh_store()
    peaks: dict[str, float] = {}

    def act(name: str, *arguments: object) -> dict[str, Any]:
        settle()
        figure = bench.child(store, name, *arguments)
        peaks[name] = max(peaks.get(name, 0.0), figure["peak_mib"])
        return figure

    def row(name: str, what: str, figure: dict[str, Any], target: float | None = None, note: str = "") -> Row:
        return Row(
            f"million-{name}", what, figure["seconds"], "s",
            target=target, peak=figure["peak_mib"], note=note,
        )  # fmt: skip

    yield row("put", f"put {files:,} files of {SIZE} bytes", act("put", tree, "million"))
    scan = bench.timed(["find", str(tree), "-type", "f", "-printf", "%s %T@ %C@ %p\\n"])[0]
    again = act("put", tree, "million")
    yield Row(
        "million-again", "put them again, unchanged", again["seconds"], "s",
        floor=scan, floor_what="find, the status of each", peak=again["peak_mib"],
    )  # fmt: skip

    yield row("list", "list every entry", act("list_all", "million"), 5)
    yield row("folder", "list one folder of it", act("list_folder", "million"), 1)
    yield row("entry", "find one path", act("one_entry", "million", "0000/0000001.bin"), 0.1)

    yield row("get", "get them, verified", act("get", "million", pulled))
    yield row("get-again", "get them again into the same folder", act("get", "million", pulled))
    for folder in sorted(pulled.iterdir())[::10]:
        shutil.rmtree(folder)
    yield row("get-rest", "get them again, a tenth of the folders gone", act("get", "million", pulled))
    yield row("verify", "compare the folder with the version", act("verify", "million", pulled))
    remove(pulled)

    changed = change_tree(tree, 0.01)
    yield row("changed", f"put them again, {changed:,} changed, spread all over", act("put", tree, "million"))
    remove(tree)
    yield row("diff-spread", "compare the two versions", act("compare", "million", "v0", "v1", changed), 1)
    near = act("edit", "million", hundredth, 1, SIZE)
    yield row("edit", f"replace {hundredth:,} neighbouring files of the version and log it", near, 3)
    yield row("diff-near", "compare the two versions", act("compare", "million", "v1", "v2", hundredth), 1)
    yield row(
        "edit-one", "replace one file of the version and log it", act("edit", "million", 1, 1, SIZE), 0.5
    )
    yield row("gc", "see what a collection would free", act("collect"))
    yield row("fsck", "check the store of four versions, not every byte", act("check", 4))
    yield Row("million-memory", "all of these: peak memory", max(peaks.values()), "MiB", target=MEMORY)
    remove(store)
