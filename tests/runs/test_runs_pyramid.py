"""The entries of a pyramid are what brute force finds, on every level, and every row is told of once."""

from __future__ import annotations

import json
import math
from array import array
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from rundata import Writer

from artline.runs import chunks
from artline.runs.pyramid import FAN, Spans, Stats, number_of
from artline.runs.schema import metric_chunk, metric_group
from artline.runs.store import RunStore
from artline.settings import Settings

NUMBERS = st.one_of(st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, 0.0]))


def truth(values: list[Any], steps: list[int]) -> tuple[Any, ...]:
    """Return what one entry says of some values, NaN left aside."""
    numbers = [(value, step) for value, step in zip(values, steps, strict=True) if value == value]
    nans = len(values) - len(numbers)
    if not numbers:
        return 0, nans
    low, high = min(value for value, _ in numbers), max(value for value, _ in numbers)
    return len(numbers), nans, numbers[0][0], low, high, numbers[-1][0]


def told(stats: Stats, at: int) -> tuple[Any, ...]:
    if not stats.counts[at]:
        assert stats.minimum[at] == math.inf
        assert stats.maximum[at] == -math.inf
        return 0, stats.nans[at]
    columns = (stats.counts, stats.nans, stats.first, stats.minimum, stats.maximum, stats.last)
    return tuple(column[at] for column in columns)


@given(st.lists(NUMBERS, min_size=1, max_size=5), st.integers(1, 2000), st.integers(0, 2**32))
def test_entries_are_what_brute_force_finds(few: list[float], count: int, seed: int) -> None:
    values = [few[(at * at + seed) % len(few)] for at in range(count)]
    steps = [(at * 37 + seed) % 5000 for at in range(count)]
    level = Stats.of_rows("d", steps, array("d", values))
    spans = Spans.of_rows(7, steps, array("d", map(float, steps)))
    assert set(spans.sources) == {7}
    for size in (FAN, FAN * FAN):
        for at in range(len(level.counts)):
            part = slice(at * size, (at + 1) * size)
            assert told(level, at) == truth(values[part], steps[part])
            assert (spans.step_min[at], spans.step_max[at]) == (min(steps[part]), max(steps[part]))
            assert (spans.time_min[at], spans.time_max[at]) == (min(steps[part]), max(steps[part]))
            numbers = [value for value in values[part] if value == value]
            if numbers and not any(map(math.isinf, numbers)):
                scale = max(map(abs, numbers)) or 1.0
                mean = math.fsum(value / scale for value in numbers) / len(numbers)
                assert math.isclose(level.mean[at] / scale, mean, abs_tol=1e-6)
            if level.counts[at]:
                points = list(zip(values[part], steps[part], strict=True))
                assert (level.minimum[at], level.min_step[at]) in points
                assert (level.maximum[at], level.max_step[at]) in points
        again, same = Stats.decode(level.encode()), Spans.decode(spans.encode())
        assert again.minimum.tobytes() == level.minimum.tobytes()
        assert again.mean.tobytes() == level.mean.tobytes()
        assert same == spans
        level, spans = level.raised(), spans.raised(7)


def test_integers_stay_exact_and_json_counts_its_numbers() -> None:
    big = 2**63 - 1
    stats = Stats.of_rows("q", [1, 2, 3], array("q", [big, big - 1, -big]))
    assert (stats.minimum[0], stats.maximum[0], stats.last[0], stats.kind) == (-big, big, -big, "q")
    values = [True, "text", None, 3, math.nan, [1], 10**400]
    stats = Stats.of_rows("j", list(range(7)), [json.dumps(value) for value in values])
    assert (stats.counts[0], stats.nans[0], stats.first[0], stats.last[0]) == (2, 1, 3.0, math.inf)
    assert Stats.of_rows("?", [0, 1], [True, False]).mean[0] == 0.5
    assert number_of("NaN") != number_of("NaN")
    assert [number_of(text) for text in ("null", '"5"', "[5]", "-1e3", "")] == [
        None,
        None,
        None,
        -1000.0,
        None,
    ]


@pytest.fixture
def store(store_root: Path) -> RunStore:
    return RunStore.open(Settings(root=store_root))


def covered(store: RunStore) -> list[tuple[int, int, int]]:
    """Return ``(level, seq, rows)`` of the chunks that tell of rows no higher chunk tells of."""
    with store.catalog.read() as conn:
        (raised,) = conn.execute(sa.select(metric_group.c.raised)).one()
        limits = json.loads(raised)
        found = []
        for level, seq, payload, count in conn.execute(
            sa.select(metric_chunk.c.level, metric_chunk.c.seq, metric_chunk.c.payload, metric_chunk.c.count)
            .where(metric_chunk.c.ordinal == 0)
            .order_by(metric_chunk.c.level, metric_chunk.c.seq)
        ):
            if level >= len(limits) or seq >= limits[level]:
                found.append((level, seq, sum(Spans.decode(payload).rows) if level else count))
    return found


@pytest.mark.parametrize("size", [130, 1000, 7777])
def test_every_row_is_told_of_once(
    store: RunStore, store_root: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 128)
    writer = Writer(store_root)
    total = 0
    for part in (size, 1, size // 3, 128, 0, size, 64, 5):
        if part:
            writer.rows({"a": [float(at) for at in range(part)], "n": list(range(part))}, "dq")
            total += part
        store.ingest()
        found = covered(store)
        assert sum(rows for _, _, rows in found) == total
    assert len(found) < 40
    assert max(level for level, _, _ in found) >= 1 + (size > 7000)
