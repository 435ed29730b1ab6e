"""Run a command that dies when its parent does, even if the parent is killed outright.

    python leash.py PARENT_PID SIGNAL [--user NAME] -- COMMAND ...

A program of its own, because the kernel forgets the wish (``PR_SET_PDEATHSIG``) when the user changes:
drop privileges first, ask next, then become the command.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, signal_number: int) -> None:
    """Ask the kernel to send this process a signal when its parent ends (Linux only)."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent:  # it died before the wish was known
            raise SystemExit(1)


def main(arguments: list[str]) -> None:
    options, command = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    parent, signal_number = int(options[0]), int(options[1])
    if "--user" in options:
        entry = pwd.getpwnam(options[options.index("--user") + 1])
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        os.environ.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
    die_with_parent(parent, signal_number)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
