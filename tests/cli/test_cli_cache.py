"""``art cache``, and ``art pull --link``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from artline.cli.group import art


def call(*args: object, code: int = 0) -> Result:
    done = CliRunner().invoke(art, [str(arg) for arg in args])
    assert done.exit_code == code, (args, done.output, done.exception)
    return done


def ask(*args: object, code: int = 0) -> Any:
    return json.loads(call(*args, "--json", code=code).stdout)


@pytest.fixture
def pulled(clean_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that was pulled from a remote bucket, and hard links of it."""
    (tmp_path / "remote").mkdir()
    monkeypatch.setenv("ART_BUCKET", f"local://{tmp_path}/remote")
    Path("data").mkdir()
    for number in range(3):
        Path("data", str(number)).write_bytes(os.urandom(200_000))
    call("push", "data", "data")
    call("pull", "data", "out")
    call("pull", "data", "linked", "--link", "hardlink")
    call("verify", "data", "linked")
    return clean_environment


def test_info_tells_what_is_kept(pulled: Path, store_root: Path) -> None:
    found = ask("cache", "info")
    assert found["folder"] == str(store_root / "cache")
    assert 600_000 < found["size"] < 650_000 < found["limit"]
    assert (found["packs"], found["files"], found["linked"]) == (1, 3, 3)
    assert found["oldest"] is not None
    assert found["writable"] is True
    said = call("cache", "info").stdout
    assert "(3 linked by checkouts: 5" in said
    assert "(auto)" in said


def test_clean_removes_by_size_by_age_and_all(pulled: Path) -> None:
    size = ask("cache", "info")["size"]
    assert ask("cache", "clean")["entries"] == 0
    assert ask("cache", "clean", "--unused", "1h")["entries"] == 0
    assert ask("cache", "clean", "--size", "1GB")["entries"] == 0
    counted = ask("cache", "clean", "--size", "100KB", "--dry-run")
    assert counted == {"dry_run": True, "entries": 1, "bytes": size, "size": size}
    assert "would remove 4 entries" in call("cache", "clean", "--all", "--dry-run").stdout
    assert ask("cache", "clean", "--unused", "0") == {
        "dry_run": False,
        "entries": 1,
        "bytes": size,
        "size": 0,
    }
    assert "removed 3 entries, freeing 0 B; 0 B left" in call("cache", "clean", "--all").stdout
    call("verify", "data", "linked")
    call("pull", "data", "again")


def test_clean_refuses_what_makes_no_sense(store_root: Path) -> None:
    call("cache", "clean", "--all", "--size", "1GB", code=2)
    assert "--size: expected a size" in call("cache", "clean", "--size", "lots", code=2).output
    call("cache", "clean", "--unused", "lots", code=2)
    assert ask("cache", "clean", "--all") == {"dry_run": False, "entries": 0, "bytes": 0, "size": 0}


def test_a_cache_that_keeps_nothing_says_so(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_CACHE_SIZE", "0")
    assert ask("cache", "info")["limit"] == 0
    assert "nothing is kept" in call("cache", "info").stderr


def test_links_of_what_is_pinned(pulled: Path) -> None:
    call("pin", "data")
    call("pull", "--link", "hardlink")
    assert Path("artifacts/data-v0/0").samefile("linked/0")
    call("pull", "--link", "copy")
    assert not Path("artifacts/data-v0/0").samefile("linked/0")
    call("pull", "data", "exact", "--exact", "--link", "hardlink")
    assert Path("exact/0").samefile("linked/0")
