"""The commands about versions, on a real store."""

from __future__ import annotations

import json
import os
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
    """Run a command with --json; standard output must be one document and nothing else."""
    return json.loads(call(*args, "--json", code=code).stdout)


@pytest.fixture
def data(clean_environment: Path) -> Path:
    """A folder of a few files, in a project named after the test's working folder."""
    folder = clean_environment / "data"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "a.txt").write_text("one", encoding="utf-8")
    (folder / "train" / "b.txt").write_text("two", encoding="utf-8")
    (folder / "label ä.csv").write_text("id,label\n1,7\n", encoding="utf-8")
    return folder


@pytest.fixture
def two(data: Path) -> Path:
    """The folder, pushed as digits:v0, then changed and pushed as digits:v1."""
    call("push", "data", "digits:raw", "--type", "dataset", "-m", "rows=3", "--tag", "t0", "-d", "as it came")
    (data / "train" / "a.txt").write_text("one!", encoding="utf-8")
    (data / "train" / "b.txt").rename(data / "train" / "c.txt")
    (data / "extra.txt").write_text("more", encoding="utf-8")
    (data / "label ä.csv").unlink()
    call("push", "data", "digits")
    return data


def test_push_stores_a_folder_and_records_a_run(data: Path) -> None:
    done = ask(
        "push", "data", "digits:raw,first", "-m", "acc=0.5", "-m", "who=me", "--tag", "t0", "-p", "mine"
    )
    version = done["version"]
    assert done["new"] is True
    assert (version["project"], version["name"], version["version"]) == ("mine", "digits", "v0")
    assert version["aliases"] == ["first", "latest", "raw"]
    assert version["tags"] == ["t0"]
    assert version["metadata"] == {"acc": 0.5, "who": "me"}
    assert (version["file_count"], version["size"]) == (3, 19)
    run = ask("runs", "show", done["run"])
    assert run["job_type"] == "push"
    assert run["state"] == "finished"
    assert run["config"] == {"source": str(data)}
    assert run["outputs"] == ["local/mine/digits:v0"]


def test_push_says_what_is_new_and_what_is_not(two: Path) -> None:
    first = call("push", "data", "digits:again")
    assert "digits:v1" in first.output
    assert "unchanged, no new version" in first.output
    again = ask("push", "data", "digits")
    assert again["new"] is False
    assert again["version"]["version"] == "v1"
    assert again["new_bytes"] == 0
    assert again["deduplicated_bytes"] == again["bytes"] == 11
    Path("data", "new.txt").write_text("new", encoding="utf-8")
    more = ask("push", "data", "digits")
    assert (more["bytes"], more["new_bytes"], more["deduplicated_bytes"]) == (14, 3, 11)


def test_push_of_a_file_and_of_a_reference(data: Path) -> None:
    assert ask("push", "data/train/a.txt", "one")["version"]["file_count"] == 1
    assert [f["path"] for f in ask("ls", "one:latest")["files"]] == ["a.txt"]
    ask("push", f"file://{data}", "linked")
    files = ask("ls", "linked:v0")["files"]
    assert {f["kind"] for f in files} == {"reference"}
    assert files[0]["uri"].startswith("file://")
    assert all(f["digest"] for f in files)
    ask("push", f"file://{data}", "loose", "--no-checksum", "--max-objects", str(len(files)))
    assert not any(f["digest"] for f in ask("ls", "loose:v0")["files"])
    few = call("push", f"file://{data}", "few", "--max-objects", str(len(files) - 1), code=2)
    assert "max_objects" in few.stderr
    assert "Give a URL" in call("push", "data", "stored", "--no-checksum", code=2).stderr


def test_push_refuses_and_leaves_no_run_behind(data: Path) -> None:
    call("push", "absent", "digits", code=3)
    call("push", "data", "bad name", code=2)
    call("push", "data", "digits:v7", code=2)
    call("push", "data", "digits", "-m", "rows", code=2)
    call("push", "data", "digits", "-m", "@absent.json", code=3)
    assert ask("runs", "ls", "-A")["runs"] == []
    call("push", "data", "digits")
    call("push", "data", "digits", "--type", "model", code=2)


