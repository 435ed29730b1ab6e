"""Reading a version's content back from the store, and looking at what it refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from artline.artifacts.manifest import Manifest
from artline.errors import IntegrityError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.manifest import Entry
    from artline.storage.content import ContentStore
    from artline.storage.recipe import Blob

__all__ = ["Audit", "Fault", "audit_content"]

Progress = Callable[[int, int], object]

_BATCH = 1024
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Fault:
    """A file of a version whose content is damaged, changed or gone, and what is wrong with it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What was read back and looked at, and which files are not what they should be.

    ``files`` and ``size`` count the stored files and their bytes, ``references`` the other entries.
    """

    files: int
    size: int
    references: int
    faults: tuple[Fault, ...]


def audit_content(version: Artifact, progress: Progress | None = None) -> Audit:
    """Read every stored file of a version and compare it with its digest; bounded memory.

    It is the bucket that is read, not the cache. The target of each reference is compared with what was
    recorded of it, and read where that is a digest. Raises IntegrityError when the manifest itself is
    damaged, StoreUnavailableError or AuthError for a target that cannot be looked at.
    """
    from artline.artifacts.references import Fetching

    content = version.store.content.uncached()
    entries = Manifest(content, version.algorithm, version.record.root).entries()
    files = size = references = 0
    faults: list[Fault] = []

    def note(entry: Entry, error: IntegrityError) -> bool:
        faults.append(Fault(entry.path, str(error)))
        return True

    with Fetching(version.algorithm, progress, spare=note) as targets:
        while batch := list(islice(entries, _BATCH)):
            for entry in batch:
                if entry.reference is not None:
                    references += 1
                    targets.add(entry, None)
            stored = [(entry, entry.blob) for entry in batch if entry.blob is not None]
            for entry, fault in _check(content, stored):
                files, size = files + 1, size + entry.size
                if fault:
                    faults.append(Fault(entry.path, fault))
                if progress is not None:
                    progress(1, entry.size)
    return Audit(files, size, references, tuple(sorted(faults, key=lambda fault: fault.path)))


def _check(content: ContentStore, batch: Sequence[tuple[Entry, Blob]]) -> Iterator[tuple[Entry, str]]:
    """Read the small files together; where one is damaged, each by itself to find out which."""
    small = [blob.digest for _, blob in batch if blob.recipe is None]
    try:
        seen = sum(1 for _ in content.read_many(dict.fromkeys(small)))
        whole = seen == len(set(small))
    except IntegrityError:
        whole = False
    for entry, blob in batch:
        try:
            if blob.recipe is not None:
                _read_large(content, entry, blob)
            elif not whole:
                content.read(blob.digest)
        except IntegrityError as error:
            yield entry, str(error)
        else:
            yield entry, ""


def _read_large(content: ContentStore, entry: Entry, blob: Blob) -> None:
    hasher = content.algorithm.hasher()
    with content.open_blob(blob) as stream:
        while block := stream.read(_BLOCK):
            hasher.update(block)
    if hasher.digest() != blob.digest:
        raise IntegrityError(f"the chunks of '{entry.path}' do not make up its digest {entry.digest}")
