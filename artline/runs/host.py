"""Which process, program and machine a run is: what can be told at once, without touching anything slow."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from artline.runs.records import Process

__all__ = ["describe_host", "describe_process", "host_name", "in_notebook", "redact", "redact_arguments"]

_SECRET_NAME = re.compile(
    r"(?i)(pass(wd|word|phrase)?|secret|token|(api|access|secret|private|account)[-_]?key|auth|credentials?)$"
)
_CREDENTIALS = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@]+@")
_BEARER = re.compile(r"(?i)\b(bearer\s+)\S+")
_SIGNATURE = re.compile(
    r"(?i)([?&](?:x-(?:amz|goog)-(?:signature|security-token|credential)|sig|signature|\w*token|api_?key)=)"
    r"[^&#\s]+"
)
_TOKENS = re.compile(
    r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|sk-[\w-]{20,}"
    r"|AKIA[0-9A-Z]{16}|xox[abprs]-[\w-]{10,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,})"
)
HIDDEN = "***"


def describe_process(pid: int | None = None, label: str = "", decides: bool = True) -> Process:
    """Return what identifies this process among all that ever ran on this machine."""
    pid = os.getpid() if pid is None else pid
    return Process(
        pid=pid,
        started=_started(pid),
        boot_id=_line("/proc/sys/kernel/random/boot_id"),
        pid_namespace=_namespace(),
        host=host_name(),
        label=label,
        decides=decides,
    )


def describe_host() -> dict[str, Any]:
    """Return program, arguments, Python, system and CPU count, with obvious secrets hidden."""
    return {
        "program": _program(),
        "args": redact_arguments(sys.argv[1:]),
        "executable": sys.executable,
        "python": sys.version.split()[0],
        "os": _system(),
        "host": host_name(),
        "cpu_count": os.cpu_count() or 0,
        "gpu_count": _gpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "cwd": _cwd(),
    }


def host_name() -> str:
    """Return the machine's name."""
    return os.uname().nodename


def in_notebook() -> bool:
    """Tell whether this process is a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def redact(text: str) -> str:
    """Hide credentials and signatures inside URLs, and texts that look like access tokens."""
    text = _SIGNATURE.sub(rf"\1{HIDDEN}", _BEARER.sub(rf"\1{HIDDEN}", text))
    return _TOKENS.sub(HIDDEN, _CREDENTIALS.sub(rf"\1{HIDDEN}@", text))


def redact_arguments(arguments: list[str]) -> list[str]:
    """Return a command line with the values of secret-looking options hidden."""
    result = []
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hide_next and not argument.startswith("-"):
            result.append(HIDDEN)
            hide_next = False
            continue
        secret = bool(_SECRET_NAME.search(name)) and (name.startswith("-") or bool(equals))
        result.append(f"{name}={HIDDEN}" if secret and equals else redact(argument))
        hide_next = secret and not equals
    return result


def _program() -> str:
    if "IPython" in sys.modules:
        from artline.runs.notebooks import notebook_file

        notebook = notebook_file()
        if notebook is not None:
            return str(notebook)
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in (None, "__main__"):
        return f"-m {spec.name.removesuffix('.__main__')}"
    path = getattr(main, "__file__", None)
    return str(path) if path else "<python>"


def _system() -> str:
    release = _line("/etc/os-release", "PRETTY_NAME=")
    uname = os.uname()
    kernel = f"{uname.sysname}-{uname.release}-{uname.machine}"
    return f"{kernel} ({release})" if release else kernel


def _gpu_count() -> int:
    try:
        return len(os.listdir("/proc/driver/nvidia/gpus"))
    except OSError:
        return 0


def _started(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        pass
    if os.path.isdir("/proc/self"):
        return 0
    try:
        import psutil

        return int(psutil.Process(pid).create_time())
    except Exception:  # noqa: BLE001  # psutil's own errors; readers treat 0 as unknown
        return 0


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _line(path: str, start: str = "") -> str:
    try:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            if line.startswith(start):
                return line[len(start) :].strip().strip('"')
    except OSError:
        pass
    return ""


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:  # the folder is gone
        return ""
