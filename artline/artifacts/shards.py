"""How manifest rows become bytes: logical records for digests, columns for shards, the root's table.

A row is a tuple ``(path, kind, size, digest, recipe, extra)``; whole columns are converted at once, since
a manifest may have millions of them. docs/format/v1.md specifies every byte.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from artline.errors import IntegrityError, StoreTooNewError

__all__ = [
    "MOST_ROWS",
    "Columns",
    "EntryKind",
    "Root",
    "Row",
    "Shard",
    "ascend",
    "decode_root",
    "decode_shard",
    "encode_root",
    "encode_shard",
    "records",
]

VERSION = 1
DIGEST = 32
MOST_ROWS = 4096  # of one shard
SHARD_MAGIC = b"ALSH"
ROOT_MAGIC = b"ALRT"
_SHARD_HEADER = struct.Struct("<4sHHIIIII")  # magic, version, flags, rows, digests, recipes, paths, extras
_ROOT_HEADER = struct.Struct(
    "<4sHHIIQQQ32s"
)  # magic, version, flags, shards, names, rows, files, size, digest
_HAS_DIGEST = 0x40
_HAS_RECIPE = 0x80
_KIND_MASK = 0x0F
_NO_DIGEST = bytes(DIGEST)
# Tables that turn a flag into its kind, or into 1 where it has a bit.
_KIND_OF = bytes(flag & _KIND_MASK for flag in range(256))
_WITH = {bit: bytes(flag & bit and 1 for flag in range(256)) for bit in (_HAS_DIGEST, _HAS_RECIPE)}

Row = tuple[str, int, int, bytes, bytes, str]


class EntryKind(IntEnum):
    """What an entry of a manifest is."""

    FILE = 0
    EXECUTABLE = 1
    FOLDER = 2
    LINK = 3
    REFERENCE = 4


_EXTRA_KINDS = (int(EntryKind.LINK), int(EntryKind.REFERENCE))


@dataclass(frozen=True, slots=True)
class Shard:
    """One line of a root's table: a run of neighbouring rows, kept in one chunk.

    ``digest`` names the chunk, ``logical`` is the digest of the rows' logical records.
    """

    first: str
    last: str
    rows: int
    size: int
    digest: bytes
    logical: bytes


@dataclass(frozen=True, slots=True)
class Root:
    """A decoded root chunk: totals, the manifest's digest and its shards in path order."""

    digest: bytes
    rows: int
    files: int
    size: int
    shards: tuple[Shard, ...]


def records(rows: Sequence[Row]) -> bytes:
    """Return the logical records of rows: what manifest and shard digests are computed over.

    Each is ``kind digest size path NUL extra NUL`` in UTF-8, with numbers in decimal and the digest in
    hexadecimal (empty where there is none); recipes are left out, since they only say how content is kept.
    """
    return "".join([f"{k} {d.hex()} {s} {p}\0{x}\0" for p, k, s, d, _, x in rows]).encode()


def encode_shard(rows: Sequence[Row]) -> bytes:
    """Return the columns of ``rows`` as one block."""
    paths, kinds, sizes, digests, recipes, extras = zip(*rows, strict=True)
    flags = bytes(
        kind | (_HAS_DIGEST if digest else 0) | (_HAS_RECIPE if recipe else 0)
        for kind, digest, recipe in zip(kinds, digests, recipes, strict=True)
    )
    digest_column = b"".join(digests)
    recipe_column = b"".join(recipes)
    path_column = ("\0".join(paths) + "\0").encode()
    extra_column = "".join(
        [extra + "\0" for kind, extra in zip(kinds, extras, strict=True) if kind >= EntryKind.LINK]
    ).encode()
    header = _SHARD_HEADER.pack(
        SHARD_MAGIC,
        VERSION,
        0,
        len(rows),
        len(digest_column) // DIGEST,
        len(recipe_column) // DIGEST,
        len(path_column),
        len(extra_column),
    )
    return b"".join((header, flags, _numbers(sizes), digest_column, recipe_column, path_column, extra_column))


