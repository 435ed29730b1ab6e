"""Artifact: a draft that files are added to, then, once logged, one frozen version of a named collection."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from artline.artifacts.identity import ArtifactIdentity
from artline.artifacts.manifest import Entry, EntryKind, entry_of
from artline.artifacts.paths import check_prefix, path_argument
from artline.errors import EntryNotFoundError, IntegrityError, UsageError

if TYPE_CHECKING:
    from artline.artifacts.checkout import Verification
    from artline.artifacts.diff import Diff
    from artline.artifacts.staging import Progress, Staging
    from artline.artifacts.store import ArtifactStore
    from artline.artifacts.versions import VersionRecord

__all__ = ["Artifact"]

StrPath = str | os.PathLike[str]


class Artifact(ArtifactIdentity):
    """A draft of an artifact version or, once it is logged, that version.

    While it is a draft, ``add*`` store bytes in the content store at once and ``remove`` takes entries out
    again; logging it (``run.log_artifact``, ``ArtifactStore.log``) makes it a version whose content never
    changes. Aliases, tags, description and metadata can be edited later and are written by ``save``.

    ``metadata`` and ``description`` left at None keep what an equal, earlier version has. With
    ``incremental`` the entries of the latest version are taken over when it is logged, except those that
    the draft has itself; of writers that do so at once each adds to what the one before it logged.
    ``store`` is the store to write to, by default that of the current settings.
    """

    @classmethod
    def from_record(cls, record: VersionRecord, store: ArtifactStore) -> Artifact:
        """Return a version that the catalog has."""
        version = cls(record.name, record.type, store=store)
        version.become(record)
        return version

    # Putting it together

    def add_file(
        self,
        local_path: StrPath,
        name: str | None = None,
        is_tmp: bool = False,
        skip_cache: bool = False,
        policy: str = "mutable",
        overwrite: bool = False,
        *,
        progress: Progress | None = None,
    ) -> Entry:
        """Store a file under ``name`` (its own by default) and return its entry.

        The digest is of the very bytes that are stored, so the file may change afterwards whatever
        ``policy`` says (``mutable`` or ``immutable``; ``is_tmp`` and ``skip_cache`` change nothing either).
        Adding the same content again changes nothing. Raises SourceNotFoundError, SourceNotReadableError,
        SourceChangedError when it changes meanwhile, InvalidPathError for a path that clashes with another.
        """
        _check_policy(policy)
        disk = os.fspath(local_path)
        path = path_argument(name if name is not None else os.path.basename(disk.rstrip("/")))
        if os.path.isdir(disk):
            raise UsageError(f"'{disk}' is a folder. Add a folder with add_dir")
        return self._entry(self.staging.add_file(disk, path, overwrite=overwrite, progress=progress))

    def add_dir(
        self,
        local_path: StrPath,
        name: str | None = None,
        skip_cache: bool = False,
        policy: str = "mutable",
        merge: bool = False,
        overwrite: bool = False,
        *,
        progress: Progress | None = None,
    ) -> int:
        """Store everything below a folder, at the root or below ``name``; return how many entries.

        Symbolic links to something inside the folder are kept as links, others are followed; empty folders
        are kept; the executable bit is kept, other permissions are not. With ``merge`` or ``overwrite``
        files replace those that the draft has under the same path. Either all is added or nothing.
        """
        _check_policy(policy)
        prefix = path_argument(name) if name is not None and name.strip("./") else ""
        disk = os.fspath(local_path)
        return self.staging.add_folder(disk, prefix, overwrite=overwrite or merge, progress=progress)

    def add_reference(
        self,
        uri: StrPath,
        name: str | None = None,
        checksum: bool = True,
        max_objects: int | None = None,
        *,
        overwrite: bool = False,
    ) -> int:
        """Refer to an object, or to all below a folder or prefix, without copying; return how many.

        ``uri`` is ``file``, ``http(s)``, ``s3``, ``gs``, ``az`` or anything else that fsspec opens. With
        ``checksum`` what the server gives to know the content by is kept (ETag, version, MD5), or a digest
        of the content where it gives nothing; ``download`` checks it. Raises SourceNotFoundError, UsageError
        above ``max_objects`` (10,000,000 by default), MissingExtraError, AuthError.
        """
        from artline.artifacts.references import MAX_OBJECTS

        path = path_argument(name) if name is not None else ""
        limit = MAX_OBJECTS if max_objects is None else max_objects
        return self.staging.add_references(
            os.fspath(uri), path, checksum=checksum, max_objects=limit, overwrite=overwrite
        )

    def add(self, obj: Any, name: str, overwrite: bool = False) -> Entry:
        """Store a Table or media under ``name``; ``get(name)`` brings it back. Return its main entry."""
        if not hasattr(obj, "add_to_artifact"):
            raise UsageError(
                f"cannot add a {type(obj).__name__} to an artifact. Add a Table or an Image, or write a file "
                "and use add_file"
            )
        entry: Entry = obj.add_to_artifact(self, path_argument(name), overwrite=overwrite)
        return entry

    @contextmanager
    def new_file(
        self, name: str, mode: str = "w", encoding: str | None = None, *, overwrite: bool = False
    ) -> Iterator[IO[Any]]:
        """Open a new file of the artifact for writing (``w``, ``wb``, ``x``, ``xb``).

        It is stored when the block ends, and nothing is when the block raises.
        """
        if mode not in ("w", "wb", "x", "xb"):
            raise UsageError(f"mode {mode!r} does not write a new file. Use 'w' or 'wb'")
        import tempfile

        path = path_argument(name)
        staging = self.staging
        encoding = None if "b" in mode else encoding or "utf-8"
        with tempfile.TemporaryDirectory(prefix="artline-") as folder:
            disk = os.path.join(folder, "new")
            with open(disk, mode, encoding=encoding) as stream:
                yield stream
            with open(disk, "rb") as stored:
                staging.add_stream(stored, path, overwrite=overwrite)

    def add_stream(self, stream: BinaryIO, name: str, *, overwrite: bool = False) -> Entry:
        """Store what a binary stream yields under ``name`` and return its entry."""
        return self._entry(self.staging.add_stream(stream, path_argument(name), overwrite=overwrite))

    def remove(self, item: StrPath | Entry) -> None:
        """Take an entry, or a folder and all below it, out of a draft; EntryNotFoundError if not there."""
        path = path_argument(item.path if isinstance(item, Entry) else item)
        if not self.staging.remove(path):
            raise EntryNotFoundError(f"'{path}' is not in the draft of artifact '{self._collection}'")

    def finalize(self) -> None:
        """Allow no more changes to the draft's content; idempotent."""
        self._final = True

    def new_draft(self) -> Artifact:
        """Return a draft with this version's entries, to change and log as the next version.

        Nothing is downloaded or stored again, and of the manifest only what the changes touch is read and
        written: an edit takes as long as it is large, whatever the size of the version.
        """
        draft = Artifact(
            self._collection, self._type, self.description, dict(self.metadata), store=self.store
        )
        draft.staging.load(self.record.root, self.record.id)
        return draft

    def claim_staging(self) -> Staging:
        """Return the draft's content for logging, finalized or not."""
        final, self._final = self._final, False
        try:
            return self.staging
        finally:
            self._final = final

    def save(self, project: str | None = None, entity: str | None = None) -> Artifact:
        """Log a draft without a run, or write a version's changed aliases, tags, metadata, description."""
        if self._record is None:
            return self.store.log(self, project=project, entity=entity, aliases=self.aliases, tags=self.tags)
        self.become(self.store.edit(self))
        return self

    def wait(self, timeout: float | None = None) -> Artifact:
        """Return the version; logging is done when ``log_artifact`` returns, so there is nothing to await."""
        self.record  # noqa: B018 (raises for a draft)
        return self

    # Using it

    def files(self, prefix: str = "") -> Iterator[Entry]:
        """Yield the entries, sorted by the UTF-8 bytes of their path; those at or below ``prefix``."""
        prefix = check_prefix(prefix)
        if self._record is None:
            for rows in self.staging.draft.rows(prefix):
                for row in rows:
                    yield self._entry(row)
        else:
            yield from self.manifest.entries(prefix)

    def get_entry(self, name: StrPath) -> Entry:
        """Return the entry of one path, reading one manifest shard; raise EntryNotFoundError."""
        path = path_argument(name)
        row = self.staging.draft.get(path) if self._record is None else self.manifest.row(path)
        if row is None:
            raise EntryNotFoundError(
                f"'{path}' is not in artifact '{self.name}'. List the files: art ls {self.name}"
            )
        return self._entry(row)

    def __contains__(self, name: str) -> bool:
        try:
            self.get_entry(name)
        except EntryNotFoundError:
            return False
        return True

    def get(self, name: str) -> Any:
        """Return the Table (plain, joined, partitioned) or media added under ``name``, None without one."""
        from artline.artifacts.media import FILE_KINDS
        from artline.artifacts.table import Table
        from artline.artifacts.table_groups import JoinedTable, PartitionedTable

        path = path_argument(name)
        kinds: tuple[Any, ...] = (Table, JoinedTable, PartitionedTable, *FILE_KINDS)
        for kind in kinds:
            found = kind.from_artifact(self, path)
            if found is not None:
                return found
        return None

    def open(self, name: StrPath) -> BinaryIO:
        """Open a file for reading, in place: a seekable stream that fetches and checks what is read.

        Links are followed; references are opened where they lie. Raises EntryNotFoundError, UsageError for
        a folder, IntegrityError for damaged content.
        """
        from artline.artifacts.references import open_reference

        entry = self.get_entry(name)
        for _ in range(40):
            if entry.kind is not EntryKind.LINK:
                break
            folder = os.path.dirname(entry.path)
            entry = self.get_entry(os.path.normpath(os.path.join(folder, entry.target)))
        if entry.kind is EntryKind.REFERENCE:
            return open_reference(entry)
        if entry.blob is None:
            raise UsageError(f"'{entry.path}' in artifact '{self.name}' is not a file and cannot be opened")
        return self.store.content.open_blob(entry.blob)

    def download(
        self,
        root: StrPath | None = None,
        allow_missing_references: bool = False,
        skip_cache: bool | None = None,
        path_prefix: str | None = None,
        *,
        link: str | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> Path:
        """Write the files into a folder (``artifacts/<name>-<version>`` by default) and return it.

        Only what is missing there or differs is written, each file checked against its digest before it
        appears, so calling again resumes. With ``path_prefix`` only what is at or below it. Other files in
        the folder are left alone. ``link`` is ``copy``, ``reflink`` (bytes shared on disk until either side
        writes) or ``hardlink`` (read-only, one file with the cache and other checkouts); None takes reflinks
        of large files from a remote bucket where the disk can, else copies. With ``skip_cache`` nothing
        comes from the cache. With ``allow_missing_references`` references whose target is gone are passed
        over, and a UserWarning names how many and the first. Raises IntegrityError naming damaged content or
        a changed reference, UsageError when the disk cannot link so.
        """
        from artline.artifacts.checkout import check_out

        content = self.store.content
        if skip_cache:
            if link not in (None, "copy"):
                raise UsageError(f"a {link} leads into the cache. Leave out skip_cache, or use link='copy'")
            content = content.uncached()
        default = Path("artifacts") / f"{self._collection}-{self.record.version}"
        destination = (default if root is None else Path(root)).absolute()
        check_out(
            content,
            self.manifest,
            destination,
            prefix=check_prefix(path_prefix or ""),
            allow_missing_references=allow_missing_references,
            progress=progress,
            link=link,
        )
        return destination

    def checkout(self, root: StrPath | None = None, *, link: str | None = None) -> Path:
        """Make a folder exactly the version, deleting what is in it beyond that; return it."""
        from artline.artifacts.checkout import remove_extra

        destination = self.download(root, link=link)
        remove_extra(self.manifest, destination)
        return destination

    def file(self, root: StrPath | None = None) -> Path:
        """Download the only file of the version and return its path; raise UsageError if there are more."""
        entries = [entry for entry, _ in zip(self.files(), range(2), strict=False)]
        if len(entries) != 1:
            raise UsageError(f"artifact '{self.name}' has not exactly one file. Use download() instead")
        return self.download(root) / entries[0].path

    def compare(
        self, root: StrPath | None = None, *, progress: Callable[[int, int], object] | None = None
    ) -> Verification:
        """Compare a folder with the version and return what is missing, changed or extra."""
        from artline.artifacts.checkout import compare

        default = Path("artifacts") / f"{self._collection}-{self.record.version}"
        folder = default if root is None else Path(root)
        return compare(self.manifest, folder.absolute(), self.algorithm, progress)

    def verify(
        self, root: StrPath | None = None, *, progress: Callable[[int, int], object] | None = None
    ) -> None:
        """Raise IntegrityError, naming files, unless a folder is exactly the version."""
        result = self.compare(root, progress=progress)
        if not result.ok:
            raise IntegrityError(
                f"the folder is not artifact '{self.name}': {result}. Restore it with checkout()"
            )

    def diff(self, other: Artifact) -> Diff:
        """Return what has to happen to this version to make it ``other``."""
        from artline.artifacts.diff import diff

        return diff(self, other)

    def logged_by(self) -> str | None:
        """Return the key (``entity/project/run_id``) of the run that first logged it, None without one."""
        return self.store.logged_by(self.record.origin_id)

    def used_by(self) -> list[str]:
        """Return the keys (``entity/project/run_id``) of the runs that used it."""
        return self.store.used_by(self.record.origin_id)

    def link(self, target_path: str, aliases: Sequence[str] | None = None) -> Artifact:
        """Make it a version of a collection, too (``project/name``), and return it as that; idempotent.

        It has its own number and aliases there; content, metadata and lineage are this version's. Raises
        UsageError when the collection is of another type, ProtectedError for a protected alias.
        """
        return self.store.link(self, target_path, aliases=tuple(aliases or ()), entity=self.entity)

    def unlink(self) -> None:
        """Take a linked version out of its collection; UsageError for one that is no link."""
        self._record = self.store.unlink(self)

    @property
    def is_link(self) -> bool:
        """Tell whether it is another version, linked into this collection."""
        return self.record.source_id is not None

    @property
    def source_artifact(self) -> Artifact:
        """The version that is linked here; itself if it is no link."""
        return self.store.by_id(self.record.origin_id) if self.is_link else self

    @property
    def source_name(self) -> str:
        """The name of the version that is linked here, its own if it is no link."""
        return self.source_artifact.name

    @property
    def source_version(self) -> str:
        """The number of the version that is linked here, its own if it is no link."""
        return self.source_artifact.version

    @property
    def source_entity(self) -> str:
        """The entity of the version that is linked here, its own if it is no link."""
        return self.source_artifact.entity

    @property
    def source_project(self) -> str:
        """The project of the version that is linked here, its own if it is no link."""
        return self.source_artifact.project

    def delete(self, delete_aliases: bool = False) -> None:
        """Delete the version; its content goes when the collector passes, and until then it can come back.

        Raises ProtectedError when a run used it, ``art.lock`` pins it, or, without ``delete_aliases``, when
        it has aliases of its own.
        """
        self._record = self.store.delete(self.qualified_name, delete_aliases=delete_aliases)

    def _entry(self, row: Any) -> Entry:
        return entry_of(row, self.algorithm)


def _check_policy(policy: str) -> None:
    if policy not in ("mutable", "immutable"):
        raise UsageError(f"policy {policy!r} is not known. Use 'mutable' or 'immutable'")
