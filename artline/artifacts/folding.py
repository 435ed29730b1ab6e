"""Finding paths of a manifest that could not lie side by side: a manifest made by hand may have some.

Drafts refuse them as they are added. Whoever reads a manifest need not believe that its writer did.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from artline.artifacts.draft import clash
from artline.artifacts.paths import fold, is_folded
from artline.errors import IntegrityError

if TYPE_CHECKING:
    from artline.artifacts.manifest import Manifest

__all__ = ["check_folding", "is_plain"]

_PARTS = 16  # hashes that are sorted apart from each other, so that little memory is needed at once


def check_folding(manifest: Manifest, prefix: str = "") -> None:
    """Raise InvalidPathError, naming two paths, when some file system would take them for one.

    So it does for a path that is both a file and a folder. The columns of paths are read, of those shards
    that have something at or below ``prefix``; it takes eight bytes of memory for each entry and folder.
    """
    places = manifest.places(prefix)
    for hashes in _repeated(_hashes(_texts(manifest, places))):
        seen: dict[str, str] = {}
        for path, folded in _with_folders(_texts(manifest, places)):
            if xxh3_64_intdigest(folded.encode()) in hashes:
                other = seen.setdefault(folded, path)
                if other != path:
                    raise clash(other.removesuffix("/"), path.removesuffix("/"))


def is_plain(manifest: Manifest, known: dict[bytes, bool]) -> bool:
    """Tell whether all names are in lower case and ASCII, so that none folds to another.

    ``known`` remembers shards between calls: those that versions share are read once.
    """
    shards = manifest.root.shards
    new = [place for place, shard in enumerate(shards) if shard.digest not in known]
    for place, text in zip(new, _texts(manifest, new), strict=True):
        known[shards[place].digest] = is_folded(text)
    return all(known[shard.digest] for shard in shards)


def _texts(manifest: Manifest, places: Iterable[int]) -> Iterator[str]:
    """Yield the paths of shards, each ended by NUL."""
    try:
        for columns in manifest.columns(list(places)):
            yield columns.paths.decode()
    except UnicodeDecodeError:
        raise IntegrityError("a manifest has a path that is not UTF-8. Run: art fsck") from None


def _with_folders(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each path, and each folder above them once, with a slash behind it; and what they fold to."""
    last = ""
    for text in texts:
        paths = text.split("\0")
        paths.pop()
        for path, folded in zip(paths, paths if is_folded(text) else map(fold, paths), strict=True):
            yield path, folded
            folder = path[: path.rfind("/") + 1]
            if folder == last:
                continue
            end = folder.find("/")
            while end >= 0:  # all that is in a folder stands together, so it is new where it differs
                if not last.startswith(folder[: end + 1]):
                    yield folder[: end + 1], fold(folder[:end])
                end = folder.find("/", end + 1)
            last = folder


def _hashes(texts: Iterable[str]) -> Iterator[int]:
    return (xxh3_64_intdigest(folded.encode()) for _, folded in _with_folders(texts))


def _repeated(hashes: Iterable[int]) -> Iterator[set[int]]:
    """Yield sets of those that are there more than once, where there are any."""
    parts = [array("Q") for _ in range(_PARTS)]
    for one in hashes:
        parts[one % _PARTS].append(one)
    for part in parts:
        repeated = {one for one, following in pairwise(sorted(part)) if one == following}
        if repeated:
            yield repeated
