"""Manifests: what a version of an artifact consists of, in sorted entries kept in shared shards."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from artline.artifacts.paths import check_link_target, check_path, check_paths, check_spellings
from artline.artifacts.shards import (
    MOST_ROWS,
    Columns,
    EntryKind,
    Root,
    Row,
    Shard,
    decode_root,
    encode_root,
    encode_shard,
    records,
)
from artline.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from artline.storage.digest import Algorithm
    from artline.storage.recipe import Blob

__all__ = [
    "MANIFEST_HEADER",
    "MAX_ROWS",
    "MIN_ROWS",
    "Built",
    "Entry",
    "EntryKind",
    "Manifest",
    "ManifestBuilder",
    "Reference",
    "Row",
    "entries_of",
    "entry_of",
    "row_of",
]

# A shard ends behind a row whose path's XXH3-64 has these bits clear, so that boundaries follow content.
BOUNDARY_MASK = 1023
MIN_ROWS = 256
MAX_ROWS = MOST_ROWS
LARGEST = 2**63 - 1  # bytes of one version, what a catalog can hold
KEPT_SHARDS = 4  # decoded shards a reader keeps at hand
FETCHED = 32  # shards that are fetched together at most, some 2.5 MB
MANIFEST_HEADER = b"artline manifest 1\n"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where the bytes of a reference entry lie and by what they are recognised.

    ``etag`` and ``version`` (a version id or generation) are the object store's, and so is ``checksum``,
    ``md5:<hex>`` or ``crc32c:<hex>``; ``mtime_ns`` is set for files and web pages referenced without a
    checksum. The size is the entry's own, and so is the digest where one was taken.
    """

    uri: str
    etag: str = ""
    version: str = ""
    mtime_ns: int = 0
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of an artifact version.

    ``digest`` is ``algorithm:hex`` of the content, empty for folders, links and references without a
    checksum. ``target`` is a symbolic link's, ``reference`` is set for references, ``blob`` for stored files.
    """

    path: str
    kind: EntryKind
    size: int = 0
    digest: str = ""
    target: str = ""
    reference: Reference | None = None
    blob: Blob | None = None

    @property
    def ref(self) -> str | None:
        """Return the address a reference points to, None for any other entry."""
        return self.reference.uri if self.reference else None

    @property
    def executable(self) -> bool:
        """Tell whether the file has its executable bit set."""
        return self.kind is EntryKind.EXECUTABLE

    @property
    def is_file(self) -> bool:
        """Tell whether the entry has stored content of its own."""
        return self.kind in (EntryKind.FILE, EntryKind.EXECUTABLE)


def entry_of(row: Row, algorithm: Algorithm) -> Entry:
    """Return a row as an entry."""
    return next(entries_of((row,), algorithm))


def entries_of(rows: Iterable[Row], algorithm: Algorithm) -> Iterator[Entry]:
    """Yield rows as entries."""
    from artline.storage.recipe import Blob

    kinds, prefix = tuple(EntryKind), f"{algorithm.value}:"
    for path, number, size, digest, recipe, extra in rows:
        yield Entry(
            path,
            kinds[number],
            size,
            prefix + digest.hex() if digest else "",
            extra if number == EntryKind.LINK else "",
            decode_reference(extra) if number == EntryKind.REFERENCE else None,
            Blob(digest, size, recipe or None) if number <= EntryKind.EXECUTABLE else None,
        )


def row_of(path: str, blob: Blob, *, executable: bool = False) -> Row:
    """Return a stored file as a row."""
    kind = EntryKind.EXECUTABLE if executable else EntryKind.FILE
    return (path, kind, blob.size, blob.digest, blob.recipe or b"", "")


def encode_reference(reference: Reference) -> str:
    """Return a reference as the text kept in its row: JSON, keys sorted, empty fields left out."""
    fields = {name: value for name, value in asdict(reference).items() if value}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def decode_reference(extra: str) -> Reference:
    """Return the reference kept in a row; raise IntegrityError when it is not one."""
    try:
        fields = json.loads(extra)
        return Reference(
            uri=str(fields["uri"]),
            etag=str(fields.get("etag", "")),
            version=str(fields.get("version", "")),
            mtime_ns=int(fields.get("mtime_ns", 0)),
            checksum=str(fields.get("checksum", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise IntegrityError(
            f"a manifest has a reference that cannot be read ({error}). Run: art fsck"
        ) from None


class ShardSink(Protocol):
    """What a builder needs of the content writer: put a block, get its digest."""

    def __call__(self, data: bytes, *, root: bool) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Built:
    """A finished manifest: its own digest, the digest of its root chunk, and totals."""

    digest: bytes
    root: bytes
    rows: int
    files: int
    size: int


class ManifestBuilder:
    """Turns rows, sorted by the UTF-8 bytes of their path, into shards and a root; memory stays bounded."""

    def __init__(self, sink: ShardSink, algorithm: Algorithm) -> None:
        self._sink = sink
        self._algorithm = algorithm
        self._rows: list[Row] = []
        self._shards: list[Shard] = []
        self.reused: list[bytes] = []  # chunks of the shards taken over from another manifest
        self._files = 0
        self._last = ""

    @property
    def aligned(self) -> bool:
        """Tell whether the rows until now end with a shard, so that a whole one may follow."""
        return not self._rows

    def reuse(self, shard: Shard) -> None:
        """Append a shard of another manifest as it is, unread; only where ``aligned``.

        Where a shard ends depends on nothing but its own paths, so the result is what its rows would give.
        The last shard of a manifest ends where the rows do: only as the last one may it be used again.
        """
        if self._rows or shard.first <= self._last:
            raise IntegrityError(f"the manifest shard from '{shard.first}' does not belong here")
        self._shards.append(shard)
        self.reused.append(shard.digest)
        self._last = shard.last

    def count_reused(self, files: int) -> None:
        """Say how many files (rows that are no empty folders) the reused shards have together."""
        self._files += files

    def add(self, rows: Sequence[Row]) -> None:
        """Append rows; raise IntegrityError when they are out of order."""
        from xxhash import xxh3_64_intdigest

        if not rows:
            return
        self._check_order(rows)
        start = len(self._rows)
        pending = self._rows
        pending.extend(rows)
        names = "\0".join([row[0] for row in rows]).encode().split(b"\0")
        ends = [
            end for end, name in enumerate(names, start + 1) if not xxh3_64_intdigest(name) & BOUNDARY_MASK
        ]
        cut = 0
        for end in ends:
            while end - cut > MAX_ROWS:
                cut = self._emit(pending, cut, cut + MAX_ROWS)
            if end - cut >= MIN_ROWS:
                cut = self._emit(pending, cut, end)
        while len(pending) - cut > MAX_ROWS:
            cut = self._emit(pending, cut, cut + MAX_ROWS)
        self._rows = pending[cut:]

    def finish(self) -> Built:
        """Write the last shard and the root."""
        if self._rows:
            self._emit(self._rows, 0, len(self._rows))
            self._rows = []
        rows = sum(shard.rows for shard in self._shards)
        size = sum(shard.size for shard in self._shards)
        if size > LARGEST:
            raise UsageError(
                f"the entries of this artifact claim {size:,} bytes together; the most is {LARGEST:,}. "
                "Check the sizes of its references"
            )
        root = Root(_digest(self._shards, self._algorithm), rows, self._files, size, tuple(self._shards))
        return Built(root.digest, self._sink(encode_root(root), root=True), rows, self._files, size)

    def _emit(self, rows: list[Row], start: int, end: int) -> int:
        part = rows[start:end]
        logical = records(part)
        self._files += sum(row[1] != EntryKind.FOLDER for row in part)
        digest = self._sink(encode_shard(part), root=False)
        size = sum(row[2] for row in part)
        shard = Shard(part[0][0], part[-1][0], len(part), size, digest, self._algorithm.hash(logical))
        self._shards.append(shard)
        return end

    def _check_order(self, rows: Sequence[Row]) -> None:
        # Code point order is the order of the UTF-8 bytes, so plain comparison of text will do.
        paths = [row[0] for row in rows]
        check_paths(paths)
        if paths[0] <= self._last or any(map(str.__ge__, paths, paths[1:])):
            raise IntegrityError("a manifest's rows are not in order of their paths")
        self._last = paths[-1]


class ChunkReader(Protocol):
    """What a manifest needs of the content store."""

    def read(self, digest: bytes) -> bytes: ...

    def read_many(self, digests: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]: ...


class Manifest:
    """Reads a manifest by its root chunk: all of it, a prefix, or one path, fetching only those shards."""

    def __init__(
        self, content: ChunkReader, algorithm: Algorithm, root: bytes, *, kept: int = KEPT_SHARDS
    ) -> None:
        self._content = content
        self._kept = kept
        self._algorithm = algorithm
        self.root_digest = root
        self.root = decode_root(content.read(root))
        self._firsts = [shard.first for shard in self.root.shards]
        self._lasts = [shard.last for shard in self.root.shards]
        self._recent: dict[int, list[Row]] = {}

    @property
    def digest(self) -> bytes:
        """Return the digest over the logical entries."""
        return self.root.digest

    def rows(self, prefix: str = "") -> Iterator[list[Row]]:
        """Yield rows in order, a batch for each shard; with ``prefix`` only that path and those below it."""
        if not prefix:
            yield from self._loaded(range(len(self.root.shards)))
            return
        low, high = prefix + "/", prefix + "0"  # '0' follows '/'
        for rows in self._loaded(self.places(prefix)):
            if not (low <= rows[0][0] and rows[-1][0] < high):
                rows = [row for row in rows if row[0] == prefix or low <= row[0] < high]
            if rows:
                yield rows

    def places(self, prefix: str = "") -> range:
        """Return the places of the shards that may have something at or below ``prefix``."""
        if not prefix:
            return range(len(self.root.shards))
        return range(bisect_left(self._lasts, prefix), bisect_left(self._firsts, prefix + "0"))

    def _loaded(self, places: range) -> Iterator[list[Row]]:
        if len(places) <= self._kept:
            yield from map(self.load, places)
            return
        for columns in self.columns(places):
            yield _checked(columns)

    def columns(self, wanted: Sequence[int]) -> Iterator[Columns]:
        """Yield the shards at places, in the order given, with the rules of paths and their order unchecked.

        They are fetched ahead, one at first, then more and more at once: a bucket answers one large question
        sooner than many small ones, but who asks may be content with the first.
        """
        start, count = 0, 1
        while batch := [self.root.shards[index] for index in wanted[start : start + count]]:
            blocks = dict(self._content.read_many(shard.digest for shard in batch))
            for shard in batch:
                yield _columns(shard, blocks[shard.digest])
            start, count = start + count, min(2 * count, FETCHED)

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Yield entries in order of their paths' UTF-8 bytes."""
        for rows in self.rows(prefix):
            yield from entries_of(rows, self._algorithm)

    def has_prefix(self, text: str) -> bool:
        """Tell whether any path begins with ``text``, reading at most one shard."""
        first = self._first(text)
        return first is not None and first.startswith(text)

    def has_between(self, low: str, high: str) -> bool:
        """Tell whether any path is from ``low`` up to ``high``, reading at most one shard."""
        first = self._first(low)
        return first is not None and first <= high

    def _first(self, text: str) -> str | None:
        """Return the first path that is not before ``text``."""
        index = bisect_left(self._lasts, text)
        if index >= len(self._lasts):
            return None
        first = self.root.shards[index].first
        if first < text:
            rows = self.load(index)
            first = rows[bisect_left(rows, text, key=lambda row: row[0])][0]
        return first

    def row(self, path: str) -> Row | None:
        """Return the row of one path, reading one shard; None when the path is not there."""
        index = bisect_left(self._lasts, path)
        if index >= len(self._lasts) or self.root.shards[index].first > path:
            return None
        rows = self.load(index)
        place = bisect_right(rows, path, key=lambda row: row[0]) - 1
        return rows[place] if place >= 0 and rows[place][0] == path else None

    def get(self, path: str) -> Entry | None:
        """Return the entry of one path, reading one shard; None when the path is not there."""
        row = self.row(path)
        return entry_of(row, self._algorithm) if row else None

    def shard_digests(self) -> list[bytes]:
        """Return the digests of the chunks that hold the shards."""
        return [shard.digest for shard in self.root.shards]

    def check(self) -> None:
        """Read everything and raise IntegrityError unless digests, order and totals are right."""
        last, count = "", 0
        for shard, rows in zip(self.root.shards, self.rows(), strict=True):
            paths = [row[0] for row in rows]
            check_order([last, *paths])
            if self._algorithm.hash(records(rows)) != shard.logical:
                raise IntegrityError(
                    f"the manifest shard from '{paths[0]}' has another digest. Run: art fsck"
                )
            last = paths[-1]
            count += len(rows)
        if count != self.root.rows:
            raise IntegrityError("a manifest's entries do not match its digest. Run: art fsck")
        self.check_root()

    def check_root(self) -> None:
        """Raise IntegrityError unless the manifest's digest is that of what the root says of the shards."""
        if _digest(self.root.shards, self._algorithm) != self.digest:
            raise IntegrityError("a manifest's entries do not match its digest. Run: art fsck")

    def load_shard(self, shard: Shard) -> list[Row]:
        """Return the rows of one of the manifest's shards, checked against what the root says of it."""
        return _checked(_columns(shard, self._content.read(shard.digest)))

    def load(self, index: int) -> list[Row]:
        """Return the rows of the shard at a place; the latest few are kept at hand."""
        recent = self._recent.pop(index, None)
        if recent is not None:
            self._recent[index] = recent
            return recent
        rows = self.load_shard(self.root.shards[index])
        while len(self._recent) >= self._kept:
            self._recent.pop(next(iter(self._recent)), None)
        self._recent[index] = rows
        return rows


