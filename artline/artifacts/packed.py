"""Entries by the million, kept as columns: an entry is made when it is asked for and not kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar, overload

from artline.artifacts.manifest import Entry, check_rows, entries_of, entry_of
from artline.artifacts.shards import Columns, Row, encode_shard

if TYPE_CHECKING:
    from artline.storage.digest import Algorithm

__all__ = ["Entries", "PackedRows", "Pairs"]

BLOCK = 1024  # rows that are packed together
KEPT = 8  # unpacked blocks at hand

_T = TypeVar("_T")


class PackedRows:
    """Rows that are appended and read back by their number: some 60 bytes each instead of 400."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._open: list[Row] = []
        self._recent: dict[int, Columns] = {}

    def append(self, row: Row) -> None:
        """Add a row; InvalidPathError, perhaps later, for one that breaks the rules of paths."""
        self._open.append(row)
        if len(self._open) == BLOCK:
            check_rows(self._open)
            self._blocks.append(encode_shard(self._open))
            self._open = []

    def seal(self) -> None:
        """Say that all rows are there; raises InvalidPathError as ``append`` does."""
        check_rows(self._open)

    def __len__(self) -> int:
        return len(self._blocks) * BLOCK + len(self._open)

    def __getitem__(self, place: int) -> Row:
        number, at = divmod(place, BLOCK)
        if number == len(self._blocks):
            return self._open[at]
        columns = self._recent.get(number)
        if columns is None:
            columns = Columns(self._blocks[number])
            while len(self._recent) >= KEPT:
                self._recent.pop(next(iter(self._recent)), None)
            self._recent[number] = columns
        return columns.row(at)

    def __iter__(self) -> Iterator[Row]:
        for block in self._blocks:
            yield from Columns(block).rows()
        yield from self._open


class _Chosen(Sequence[_T]):
    """Things that stand at certain places of packed rows."""

    __slots__ = ("_places",)

    def __init__(self, places: Sequence[int]) -> None:
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[_T]: ...
    def __getitem__(self, index: int | slice) -> _T | Sequence[_T]:
        if isinstance(index, slice):
            return tuple(map(self._at, range(*index.indices(len(self)))))
        return self._at(range(len(self))[index])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"<{len(self):,} of them: {shown}{', …' if len(self) > 3 else ''}>"

    def _at(self, index: int) -> _T:
        raise NotImplementedError


class Entries(_Chosen[Entry]):
    """Some of the packed rows, as entries; equal to any sequence of the same ones."""

    __slots__ = ("_algorithm", "_rows")

    def __init__(self, rows: PackedRows, places: Sequence[int], algorithm: Algorithm) -> None:
        super().__init__(places)
        self._rows = rows
        self._algorithm = algorithm

    def __iter__(self) -> Iterator[Entry]:
        return entries_of(map(self._rows.__getitem__, self._places), self._algorithm)

    def _at(self, index: int) -> Entry:
        return entry_of(self._rows[self._places[index]], self._algorithm)


class Pairs(_Chosen[tuple[Entry, Entry]]):
    """Pairs of entries, an old one and a new one; equal to any sequence of the same pairs."""

    __slots__ = ("_new", "_old")

    def __init__(self, old: Entries, new: Entries) -> None:
        super().__init__(range(len(old)))
        self._old = old
        self._new = new

    def __iter__(self) -> Iterator[tuple[Entry, Entry]]:
        return zip(self._old, self._new, strict=True)

    def _at(self, index: int) -> tuple[Entry, Entry]:
        return self._old[index], self._new[index]
