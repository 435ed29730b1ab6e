"""Choosing some of a run's files and copying them out."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from artline.errors import ConflictError, NotFoundError, SourceNotReadableError

if TYPE_CHECKING:
    from artline.runs.files import RunFile
    from artline.runs.listing import RunRecord
    from artline.runs.store import RunStore

__all__ = ["copy_files", "select_files"]


def select_files(store: RunStore, record: RunRecord, pattern: str | None = None) -> list[RunFile]:
    """Return the files of a run whose names match ``pattern`` (``plots/*``), by default all.

    Raises NotFoundError when a pattern matches none.
    """
    found = [file for file in store.files(record) if pattern is None or fnmatchcase(file.name, pattern)]
    if pattern is not None and not found:
        raise NotFoundError(
            f"run '{record.run_id}' has no file like '{pattern}'. List them: art files {record.run_id}"
        )
    return found


def copy_files(store: RunStore, files: Sequence[RunFile], folder: Path) -> None:
    """Copy files into ``folder``, below it as they were below the run's; nothing there is overwritten.

    Raises ConflictError for a file that is there already, before anything is copied.
    """
    present = next((file for file in files if (folder / file.name).exists()), None)
    if present is not None:
        raise ConflictError(
            f"'{folder / present.name}' exists already. Choose another folder or move it away"
        )
    try:
        for file in files:
            store.copy_file(file, folder / file.name)
    except OSError as error:
        raise SourceNotReadableError(f"cannot copy '{file.name}' to '{folder}': {error.strerror}") from error
