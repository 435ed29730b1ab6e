"""Git state, patches and packages of real repositories, and what must never leave the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from livescript import info_of, journals, records_of, run_script

from artline.runs import code, host, records
from artline.runs.code import capture_git, capture_packages
from artline.runs.host import redact, redact_arguments


def git(folder: Path, *arguments: str) -> str:
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "n"), ("EMAIL", "e@example.org"))
    }
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "protocol.file.allow=always", *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **who},
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "train.py").write_text("print(1)\n")
    git(folder, "add", "train.py")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def test_a_clean_repository(repository: Path, files: Path) -> None:
    git(repository, "remote", "add", "origin", "https://user:secret@example.org/a/b.git")
    state, written = capture_git(str(repository / "train.py"), files)
    assert state == {
        "root": str(repository),
        "remote": "https://***@example.org/a/b.git",
        "branch": "main",
        "commit": git(repository, "rev-parse", "HEAD"),
        "dirty": False,
        "skipped": {"diff_upstream": "the branch has no upstream"},
    }
    assert written == []


def test_changes_make_a_patch_that_applies(repository: Path, files: Path) -> None:
    (repository / "train.py").write_text("print(2)\n")
    (repository / "staged.bin").write_bytes(bytes(range(256)))
    git(repository, "add", "staged.bin")
    state, written = capture_git(str(repository / "train.py"), files)
    assert state["dirty"] is True
    assert written == ["diff.patch"]
    git(repository, "reset", "-q", "--hard")
    git(repository, "apply", str(files / "diff.patch"))
    assert (repository / "train.py").read_text() == "print(2)\n"
    assert (repository / "staged.bin").read_bytes() == bytes(range(256))


def test_unpushed_commits_make_a_second_patch(repository: Path, files: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repository), str(clone))
    (clone / "train.py").write_text("print(3)\n")
    git(clone, "commit", "-q", "-am", "second")
    (clone / "train.py").write_text("print(4)\n")
    state, written = capture_git(str(clone / "train.py"), files)
    assert written == ["diff.patch", "diff_upstream.patch"]
    assert state["upstream"] == git(repository, "rev-parse", "HEAD")
    assert "skipped" not in state
    assert "+print(4)" in (files / "diff_upstream.patch").read_text()
    assert "-print(1)" in (files / "diff_upstream.patch").read_text()
    assert "-print(3)" in (files / "diff.patch").read_text()


def test_a_detached_head_and_a_worktree(repository: Path, files: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    git(repository, "worktree", "add", "-q", "--detach", str(tree))
    (tree / "train.py").write_text("print(5)\n")
    state, written = capture_git(str(tree / "train.py"), files)
    assert (state["root"], state["branch"], state["dirty"]) == (str(tree), None, True)
    assert state["skipped"] == {"diff_upstream": "no branch is checked out"}
    assert written == ["diff.patch"]


def test_a_submodule_is_its_own_repository_and_its_changes_show_outside(
    repository: Path, files: Path, tmp_path: Path
) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q", "-b", "main")
    git(outer, "submodule", "--quiet", "add", str(repository), "inner")
    git(outer, "commit", "-q", "-m", "first")
    (outer / "inner" / "train.py").write_text("print(6)\n")
    state, _ = capture_git(str(outer / "inner" / "train.py"), files)
    assert state["root"] == str(outer / "inner")
    assert state["dirty"] is True
    (outer / "main.py").write_text("")
    state, _ = capture_git(str(outer / "main.py"), files)
    assert state["root"] == str(outer)
    assert state["dirty"] is True


def test_what_changed_inside_a_submodule_is_in_the_patch(
    repository: Path, files: Path, tmp_path: Path
) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q", "-b", "main")
    git(outer, "submodule", "--quiet", "add", str(repository), "inner")
    git(outer, "commit", "-q", "-m", "first")
    (outer / "inner" / "train.py").write_text("print(7)\n")
    (outer / "main.py").write_text("")
    state, written = capture_git(str(outer / "main.py"), files)
    assert (state["dirty"], written) == (True, ["diff.patch"])
    assert "+print(7)" in (files / "diff.patch").read_text()


def test_a_patch_applies_whatever_the_settings_say(repository: Path, files: Path) -> None:
    for key, value in (
        ("diff.noprefix", "true"),
        ("diff.relative", "true"),
        ("diff.external", "false"),
        ("diff.upper.textconv", "tr a-z A-Z <"),
        ("color.ui", "always"),
        ("diff.context", "0"),
    ):
        git(repository, "config", key, value)
    (repository / ".gitattributes").write_text("*.txt diff=upper\n")
    (repository / "a b é\n.txt").write_text("one\n")
    (repository / "sub").mkdir()
    (repository / "sub/run.py").write_text("")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "second")
    (repository / "a b é\n.txt").write_text("two\n")
    (repository / "train.py").unlink()
    state, written = capture_git(str(repository / "sub/run.py"), files)
    assert (state["dirty"], written) == (True, ["diff.patch"])
    git(repository, "reset", "-q", "--hard")
    git(repository, "apply", str(files / "diff.patch"))
    assert (repository / "a b é\n.txt").read_text() == "two\n"
    assert not (repository / "train.py").exists()


def test_large_files_are_left_out_of_the_patch_and_named(
    repository: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "LARGEST_DIFF", 1 << 20)
    (repository / "data.bin").write_bytes(b"1")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "second")
    (repository / "data.bin").write_bytes(os.urandom(2 << 20))
    state, written = capture_git(str(repository / "train.py"), files)
    assert (state["dirty"], written) == (True, [])
    (repository / "train.py").write_text("print(8)\n")
    state, written = capture_git(str(repository / "train.py"), files)
    assert (state["dirty"], written) == (True, ["diff.patch"])
    assert state["skipped"]["diff_files"] == "'data.bin': larger than 1 MiB"
    assert "+print(8)" in (files / "diff.patch").read_text()


def test_a_broken_repository_and_a_bare_one_are_said(tmp_path: Path, files: Path) -> None:
    broken, bare = tmp_path / "broken", tmp_path / "bare"
    (broken / ".git").mkdir(parents=True)
    bare.mkdir()
    git(bare, "init", "-q", "--bare")
    for folder in (broken, bare):
        (folder / "train.py").write_text("")
        state, written = capture_git(str(folder / "train.py"), files)
        assert (list(state), written) == (["skipped"], [])
        assert state["skipped"]["git"]


def test_a_huge_patch_is_skipped_and_says_so(
    repository: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "LARGEST_DIFF", 1 << 20)
    for n in range(20):
        (repository / f"{n}.txt").write_text(f"{n}\n" * 50_000)
    git(repository, "add", ".")
    state, written = capture_git(str(repository / "train.py"), files)
    assert state["dirty"] is True
    assert state["skipped"]["diff"] == "the patch is larger than 1 MiB"
    assert written == []
    assert list(files.iterdir()) == []


def test_no_commit_no_repository_no_git(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "train.py").write_text("")
    assert capture_git(str(empty / "train.py"), files) == (
        {"skipped": {"git": f"{empty} is in no git repository"}},
        [],
    )
    git(empty, "init", "-q", "-b", "main")
    state, _ = capture_git(str(empty / "train.py"), files)
    assert state["commit"] is None
    assert state["branch"] == "main"
    assert state["skipped"] == {"diff": "the repository has no commit yet"}
    monkeypatch.setenv("PATH", "")
    assert capture_git(str(empty / "train.py"), files) == ({"skipped": {"git": "git is not installed"}}, [])


def test_packages_are_named_with_their_versions(files: Path) -> None:
    assert capture_packages(files) == "requirements.txt"
    lines = (files / "requirements.txt").read_text().splitlines()
    import numpy

    assert f"numpy=={numpy.__version__}" in lines
    assert "scikit-learn==" in "\n".join(lines)
    names = [line.partition("==")[0] for line in lines]
    assert names == sorted(set(names))


def test_packages_of_an_empty_path(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/nonexistent"])
    assert capture_packages(files) is None


def test_a_run_carries_its_code(repository: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    run_script(
        "run = art.init(project='p', settings={'console': False})\nrun.finish()",
        "--api-key=abc",
        "--token",
        "def",
        "--lr",
        "0.1",
    )
    [path] = journals(store_root)
    info = info_of(path)
    assert info["git"]["commit"] == git(repository, "rev-parse", "HEAD")
    assert info["git"]["dirty"] is True
    assert info["requirements"] == "requirements.txt"
    assert info["args"] == ["--api-key=***", "--token", "***", "--lr", "0.1"]
    assert info["program"] == str(repository / "train.py")
    assert info["python"] == sys.version.split()[0]
    assert info["host"] == os.uname().nodename
    assert info["cpu_count"] >= 1
    assert info["memory_bytes"] > 1 << 20
    kept = {record.path for record in records_of(path) if isinstance(record, records.File)}
    assert kept == {"requirements.txt", "diff.patch", "code/train.py"}
    assert info["code"] == "code/train.py"
    folder = store_root / "runs" / "p" / path.parent.name / "files"
    assert {file.relative_to(folder).as_posix() for file in folder.rglob("*.*")} == kept
    assert (folder / "code/train.py").read_text() == (repository / "train.py").read_text()


def test_secrets_are_hidden() -> None:
    token = "ghp_" + "a" * 36
    assert redact(f"https://{token}@github.com/x") == "https://***@github.com/x"
    assert redact("ssh://git@host/x") == "ssh://***@host/x"
    assert redact("git@host:x/y.git") == "git@host:x/y.git"
    assert redact(f"key {token}") == "key ***"
    assert redact("Authorization: Bearer abc.def") == "Authorization: Bearer ***"
    assert redact("s3://b/x?X-Amz-Signature=ab1&part=2") == "s3://b/x?X-Amz-Signature=***&part=2"
    assert redact_arguments(["--secret-key", "s", "--credentials=c"]) == [
        "--secret-key",
        "***",
        "--credentials=***",
    ]
    assert redact_arguments(["--password", "--next", "x", "--db-secret", "s", "API_KEY=1", "monkey=1"]) == [
        "--password",
        "--next",
        "x",
        "--db-secret",
        "***",
        "API_KEY=***",
        "monkey=1",
    ]


def test_a_module_is_named_as_it_was_started(store_root: Path) -> None:
    Path("package").mkdir()
    Path("package/__init__.py").write_text("")
    Path("package/tool.py").write_text("import artline\nartline.init(project='p').finish()\n")
    subprocess.run([sys.executable, "-m", "package.tool"], check=True, timeout=60, capture_output=True)
    [path] = journals(store_root)
    assert info_of(path)["program"] == "-m package.tool"


def test_a_host_without_proc_is_still_described(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.read_text

    def read_text(path: Path, *arguments: object, **named: object) -> str:
        if str(path).startswith("/proc/"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return real(path, *arguments, **named)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(Path, "read_text", read_text)
    found = host.describe_process()
    assert (found.pid, found.boot_id, found.started) == (os.getpid(), "", 0)
