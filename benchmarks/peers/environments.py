"""Where the other tools live: a virtual environment each at pinned versions, or Debian's package."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.bench import CHECKOUT

__all__ = ["DEBIAN", "PINNED", "Environment", "UnavailableError", "brief", "environment"]

PINS = Path(__file__).parent
PINNED = {
    "dvc": "dvc",
    "mlflow": "mlflow",
    "wandb": "wandb",
    "trackio": "trackio",
    "aim": "aim",
    "tensorboardx": "tensorboardX",
    "boto3": "boto3",
}
DEBIAN = {"restic": ("restic", "restic", "version"), "borg": ("borgbackup", "borg", "--version")}
INSTALL_SECONDS = 1800


class UnavailableError(Exception):
    """A tool cannot be had here, or did not do what was asked; the message is for the table."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One installed tool. ``folder`` holds its programs; ``python`` is None where it is not a library."""

    name: str
    version: str
    folder: Path
    python: Path | None = None

    def program(self, name: str) -> str:
        return str(self.folder / name)


def environment(name: str, base: Path) -> Environment:
    """Return a tool's environment under ``base``, made or brought up to date where it must be.

    Raises UnavailableError with the reason when that fails.
    """
    if name in DEBIAN:
        return _debian(name)
    if name in PINNED:
        return _virtual(name, base / name)
    if name == "artline":
        return Environment(name, version(name), Path(sys.executable).parent, Path(sys.executable))
    return Environment(name, _first_line(["cp", "--version"]).rpartition(" ")[2], Path("/bin"))


def brief(text: str) -> str:
    """Return the line of a program's output that says why it failed, without addresses and folders."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [
        line for line in lines if re.match(r"(?i)(\w+:\s*)?(error|fatal)\b|\w*(Error|Exception):", line)
    ]
    line = (errors or lines or ["it said nothing"])[-1]
    line = re.sub(r"\b\w+://\S+|\b(?:(?:host|port)=[^\s,)]+(?:,\s*)?)+", "…", line)
    line = re.sub(r"(?<![\w.])/[^\s'\":,]+/", "…/", line)
    return line if len(line) <= 200 else line[:199] + "…"


def _virtual(name: str, folder: Path) -> Environment:
    pins = PINS / f"{name}.txt"
    stamp = folder / ".installed"
    python = folder / "bin" / "python"
    wanted = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing: {name}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        _checked([sys.executable, "-m", "venv", str(folder)])
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
        _checked([*pip, "install", "--no-deps", "--prefer-binary", "--requirement", str(pins)])
        stamp.write_text(wanted)
    look = f"from importlib.metadata import version; print(version({PINNED[name]!r}))"
    return Environment(name, _first_line([str(python), "-c", look]), folder / "bin", python)


def _debian(name: str) -> Environment:
    package, program, how = DEBIAN[name]
    if shutil.which(program) is None:
        _checked([str(CHECKOUT / "tools" / "packages"), package])
    found = shutil.which(program)
    if found is None:
        raise UnavailableError(f"Debian's package {package} has no program {program}")
    said = re.search(r"\d+(\.\d+)+", _first_line([found, how]))
    return Environment(name, said.group() if said else "unknown version", Path(found).parent)


def _first_line(command: list[str]) -> str:
    return _checked(command).partition("\n")[0].strip()


def _checked(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"not installed: {brief(str(error))}") from error
    if done.returncode:
        raise UnavailableError(f"not installed: {brief(done.stderr or done.stdout)}")
    return done.stdout