class Columns:
    """The columns of a shard as they lie in its block; rows are made of them only where they are wanted.

    ``paths`` is the column of paths, each ended by NUL; ``kinds``, ``sizes`` and ``digests`` have 1, 8 and 32
    bytes for each row, whatever it is, so that stretches of them can be compared. ``extras`` are by row, None
    where no row has one. Raises IntegrityError when the block is not well formed, StoreTooNewError for
    entries of a later kind. The order of the rows and the rules of paths are not looked at.
    """

    __slots__ = ("_flags", "_names", "_recipes", "count", "digests", "extras", "kinds", "paths", "sizes")

    def __init__(self, data: bytes) -> None:
        numbers = _header(_SHARD_HEADER, SHARD_MAGIC, "shard", data)[3:]
        count, digests, recipes, path_bytes, extra_bytes = numbers
        reader = _Reader(data, _SHARD_HEADER.size, "shard")
        if count > MOST_ROWS:  # a small frame of zstd may claim millions
            raise _damaged("shard")
        self.count: int = count
        self._flags = reader.take(count)
        _check_flags(self._flags, digests, recipes)
        self.kinds = self._flags.translate(_KIND_OF)
        self.sizes = reader.take(8 * count)
        self.digests = _by_row(reader.take(DIGEST * digests), self._flags, _HAS_DIGEST)
        self._recipes = _by_row(reader.take(DIGEST * recipes), self._flags, _HAS_RECIPE)
        self.paths = reader.take(path_bytes)
        extras = reader.take(extra_bytes)
        reader.finish()
        self._names: list[bytes] | None = None
        self.extras = _extras_by_row(extras, self.kinds)
        if self.paths.count(0) != count or (count and self.paths[-1]):
            raise _damaged("shard")

    @property
    def names(self) -> list[bytes]:
        """The paths in UTF-8."""
        if self._names is None:
            self._names = self.paths.split(b"\0")
            self._names.pop()
        return self._names

    def row(self, place: int) -> Row:
        """Return one row."""
        at, flag = DIGEST * place, self._flags[place]
        try:
            return (
                self.names[place].decode(),
                self.kinds[place],
                int.from_bytes(self.sizes[8 * place : 8 * place + 8], "little"),
                self.digests[at : at + DIGEST] if flag & _HAS_DIGEST else b"",
                self._recipes[at : at + DIGEST] if flag & _HAS_RECIPE else b"",
                self.extras[place].decode() if self.extras else "",
            )
        except UnicodeDecodeError:
            raise _damaged("shard") from None

    def rows(self) -> list[Row]:
        """Return all rows."""
        try:
            paths = self.paths.decode().split("\0")
            extras = [extra.decode() for extra in self.extras] if self.extras else [""] * self.count
        except UnicodeDecodeError:
            raise _damaged("shard") from None
        paths.pop()
        digests = self._values(self.digests, _HAS_DIGEST)
        recipes = self._values(self._recipes, _HAS_RECIPE)
        return list(zip(paths, self.kinds, _read_numbers(self.sizes), digests, recipes, extras, strict=True))

    def _values(self, column: bytes, bit: int) -> list[bytes]:
        """Return the digest of each row that has one by its flags, nothing for the others."""
        have = self._flags.translate(_WITH[bit]).count(1)
        if not have:
            return [b""] * self.count
        values = [column[at : at + DIGEST] for at in range(0, len(column), DIGEST)]
        if have < self.count:
            return [value if flag & bit else b"" for value, flag in zip(values, self._flags, strict=True)]
        return values


def ascend(names: list[bytes]) -> None:
    """Raise IntegrityError unless names, in UTF-8, ascend without one that is there twice."""
    if not all(map(bytes.__lt__, names, names[1:])):
        raise IntegrityError("a manifest's rows are out of order, or there twice. Run: art fsck")


def decode_shard(data: bytes) -> list[Row]:
    """Return the rows of a shard; raise IntegrityError when the block is not well formed."""
    return Columns(data).rows()


def encode_root(root: Root) -> bytes:
    """Return a root as one block."""
    shards = root.shards
    names = "".join([f"{shard.first}\0{shard.last}\0" for shard in shards]).encode()
    header = _ROOT_HEADER.pack(
        ROOT_MAGIC, VERSION, 0, len(shards), len(names), root.rows, root.files, root.size, root.digest
    )
    return b"".join(
        (
            header,
            _numbers([shard.rows for shard in shards]),
            _numbers([shard.size for shard in shards]),
            b"".join(shard.digest for shard in shards),
            b"".join(shard.logical for shard in shards),
            names,
        )
    )


