"""The bench itself, on a thousandth of the data: every row is there and nothing is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHARTS = ["whole", "zoom", "near", "metric"]
CHECKOUT = Path(__file__).parents[2]
ROWS = {
    "import": ["import"],
    "short": ["short"],
    "log": ["log-mean", "log-p50", "log-p99", "log-in-all", "log-memory", "read", "read-first"],
    "images": ["images-step", "images-all", "images-memory"],
    "small": ["small-put", "small-again", "small-get", "small-changed"],
    "large": ["large-put", "large-get", "large-memory"],
    "insert": ["insert"],
    "history": [f"history-{name}" for name in ["make", "disk", *CHARTS, "samples", "regular"]],
    "runs": ["runs-rare", "runs-some", "runs-most", "runs-page"],
    "million": [
        f"million-{name}"
        for name in [
            "put",
            "again",
            "list",
            "folder",
            "entry",
            "get",
            "get-again",
            "get-rest",
            "verify",
            "changed",
            "diff-spread",
            "edit",
            "diff-near",
            "edit-one",
            "gc",
            "fsck",
            "memory",
        ]
    ],
}


@pytest.mark.parametrize("group", ROWS)
def test_every_group_measures(group: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", group, "--scale", "0.001", "--repeat", "1"]
    command += ["--json", "-", "--work", str(tmp_path / "bench"), "--docs", str(tmp_path / "table.md")]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["name"] for row in rows] == ROWS[group]
    assert all(row["figure"] == row["figure"] for row in rows)
    assert (tmp_path / "table.md").read_text().count("\n|") >= len(rows) + 2
    assert not list((tmp_path / "bench").iterdir())
