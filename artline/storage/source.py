"""Files being added: read once, and refused when they change under the read."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from artline.errors import (
    SourceChangedError,
    SourceNotFoundError,
    SourceNotReadableError,
    StoreUnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from artline.errors import ArtlineError

__all__ = ["OPEN_FLAGS", "changed", "check_regular", "same", "source_error"]

# Non-blocking, so that opening a FIFO returns and can be refused.
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def source_error(error: OSError, path: str) -> ArtlineError:
    """Return the error that tells what an operating system error means for a file to be added."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SourceNotFoundError(f"'{path}' does not exist. Check the path")
    if isinstance(error, PermissionError):
        return SourceNotReadableError(f"'{path}' cannot be read: {error.strerror}. Check its owner and mode")
    if error.errno == errno.ELOOP:
        return SourceNotFoundError(f"'{path}' leads through too many symbolic links")
    if error.errno in (errno.ESTALE, errno.EIO):
        return SourceNotReadableError(f"'{path}' cannot be read: {error.strerror}. Check the disk under it")
    return StoreUnavailableError(f"'{path}' cannot be read: {error}")


def check_regular(status: os.stat_result, path: str) -> None:
    """Raise UsageError unless the file is a regular one."""
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"'{path}' is not a regular file. Only files and folders can be added")


def same(before: os.stat_result, after: os.stat_result) -> bool:
    """Tell whether a file's content stayed the same between two looks at it."""
    return (
        before.st_size == after.st_size
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
    )


def changed(path: str) -> SourceChangedError:
    """Return the error for a file that changed while it was read."""
    return SourceChangedError(
        f"'{path}' changed while it was being read. Nothing of it was kept; add it again when it is complete"
    )
