"""Content-defined chunking: FastCDC 2020, with parameters that a store keeps for its whole life.

Wen Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems",
IEEE TPDS 31(9), 2020; the gear table and masks are those of pyfastcdc 0.3.1, held fast by test vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from artline.errors import StoreTooNewError, StoreUnavailableError

if TYPE_CHECKING:
    from artline.storage.digest import Buffer

__all__ = ["CHUNKING_THRESHOLD", "ChunkerParameters", "Cutter"]

# Smaller files are one chunk; files of this size and more are cut and get a recipe.
CHUNKING_THRESHOLD = 8 << 20

_NAME = "fastcdc-2020"
# What the library takes, and what fits the writer's buffers (artline.storage.arena).
_SMALLEST = (64, 256, 1024)
_LARGEST_MINIMUM = 1 << 20
_LARGEST = 4 << 20


@dataclass(frozen=True, slots=True)
class ChunkerParameters:
    """Where chunks may end: sizes in bytes. Written to ``store.json`` when a store is created."""

    minimum: int = 256 << 10
    average: int = 1 << 20
    maximum: int = 4 << 20
    normalization: int = 1
    seed: int = 0
    threshold: int = CHUNKING_THRESHOLD

    def to_json(self) -> dict[str, Any]:
        """Return the form kept in ``store.json``."""
        return {
            "algorithm": _NAME,
            "minimum": self.minimum,
            "average": self.average,
            "maximum": self.maximum,
            "normalization": self.normalization,
            "seed": self.seed,
            "threshold": self.threshold,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ChunkerParameters:
        """Read the form kept in ``store.json``.

        Raises StoreTooNewError for an unknown algorithm or parameter, ValueError or TypeError for values
        that no chunker works with.
        """
        values = dict(values)
        name = values.pop("algorithm", None)
        names = {field.name for field in fields(cls)}
        if name != _NAME or values.keys() - names:
            by = name if name != _NAME else f"{name} with {', '.join(sorted(values.keys() - names))}"
            raise StoreTooNewError(f"the store cuts chunks by '{by}', which this Artline does not know")
        if not all(type(value) is int for value in values.values()):
            raise TypeError("the chunker's parameters are not all integers")
        made = cls(**values)
        if not (
            made.minimum <= made.average <= made.maximum <= _LARGEST
            and all(map(int.__le__, _SMALLEST, (made.minimum, made.average, made.maximum)))
            and made.minimum <= _LARGEST_MINIMUM
            and 0 <= made.normalization <= 3
            and 0 <= made.seed < 1 << 64
            and made.maximum <= made.threshold <= CHUNKING_THRESHOLD
        ):
            raise ValueError(f"no chunker works with {values}")
        return made


class Cutter:
    """Cuts windows of one stream into chunks. Cheap to make; releases the interpreter lock while it works."""

    def __init__(self, parameters: ChunkerParameters) -> None:
        try:
            from pyfastcdc.cy import FastCDC
        except ImportError as error:
            raise StoreUnavailableError(
                "the compiled part of pyfastcdc is missing, and its Python version is two hundred times "
                "slower. Install a wheel for this platform: pip install --force-reinstall pyfastcdc==0.3.1"
            ) from error
        self._cdc = FastCDC(
            parameters.average,
            min_size=parameters.minimum,
            max_size=parameters.maximum,
            normalized_chunking=parameters.normalization,
            seed=parameters.seed,
        )
        self._maximum = parameters.maximum

    def cut(self, window: Buffer, *, last: bool) -> list[tuple[int, int]]:
        """Return ``(start, end)`` of each chunk that is certain to end inside ``window``.

        ``window`` starts where a chunk starts. Unless it is the stream's ``last``, what follows the last
        returned end (less than the maximum chunk size) belongs to a chunk that later bytes decide, and
        must lead the next window.
        """
        length = len(window)
        spans = []
        for piece in self._cdc.cut_buf(window):
            start, end = piece.offset, piece.offset + piece.length
            if end == length and not last and piece.length < self._maximum:
                break
            spans.append((start, end))
        return spans