def decode_root(data: bytes) -> Root:
    """Return the root in a block; raise IntegrityError when it is not well formed."""
    count, name_bytes, rows, files, size, digest = _header(_ROOT_HEADER, ROOT_MAGIC, "root", data)[3:]
    reader = _Reader(data, _ROOT_HEADER.size, "root")
    counts = reader.numbers(count)
    sizes = reader.numbers(count)
    digests = reader.digests(count)
    logicals = reader.digests(count)
    names = reader.names(name_bytes, 2 * count)
    reader.finish()
    shards = tuple(map(Shard, names[::2], names[1::2], counts, sizes, digests, logicals))
    _check_table(shards, rows, size)
    return Root(digest, rows, files, size, shards)


def _check_flags(flags: bytes, digests: int, recipes: int) -> None:
    """Refuse kinds that are unknown, and columns that do not go with what the rows are."""
    wanted_digests = wanted_recipes = 0
    for flag in set(flags):
        kind, number = flag & _KIND_MASK, flags.count(flag)
        if kind > EntryKind.REFERENCE:
            raise StoreTooNewError(
                f"a manifest has an entry of kind {kind}, which this Artline does not know. Upgrade it"
            )
        stored = kind <= EntryKind.EXECUTABLE
        digest, recipe = bool(flag & _HAS_DIGEST), bool(flag & _HAS_RECIPE)
        if (stored and not digest) or (recipe and not stored):
            raise _damaged("shard")
        wanted_digests += number * digest
        wanted_recipes += number * recipe
    if (wanted_digests, wanted_recipes) != (digests, recipes):
        raise _damaged("shard")


def _check_table(shards: Sequence[Shard], rows: int, size: int) -> None:
    """Refuse a root whose shards are empty, overlap, or do not add up to what it says."""
    last = ""
    for shard in shards:
        if not shard.rows or shard.first <= last or shard.last < shard.first:
            raise _damaged("root")
        last = shard.last
    if sum(shard.rows for shard in shards) != rows or sum(shard.size for shard in shards) != size:
        raise _damaged("root")


def _damaged(what: str) -> IntegrityError:
    return IntegrityError(f"a manifest {what} is damaged: its columns do not add up. Run: art fsck")


def _header(layout: struct.Struct, magic: bytes, what: str, data: bytes) -> tuple[Any, ...]:
    if len(data) < layout.size or data[:4] != magic:
        raise IntegrityError(f"a manifest {what} does not begin as one. Run: art fsck")
    fields = layout.unpack_from(data)
    if fields[1] > VERSION:
        raise StoreTooNewError(
            f"a manifest {what} is of format {fields[1]}, this Artline reads up to {VERSION}. Upgrade it"
        )
    return fields


def _numbers(values: Sequence[int]) -> bytes:
    column = array("Q", values)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _read_numbers(data: bytes) -> list[int]:
    column = array("Q", data)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tolist()


def _by_row(column: bytes, flags: bytes, bit: int) -> bytes:
    """Return a column of digests, which has those of the rows with a flag, with zeros for the others."""
    if len(column) in (0, DIGEST * len(flags)):
        return column or bytes(DIGEST * len(flags))
    parts, at = [], 0
    for flag in flags:
        parts.append(column[at : at + DIGEST] if flag & bit else _NO_DIGEST)
        at += DIGEST if flag & bit else 0
    return b"".join(parts)


def _extras_by_row(column: bytes, kinds: bytes) -> list[bytes] | None:
    values = column.split(b"\0")
    if values.pop() or len(values) != sum(map(kinds.count, _EXTRA_KINDS)):
        raise _damaged("shard")
    if not values:
        return None
    rest = iter(values)
    return [next(rest) if kind in _EXTRA_KINDS else b"" for kind in kinds]


class _Reader:
    """Cuts columns off a block and refuses one that is too short or too long."""

    def __init__(self, data: bytes, start: int, what: str) -> None:
        self.data = data
        self.at = start
        self.what = what

    def take(self, length: int) -> bytes:
        end = self.at + length
        if end > len(self.data):
            raise self.error()
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def numbers(self, count: int) -> list[int]:
        return _read_numbers(self.take(8 * count))

    def digests(self, count: int) -> list[bytes]:
        column = self.take(DIGEST * count)
        return [column[i : i + DIGEST] for i in range(0, len(column), DIGEST)]

    def names(self, length: int, count: int) -> list[str]:
        try:
            names = self.take(length).decode().split("\0")
        except UnicodeDecodeError:
            raise self.error() from None
        if names.pop() or len(names) != count:
            raise self.error()
        return names

    def finish(self) -> None:
        if self.at != len(self.data):
            raise self.error()

    def error(self) -> IntegrityError:
        return _damaged(self.what)
