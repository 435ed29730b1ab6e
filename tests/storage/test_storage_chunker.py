"""Chunking: the cuts are frozen, and do not depend on how the content arrives."""

from __future__ import annotations

import hashlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artline.errors import StoreTooNewError, StoreUnavailableError
from artline.storage.chunker import ChunkerParameters, Cutter

SMALL = ChunkerParameters(minimum=64, average=256, maximum=1024)


def noise(size: int) -> bytes:
    """Return bytes that look random and are the same everywhere."""
    return hashlib.shake_128(b"artline test vector").digest(size)


def cut_in_windows(data: bytes, parameters: ChunkerParameters, window: int) -> list[int]:
    cutter, ends, start, read = Cutter(parameters), [], 0, 0
    while True:
        read = min(read + window, len(data))
        last = read == len(data)
        spans = cutter.cut(memoryview(data)[start:read], last=last)
        ends += [start + end for _, end in spans]
        start = ends[-1] if ends else 0
        if last:
            return ends


def test_vectors_of_the_default_parameters() -> None:
    ends = [end for _, end in Cutter(ChunkerParameters()).cut(noise(16 << 20), last=True)]
    assert ends == [
        643327,
        1562601,
        2621640,
        4945684,
        6114632,
        7132231,
        7831652,
        9095793,
        10582008,
        11275218,
        12873112,
        15206997,
        16777216,
    ]
    assert hashlib.sha256(noise(16 << 20)).hexdigest()[:16] == "42d988d72ded209f"


@given(
    data=st.one_of(
        st.binary(max_size=6000),
        st.integers(0, 40_000).map(noise),
        st.integers(0, 9000).map(lambda size: b"\0" * size),
    ),
    window=st.integers(1024, 5000),
)
def test_cuts_do_not_depend_on_the_windows(data: bytes, window: int) -> None:
    whole = [end for _, end in Cutter(SMALL).cut(data, last=True)]
    assert cut_in_windows(data, SMALL, window) == whole
    sizes = [end - start for start, end in zip([0, *whole], whole, strict=False)]
    assert sum(sizes) == len(data)
    assert all(SMALL.minimum <= size <= SMALL.maximum for size in sizes[:-1])


def test_an_insertion_moves_few_cuts() -> None:
    data = noise(400_000)
    before = {data[start:end] for start, end in Cutter(SMALL).cut(data, last=True)}
    changed = data[:200_000] + b"inserted" + data[200_000:]
    after = [changed[start:end] for start, end in Cutter(SMALL).cut(changed, last=True)]
    assert sum(chunk not in before for chunk in after) <= 4


def test_parameters_survive_the_store_file() -> None:
    assert ChunkerParameters.from_json(SMALL.to_json()) == SMALL


def test_unknown_algorithm_is_refused() -> None:
    with pytest.raises(StoreTooNewError, match="buzhash"):
        ChunkerParameters.from_json({"algorithm": "buzhash"})


def test_slow_python_chunker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyfastcdc.cy", None)
    with pytest.raises(StoreUnavailableError, match="two hundred times"):
        Cutter(SMALL)
