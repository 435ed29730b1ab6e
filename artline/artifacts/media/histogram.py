"""Histograms: counts between edges, kept as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from artline.artifacts.media.base import Media, Sink, Source
from artline.errors import UsageError

__all__ = ["Histogram"]

MOST_BINS = 512


class Histogram(Media):
    """How values are spread: counts, and the edges between them.

    Made of a ``sequence`` of numbers (an array or tensor of any shape; what is not finite is left out) in
    ``num_bins`` bins of equal width, or of ``np_histogram``, the counts and edges that ``numpy.histogram``
    returns. At most 512 bins. Raises UsageError.
    """

    kind = "histogram"
    record_type = "histogram"

    def __init__(
        self,
        sequence: Any = None,
        np_histogram: Sequence[Any] | None = None,
        num_bins: int = 64,
    ) -> None:
        if np_histogram is not None:
            if sequence is not None or len(np_histogram) != 2:
                raise UsageError("a histogram is made of a sequence, or of np_histogram: counts and edges")
            counts, edges = (_plain(part) for part in np_histogram)
        elif sequence is not None:
            if not 1 <= num_bins <= MOST_BINS:
                raise UsageError(f"a histogram has 1 to {MOST_BINS} bins, not {num_bins}")
            counts, edges = _count(sequence, num_bins)
        else:
            raise UsageError("a histogram needs a sequence of numbers, or np_histogram")
        if len(counts) > MOST_BINS:
            raise UsageError(
                f"a histogram has at most {MOST_BINS} bins, not {len(counts)}. Use numpy.histogram with fewer"
            )
        if len(edges) != len(counts) + 1:
            raise UsageError(f"{len(counts)} counts have {len(counts) + 1} edges, not {len(edges)}")
        self.histogram: list[Any] = counts
        self.bins: list[float] = edges

    def __repr__(self) -> str:
        return f"<Histogram {len(self.histogram)} bins from {self.bins[0]:g} to {self.bins[-1]:g}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.histogram == other.histogram and self.bins == other.bins

    def __hash__(self) -> int:
        return hash((*self.histogram, *self.bins))

    def to_record(self, sink: Sink | None = None) -> dict[str, Any]:
        """Return what a history says of it: everything."""
        return {"_type": self.record_type, "values": self.histogram, "bins": self.bins}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], source: Source | None = None) -> Histogram:
        """Return what ``to_record`` described."""
        return cls(np_histogram=(record["values"], record["bins"]))


def _count(sequence: Any, bins: int) -> tuple[list[Any], list[float]]:
    import numpy as np

    if hasattr(sequence, "detach"):
        sequence = sequence.detach().cpu()
        sequence = sequence.float() if str(sequence.dtype) == "torch.bfloat16" else sequence
    values = np.asarray(sequence)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.dtype.kind not in "fiu":
        raise UsageError(f"a histogram is made of numbers, not of {values.dtype}")
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
        if values.dtype.itemsize < 4:
            values = values.astype(np.float32)
    counts, edges = np.histogram(values, bins=bins)
    return counts.tolist(), edges.tolist()


def _plain(part: Any) -> list[Any]:
    if hasattr(part, "detach"):
        part = part.detach().cpu()
    if hasattr(part, "tolist"):
        part = part.tolist()
    found = list(part)
    if not all(isinstance(item, int | float) for item in found):
        found = [float(item) for item in found]
    return found
