"""The command line on PostgreSQL and S3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from artline.cli.group import art


def ask(*args: object, code: int = 0) -> Any:
    done = CliRunner().invoke(art, [*map(str, args), "--json"])
    assert done.exit_code == code, (args, done.output, done.exception)
    return json.loads(done.stdout)


def test_everything_works_on_postgres_and_s3(
    postgres_url: str, s3_url: str, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ART_CATALOG", postgres_url)
    monkeypatch.setenv("ART_BUCKET", s3_url)
    data = clean_environment / "data"
    data.mkdir()
    (data / "a.txt").write_text("one", encoding="utf-8")
    assert ask("doctor")["ok"] is True
    assert ask("push", "data", "digits:first")["version"]["version"] == "v0"
    (data / "b.txt").write_text("two", encoding="utf-8")
    assert ask("push", "data", "digits")["new"] is True
    assert [v["version"] for v in ask("ls", "digits")["versions"]] == ["v1", "v0"]
    assert [e["path"] for e in ask("diff", "digits:first", "digits", code=1)["added"]] == ["b.txt"]
    ask("pull", "digits:first", "out")
    assert (clean_environment / "out" / "a.txt").read_text(encoding="utf-8") == "one"
    assert ask("verify", "digits:v1")["ok"] is True
    runs = ask("runs", "ls")["runs"]
    assert {run["job_type"] for run in runs} == {"push"}
    assert ask("lineage", "digits:v1")["edges"][0]["source"].endswith(runs[0]["id"])
    CliRunner().invoke(art, ["rm", "digits:v0", "--delete-aliases"])
    assert ask("gc")["versions"][0]["name"].endswith("digits:v0")
    assert ask("fsck", "--full")["ok"] is True
    seen = ask("status")["store"]
    assert (seen["versions"], seen["runs"]) == (1, 2)
