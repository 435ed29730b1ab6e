"""The code a run was made with: git state, patches, installed packages. Runs in the background.

What is captured as files goes into the run's files folder. What is skipped is named with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from artline.runs.host import redact

__all__ = [
    "CODE_FOLDER",
    "DIFF_FILE",
    "LARGEST_DIFF",
    "REQUIREMENTS_FILE",
    "UPSTREAM_DIFF_FILE",
    "capture_git",
    "capture_packages",
    "capture_program",
]

DIFF_FILE = "diff.patch"
UPSTREAM_DIFF_FILE = "diff_upstream.patch"
REQUIREMENTS_FILE = "requirements.txt"
LARGEST_DIFF = 10 * 1024 * 1024  # bytes of one patch
LARGEST_PROGRAM = 1 << 20  # bytes of a script
CODE_FOLDER = "code"
GIT_TIMEOUT = 20.0  # seconds one git command may take


# So that the patch applies whatever the user's settings say, and with what changed inside submodules.
_PLAIN_PATCH = (
    "--binary",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-relative",
    "--submodule=diff",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--unified=3",
)


class _GitError(Exception):
    """A git command failed or took too long; the text says which and why."""


def capture_git(program: str, files: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the git state of the program's repository, and the names of the patches written into ``files``.

    The repository is that of the program's folder, or of the working folder when there is no program
    file. Without one (or without git) the result says so under ``skipped``. Never raises.
    """
    folder = _folder_of(program)
    try:
        return _capture(folder, files)
    except _GitError as error:
        return {"skipped": {"git": str(error)}}, []


def capture_packages(files: Path) -> str | None:
    """Write ``requirements.txt`` from the names of the dist-info folders on the path; return its name.

    Reading no metadata keeps this to a few milliseconds; a folder's name carries the normalised name and
    the version. Returns None when nothing is installed or the file cannot be written.
    """
    found: dict[str, str] = {}
    standin = os.path.join("artline", "compat", "site")  # there is no package to install behind it
    for entry in sys.path:
        if entry.endswith(standin):
            continue
        try:
            names = os.listdir(entry or ".")
        except OSError:
            continue
        for name in names:
            stem, dot, kind = name.rpartition(".")
            if not dot or kind not in ("dist-info", "egg-info"):
                continue
            package, dash, version = stem.partition("-")
            if dash:
                version = version.partition("-py")[0] if kind == "egg-info" else version
                found.setdefault(package.replace("_", "-").lower(), version)
    if not found:
        return None
    lines = [f"{name}=={version}\n" for name, version in sorted(found.items())]
    try:
        (files / REQUIREMENTS_FILE).write_text("".join(lines), encoding="utf-8")
    except OSError:
        return None
    return REQUIREMENTS_FILE


