"""The fault tools that tests use, as Debian packages them: strace and libfaketime."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from services.process import missing

LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


def strace() -> str:
    """Return the path of strace, which must be allowed to trace."""
    program = shutil.which("strace")
    if program is None:
        missing("strace", "Install it: apt-get install strace")
    done = subprocess.run([str(program), "-o", "/dev/null", "true"], capture_output=True, text=True)
    if done.returncode:
        missing(
            "strace that may trace", f"Allow ptrace (docker: --cap-add SYS_PTRACE). {done.stderr.strip()}"
        )
    return str(program)


def faketime() -> str:
    """Return the path of the library that fakes the time of a process that preloads it."""
    for pattern in LIBRARIES:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            return str(path)
    missing("libfaketime", "Install it: apt-get install faketime")
    raise AssertionError
