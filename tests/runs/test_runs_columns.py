"""The chunk codec returns exactly what it was given, and says so when bytes were damaged."""

from __future__ import annotations

import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artline.errors import IntegrityError, UsageError
from artline.runs.columns import (
    BOOL,
    FLOAT,
    INT,
    JSON,
    column_stats,
    decode_axis,
    decode_column,
    decode_orders,
    encode_axis,
    encode_column,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
BIT_PATTERNS = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
FLOATS = st.one_of(
    st.floats(), BIT_PATTERNS, st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324])
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def bits(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


@given(st.lists(FLOATS, max_size=300))
def test_floats_come_back_bit_for_bit(values: list[float]) -> None:
    assert bits(decode_column(encode_column(FLOAT, values))) == bits(values)


@given(st.lists(INT64, max_size=300))
def test_integers_come_back(values: list[int]) -> None:
    assert decode_column(encode_column(INT, values)) == values


@given(INT64, st.integers(-(2**40), 2**40), st.integers(0, 400))
def test_progressions_come_back_in_a_few_bytes(first: int, stride: int, count: int) -> None:
    values = [first + stride * index for index in range(count)]
    values = [value for value in values if -(2**63) <= value < 2**63]
    payload = encode_column(INT, values)
    assert decode_column(payload) == values
    if len(values) > 1:
        assert len(payload) == 32


@given(st.lists(st.booleans(), max_size=300))
def test_booleans_come_back(values: list[bool]) -> None:
    assert decode_column(encode_column(BOOL, values)) == values


@given(st.lists(JSON_VALUES, max_size=40))
def test_json_texts_come_back(values: list[object]) -> None:
    texts = [json.dumps(value, ensure_ascii=index % 2 == 0) for index, value in enumerate(values)]
    assert decode_column(encode_column(JSON, texts)) == texts


def test_lone_surrogates_come_back() -> None:
    assert decode_column(encode_column(JSON, ['"\ud800"', "null", str(10**400)])) == [
        '"\ud800"',
        "null",
        str(10**400),
    ]


@given(st.lists(st.tuples(INT64, FLOATS, st.integers(0, 2**63 - 1)), max_size=200))
def test_axes_come_back(rows: list[tuple[int, float, int]]) -> None:
    steps, times, orders = ([row[at] for row in rows] for at in range(3))
    payload = encode_axis(steps, times, orders)
    got_steps, got_times = decode_axis(payload)
    assert got_steps == steps
    assert decode_orders(payload) == orders
    assert bits(got_times) == bits(times)


def test_regular_axis_is_small() -> None:
    times = [1.7e9 + index * 0.001 for index in range(8192)]
    assert len(encode_axis(range(8192), times, range(8192))) < 3 * 8192


def test_integers_beyond_64_bits_are_refused() -> None:
    with pytest.raises(UsageError, match="64 bits"):
        encode_column(INT, [2**63])
    with pytest.raises(UsageError, match="unknown column kind"):
        encode_column("x", [])


@given(st.lists(st.floats(), min_size=1, max_size=60), st.data())
def test_any_damaged_bit_or_cut_is_noticed(values: list[float], data: st.DataObject) -> None:
    payload = bytearray(encode_column(FLOAT, values))
    where = data.draw(st.integers(0, len(payload) * 8 - 1))
    payload[where // 8] ^= 1 << (where % 8)
    with pytest.raises(IntegrityError):
        decode_column(bytes(payload))
    payload[where // 8] ^= 1 << (where % 8)
    with pytest.raises(IntegrityError):
        decode_column(bytes(payload[: data.draw(st.integers(0, len(payload) - 1))]))


def test_axis_and_column_are_not_confused() -> None:
    with pytest.raises(IntegrityError, match="axis was expected"):
        decode_axis(encode_column(FLOAT, [1.0]))
    with pytest.raises(IntegrityError, match="not defined"):
        decode_column(encode_axis([1], [1.0], [0]))


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (FLOAT, [1.0, math.nan, -2.0], (-2.0, 1.0, -2.0)),
        (FLOAT, [math.inf, -math.inf, 3.0], (-math.inf, math.inf, 3.0)),
        (INT, [3, 1, 2], (1.0, 3.0, 2.0)),
        (BOOL, [True, False], (0.0, 1.0, 0.0)),
        (JSON, ['"x"'], (None, None, None)),
        (FLOAT, [], (None, None, None)),
    ],
)
def test_statistics_leave_nan_aside(
    kind: str, values: list[object], expected: tuple[float | None, float | None, float | None]
) -> None:
    stats = column_stats(kind, values)
    assert (stats.minimum, stats.maximum, stats.last) == expected


def test_all_nan_column_has_only_a_last_value() -> None:
    stats = column_stats(FLOAT, [math.nan])
    assert stats.minimum is None
    assert stats.maximum is None
    assert stats.last is not None
    assert math.isnan(stats.last)