def capture_program(files: Path, root: str | None) -> str | None:
    """Copy the script that runs below ``code/`` in ``files``; return its name there, None without one.

    Names count from ``root``, the repository's, where the script is in it. A script that was installed, or
    is larger than 1 MiB, is not copied.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(main, str) or not os.path.isfile(main):
        return None
    path = Path(main).resolve()
    if "site-packages" in path.parts or path.stat().st_size > LARGEST_PROGRAM:
        return None
    inside = root is not None and path.is_relative_to(root)
    name = f"{CODE_FOLDER}/{path.relative_to(root).as_posix() if root and inside else path.name}"
    try:
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, files / name)
    except OSError:
        return None
    return name


def _folder_of(program: str) -> Path:
    path = Path(program)
    if program and path.is_file():
        return path.resolve().parent
    try:
        return Path.cwd()
    except OSError:
        return Path("/")


def _capture(folder: Path, files: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        root = _git(folder, "rev-parse", "--show-toplevel")
    except _GitError as error:
        if "not a git repository" in str(error):
            raise _GitError(f"{folder} is in no git repository") from None
        raise
    state: dict[str, Any] = {"root": root}
    skipped: dict[str, str] = {}
    remote = _optional(folder, "remote", "get-url", "origin")
    if remote is None:
        names = (_optional(folder, "remote") or "").split()
        remote = _optional(folder, "remote", "get-url", names[0]) if names else None
    if remote:
        state["remote"] = redact(remote)
    state["branch"] = _optional(folder, "symbolic-ref", "--quiet", "--short", "HEAD")
    state["commit"] = _optional(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    written: list[str] = []
    if state["commit"] is None:
        skipped["diff"] = "the repository has no commit yet"
    else:
        state["dirty"] = _patch(folder, "HEAD", files / DIFF_FILE, skipped, "diff", written)
        upstream = _optional(folder, "rev-parse", "--verify", "--quiet", "@{upstream}")
        if upstream is None:
            skipped["diff_upstream"] = (
                "the branch has no upstream" if state["branch"] else "no branch is checked out"
            )
        elif upstream != state["commit"]:
            base = _optional(folder, "merge-base", "HEAD", upstream)
            if base is None:
                skipped["diff_upstream"] = "HEAD and its upstream share no history"
            else:
                state["upstream"] = upstream
                _patch(folder, base, files / UPSTREAM_DIFF_FILE, skipped, "diff_upstream", written)
    if skipped:
        state["skipped"] = skipped
    return state, written


def _patch(
    folder: Path, base: str, file: Path, skipped: dict[str, str], name: str, written: list[str]
) -> bool:
    """Write the patch from ``base`` to the working tree; return whether there is any difference.

    The output is cut off at the limit while git writes it, so a huge one costs neither memory nor disk. Files
    beyond the limit are left out one by one, as git would hold them in memory whole, and named.
    """
    large = _large_files(folder, base)
    if large:
        more = f" and {len(large) - 3} more" if len(large) > 3 else ""
        names = ", ".join(f"'{path}'" for path in large[:3])
        skipped[f"{name}_files"] = f"{names}{more}: larger than {LARGEST_DIFF >> 20} MiB"
    left_out = [f":(top,exclude,literal){path}" for path in large]
    command = _command(folder, "diff", *_PLAIN_PATCH, base, "--", ":(top)", *left_out)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )
    except OSError as error:
        skipped[name] = f"git cannot be run: {error.strerror}"
        return bool(large)
    assert process.stdout is not None
    with process:
        data = process.stdout.read(LARGEST_DIFF + 1)
        if len(data) > LARGEST_DIFF:
            process.kill()
            skipped[name] = f"the patch is larger than {LARGEST_DIFF >> 20} MiB"
            return True
    if process.returncode != 0:
        skipped[name] = f"git diff ended with status {process.returncode}"
        return bool(large)
    if not data:
        return bool(large)
    try:
        file.write_bytes(data)
    except OSError as error:
        skipped[name] = f"{file} cannot be written: {error.strerror}"
        return True
    written.append(file.name)
    return True


def _large_files(folder: Path, base: str) -> list[str]:
    """Return the changed files, by their paths in the repository, that are larger than a patch may be."""
    try:
        root = _git(folder, "rev-parse", "--show-toplevel")
        changed = _run(folder, "diff", "--name-only", "-z", "--no-relative", "--no-ext-diff", base)
    except _GitError:
        return []
    found = []
    for name in filter(None, changed.split(b"\0")):
        path = os.fsdecode(name)
        try:
            if os.lstat(os.path.join(root, path)).st_size > LARGEST_DIFF:
                found.append(path)
        except OSError:  # deleted
            continue
    return found


def _command(folder: Path, *arguments: str) -> list[str]:
    return ["git", "-C", str(folder), "-c", "core.quotePath=false", "-c", "core.fsmonitor=false", *arguments]


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return {**kept, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _git(folder: Path, *arguments: str) -> str:
    return _run(folder, *arguments).decode("utf-8", "replace").strip()


def _run(folder: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            _command(folder, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT,
            env=_environment(),
            check=False,
        )
    except FileNotFoundError:
        raise _GitError("git is not installed") from None
    except OSError as error:
        raise _GitError(f"git cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise _GitError(f"git {arguments[0]} took longer than {GIT_TIMEOUT:.0f} s") from None
    if done.returncode != 0:
        text = done.stderr.decode("utf-8", "replace").strip()
        raise _GitError(text or f"git {arguments[0]} ended with status {done.returncode}")
    return done.stdout


def _optional(folder: Path, *arguments: str) -> str | None:
    try:
        return _git(folder, *arguments) or None
    except _GitError:
        return None
