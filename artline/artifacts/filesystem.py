"""``art://``: versions as a read-only fsspec file system, for pandas, Arrow, Polars, DuckDB and others."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NoReturn

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from artline.artifacts.current import current_settings
from artline.artifacts.folders import Child, Folders
from artline.artifacts.manifest import Entry, EntryKind, entry_of
from artline.artifacts.ranges import BlobRanges, ChunkCache
from artline.artifacts.refs import parse_ref
from artline.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.store import ArtifactStore
    from artline.storage.recipe import Blob

__all__ = ["ArtifactFileSystem"]

CACHE_SIZE = 64 << 20
_WRITE = "Write art://project/name:version/path"


class ArtifactFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """Files of versions, read in place: ``art://[[entity/]project/]name:version/path``.

    ``version`` is ``vN``, an alias, or ``@`` and the version's digest instead of ``:version``; what an
    alias names is looked up once for each file system object (``invalidate_cache`` forgets it), so that one
    object never mixes versions. Folders are listed from the manifest, reading only the shards at their
    edges; files are read by range, fetching and verifying only the chunks that a range touches, of which
    the last ``cache_size`` bytes are kept. ``art://project`` lists the versions in a project,
    ``art://project/name`` those of one artifact.

    Storage options: ``root``, ``catalog`` and ``bucket`` of another store than the current one, ``entity``
    and ``project`` for paths that leave them out, ``cache_size``. Raises FileNotFoundError for what is not
    there, OSError (EROFS) for whatever would write, IntegrityError for damaged content. It may be pickled;
    then it keeps the store that it had, and what it looked up is looked up again.
    """

    protocol = "art"
    root_marker = ""
    cachable = False  # an alias is looked up anew for each

    def __init__(
        self,
        *,
        root: str | os.PathLike[str] | None = None,
        catalog: str | None = None,
        bucket: str | None = None,
        entity: str | None = None,
        project: str | None = None,
        cache_size: int = CACHE_SIZE,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        settings = current_settings()
        if root is not None and Path(root) != settings.root:
            # Another root is another store: what the settings say of catalog and bucket is not about it.
            settings = replace(settings, root=Path(root).absolute(), catalog="", bucket="")
        self._settings = replace(
            settings,
            catalog=settings.catalog if catalog is None else catalog,
            bucket=settings.bucket if bucket is None else bucket,
            entity=entity or settings.entity,
            project=project or settings.project,
        )
        self._cache_size = cache_size
        self._chunks = ChunkCache(cache_size)
        self._versions: dict[str, tuple[Artifact, Folders]] = {}
        self._lock = Lock()

    def __reduce__(self) -> Any:
        settings = self._settings
        options = {name: getattr(settings, name) for name in ("catalog", "bucket", "entity", "project")}
        return _remade, (type(self), {"root": str(settings.root), "cache_size": self._cache_size, **options})

    # Looking around

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, size, type (``file`` or ``directory``), and the digest of what is at a path."""
        path = self._strip_protocol(path)
        ref, inside = _split(path)
        if not ref:
            self._versions_in(path)
            return {"name": path, "size": 0, "type": "directory"}
        version, child = self._find(path, ref, inside)
        return self._described(version, ref, child)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return what is directly in a folder, or the file itself: infos, or names without ``detail``."""
        path = self._strip_protocol(path)
        ref, inside = _split(path)
        if not ref:
            found = self._versions_in(path)
        else:
            version, child = self._find(path, ref, inside)
            inner = self._folders(ref)[1].children(child) if child.row is None else [child]
            found = [self._described(version, ref, one) for one in inner]
        return found if detail else [info["name"] for info in found]

    def created(self, path: str) -> datetime:
        """Return when the version that has the file was logged, in UTC."""
        ref, _ = _split(self._strip_protocol(path))
        if not ref:
            raise UsageError(f"'{path}' names no version. Write art://project/name:version/path")
        return datetime.fromtimestamp(self._folders(ref)[0].record.created_at, UTC)

    def modified(self, path: str) -> datetime:
        """Return when the version that has the file was logged, in UTC: it does not change after that."""
        return self.created(path)

    def ukey(self, path: str) -> str:
        """Return the digest of a file: equal for equal content."""
        return str(self.info(path).get("digest", ""))

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget which versions aliases named, and all content at hand."""
        with self._lock:
            self._versions.clear()
        self._chunks.clear()

    # Reading

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        if mode != "rb":
            self._refuse(path)
        path = self._strip_protocol(path)
        ref, inside = _split(path)
        if not ref:
            raise IsADirectoryError(
                errno.EISDIR, "no file of a version: write art://project/name:vN/path", path
            )
        version, child = self._find(path, ref, inside)
        if child.row is None:
            raise IsADirectoryError(errno.EISDIR, f"a folder in artifact '{version.name}'", path)
        entry = entry_of(child.row, version.algorithm)
        if entry.kind is EntryKind.REFERENCE:
            from artline.artifacts.references import open_reference

            return open_reference(entry)
        if entry.blob is None:
            raise FileNotFoundError(errno.ENOENT, f"a link to nothing in artifact '{version.name}'", path)
        ranges = BlobRanges(version.store.content, entry.blob, self._chunks)
        return _File(self, path, entry.blob, ranges, block_size)

    # Writing

    def _refuse(self, path: Any = "", *_: Any, **__: Any) -> NoReturn:
        raise OSError(
            errno.EROFS, "versions do not change. Log a new one (art push, run.log_artifact)", f"art://{path}"
        )

    mkdir = makedirs = rmdir = rm = rm_file = _rm = touch = pipe = pipe_file = _refuse
    put = put_file = copy = cp_file = mv = mv_file = _refuse

    # Versions

    def _find(self, path: str, ref: str, inside: str) -> tuple[Artifact, Child]:
        version, folders = self._folders(ref)
        child = folders.find(inside)
        if child is None:
            raise FileNotFoundError(errno.ENOENT, f"not in artifact '{version.name}'", path)
        return version, child

    def _folders(self, ref: str) -> tuple[Artifact, Folders]:
        with self._lock:
            found = self._versions.get(ref)
        if found is None:
            try:
                version = self._store().get(ref)
            except NotFoundError as error:
                raise FileNotFoundError(errno.ENOENT, str(error), ref) from error
            found = version, Folders(version.manifest)
            with self._lock:
                found = self._versions.setdefault(ref, found)
        return found

    def _versions_in(self, place: str) -> list[dict[str, Any]]:
        """Return the versions in a project or of an artifact, each with or without what stands in front."""
        parts = place.split("/") if place else []
        store, ours = self._store(), self._settings
        known = {(project.entity, project.name) for project in store.projects()}
        if not parts:
            names = sorted(name for entity, name in known if entity == ours.entity)
            return [{"name": name, "size": 0, "type": "directory"} for name in names]
        entity, project = [ours.entity, *parts][-2:]
        if len(parts) <= 2 and (entity, project) in known:
            listed = [(f"{place}/{name}", name) for name in store.names(project, entity=entity)]
        else:
            whole = [ours.entity, ours.project][: max(3 - len(parts), 0)] + parts
            entity, project, name = whole[:3]
            if len(whole) > 3 or (entity, project) not in known:
                raise FileNotFoundError(errno.ENOENT, f"no such project. {_WRITE}", place)
            if name not in store.names(project, entity=entity):
                raise FileNotFoundError(
                    errno.ENOENT, f"no artifact '{name}' in project '{project}'. {_WRITE}", place
                )
            listed = [(place, name)]
        return [
            {"name": f"{path}:{record.version}", "size": 0, "type": "directory"}
            for path, name in listed
            for record in reversed(store.versions(project, name, entity=entity))
        ]

    def _store(self) -> ArtifactStore:
        from artline.artifacts.store import ArtifactStore

        return ArtifactStore.open(self._settings)

    def _described(self, version: Artifact, ref: str, child: Child) -> dict[str, Any]:
        name = f"{ref}/{child.path}" if child.path else ref
        if child.row is None:
            digest = {} if child.path else {"digest": version.digest}
            return {"name": name, "size": 0, "type": "directory", "islink": child.linked, **digest}
        entry: Entry = entry_of(child.row, version.algorithm)
        return {
            "name": name,
            "size": entry.size,
            "type": "link" if entry.kind is EntryKind.LINK else "file",
            "islink": child.linked,
            "digest": entry.digest,
        }


class _File(AbstractBufferedFile):  # type: ignore[misc]  # fsspec is not typed
    """A stored file, open for reading; the file system's chunks are its only buffer."""

    def __init__(
        self, fs: ArtifactFileSystem, path: str, blob: Blob, ranges: BlobRanges, block_size: int | None
    ) -> None:
        super().__init__(fs, path, "rb", block_size or "default", cache_type="none", size=blob.size)
        self._ranges = ranges

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self._ranges.read(start, end)


def _split(path: str) -> tuple[str, str]:
    """Return the reference that a path begins with and the path inside its version; no reference: empty."""
    parts = path.split("/")
    for count, part in enumerate(parts[:3], 1):
        if ":" in part or "@" in part:
            ref = "/".join(parts[:count])
            parse_ref(ref)
            return ref, "/".join(parts[count:])
    return "", path


def _remade(cls: type[ArtifactFileSystem], options: dict[str, Any]) -> ArtifactFileSystem:
    return cls(**options)
