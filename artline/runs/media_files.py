"""The files of a run's media: written under ``run.dir`` once each, and read back."""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from artline.artifacts.media import Content, Kept
from artline.artifacts.media.base import FOLDER
from artline.errors import IntegrityError
from artline.runs.names import new_id
from artline.runs.records import File
from artline.storage.digest import Algorithm

if TYPE_CHECKING:
    from artline.runs.run import Run

__all__ = ["MediaFiles", "MediaFolder"]

PIECE = 1 << 20
REMEMBERED = 100_000  # paths known to be written


class MediaFolder:
    """Keeps media below ``run.dir``, each under its digest. One thread at a time."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._root = Path(run.dir)
        self._algorithm = Algorithm(run.settings.digest)
        self._draft = self._root / FOLDER / f".{os.getpid()}-{new_id()}.partial"  # others may write, too
        self._known: set[str] = set()

    def keep(self, content: Content, folder: str, suffix: str) -> Kept:
        """Keep content under its digest. Raises OSError and leaves nothing then."""
        if content.is_large:
            digest, size = self._copy(content)
        else:
            data = content.read()
            digest, size = self._algorithm.hash(data).hex(), len(data)
        path = posixpath.join(FOLDER, folder, digest + suffix)
        place = self._root / path
        if path not in self._known or not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            if not content.is_large:
                self._draft.write_bytes(data)
            os.replace(self._draft, place)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known.add(path)
            self._run.keep_file(File(path, "now"))
        return Kept(path, f"{self._algorithm.value}:{digest}", size)

    def _copy(self, content: Content) -> tuple[str, int]:
        """Copy large content into the draft; return its digest and size."""
        hasher = self._algorithm.hasher()
        size = 0
        self._draft.parent.mkdir(parents=True, exist_ok=True)
        with content.open() as source, self._draft.open("wb") as target:
            while piece := source.read(PIECE):
                hasher.update(piece)
                target.write(piece)
                size += len(piece)
        return hasher.digest().hex(), size

    def close(self) -> None:
        """Take away what a failed attempt left."""
        with contextlib.suppress(OSError):
            self._draft.unlink()


class MediaFiles:
    """The files of a run that media are read from. ``find`` opens a file of the run by its path."""

    def __init__(self, find: Callable[[str], IO[bytes]], label: str) -> None:
        self._find = find
        self._label = label

    def open(self, path: str) -> BinaryIO:
        """Open a file of media, whose name is its digest, for reading.

        Raises EntryNotFoundError, and IntegrityError when its content is another.
        """
        with self._find(path) as stream:
            data = stream.read()
        name = posixpath.basename(path).partition(".")[0]
        if not any(algorithm.hash(data).hex() == name for algorithm in Algorithm):
            raise IntegrityError(
                f"'{path}' of run '{self._label}' does not match its digest: it was changed, or not "
                "written whole"
            )
        return io.BytesIO(data)
