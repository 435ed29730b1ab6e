"""Completion: candidates for a line, and a real bash asking for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from artline.cli.group import art
from artline.cli.shells import SCRIPTS, candidates


def words(line: str) -> list[str]:
    return [word for _, word, _ in candidates(art, "art", line)]


def test_commands_and_options_complete() -> None:
    assert "doctor" in words("art ")
    assert words("art doc") == ["doctor"]
    assert "--json" in words("art doctor --")
    assert words("art completion f") == ["fish"]


def test_a_line_that_makes_no_sense_is_answered_silently() -> None:
    for line in ("", "art nothing ", 'art show "open', "art --what "):
        done = subprocess.run(
            [sys.executable, "-m", "artline"],
            env={**os.environ, "_ART_COMPLETE": "bash", "_ART_LINE": line},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_serves_both_names(shell: str) -> None:
    done = CliRunner().invoke(art, ["completion", shell])
    assert done.exit_code == 0
    assert "_art_complete" in done.output
    assert "_artline_complete" in done.output


@pytest.fixture
def bash(tmp_path: Path) -> str:
    """Put an ``art`` on the path, and return a script that loads its completion."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "art"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m artline "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return f'export PATH="{folder}:$PATH"\neval "$(art completion bash)"\n'


def ask_bash(setup: str, line: str) -> list[str]:
    """Return what bash would insert for ``line`` with the cursor at its end."""
    program = shutil.which("bash")
    assert program is not None
    ask = (
        f"{setup}COMP_LINE={line!r}\nCOMP_POINT=${{#COMP_LINE}}\nCOMP_WORDBREAKS=$' \\t\\n\"\\'@><=;|&(:'\n"
        'compopt() { :; }\n_art_complete art\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run([program, "--norc", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_bash_completes(bash: str) -> None:
    assert ask_bash(bash, "art doc") == ["doctor"]
    assert ask_bash(bash, "art completion ") == ["bash", "zsh", "fish"]


@pytest.fixture
def store(clean_environment: Path) -> Path:
    """A store with a run and two artifacts in project demo."""
    Path("f.txt").write_text("x", encoding="utf-8")
    for name in ("digits:best", "digits-mlp"):
        done = CliRunner().invoke(art, ["push", "f.txt", name, "-p", "demo"])
        assert done.exit_code == 0, done.output
    done = CliRunner().invoke(art, ["sync"])
    assert done.exit_code == 0, done.output
    return clean_environment


def test_names_of_the_store_complete(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert words("art ls -p de") == ["demo"]
    assert words("art ls --project=de") == ["demo"]
    assert words("art show -p demo dig") == ["digits", "digits-mlp"]
    assert words("art show demo/dig") == ["demo/digits", "demo/digits-mlp"]
    monkeypatch.setenv("ART_PROJECT", "demo")
    assert words("art show digits:") == ["digits:best", "digits:latest", "digits:v0"]
    assert words("art diff digits:v0 digits:l") == ["digits:latest"]
    assert words("art show ") == ["digits", "digits-mlp"]
    silent = CliRunner().invoke(art, [], env={"_ART_COMPLETE": "bash", "_ART_LINE": "art show absent:"})
    assert (silent.exit_code, silent.output) == (0, "")
    runs = words("art metrics ")
    assert len(runs) == 2
    assert words(f"art runs show {runs[0][:3]}")[0].startswith(runs[0][:3])


def test_completion_makes_no_store(store_root: Path) -> None:
    assert words("art show ") == []
    assert words("art logs ") == []
    assert not store_root.exists()


def test_bash_completes_names_with_colons(store: Path, bash: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_PROJECT", "demo")
    assert ask_bash(bash, "art show digits:") == ["best", "latest", "v0"]
    assert ask_bash(bash, "art show digits:la") == ["latest"]
    assert ask_bash(bash, "art show dig") == ["digits", "digits-mlp"]
    assert ask_bash(bash, "art ls --project=d") == ["demo"]
