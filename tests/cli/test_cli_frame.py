"""The frame: help, exit codes, errors, pipes, and that nothing heavy is loaded for help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from artline import errors
from artline.cli.command import ArtCommand
from artline.cli.exits import EXIT_CODES, finish
from artline.cli.group import LazyGroup, art

HEAVY = ("sqlalchemy", "alembic", "numpy", "pyarrow", "psutil", "requests", "fsspec", "zstandard", "pynvml")


def commands(group: click.Group = art, path: str = "art") -> list[tuple[str, click.Command, str]]:
    """Return path, command and listed line of every command, those of groups included."""
    assert isinstance(group, LazyGroup)
    context = click.Context(group, info_name=path)
    found: list[tuple[str, click.Command, str]] = []
    for lines in group.sections.values():
        for name, line in lines.items():
            command = group.get_command(context, name)
            assert command is not None
            found.append((f"{path} {name}", command, line))
            if isinstance(command, click.Group):
                found.extend(commands(command, f"{path} {name}"))
    return found


ALL = commands()


def run_art(*args: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "artline", *args], capture_output=True, text=True, check=False, **kwargs
    )  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(("path", "command", "line"), ALL, ids=[path for path, _, _ in ALL])
def test_each_command_explains_itself(path: str, command: click.Command, line: str) -> None:
    assert (command.help or "").splitlines()[0] == line
    assert len(line) <= 64
    assert line.endswith(".")
    assert all(param.help for param in command.params if isinstance(param, click.Option))
    if isinstance(command, click.Group):
        return
    assert isinstance(command, ArtCommand)
    assert command.examples
    assert all("art" in example for example in command.examples)
    assert {0, 1, 2, 130} <= set(command.exits) <= set(EXIT_CODES)
    has_json = any("--json" in param.opts for param in command.params)
    assert has_json == bool(command.shape)
    page = CliRunner().invoke(art, [*path.split()[1:], "--help"])
    assert page.exit_code == 0
    for heading in ("Usage:", "Options:", "Examples:", "Exit codes:"):
        assert heading in page.output


def test_help_lists_every_command_under_its_section() -> None:
    page = CliRunner().invoke(art, ["--help"])
    assert page.exit_code == 0
    for section, lines in art.sections.items():
        assert f"{section}:" in page.output
        assert all(name in page.output for name in lines)


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["push", "--help"], ["runs", "ls", "--help"]])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys\nfrom artline.cli import main\n"
        f"try:\n    main({args!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"sys.stderr.write(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout


def test_completion_of_commands_loads_nothing_heavy() -> None:
    code = (
        "import os, sys\nos.environ.update(_ART_COMPLETE='bash', _ART_LINE='art pu')\n"
        "from artline.cli import main\n"
        "try:\n    main([])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"sys.stderr.write(' '.join(m for m in (*{HEAVY!r}, 'artline.cli.push') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == ["push", "pull"]


@pytest.mark.parametrize("name", list(errors.__all__))
def test_each_error_ends_with_its_exit_code(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kind = getattr(errors, name)

    def fail() -> None:
        raise kind("this thing, that place, the remedy")

    assert finish(fail) == kind.exit_code
    assert kind.exit_code in EXIT_CODES
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: this thing, that place, the remedy\n"


def test_an_interrupt_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    assert finish(fail) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_an_unexpected_error_is_one_message_unless_debugged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ValueError("odd\nvalue")

    assert finish(fail) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: unexpected ValueError: odd value\n")
    assert "ART_DEBUG=1" in err
    assert "Traceback" not in err
    monkeypatch.setenv("ART_DEBUG", "1")
    assert finish(fail) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_end_of_a_file_is_no_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise EOFError("short read")

    assert finish(fail) == 1
    assert "EOFError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["psuh"], "there is no command 'psuh'. Did you mean 'push'?"),
        (["--colour"], "--colour"),
        (["show"], "Missing argument"),
        (["doctor", "--jsno"], "--jsno"),
    ],
)
def test_wrong_usage_is_explained(args: list[str], message: str) -> None:
    done = CliRunner().invoke(art, args)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "--help" in done.stderr


def test_a_closed_pipe_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "artline", "--help"],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_module_runs_like_the_script(tmp_path: Path) -> None:
    done = run_art("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("artline ")
    assert "Usage: art " in run_art("--help").stdout