def _columns(shard: Shard, block: bytes) -> Columns:
    columns = Columns(block)
    paths, first, last = columns.paths, f"{shard.first}\0".encode(), f"{shard.last}\0".encode()
    ends = paths == last if columns.count == 1 else paths.endswith(b"\0" + last)
    if columns.count != shard.rows or not (paths.startswith(first) and ends):
        raise IntegrityError(
            f"the manifest shard from '{shard.first}' is not what its root says. Run: art fsck"
        )
    return columns


def _checked(columns: Columns) -> list[Row]:
    rows = columns.rows()
    check_rows(rows)
    paths = [row[0] for row in rows]
    check_order(paths)
    check_spellings(paths)
    return rows


def check_rows(rows: Sequence[Row]) -> None:
    """Raise InvalidPathError for a row whose path or link target breaks the rules of paths."""
    check_paths([row[0] for row in rows])
    for row in rows:
        if row[1] == EntryKind.LINK:
            check_path(row[0])
            check_link_target(row[0], row[5])


def check_order(paths: Sequence[str]) -> None:
    """Raise IntegrityError when paths do not ascend, as when one is there twice."""
    if any(map(str.__ge__, paths, paths[1:])):
        place = next(after for before, after in pairwise(paths) if before >= after)
        raise IntegrityError(
            f"a manifest's rows are out of order, or there twice, at '{place}'. Run: art fsck"
        )


def _digest(shards: Sequence[Shard], algorithm: Algorithm) -> bytes:
    # Boundaries follow from the paths alone, so this is a digest of the entries, not of how they are kept.
    hasher = algorithm.hasher()
    hasher.update(MANIFEST_HEADER)
    for shard in shards:
        hasher.update(shard.logical)
    return hasher.digest()
