"""The commands about collections, protected aliases and retention, on a real store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from artline.cli.group import art


def call(*args: str, code: int = 0) -> Result:
    done = CliRunner().invoke(art, [str(arg) for arg in args])
    assert done.exit_code == code, (args, done.output, done.exception)
    return done


def ask(*args: str, code: int = 0) -> Any:
    return json.loads(call(*args, "--json", code=code).stdout)


@pytest.fixture
def data(clean_environment: Path) -> Path:
    """A file, pushed as digits:v0, then changed and pushed as digits:v1."""
    file = clean_environment / "digits.txt"
    for content, alias in (("one", ":raw"), ("two", "")):
        file.write_text(content, encoding="utf-8")
        call("push", "digits.txt", f"digits{alias}", "--type", "dataset")
    return file


def test_link_protect_and_unlink_a_version(data: Path) -> None:
    linked = ask("link", "digits:v0", "registry/released", "-a", "production")
    assert linked["name"] == "local/registry/released:v0"
    assert linked["source"].endswith("/digits:v0")
    assert "from" in call("link", "digits:v0", "registry/released").stdout
    assert ask("protect", "registry/released", "production")["protected"] == ["production"]
    call("link", "digits:v1", "registry/released", "-a", "production", code=6)
    call("link", "digits:v1", "registry/released")
    call("alias", "registry/released:v1", "production", code=6)
    call("alias", "registry/released:v1", "production", "--force")
    assert "production" in call("protect", "registry/released").stdout
    shown = ask("show", "digits:v0")
    assert shown["links"] == ["local/registry/released:v0"]
    text = call("show", "registry/released:v1").stdout
    assert "linked from" in text
    assert "protected" in text
    call("rm", "digits:v0", "--delete-aliases", code=6)
    call("unlink", "registry/released:v0")
    call("unlink", "registry/released:v1", code=6)
    call("unlink", "registry/released:v1", "--force")
    call("unlink", "digits:v1", code=2)


def test_retain_says_what_goes_and_gc_does_it(data: Path) -> None:
    assert "every version is kept" in call("retain", "digits").stdout
    rule = ask("retain", "digits", "--keep-last", "1", "--no-keep-aliased")["retention"]
    assert rule == {"ttl": None, "keep_last": 1, "keep_aliased": False}
    assert ask("show", "digits")["retention"] == rule
    assert "not among the last 1" in call("show", "digits").stdout
    found = ask("gc")
    assert [(v["reason"], v["kept_by"]) for v in found["expired"]] == [("not among the last 1", [])]
    assert found["expired"][0]["name"].endswith("/digits:v0")
    assert "(goes)" in call("gc").stdout
    call("retain", "digits", "--ttl", "30d", "--keep-last", "1")
    assert ask("gc", "--delete")["expired"] == []
    call("retain", "digits", "--keep-last", "1")
    assert "alias raw" in call("gc", "--delete").stdout
    call("retain", "digits", "--keep-last", "1", "--no-keep-aliased")
    call("gc", "--delete")
    call("show", "digits:v0", code=3)
    call("undelete", "digits:v0")
    call("gc", "--delete")
    call("show", "digits:v0")
    assert ask("retain", "digits", "--forever")["retention"] is None
    call("retain", "digits", "--forever", "--ttl", "1d", code=2)
    call("retain", "nothing", "--ttl", "1d", code=3)
