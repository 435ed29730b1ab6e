"""A version's own ttl on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from artline.artifacts.schema import artifact_version
from artline.artifacts.store import ArtifactStore
from artline.cli.group import art


def call(*args: str, code: int = 0) -> Result:
    done = CliRunner().invoke(art, [str(arg) for arg in args])
    assert done.exit_code == code, (args, done.output, done.exception)
    return done


def ask(*args: str) -> Any:
    return json.loads(call(*args, "--json").stdout)


@pytest.fixture
def old(clean_environment: Path) -> None:
    """Three versions of digits, the first pushed with a ttl of 30 days, all of them 40 days old."""
    file = clean_environment / "digits.txt"
    for content, options in (("one", ["--ttl", "30d"]), ("two", []), ("three", [])):
        file.write_text(content, encoding="utf-8")
        call("push", str(file), "digits", *options)
    created = artifact_version.c.created_at
    with ArtifactStore.open().catalog.write() as conn:
        conn.execute(sa.update(artifact_version).values(created_at=created - 40 * 86400))


@pytest.mark.usefixtures("old")
def test_it_is_set_shown_and_applied() -> None:
    shown = call("show", "digits:v0").stdout
    assert "ttl" in shown
    assert "30 days" in shown
    assert "old enough to go" in shown
    document = ask("show", "digits:v0")
    assert document["ttl"] == 30 * 86400
    assert document["expires_at"] < document["updated_at"]
    assert (ask("show", "digits:v1")["ttl"], ask("show", "digits:v1")["expires_at"]) == (None, None)
    assert [v["ttl"] for v in ask("ls", "digits")["versions"]] == [None, None, 30 * 86400]
    listed = call("ls", "digits").stdout.splitlines()
    assert "TTL" in listed[0]
    assert "30 days" in listed[3]
    assert "older than its ttl of 30 days" in call("gc").stdout
    assert "is back, and stays" not in call("undelete", "digits:v0").stdout
    call("gc", "--delete")
    assert "went by itself (older than its ttl of 30 days)" in call("show", "digits:v0", code=3).stderr
    assert "stays whatever its age" in call("undelete", "digits:v0").stdout
    assert "brought back by undelete" in call("gc", "--delete").stdout
    call("retain", "digits:v0", "--ttl", "2d")
    assert "(goes)" in call("gc").stdout


@pytest.mark.usefixtures("old")
def test_retain_speaks_of_one_version_or_of_all() -> None:
    assert "has a ttl of 30 days. Old enough to go: " in call("retain", "digits:v0").stdout
    assert "never goes by itself" in call("retain", "digits:v0", "--forever").stdout
    assert ask("retain", "digits:v0")["ttl"] == 0
    call("retain", "digits", "--ttl", "1d")
    assert ask("show", "digits:v0")["expires_at"] is None
    assert "versions go that are older than 1 day" in call("retain", "digits:v0", "--inherit").stdout
    assert ask("retain", "digits:v0")["expires_at"] is not None
    assert ask("retain", "digits", "--no-keep-aliased")["retention"]["keep_aliased"] is False
    assert call("retain", "digits", "--forever").stdout.startswith("digits: every version is kept")
    call("retain", "digits:v1", "--keep-last", "2", code=2)
    call("retain", "digits", "--inherit", code=2)
    call("retain", "digits:v1", "--inherit", "--forever", code=2)
    call("retain", "digits:v1", "--ttl", "0", code=2)
    call("retain", "digits:v9", "--ttl", "1d", code=3)
