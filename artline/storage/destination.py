"""Destinations of a checkout: files that appear whole, under their name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
import uuid
from typing import TYPE_CHECKING

from artline.errors import ArtlineError, AuthError, StoreFullError, StoreUnavailableError
from artline.storage.bucket import is_staged, open_staged, sweep_staging

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Destinations", "destination_error", "is_being_written", "sweep_unfinished"]

_PART = re.compile(r"\.artline-[0-9a-f]{12}\.[0-9]+\.part")
_KEPT = re.compile(r"\.artline-[0-9a-f]{32}\.fetch")  # a large download, which the next call resumes


class Destinations:
    """Makes the files of one checkout, and the folders above them. Safe to share between threads."""

    def __init__(self) -> None:
        self._folders: set[str] = set()
        self._suffix = uuid.uuid4().hex[:12]
        self._numbers = itertools.count()

    def part(self, destination: str) -> str:
        """Return a new name beside ``destination`` that a sweep knows as unfinished; make the folder."""
        folder = os.path.dirname(destination)
        if folder not in self._folders:
            _make_folder(folder or ".")
            self._folders.add(folder)
        name = f".artline-{self._suffix}.{next(self._numbers)}.part"
        return f"{folder}/{name}" if folder else name

    @contextlib.contextmanager
    def temporary(self, destination: str, mode: int | None = None) -> Iterator[int]:
        """Give a file to write that becomes ``destination`` when the block ends well.

        ``mode`` are its permission bits, None what the umask leaves. What the system refuses is raised as
        ``destination_error`` says.
        """
        try:
            path = self.part(destination)
            bits = 0o666 if mode is None else stat.S_IMODE(mode)
            descriptor = open_staged(path, bits)
        except OSError as error:
            raise destination_error(error, destination) from error
        try:
            try:
                if mode is not None:
                    os.fchmod(descriptor, bits)
                yield descriptor
                os.close(os.dup(descriptor))  # a network file system tells here what it could not write
                os.rename(path, destination)  # locked until it has its name
            finally:
                os.close(descriptor)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(path)
            if isinstance(error, OSError):
                raise destination_error(error, destination) from error
            raise


def sweep_unfinished(folder: str) -> int:
    """Remove what killed checkouts left in a folder; return how many files."""
    try:
        return sweep_staging(folder, _PART)
    except PermissionError:  # one may write to a folder that one may not list
        return 0


def is_being_written(path: str) -> bool:
    """Tell whether a file is one that a checkout is at just now, and that has no name of its own yet."""
    name = os.path.basename(path)
    return bool(_PART.fullmatch(name) or _KEPT.fullmatch(name)) and is_staged(path)


def destination_error(error: OSError, destination: str) -> ArtlineError | OSError:
    """Return the error that tells what went wrong with writing a file."""
    if isinstance(error, ArtlineError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(f"no space left to write '{destination}'. Free some space and try again")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return AuthError(f"not allowed to write '{destination}' ({error.strerror}). Check owner and mode")
    return StoreUnavailableError(f"cannot write '{destination}': {error.strerror}. Check the path")


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder)
    except FileExistsError:
        sweep_unfinished(folder)
