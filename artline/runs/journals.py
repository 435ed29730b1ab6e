"""The journals under a folder: where they are, whose they are, and what they say next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from artline.errors import IntegrityError, StoreTooNewError
from artline.runs.journal import JournalReader
from artline.runs.records import Record, Start

__all__ = ["Batch", "Journal", "JournalFile", "find_journals", "open_journal"]

SUFFIX = ".journal"


@dataclass(frozen=True, slots=True)
class JournalFile:
    """A journal as a folder listing shows it."""

    path: Path
    size: int
    modified: float


@dataclass(slots=True)
class Batch:
    """Frames of one journal from ``offset`` to ``end``, to be taken in as a whole or not at all."""

    start: Start
    offset: int
    end: int
    seq: int | None
    records: list[Record] = field(default_factory=list)


class Journal:
    """One journal being drained: whose it is, and where reading goes on."""

    def __init__(self, path: Path, start: Start) -> None:
        self.path = path
        self.start = start
        self.offset = 0
        self.seq: int | None = None
        self.damage = ""
        self.broken = False  # a frame is good as bytes and means nothing to this Artline
        self._reader: JournalReader | None = None

    def resume(self, offset: int, seq: int | None) -> None:
        """Read on from somewhere else: another process took frames in meanwhile."""
        if offset != self.offset:
            self.offset, self.seq, self._reader = offset, seq, None

    def read(self, budget: int) -> Batch | None:
        """Return the next frames, about ``budget`` bytes of them, or None when there are none now.

        The journal stays where it is until ``advance``. ``damage`` tells when reading cannot go on.
        """
        if self._reader is None:
            self._reader = JournalReader(self.path, self.offset, self.seq if self.offset else None)
        reader = self._reader
        batch = Batch(self.start, self.offset, self.offset, self.seq)
        self.damage, self.broken = "", False
        try:
            for frame in reader:
                batch.end, batch.seq = frame.end, frame.seq + 1
                if frame.record is not None:
                    batch.records.append(frame.record)
                if batch.end - batch.offset >= budget:
                    break
            else:
                self.damage = reader.damage
        except FileNotFoundError:
            self._reader = None
            return None
        except (IntegrityError, StoreTooNewError) as error:
            self._reader = None
            self.damage, self.broken = str(error), True
        return batch if batch.end > batch.offset else None

    def advance(self, batch: Batch) -> None:
        """Go on after a batch that is in the catalog for good."""
        self.offset, self.seq = batch.end, batch.seq

    def rewind(self) -> None:
        """Read again from ``offset``: what was read was not taken in."""
        self._reader = None


def find_journals(folder: Path) -> Iterator[JournalFile]:
    """Yield every journal at or below ``folder``, in order of path. A folder that is gone holds none."""
    if folder.is_file():
        if folder.suffix == SUFFIX:
            status = folder.stat()
            yield JournalFile(folder, status.st_size, status.st_mtime)
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from find_journals(Path(entry.path))
        elif entry.name.endswith(SUFFIX):
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            yield JournalFile(Path(entry.path), status.st_size, status.st_mtime)


def open_journal(path: Path) -> Journal | None:
    """Return the journal at ``path``, or None while its first frame is not whole.

    Raises IntegrityError when the file is no journal, StoreTooNewError for a newer format.
    """
    try:
        for frame in JournalReader(path):
            if not isinstance(frame.record, Start):
                raise IntegrityError(f"journal {path} does not begin with a start record. Move it away")
            return Journal(path, frame.record)
    except FileNotFoundError:
        pass
    return None