def test_push_says_when_runs_are_disabled(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_MODE", "disabled")
    assert "ART_MODE" in call("push", "data", "digits", code=2).stderr


def test_ls_of_projects_artifacts_versions_and_files(two: Path) -> None:
    assert [p["name"] for p in ask("ls", "--projects")["projects"]] == ["uncategorized"]
    listed = ask("ls")["artifacts"]
    assert [(a["name"], a["type"], a["versions"], a["latest"]) for a in listed] == [
        ("digits", "dataset", 2, "v1")
    ]
    assert ask("ls", "--type", "model")["artifacts"] == []
    versions = ask("ls", "digits")["versions"]
    assert [(v["version"], v["aliases"]) for v in versions] == [("v1", ["latest"]), ("v0", ["raw"])]
    files = ask("ls", "digits:raw")
    assert files["version"]["version"] == "v0"
    assert [f["path"] for f in files["files"]] == ["label ä.csv", "train/a.txt", "train/b.txt"]
    assert [f["path"] for f in ask("ls", "digits:raw", "train")["files"]] == ["train/a.txt", "train/b.txt"]
    for args, word in (
        ([], "digits"),
        (["digits"], "raw"),
        (["digits:v0"], "train/a.txt"),
        (["--projects"], "uncat"),
    ):
        assert word in call("ls", *args).stdout


def test_ls_refuses_what_is_not_there(two: Path) -> None:
    call("ls", "absent", code=3)
    call("ls", "digits:v9", code=3)
    call("ls", "digits:v0", "absent", code=3)
    call("ls", "digits", "train", code=2)
    call("ls", "../digits", code=2)
    empty = call("ls", "-p", "other")
    assert empty.stdout == ""
    assert "no artifacts" in empty.stderr


def test_show(two: Path) -> None:
    shown = ask("show", "digits:raw")
    assert shown["description"] == "as it came"
    assert shown["metadata"] == {"rows": 3}
    assert shown["logged_by"].startswith("local/uncategorized/")
    assert shown["used_by"] == []
    assert "alias_added" in {event["kind"] for event in shown["history"]}
    text = call("show", "digits:v0").stdout
    for word in ("local/uncategorized/digits:v0", "dataset", "blake3:", "3 files, 19 B", "t0", "rows"):
        assert word in text
    assert call("show", "digits").stdout.startswith("local/uncategorized/digits:v1")
    call("show", "nothing", code=3)


def test_diff_exits_like_diff(two: Path) -> None:
    found = ask("diff", "digits:v0", "digits:v1", code=1)
    assert found["equal"] is False
    assert [e["path"] for e in found["added"]] == ["extra.txt"]
    assert [e["path"] for e in found["removed"]] == ["label ä.csv"]
    assert [p["new"]["path"] for p in found["changed"]] == ["train/a.txt"]
    assert [(p["old"]["path"], p["new"]["path"]) for p in found["renamed"]] == [
        ("train/b.txt", "train/c.txt")
    ]
    text = call("diff", "digits:v0", "digits:v1", code=1).stdout
    assert "+ extra.txt\n" in text
    assert "- label ä.csv\n" in text
    assert text.endswith("1 added, 1 removed, 1 changed, 1 renamed, -8 B\n")
    assert call("diff", "digits:v0", "digits:v1", "--stat", code=1).stdout.count("\n") == 1
    assert call("diff", "digits:v1", "digits:latest").stdout == "no difference\n"
    assert ask("diff", "digits:v1", "digits")["equal"] is True
    call("diff", "digits:v0", "digits:v9", code=3)


def test_pull_writes_verifies_and_resumes(two: Path, clean_environment: Path) -> None:
    out = clean_environment / "out"
    done = ask("pull", "digits:raw", "out")["pulled"]
    assert [(d["ref"], d["path"], d["files"]) for d in done] == [
        ("local/uncategorized/digits:v0", str(out), 3)
    ]
    assert (out / "train" / "a.txt").read_text(encoding="utf-8") == "one"
    (out / "train" / "a.txt").write_text("spoilt", encoding="utf-8")
    (out / "other.txt").write_text("mine", encoding="utf-8")
    assert ask("verify", "digits:raw", "out", code=4) == {
        "ok": False, "files": 3, "missing": [], "changed": ["train/a.txt"], "extra": ["other.txt"],
    }  # fmt: skip
    assert "changed train/a.txt" in call("verify", "digits:raw", "out", code=4).stdout
    call("verify", "digits:raw", "absent", code=3)
    call("pull", "digits:raw", "out", "--exact")
    assert not (out / "other.txt").exists()
    assert ask("verify", "digits:raw", "out")["ok"] is True
    assert "digits:v0 is right: 3 files" in call("verify", "digits:raw", "out").stdout


def test_pull_by_default_into_artifacts_and_only_a_part(two: Path, clean_environment: Path) -> None:
    call("pull", "digits:v1", "--only", "train")
    folder = clean_environment / "artifacts" / "digits-v1"
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["a.txt", "c.txt"]
    call("pull", "digits:v1", "--only", "train", "--exact", code=2)
    call("pull", "--exact", code=2)


def test_pull_by_digest_insists_on_it(two: Path) -> None:
    digest = ask("show", "digits:v0")["digest"]
    assert ask("pull", f"digits@{digest}", "by-digest")["pulled"][0]["ref"].endswith("digits:v0")
    call("pull", f"digits:v1@{digest}", "wrong", code=4)
    call("pull", f"digits@blake3:{'0' * 64}", "absent", code=3)
    assert not os.path.exists("wrong")


def test_cat(two: Path) -> None:
    assert call("cat", "digits:raw", "train/a.txt").stdout == "one"
    call("cat", "digits:raw", "absent", code=3)


def test_aliases_move_and_go(two: Path) -> None:
    assert ask("alias", "digits:v0", "production", "best")["aliases"] == ["best", "production", "raw"]
    assert ask("alias", "digits:v1", "production")["aliases"] == ["latest", "production"]
    assert ask("show", "digits:production")["version"] == "v1"
    call("alias", "digits:v0", "production", "--remove", code=6)
    assert ask("alias", "digits:production", "production", "--remove")["aliases"] == ["latest"]
    call("alias", "digits:v0", "v1", code=2)
    call("alias", "digits:v0", code=2)


def test_tags_come_and_go(two: Path) -> None:
    assert ask("tag", "digits:v0", "paper", "t0")["tags"] == ["paper", "t0"]
    assert ask("tag", "digits:v0", "t0", "--remove")["tags"] == ["paper"]
    assert ask("show", "digits:v0")["tags"] == ["paper"]
    call("tag", "digits:v0", "bad,tag", code=2)


def test_rm_and_undelete(two: Path) -> None:
    call("rm", "digits", code=2)
    call("rm", "digits:v0", code=6)
    call("rm", "digits:v9", code=3)
    call("rm", "digits:v0", "--delete-aliases")
    call("show", "digits:v0", code=3)
    assert [v["version"] for v in ask("ls", "digits")["versions"]] == ["v1"]
    deleted = ask("ls", "digits", "--deleted")["versions"]
    assert [(v["version"], v["deleted_at"] is not None) for v in deleted] == [("v1", False), ("v0", True)]
    assert "(deleted)" in call("ls", "digits", "--deleted").stdout
    call("undelete", "digits:v0")
    assert ask("show", "digits:v0")["metadata"] == {"rows": 3}
    call("undelete", "digits", code=2)


def test_lineage_of_versions_and_runs(two: Path) -> None:
    import artline

    with artline.init(job_type="train", settings={"console": False, "quiet": True}) as run:
        run.use_artifact("digits:v1")
        model = artline.Artifact("model", type="model")
        model.add_file("data/extra.txt")
        run.log_artifact(model)
    key = run.path
    graph = ask("lineage", "model")
    assert graph["subject"] == "local/uncategorized/model:v0"
    keys = {node["key"] for node in graph["nodes"]}
    assert {key, "local/uncategorized/digits:v1"} <= keys
    assert {"source": key, "target": "local/uncategorized/model:v0", "role": "output", "use_as": ""} in graph[
        "edges"
    ]
    assert "digits:v1" in call("lineage", "model:v0").stdout
    assert "digits:v1" not in call("lineage", "model:v0", "--down").stdout
    assert call("lineage", "digits:v1", "--format", "dot").stdout.startswith("digraph")
    assert call("lineage", "digits:v1", "--format", "mermaid").stdout.startswith("flowchart")
    assert ask("lineage", run.id)["subject"] == key
    assert len(ask("lineage", "model", "--up", "--depth", "1")["edges"]) == 1
    call("lineage", "nothing", code=3)
    call("rm", "digits:v1", code=6)
    call("rm", "digits:v1", "--force")


def test_pins_hold_move_and_restore(two: Path, clean_environment: Path) -> None:
    call("pull", code=3)
    made = ask("pin", "digits:v0", "digits:raw")
    assert made["file"] == str(clean_environment / "art.lock")
    assert [(p["alias"], p["version"], p["before"]) for p in made["pins"]] == [
        ("latest", "v0", None), ("raw", "v0", None),
    ]  # fmt: skip
    assert "digits:latest" in call("pin").stdout
    call("pull")
    assert (clean_environment / "artifacts" / "digits-v0" / "label ä.csv").exists()
    call("rm", "digits:v0", "--delete-aliases", code=6)
    assert "pinned by art.lock" in call("pull", "digits", "under-lock").stderr
    assert ask("pull", "digits:latest", "under-lock")["pulled"][0]["ref"].endswith("/digits:v0")
    assert ask("pull", "digits:v1", "freely")["pulled"][0]["ref"].endswith("/digits:v1")
    moved = ask("pin", "--upgrade", "digits")["pins"]
    assert [(p["version"], p["before"]) for p in moved] == [("v1", "v0")]
    assert "v1" in call("pin", "--upgrade").stdout
    call("pin", "--remove", "digits:raw")
    assert [p["alias"] for p in ask("pin")["pins"]] == ["latest"]
    call("pin", "--remove", "digits:raw", code=3)
    call("pin", "--remove", code=2)
    call("pin", "--upgrade", "--remove", "digits", code=2)
    call("pin", "absent", code=3)


def test_a_pin_that_does_not_match_is_an_integrity_error(two: Path, clean_environment: Path) -> None:
    call("pin", "digits:v0")
    lock = clean_environment / "art.lock"
    digest = ask("show", "digits:v0")["digest"]
    lock.write_text(lock.read_text(encoding="utf-8").replace(digest, f"blake3:{'0' * 64}"), encoding="utf-8")
    call("pull", code=4)
    call("pull", "digits", code=4)
    assert not (clean_environment / "artifacts").exists()


def test_damage_in_the_store_is_named(two: Path, store_root: Path) -> None:
    for pack in (store_root / "bucket").rglob("*.pack"):
        pack.chmod(0o644)
        content = bytearray(pack.read_bytes())
        position = content.find(b"one!")
        if position >= 0:
            content[position] ^= 1
            pack.write_bytes(content)
    found = ask("verify", "digits:v1", code=4)
    assert found["ok"] is False
    assert [fault["path"] for fault in found["faults"]] == ["train/a.txt"]
    assert "train/a.txt" in call("verify", "digits:v1", code=4).stdout
    assert call("cat", "digits:v1", "train/a.txt", code=4).stdout == ""
    call("pull", "digits:v1", "out", code=4)
    assert ask("verify", "digits:v0") == {"ok": True, "files": 3, "bytes": 19, "faults": []}


def test_references_are_looked_at_and_only_what_is_gone_is_passed_over(data: Path) -> None:
    call("push", f"file://{data}", "refs", "--type", "dataset")
    assert "refs:v0 is right: 3 files, 0 B stored, 3 references" in call("verify", "refs:v0").stdout
    (data / "train" / "a.txt").unlink()
    found = ask("verify", "refs:v0", code=4)
    assert [fault["path"] for fault in found["faults"]] == ["train/a.txt"]
    assert "is gone" in found["faults"][0]["reason"]
    call("pull", "refs:v0", "out", code=4)
    passed = call("pull", "refs:v0", "out", "--allow-missing-references", "--exact")
    assert (
        "warning: 1 of the referenced objects is gone and not written, first 'train/a.txt'" in passed.stderr
    )
    assert "refs:v0  2 files," in passed.stdout
    assert ask("verify", "refs:v0", "out", code=4)["missing"] == ["train/a.txt"]
    (data / "train" / "b.txt").write_text("TWO", encoding="utf-8")
    assert "train/b.txt: " in call("verify", "refs:v0", code=4).stdout
    call("pull", "refs:v0", "again", "--allow-missing-references", code=4)
    assert not Path("again/train/b.txt").exists()


def test_a_file_of_many_chunks_is_read_back(clean_environment: Path) -> None:
    Path("big.bin").write_bytes(os.urandom(9 * 1024 * 1024))
    call("push", "big.bin", "big")
    assert ask("verify", "big:v0") == {"ok": True, "files": 1, "bytes": 9 * 1024 * 1024, "faults": []}


def test_a_text_cannot_steer_the_terminal(data: Path) -> None:
    call("push", "data", "odd", "-d", "red \x1b[31m!", "-m", "note=\x1b[2J")
    assert "\x1b" not in call("show", "odd").stdout
    assert ask("show", "odd")["description"] == "red \x1b[31m!"
