"""What is documented is what is there."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from artline import errors
from artline.settings import ENVIRONMENT, Settings

CHECKOUT = Path(__file__).parents[2]
ERRORS = (CHECKOUT / "docs" / "errors.md").read_text()
SETTINGS = (CHECKOUT / "docs" / "settings.md").read_text()
PAGES = sorted(
    str(page.relative_to(CHECKOUT)) for pattern in ("*.md", "docs/**/*.md") for page in CHECKOUT.glob(pattern)
)


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row, without the backquotes of the first column."""
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_documented(name: str) -> None:
    error = getattr(errors, name)
    documented = {row[1]: row for row in rows(ERRORS)}
    kind, _, also, code, status, _ = documented[name]
    assert (kind, int(code), int(status)) == (error.kind, error.exit_code, error.http_status)
    assert not also or also in [base.__name__ for base in error.__mro__]


def test_no_error_is_documented_that_is_not_there() -> None:
    assert sorted(row[1] for row in rows(ERRORS)) == sorted(errors.__all__)


def test_every_exit_status_is_documented() -> None:
    from artline.cli.exits import EXIT_CODES

    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", ERRORS, re.MULTILINE)}
    assert documented == set(EXIT_CODES)


def test_every_setting_is_documented_with_its_variable_and_default() -> None:
    documented = {row[0]: row for row in rows(SETTINGS) if len(row) == 4}
    fields = {field.name: field for field in dataclasses.fields(Settings) if field.name != "sources"}
    assert set(documented) == set(fields) == set(ENVIRONMENT)
    for name, field in fields.items():
        assert documented[name][1] == ENVIRONMENT[name]
        default = field.default
        if isinstance(default, bool):
            assert documented[name][2] == str(default).lower()
        elif isinstance(default, float):
            assert float(documented[name][2]) == default
        elif isinstance(default, str) and default:
            assert documented[name][2] == default


def test_every_variable_that_the_code_reads_is_documented() -> None:
    read = {
        variable
        for file in (CHECKOUT / "artline").rglob("*.py")
        for variable in re.findall(r"[\"'](ART_[A-Z_]+)[\"']", file.read_text())
    }
    assert read >= set(ENVIRONMENT.values())
    assert not {variable for variable in read if variable not in SETTINGS}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = CHECKOUT / name
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_the_readme_runs_as_written(store_root: Path) -> None:
    text = (CHECKOUT / "README.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    install, commands = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert install == "pip install .\n"  # the continuous integration does that with the built wheel
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip()
    done = subprocess.run(["bash", "-euc", commands], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path("weights/weights.txt").read_text() == "0.25 0.75\n"
    assert "weights:v0" in done.stdout


@pytest.mark.parametrize("name", ["tables.md"])
def test_a_guide_runs_as_written(name: str, store_root: Path) -> None:
    """Its Python is one program, in order; its commands run after that, in order."""
    text = (CHECKOUT / "docs" / name).read_text()
    program = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in ([sys.executable, "-W", "error", "-c", program], ["bash", "-euc", commands]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
