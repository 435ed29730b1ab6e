"""The files of runs: what lies in their folders, and what of it the content store has.

A run's folder is an inbox, as its journal is: what is in it is taken into the content store by the run itself
when it saves files, and otherwise by whoever reads first after its end. From then on the folder may go.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import sqlalchemy as sa

from artline.artifacts.schema import project as project_table
from artline.errors import (
    ArtlineError,
    SourceChangedError,
    SourceNotFoundError,
    SourceNotReadableError,
    UsageError,
)
from artline.runs.attributes import clean_text
from artline.runs.host import host_name
from artline.runs.notices import warn
from artline.runs.schema import run, run_file, run_folder, run_writer, upsert
from artline.storage.recipe import Blob

if TYPE_CHECKING:
    from artline.runs.listing import RunRecord
    from artline.settings import Settings
    from artline.storage.catalog import Catalog
    from artline.storage.content import ContentStore
    from artline.storage.lease import Lease
    from artline.storage.writer import ContentWriter

__all__ = [
    "Kept",
    "KeptFiles",
    "KeptRow",
    "PendingFolder",
    "RunFile",
    "await_folder",
    "keep_files",
    "walk_folder",
]

LIVE = ("pending", "running")
READ_BUDGET = 64 << 20  # bytes that somebody who only wants to read takes into the store on the way
READ_SECONDS = 1.0
_BATCH = 256


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file of a run: POSIX name under ``run.dir``, size in bytes, time of last change.

    ``blob`` is its content in the store; without one it lies at ``path`` on this machine only.
    """

    name: str
    path: Path
    size: int
    modified: float
    policy: str
    blob: Blob | None = None


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A file of a run as the catalog has it; without a ``digest`` it is only known by name."""

    path: str
    policy: str
    digest: bytes | None = None
    recipe: bytes | None = None
    size: int = 0
    modified: float = 0.0

    @property
    def blob(self) -> Blob | None:
        """Its content in the store."""
        return None if self.digest is None else Blob(self.digest, self.size, self.recipe)


@dataclass(frozen=True, slots=True)
class PendingFolder:
    """The folder of a run that has ended, which the store does not have all of yet.

    ``dir`` is where the run said that it is, empty for the usual place; ``hosts`` are the machines it ran on.
    """

    key: int
    project: str
    run_id: str
    dir: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What was taken into the store: names, bytes, and whether all that there is.

    ``changing`` names files that changed while they were read, ``problems`` tells of those that cannot be.
    """

    names: tuple[str, ...] = ()
    size: int = 0
    complete: bool = True
    changing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class KeptFiles:
    """The part of a RunStore that deals with the files of runs."""

    if TYPE_CHECKING:
        settings: Settings
        catalog: Catalog

    def __init__(self) -> None:
        self._content: ContentStore | None = None
        self._left: set[int] = set()  # runs whose folders hold more than a reader takes in
        self._told: set[str] = set()
        self._taking = threading.Lock()

    @property
    def content(self) -> ContentStore:
        """The content store of the same settings."""
        if self._content is None:
            from artline.storage.content import ContentStore

            self._content = ContentStore.open(self.settings)
        return self._content

    def files_folder(self, record: RunRecord) -> Path:
        """Return where the files of a run lie on this machine (``run.dir``), if it is the one it ran on."""
        return _folder(self.settings.root, record.project, record.run_id, record.info.get("dir"))

    def files(self, record: RunRecord) -> list[RunFile]:
        """Return the files of a run by name: those in the store, and what its folder here has beyond."""
        rows = self.kept_rows(record.key)
        with self.catalog.read() as conn:
            pending = conn.execute(sa.select(run_folder).where(run_folder.c.run_id == record.key)).first()
        folder = self.files_folder(record)
        found = {
            name: RunFile(name, folder / name, row.size, row.modified, row.policy, row.blob)
            for name, row in rows.items()
            if row.digest is not None
        }
        for name, path, status in walk_folder(folder):
            row = rows.get(name)
            if name in found and (pending is None or _is_kept(row, path, status)):
                continue
            policy = "live" if row is None else row.policy
            found[name] = RunFile(name, path, status.st_size, status.st_mtime, policy)
        return [found[name] for name in sorted(found)]

    def open_file(self, file: RunFile) -> BinaryIO:
        """Open a run's file for reading bytes; what comes from the store is verified."""
        if file.blob is not None:
            return self.content.open_blob(file.blob)
        return file.path.open("rb")

    def copy_file(self, file: RunFile, target: Path) -> None:
        """Write a run's file to ``target``, replacing what is there once all of it is written."""
        if file.blob is not None:
            from artline.storage.export import Export

            self.content.export([Export(file.blob, target)])
            os.utime(target, (file.modified, file.modified))
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        try:
            shutil.copy2(file.path, partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def add_file(self, record: RunRecord, path: Path, root: Path) -> RunFile:
        """Keep a file with a run, named by its path below ``root``; return it.

        Raises SourceNotFoundError, SourceNotReadableError, SourceChangedError, UsageError.
        """
        place, top = path.absolute(), root.absolute()
        if not place.is_relative_to(top) or ".." in place.parts:
            raise UsageError(f"'{path}' is not below '{root}'. Pass a root that it is below")
        if not place.is_file():
            raise SourceNotFoundError(f"'{path}' is no file. Pass an existing one")
        name = clean_text(place.relative_to(top).as_posix())
        kept = keep_files(self, record.key, top, names={name}, again={name})
        if kept.changing:
            raise SourceChangedError(f"'{path}' changed while it was read. Try again")
        if kept.problems:
            raise SourceNotReadableError(kept.problems[0])
        return next(file for file in self.files(record) if file.name == name)

    def take_folders(
        self, project: str | None = None, run_id: str | None = None, *, everything: bool = False
    ) -> int:
        """Take the folders of runs that have ended into the store; return the number of files. Idempotent.

        Without ``everything`` that is what takes next to no time: a folder with more stays where it is, is
        read from there, and waits for ``art sync``. What cannot be read or stored is told once.
        """
        if self.catalog.read_only or not self._taking.acquire(blocking=everything):
            return 0
        files, deadline = 0, time.monotonic() + READ_SECONDS
        try:
            for row, folder in self._waiting(project, run_id):
                if not everything and (row.key in self._left or time.monotonic() > deadline):
                    continue
                budget = None if everything else READ_BUDGET
                kept = keep_files(self, row.key, folder, budget=budget)
                files += len(kept.names)
                if not kept.complete:
                    self._left.add(row.key)
                for problem in kept.problems:
                    self._tell(f"run {row.run_id}: {problem}")
        except ArtlineError as error:
            self._tell(f"files of runs cannot be taken into the store: {error}")
        finally:
            self._taking.release()
        return files

    def restore_files(self, record: RunRecord) -> None:
        """Bring a deleted run back with those of its files whose content is still there.

        Of those that were collected the folder's copies are taken in anew; where there is none they are
        named in a warning.
        """
        table = run_file.c
        with self.catalog.read() as conn:
            rows = conn.execute(
                sa.select(run_file).where(table.run_id == record.key, table.digest.is_not(None))
            ).all()
        if not rows:
            with self.catalog.write() as conn:
                conn.execute(sa.update(run).where(run.c.id == record.key).values(deleted_at=None))
            return
        with self.content.writer(owner=f"undelete run {record.path}") as writer:
            lost = [row.path for row in rows if not _pin(self.content, _blob(row), writer)]
            nothing = {"digest": None, "recipe": None, "size": None, "modified": None}
            with self.content.catalog.write() as conn:
                writer.lease.check(conn)
                conn.execute(sa.update(run).where(run.c.id == record.key).values(deleted_at=None))
                for path in lost:
                    where = (table.run_id == record.key, table.path == path)
                    conn.execute(sa.update(run_file).where(*where).values(**nothing))
                if lost:
                    await_folder(conn, record.key)
                writer.lease.release(conn)
        folder = self.files_folder(record)
        gone = [path for path in lost if not (folder / path).is_file()]
        if gone:
            more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
            warn(
                f"run {record.path} is back without {', '.join(gone[:3])}{more}: their content was collected"
            )

    def kept_rows(self, key: int) -> dict[str, KeptRow]:
        """Return the files of a run that the catalog knows, by name."""
        with self.catalog.read() as conn:
            rows = conn.execute(sa.select(run_file).where(run_file.c.run_id == key)).all()
        return {row.path: _kept_row(row) for row in rows}

    def record_kept(self, key: int, stored: Sequence[KeptRow], lease: Lease, *, whole: bool) -> None:
        """Enter files whose content was stored under a lease, which ends; ``whole`` says that these are all.

        Once all of the folder of a run that has ended is in, the run waits no more. Raises ConflictError when
        the lease ended.
        """
        columns = ("digest", "recipe", "size", "modified")
        with self.catalog.write() as conn:
            lease.check(conn)
            state = conn.execute(sa.select(run.c.state).where(run.c.id == key).with_for_update()).scalar()
            if stored:
                statement = upsert(conn, run_file)
                news = {name: statement.excluded[name] for name in columns}
                conn.execute(
                    statement.on_conflict_do_update(index_elements=["run_id", "path"], set_=news),
                    [{"run_id": key, **asdict(row)} for row in stored],
                )
            if whole and state not in LIVE:
                conn.execute(sa.delete(run_folder).where(run_folder.c.run_id == key))
            lease.release(conn)

    def pending_folders(self, project: str | None = None, run_id: str | None = None) -> list[PendingFolder]:
        """Return the folders of runs that have ended which were not taken in since."""
        query = (
            sa.select(run.c.id, run.c.run_id, run.c.info, project_table.c.name)
            .select_from(run_folder)
            .join(run, run.c.id == run_folder.c.run_id)
            .join(project_table, project_table.c.id == run.c.project_id)
            .where(run.c.state.not_in(LIVE), run.c.deleted_at.is_(None))
        )
        if project is not None:
            query = query.where(project_table.c.name == project)
        if run_id is not None:
            query = query.where(run.c.run_id == run_id)
        found = []
        with self.catalog.read() as conn:
            for row in conn.execute(query).all():
                writers = sa.select(run_writer.c.process).where(run_writer.c.run_id == row.id)
                hosts = {str(json.loads(text).get("host")) for text in conn.execute(writers).scalars()}
                place = json.loads(row.info).get("dir")
                chosen = place if isinstance(place, str) else ""
                found.append(PendingFolder(row.id, row.name, row.run_id, chosen, tuple(sorted(hosts))))
        return found

    def _waiting(self, project: str | None, run_id: str | None) -> Iterator[tuple[PendingFolder, Path]]:
        """Yield those of the pending folders that are on this machine."""
        for row in self.pending_folders(project, run_id):
            folder = _folder(self.settings.root, row.project, row.run_id, row.dir)
            if folder.is_dir() or row.hosts == (host_name(),):
                yield row, folder

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            warn(text)


def keep_files(
    store: KeptFiles,
    key: int,
    folder: Path,
    *,
    names: Collection[str] | None = None,
    again: Collection[str] = (),
    policies: Mapping[str, str] | None = None,
    budget: int | None = None,
) -> Kept:
    """Take files of a run's folder into the content store: those of ``names``, else all. Idempotent.

    ``policies`` tells those of files that the run's journal does not name.

    Left alone is what is there unchanged, and what has the policy ``now`` and is there, unless it is in
    ``again``. At most ``budget`` bytes are read, small files first. Once all of the folder of a run that has
    ended is in, the run waits no more. Raises what storing raises; files that cannot be read are problems.
    """
    rows = store.kept_rows(key)
    due = [
        (name, path, status)
        for name, path, status in (walk_folder(folder) if names is None else _named(folder, names))
        if name in again or not _is_kept(rows.get(name), path, status)
    ]
    chosen, left = _within(due, budget)
    problems: list[str] = []
    changing: list[str] = []
    stored: list[KeptRow] = []
    if not chosen and names is not None:
        return Kept(complete=not left)
    with store.content.writer(owner=f"files of run {key}") as writer:
        for at in range(0, len(chosen), _BATCH):
            part = chosen[at : at + _BATCH]
            for (name, _, status), blob in _store(writer, part, problems):
                if blob is None:
                    changing.append(name)
                    continue
                policy = (policies or {}).get(name, "live")
                stored.append(KeptRow(name, policy, blob.digest, blob.recipe, blob.size, status.st_mtime))
        writer.flush()
        complete = not left and not changing
        store.record_kept(key, stored, writer.lease, whole=complete and names is None)
    names_stored = tuple(row.path for row in stored)
    size = sum(row.size for row in stored)
    return Kept(names_stored, size, complete, tuple(changing), tuple(problems))


def await_folder(conn: sa.Connection, key: int) -> None:
    """Note that the folder of a run is to be taken in when it ends. Idempotent."""
    conn.execute(upsert(conn, run_folder).values(run_id=key).on_conflict_do_nothing())


def walk_folder(folder: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Yield name, place and status of every regular file below a folder; links to files are followed."""
    for parent, _, names in os.walk(folder):
        for base in names:
            path = Path(parent, base)
            try:
                status = path.stat()
            except OSError:  # gone again, or a link that leads nowhere
                continue
            if stat.S_ISREG(status.st_mode):
                yield clean_text(path.relative_to(folder).as_posix()), path, status


def _named(folder: Path, names: Collection[str]) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Yield what ``walk_folder`` would of these names, without a walk."""
    for name in sorted(names):
        path = folder / name
        try:
            status = path.stat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield name, path, status


def _store(
    writer: ContentWriter, part: Sequence[tuple[str, Path, os.stat_result]], problems: list[str]
) -> Iterator[tuple[tuple[str, Path, os.stat_result], Blob | None]]:
    """Yield each file with its content; None for one that changes all the while."""
    try:
        stored = list(writer.add_files([str(path) for _, path, _ in part]))
    except (SourceChangedError, SourceNotFoundError, SourceNotReadableError, UsageError) as error:
        if len(part) > 1:
            for item in part:
                yield from _store(writer, [item], problems)
        elif isinstance(error, SourceChangedError):
            yield part[0], None
        elif not isinstance(error, SourceNotFoundError):
            problems.append(str(error))
        return
    for (name, path, _), (blob, status) in zip(part, stored, strict=True):
        yield (name, path, status), blob


def _within(
    due: Sequence[tuple[str, Path, os.stat_result]], budget: int | None
) -> tuple[Sequence[tuple[str, Path, os.stat_result]], bool]:
    """Return the files that fit into so many bytes, smallest first, and whether some do not."""
    if budget is None:
        return due, False
    fitting: list[tuple[str, Path, os.stat_result]] = []
    for item in sorted(due, key=lambda item: item[2].st_size):
        budget -= item[2].st_size
        if budget < 0:
            return fitting, True
        fitting.append(item)
    return fitting, False


def _is_kept(row: KeptRow | None, path: Path, status: os.stat_result) -> bool:
    if row is None or row.digest is None:
        return False
    if row.policy == "now" and path.is_symlink():
        return True  # what it leads to may have changed since
    return (row.size, row.modified) == (status.st_size, status.st_mtime)


def _pin(content: ContentStore, blob: Blob, writer: ContentWriter) -> bool:
    """Protect what a blob needs; tell whether all of it is there."""
    try:
        return not content.missing(content.chunks(blob), writer.lease)
    except ArtlineError:
        return False


def _blob(row: sa.Row[Any]) -> Blob:
    return Blob(bytes(row.digest), int(row.size), None if row.recipe is None else bytes(row.recipe))


def _kept_row(row: sa.Row[Any]) -> KeptRow:
    return KeptRow(
        row.path,
        row.policy,
        None if row.digest is None else bytes(row.digest),
        None if row.recipe is None else bytes(row.recipe),
        int(row.size or 0),
        float(row.modified or 0.0),
    )


def _folder(root: Path, project: str, run_id: str, chosen: object) -> Path:
    return Path(chosen) if isinstance(chosen, str) and chosen else root / "runs" / project / run_id / "files"
