"""Writing a version's files into a folder, and comparing a folder with a version."""

from __future__ import annotations

import os
import secrets
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from artline.artifacts.folding import check_folding
from artline.artifacts.manifest import Manifest, Row, entry_of
from artline.artifacts.paths import check_link_target
from artline.artifacts.references import Fetching, GoneError, is_fetched
from artline.artifacts.shards import EntryKind
from artline.errors import (
    ArtlineError,
    ConflictError,
    EntryNotFoundError,
    IntegrityError,
    InvalidPathError,
    SourceNotReadableError,
    StoreFullError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from artline.artifacts.manifest import Entry
    from artline.storage.cached_files import LinkedFiles
    from artline.storage.content import ContentStore
    from artline.storage.digest import Algorithm
    from artline.storage.export import Export

__all__ = ["Verification", "check_out", "compare", "remove_extra"]

Progress = Callable[[int, int], object]

BLOCK = 1 << 20
KEPT_FOLDERS = 4096


@dataclass(frozen=True, slots=True)
class Verification:
    """How a folder differs from a version: paths, in order, that are missing, changed or extra."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    extra: tuple[str, ...]
    checked: int

    @property
    def ok(self) -> bool:
        """Tell whether the folder is exactly the version."""
        return not (self.missing or self.changed or self.extra)

    def __str__(self) -> str:
        named = [
            f"{what} '{path}'"
            for what, paths in (("missing", self.missing), ("changed", self.changed), ("extra", self.extra))
            for path in paths
        ]
        more = f" and {len(named) - 20} more" if len(named) > 20 else ""
        return ", ".join(named[:20]) + more if named else "nothing differs"


def check_out(
    content: ContentStore,
    manifest: Manifest,
    destination: Path,
    *,
    prefix: str = "",
    allow_missing_references: bool = False,
    progress: Progress | None = None,
    link: str | None = None,
) -> None:
    """Write the entries at or below ``prefix`` into ``destination``, leaving alone what is right already.

    Every byte is checked against its digest before a file appears under its name, so an interrupted call is
    simply made again. Nothing is written outside ``destination``: a symbolic link in the way of a folder is
    refused, one in the way of a file is replaced. ``link`` says how files come to lie there (``copy``,
    ``reflink``, read-only ``hardlink``); with None as suits the disk, and files that are right stay as they
    are. Raises InvalidPathError where paths of the manifest clash, EntryNotFoundError when nothing is at
    ``prefix``, IntegrityError when content or a referenced object is not what it was, UsageError when the
    disk cannot link so. With ``allow_missing_references`` referenced objects that are gone are passed over,
    and a UserWarning names how many and the first; those that changed are an error still.
    """
    from artline.storage.cached_files import linked_files
    from artline.storage.destination import sweep_unfinished

    check_folding(manifest, prefix)
    with _file_faults(destination):
        destination.mkdir(parents=True, exist_ok=True)
        sweep_unfinished(os.fspath(destination))
    links = linked_files(content, destination, link)
    write = content.export if links is None else links.export
    task = _Checkout(content, manifest, destination, allow_missing_references, progress)
    task.asked = link
    task.links = links
    with task.fetching:
        write(task.exports(prefix), progress)
    if prefix and not task.seen:
        raise EntryNotFoundError(f"nothing is at or below '{prefix}'. List the files: art ls")
    if task.gone:
        count = f"{len(task.gone)} of the referenced objects {'is' if len(task.gone) == 1 else 'are'}"
        warnings.warn(f"{count} gone and not written, first '{min(task.gone)}'", stacklevel=3)


def compare(
    manifest: Manifest, root: Path, algorithm: Algorithm, progress: Progress | None = None
) -> Verification:
    """Compare a folder with a version, reading every file.

    What was fetched from a reference is compared by what was recorded of it; by size alone where that is an
    ETag that says nothing about the content.
    """
    missing: list[str] = []
    changed: list[str] = []
    checked = 0
    for rows in manifest.rows():
        for row in rows:
            checked += 1
            state = _state(root, row, algorithm)
            if state is None:
                missing.append(row[0])
            elif not state:
                changed.append(row[0])
            if progress is not None:
                progress(1, row[2])
    extra = [path for path in _leaves(root) if manifest.row(path) is None]
    return Verification(tuple(missing), tuple(changed), tuple(sorted(extra)), checked)


def remove_extra(manifest: Manifest, root: Path) -> None:
    """Delete what a folder has beyond a version, then the folders that this left empty."""
    with _file_faults(root):
        for path in list(_leaves(root)):
            if manifest.row(path) is not None:
                continue
            full = root / path
            if full.is_dir() and not full.is_symlink():
                full.rmdir()
            else:
                full.unlink()
            for folder in full.parents:
                if folder == root or any(folder.iterdir()):
                    break
                row = manifest.row(folder.relative_to(root).as_posix())
                if row is not None and row[1] == EntryKind.FOLDER:
                    break
                folder.rmdir()


class _Checkout:
    def __init__(
        self,
        content: ContentStore,
        manifest: Manifest,
        destination: Path,
        allow_missing_references: bool,
        progress: Progress | None,
    ) -> None:
        self.content = content
        self.algorithm = content.algorithm
        self.manifest = manifest
        self.destination = destination
        self.allow_missing = allow_missing_references
        self.gone: list[str] = []
        self.fetching = Fetching(content.algorithm, progress, spare=self.spare)
        self.progress = progress
        self.folders: dict[str, bool] = {}
        self.asked: str | None = None
        self.links: LinkedFiles | None = None
        self.seen = False

    def spare(self, entry: Entry, error: IntegrityError) -> bool:
        if not (self.allow_missing and isinstance(error, GoneError)):
            return False
        self.gone.append(entry.path)
        return True

    def exports(self, prefix: str) -> Iterator[Export]:
        from artline.storage.export import Export
        from artline.storage.recipe import Blob

        root = os.fspath(self.destination)
        for rows in self.manifest.rows(prefix):
            self.seen = True
            for row in rows:
                path, kind, size, digest, recipe, extra = row
                if kind == EntryKind.FOLDER:
                    self.folder(path)
                    continue
                fresh = self.folder(path.rpartition("/")[0])
                if kind == EntryKind.LINK:
                    self.link(path, extra)
                    continue
                full = f"{root}/{path}"
                if not fresh and self.is_right(full, row):
                    if self.progress is not None:
                        self.progress(1, size)
                    continue
                if kind == EntryKind.REFERENCE:
                    self.fetching.add(entry_of(row, self.algorithm), Path(full))
                else:
                    mode = 0o755 if kind == EntryKind.EXECUTABLE else None
                    yield Export(Blob(digest, size, recipe or None), Path(full), mode)

    def folder(self, path: str) -> bool:
        """Make a folder and those above it; return whether it is new, so that nothing can be in it yet."""
        missing = []
        while path and path not in self.folders:
            missing.append(path)
            path = path.rpartition("/")[0]
        fresh = self.folders.get(path, False)
        while missing:
            fresh = self.make_folder(missing.pop())
        return fresh

    def make_folder(self, path: str) -> bool:
        from artline.storage.destination import sweep_unfinished

        full = os.path.join(self.destination, path)
        with _file_faults(Path(full)):
            try:
                os.mkdir(full)
                fresh = True
            except FileExistsError:
                fresh = False
                mode = os.lstat(full).st_mode
                if stat.S_ISLNK(mode):
                    raise InvalidPathError(
                        f"'{full}' is a symbolic link where a folder belongs: files would be written to "
                        "where it points. Remove it or choose another destination"
                    ) from None
                if not stat.S_ISDIR(mode):
                    raise _in_the_way(full, "a file", "a folder") from None
                sweep_unfinished(full)
        if len(self.folders) >= KEPT_FOLDERS:
            self.folders.clear()
        self.folders[path] = fresh
        return fresh

    def is_right(self, full: str, row: Row) -> bool:
        try:
            about = os.lstat(full)
        except FileNotFoundError:
            return False
        mode = about.st_mode
        if stat.S_ISDIR(mode):
            raise _in_the_way(full, "a folder", "a file")
        if _same_file(full, row, self.algorithm) is not True:
            return False
        executable = row[1] == EntryKind.EXECUTABLE
        if row[1] == EntryKind.REFERENCE:
            return True
        if self.asked == "hardlink" and self.links is not None:
            return not mode & 0o222 and self.links.has(full, row[3], executable=executable)
        if self.asked is not None and not mode & 0o200:
            return False  # a hard link of an earlier call, or one that may as well be one
        if bool(mode & 0o100) != executable:
            if about.st_nlink > 1:
                return False
            with _file_faults(Path(full)):
                os.chmod(full, mode | 0o111 if executable else mode & ~0o111)
        return True

    def link(self, path: str, target: str) -> None:
        check_link_target(path, target)
        full = os.path.join(self.destination, path)
        with _file_faults(Path(full)):
            if not (os.path.islink(full) and os.readlink(full) == target):
                if os.path.isdir(full) and not os.path.islink(full):
                    raise _in_the_way(full, "a folder", "a symbolic link")
                try:
                    os.symlink(target, full)
                except FileExistsError:
                    temporary = os.path.join(os.path.dirname(full), f".artline-{secrets.token_hex(8)}")
                    os.symlink(target, temporary)
                    os.replace(temporary, full)
        if self.progress is not None:
            self.progress(1, 0)


def _state(root: Path, row: Row, algorithm: Algorithm) -> bool | None:
    """Return whether what is on disk is the row's: None when nothing is there."""
    full = os.path.join(root, row[0])
    try:
        mode = os.lstat(full).st_mode
        if row[1] == EntryKind.FOLDER:
            return stat.S_ISDIR(mode)
        if row[1] == EntryKind.LINK:
            return stat.S_ISLNK(mode) and os.readlink(full) == row[5]
        if row[1] != EntryKind.REFERENCE and bool(mode & 0o100) != (row[1] == EntryKind.EXECUTABLE):
            return False
        return _same_file(full, row, algorithm) is not False
    except (FileNotFoundError, NotADirectoryError):
        return None


def _same_file(full: str, row: Row, algorithm: Algorithm) -> bool | None:
    """Tell whether a regular file has a row's content; None if its size is right and more cannot be told."""
    about = os.lstat(full)
    if not stat.S_ISREG(about.st_mode) or about.st_size != row[2]:
        return False
    try:
        if row[1] == EntryKind.REFERENCE and not row[3]:
            return is_fetched(entry_of(row, algorithm), full, algorithm)
        with open(full, "rb", buffering=0) as stream:
            if about.st_size <= BLOCK:
                return algorithm.hash(stream.read()) == row[3]
            hasher = algorithm.hasher()
            while block := stream.read(BLOCK):
                hasher.update(block)
            return hasher.digest() == row[3]
    except PermissionError:
        raise SourceNotReadableError(f"'{full}' may not be read. Change its permissions") from None


def _leaves(root: Path) -> Iterator[str]:
    """Yield the files, links and empty folders below ``root`` by their relative path.

    What a checkout that is alive has not finished is left out.
    """
    from artline.storage.destination import is_being_written

    stack = [""]
    while stack:
        path = stack.pop()
        try:
            with os.scandir(os.path.join(root, path)) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not found and path:
            yield path
        for entry in found:
            inside = f"{path}/{entry.name}" if path else entry.name
            if entry.is_dir(follow_symlinks=False):
                stack.append(inside)
            elif not is_being_written(entry.path):
                yield inside


def _in_the_way(full: str, what: str, wanted: str) -> ConflictError:
    return ConflictError(
        f"'{full}' is {what} where {wanted} belongs. Move it away or choose another destination"
    )


@contextmanager
def _file_faults(place: Path) -> Iterator[None]:
    import errno

    try:
        yield
    except ArtlineError:
        raise
    except PermissionError:
        raise SourceNotReadableError(f"'{place}' may not be written. Change its permissions") from None
    except FileExistsError:
        raise _in_the_way(os.fspath(place), "a file", "a folder") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError(
                f"the disk is full while writing '{place}'. Free space and call again"
            ) from None
        raise StoreUnavailableError(f"'{place}' cannot be written: {error}. Check the disk") from error
