"""Whether a file's change time can be relied on: does every later change of its content give it another one?

A program cannot set the change time, which is why the stat cache trusts it. Three things get past it:

- Two changes within one tick of the clock that stamps files.
- A write that was under way. The kernel takes the time when a write begins, or when a page of a memory map is
  first touched; what is written until it ends, or until the page has been written back, leaves no trace. So
  a file that changed lately is only relied on where a lease tells that nobody has it open, or mapped, for
  writing.
- File systems that have no such time, or in which a memory map does not move it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from functools import cache

__all__ = ["settled"]

# Kernels stamp files by a clock that ticks every 1 to 10 ms; some file systems keep whole seconds (or two).
_TICK = 100_000_000
_COARSE_TICK = 2_500_000_000
# By then a page that was touched is written back (Linux does it after 30 s), and the next touch is seen.
_WRITTEN_BACK = 120_000_000_000

# They tell the modification time, or when the file was made, for the change time; or, in memory, let pages of
# a map be written unseen. Plain "fuse" is a program that does not say which it is.
_WITHOUT = frozenset(
    [
        "exfat",
        "fuse",
        "msdos",
        "ramfs",
        "tmpfs",
        "vfat",
        "fuse.blobfuse2",
        "fuse.curlftpfs",
        "fuse.gcsfuse",
        "fuse.goofys",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
    ]
)
# A lease on a file of these does not see maps of the file beneath.
_NO_LEASE = frozenset(("overlay",))


def settled(descriptor: int, status: os.stat_result, now_ns: int) -> bool:
    """Tell whether any change after this call would give an open file another change time than it has.

    Ask before reading the content, with a ``now_ns`` from before the status was taken. False where that
    cannot be told.
    """
    changed = status.st_ctime_ns
    if changed + (_COARSE_TICK if changed % 1_000_000_000 == 0 else _TICK) >= now_ns:
        return False
    kind = _file_system(status.st_dev)
    if kind in _WITHOUT:
        return False
    return changed + _WRITTEN_BACK < now_ns or (kind not in _NO_LEASE and _no_writer(descriptor))


if sys.platform == "linux":

    def _no_writer(descriptor: int) -> bool:
        """Tell whether nobody has the file open, or mapped, for writing: only then a read lease is given."""
        try:
            # Whoever opens it between the two calls has us sent a signal: one that does nothing by default.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:  # there is one, or the file is another user's, or the file system has no leases
            return False
        return True

    @cache
    def _file_system(device: int) -> str:
        """Return the kind of file system a device has, empty where that is not known."""
        wanted = f"{os.major(device)}:{os.minor(device)}"
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
                for line in mounts:
                    fields, _, rest = line.partition(" - ")
                    if fields.split(" ", 3)[2:3] == [wanted]:
                        return rest.split(" ", 1)[0]
        except OSError:
            pass
        return ""

else:

    def _no_writer(descriptor: int) -> bool:
        return False

    def _file_system(device: int) -> str:
        return ""
