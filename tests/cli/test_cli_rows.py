"""The rows that ``art diff --rows`` shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from artline.cli.group import art


def call(*args: str, code: int = 0) -> Result:
    done = CliRunner().invoke(art, list(args))
    assert done.exit_code == code, (args, done.output, done.exception)
    return done


def ask(*args: str, code: int = 0) -> Any:
    """Run a command with --json; standard output must be one document and nothing else."""
    return json.loads(call(*args, "--json", code=code).stdout)


@pytest.fixture
def prices(clean_environment: Path) -> Path:
    """Two versions of a folder of tables."""
    folder = clean_environment / "prices"
    folder.mkdir()
    (folder / "p.csv").write_text(
        "id,price,label\n1,1.5,a\n2,2.5,\n3,3.5,c\n7,0,x\n7,1,x\n", encoding="utf-8"
    )
    (folder / "q.jsonl").write_text('{"id": 1, "x": [1]}\n', encoding="utf-8")
    (folder / "other.csv").write_text("key\n1\n", encoding="utf-8")
    call("push", "prices", "prices", "--type", "dataset")
    (folder / "p.csv").write_text(
        'id,price,label\n9,9,z\n2,2.75,"d,e"\n1,1.5,a\n7,0,x\n7,1,x\n', encoding="utf-8"
    )
    (folder / "q.jsonl").write_text('{"id": 1, "x": null, "y": 1}\n', encoding="utf-8")
    (folder / "other.csv").write_text("key\n2\n", encoding="utf-8")
    call("push", "prices", "prices")
    return folder


def test_diff_compares_rows_by_key(prices: Path) -> None:
    done = call("diff", "prices:v0", "prices:v1", "--rows", "id", code=1)
    lines = [line for line in done.stdout.splitlines() if line.startswith("    ")]
    assert lines == [
        "    - id=3",
        "    + id=9",
        '    ~ id=2  price: 2.5 -> 2.75, label: "" -> "d,e"',
        "    ! id=7  2 and 2 rows, the same",
        "    1 row added, 1 removed, 1 changed, 1 duplicate key",
        "    + column y",
        "    ~ id=1  x: [1] -> null",
        "    0 rows added, 0 removed, 1 changed",
    ]
    assert "not compared: 'other.csv' in 'prices:v0' has no column 'id'" in done.stderr
    short = call("diff", "prices:v0", "prices:v1", "--rows", "id", "--limit", "1", code=1).stdout
    assert "    - id=3\n    … 3 more (--limit)\n    1 row added" in short
    counts = call("diff", "prices:v0", "prices:v1", "--rows", "id", "--stat", code=1).stdout
    assert counts.startswith("~ p.csv\n    1 row added, 1 removed, 1 changed, 1 duplicate key\n~ q.jsonl\n")


def test_diff_of_rows_as_json(prices: Path) -> None:
    found = ask("diff", "prices:v0", "prices:v1", "--rows", "id", code=1)
    assert [table["path"] for table in found["tables"]] == ["p.csv", "q.jsonl"]
    assert found["tables"][0]["key"] == ["id"]
    assert (found["tables"][0]["changed"], found["tables"][0]["duplicates"]) == (1, 1)
    assert [row["change"] for row in found["rows"]] == ["removed", "added", "changed", "duplicate", "changed"]
    assert found["rows"][2]["columns"] == ["price", "label"]
    assert found["rows"][2]["new"] == {"id": "2", "price": "2.75", "label": "d,e"}
    assert found["rows"][3] == {
        "path": "p.csv",
        "change": "duplicate",
        "key": {"id": "7"},
        "old": 2,
        "new": 2,
        "differs": False,
    }
    same = ask("diff", "prices:v1", "prices:latest", "--rows", "id")
    assert (same["equal"], same["tables"], same["rows"]) == (True, [], [])


def test_diff_of_rows_needs_the_key(prices: Path) -> None:
    done = call("diff", "prices:v0", "prices:v1", "--rows", "nothing", code=2)
    assert "no column 'nothing'" in done.stderr
