"""``python -m benchmarks``: measure, print the table, and write it where asked."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.bench import CHECKOUT, Bench, Row
from benchmarks.file_rows import insert_rows, large_rows, small_rows
from benchmarks.history_rows import history_rows, runs_rows
from benchmarks.image_rows import image_rows
from benchmarks.million_rows import million_rows
from benchmarks.peers import compare as others
from benchmarks.peers.page import part
from benchmarks.remote_rows import remote_rows
from benchmarks.report import document, markdown, table
from benchmarks.run_rows import import_rows, log_rows, short_rows

GROUPS = {
    "import": import_rows,
    "short": short_rows,
    "log": log_rows,
    "images": image_rows,
    "small": small_rows,
    "large": large_rows,
    "insert": insert_rows,
    "remote": remote_rows,
    "million": million_rows,
    "history": history_rows,
    "runs": runs_rows,
}
LONG = ("remote", "million", "history", "runs")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, metavar="GROUP", help=f"some of: {', '.join(GROUPS)}"
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=others.PEERS,
        metavar="TOOL",
        help=f"compare with other tools instead: all (40 minutes), or some of {', '.join(others.PEERS)}; "
        f"the groups are {', '.join(others.GROUPS)}",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="add S3, 1,000,000 small files (an hour), 100 million points and 100,000 runs (minutes)",
    )
    parser.add_argument("--repeat", type=int, default=3, help="how often each figure is taken (default 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="shrink all sizes, to try the bench itself")
    parser.add_argument("--work", type=Path, help="where to work (default: .bench/ in the checkout)")
    parser.add_argument(
        "--json", metavar="FILE", help="write the figures as JSON ('-': print it instead of the table)"
    )
    parser.add_argument("--docs", type=Path, metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--check", action="store_true", help="end with 1 when a target is missed")
    options = parser.parse_args(arguments)
    if options.peers is not None:
        if options.full or options.check:
            parser.error("--full and --check are about Artline's own rows: leave --peers out")
        for group in options.only or ():
            if group not in others.GROUPS:
                parser.error(f"no such group with --peers: {group} (choose from {', '.join(others.GROUPS)})")
    return options


def main() -> None:
    options = parse(sys.argv[1:])
    groups = options.only or [name for name in GROUPS if options.full or name not in LONG]
    base = (options.work or CHECKOUT / ".bench").resolve()
    base.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="bench-", dir=base))
    bench = Bench(work, repeat=options.repeat, scale=options.scale)
    rows: list[Row] = []
    try:
        if options.peers is not None:
            found = others.compare(
                bench, options.peers or others.PEERS, options.only or others.GROUPS, base / "peers"
            )
            others.show(found, options.repeat, options.json, options.docs)
            return
        for name in groups:
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            rows += GROUPS[name](bench)
    finally:
        shutil.rmtree(work)
    if options.json == "-":
        print(json.dumps(document(rows), indent=2))
    else:
        print(table(rows))
        if options.json:
            Path(options.json).write_text(json.dumps(document(rows), indent=2) + "\n")
    if options.docs:
        beside = part(options.docs)  # which --peers wrote
        options.docs.write_text(markdown(rows, options.repeat) + (f"\n{beside}" if beside else ""))
    if options.check and any(row.passed is False for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
