"""The commands about the store as a whole: gc and fsck."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import artline
from artline.cli.group import art

DROPPED = "local/uncategorized/dropped:v0"


def call(*args: object, code: int = 0) -> Result:
    done = CliRunner().invoke(art, [str(arg) for arg in args])
    assert done.exit_code == code, (args, done.output, done.exception)
    return done


def ask(*args: object, code: int = 0) -> Any:
    return json.loads(call(*args, "--json", code=code).stdout)


@pytest.fixture
def two(clean_environment: Path) -> Path:
    """Two artifacts that share nothing, in packs of their own."""
    for name in ("kept", "dropped"):
        Path(name).mkdir()
        for i in range(3):
            Path(name, f"{i}.bin").write_bytes(os.urandom(50_000))
        call("push", name, name)
    return clean_environment


def packs(root: Path) -> list[Path]:
    return sorted((root / "bucket").rglob("*.pack"))


def test_gc_counts_condemns_and_deletes(two: Path, store_root: Path) -> None:
    before = packs(store_root)
    assert ask("gc")["versions"] == []
    call("rm", "dropped:v0")
    counted = ask("gc")
    assert counted["dry_run"] is True
    assert [(v["name"], v["size"]) for v in counted["versions"]] == [
        ("local/uncategorized/dropped:v0", 150_000)
    ]
    assert counted["collection"]["dead_bytes"] > 100_000
    assert "nothing was changed" in call("gc").stdout
    assert "nothing was changed" in call("gc", "--dry-run").stdout
    assert packs(store_root) == before
    condemned = ask("gc", "--delete")
    assert condemned["dry_run"] is False
    assert condemned["collection"]["condemned"] >= 1
    assert packs(store_root) == before
    call("undelete", "dropped:v0")
    assert ask("verify", "dropped:v0")["ok"] is True


def test_gc_deletes_after_the_grace_period(two: Path, store_root: Path) -> None:
    before = packs(store_root)
    call("rm", "dropped:v0")
    assert (
        "freeing"
        in call("gc", "--delete", "--grace", "0").stdout + call("gc", "--delete", "--grace", "0").stdout
    )
    assert len(packs(store_root)) < len(before)
    call("undelete", "dropped:v0", code=4)
    assert ask("verify", "kept:v0")["ok"] is True
    assert ask("fsck", "--full")["ok"] is True


def test_gc_refuses_what_makes_no_sense(store_root: Path) -> None:
    call("gc", "--delete", "--dry-run", code=2)
    call("gc", "--grace", "soon", code=2)


def test_fsck_names_every_damaged_file(two: Path, store_root: Path) -> None:
    sound = ask("fsck", "--full")
    assert (sound["ok"], sound["versions"], sound["losses"], sound["repaired"]) == (True, 2, [], None)
    assert call("fsck").stdout.startswith("sound: 2 versions")
    content = Path("dropped", "1.bin").read_bytes()
    for pack in packs(store_root):
        data = pack.read_bytes()
        position = data.find(content[1000:2000])
        if position >= 0:
            pack.chmod(0o644)
            pack.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
    report = ask("fsck", "--full", code=4)
    assert report["ok"] is False
    assert [(loss["version"], loss["path"]) for loss in report["losses"]] == [(DROPPED, "1.bin")]
    assert "dropped:v0  1.bin" in call("fsck", "--full", code=4).stdout
    repaired = ask("fsck", "--repair", code=4)["repaired"]
    assert (repaired["chunks"], repaired["forgotten"]) == (0, 1)
    call("push", "dropped", "dropped")  # the same content once more
    assert ask("fsck", "--full")["ok"] is True


def test_fsck_names_versions_that_lost_a_pack_and_rebuilds_the_index(two: Path, store_root: Path) -> None:
    victim = packs(store_root)[0]
    data = victim.read_bytes()
    victim.unlink()
    report = ask("fsck", code=4)
    assert len({loss["version"] for loss in report["losses"]}) == 1
    assert call("fsck", code=4).stderr.startswith("error: the store is damaged")
    victim.write_bytes(data)
    again = ask("fsck", "--repair")
    assert again["ok"] is True
    assert again["repaired"]["problems"] == []


def test_a_lost_catalog_is_not_mistaken_for_a_new_store(two: Path, store_root: Path) -> None:
    for file in store_root.glob("catalog.db*"):
        file.unlink()
    for command in (["ls"], ["fsck"], ["gc"], ["status"]):
        assert "was the catalog lost or moved?" in call(*command, code=4).stderr
    assert ask("fsck", "--repair")["repaired"]["chunks"] > 0
    assert "nothing new" in call("push", "dropped", "dropped").stdout + call("ls").stdout


def test_a_damaged_journal_is_named_by_whoever_reads(clean_environment: Path, store_root: Path) -> None:
    with artline.init(id="r1", settings={"console": False, "save_code": False}) as run:
        for value in range(5):
            run.log({"loss": value})
    (journal,) = (store_root / "journal").rglob("*.journal")
    data = bytearray(journal.read_bytes())
    data[data.index(b'"loss"')] ^= 1
    journal.write_bytes(data)
    for command in (["runs", "ls"], ["metrics", "r1"]):
        listed = call(*command)
        assert f"a journal is damaged and was read only up to there: {journal}, offset" in listed.stderr
    report = ask("fsck", code=4)
    assert (report["losses"], len(report["journals"])) == ([], 1)
    assert str(journal) in call("fsck", code=4).stdout
