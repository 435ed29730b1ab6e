"""The chunk codec returns exactly what it was given, and says so when bytes were damaged."""

from __future__ import annotations

import json
import math
import struct

import pytest
import xxhash
import zstandard
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


def read_as_specified(payload: bytes) -> list[object]:
    """Decode a column by docs/format/v1.md alone, one value at a time."""
    kind, encoding, flags, zero, count = struct.unpack_from("<cBBBI", payload)
    body, checksum = payload[8:-8], int.from_bytes(payload[-8:], "little")
    assert zero == 0
    assert xxhash.xxh3_64_intdigest(payload[:-8]) == checksum
    if flags & 1:
        body = zstandard.ZstdDecompressor().decompress(body)

    def shuffled(data: bytes, width: int) -> list[bytes]:
        number = len(data) // width
        return [bytes(data[byte * number + at] for byte in range(width)) for at in range(number)]

    if kind == b"?":
        return [byte == 1 for byte in body]
    if kind == b"j":
        texts, at = [], 4 * count
        for length in shuffled(body[:at], 4):
            end = at + int.from_bytes(length, "little")
            texts.append(body[at:end].decode("utf-8", "surrogatepass"))
            at = end
        return [*texts]
    if encoding == 1:
        integers = [int.from_bytes(item, "little", signed=True) for item in shuffled(body, 8)]
        float_bits = kind == b"d"
    elif encoding == 2:
        first, stride = struct.unpack("<qq", body)
        integers, float_bits = [first + at * stride for at in range(count)], False
    else:
        first, width = struct.unpack_from("<qB", body)
        integers = [first]
        for item in shuffled(body[9:], width):
            integers.append(integers[-1] + int.from_bytes(item, "little", signed=True))
        float_bits = encoding == 4
    assert len(integers) == count
    if float_bits:
        return [struct.unpack("<d", struct.pack("<q", integer))[0] for integer in integers]
    return [*integers]


@given(
    st.one_of(
        st.tuples(st.just(FLOAT), st.lists(st.floats(allow_nan=False), max_size=50)),
        st.tuples(st.just(INT), st.lists(INT64, max_size=50)),
        st.tuples(st.just(INT), st.lists(st.integers(0, 1000), min_size=40, max_size=90)),
        st.tuples(st.just(BOOL), st.lists(st.booleans(), max_size=90)),
        st.tuples(st.just(JSON), st.lists(st.text().map(json.dumps), max_size=30)),
    )
)
def test_the_specification_suffices_to_read_a_column(column: tuple[str, list[object]]) -> None:
    kind, values = column
    assert read_as_specified(encode_column(kind, values)) == values


@given(st.lists(st.floats(1.7e9, 1.8e9), min_size=2, max_size=60).map(sorted))
def test_the_specification_suffices_to_read_an_axis(times: list[float]) -> None:
    payload = encode_axis(range(len(times)), times, range(7, 7 + len(times)))
    first, second = struct.unpack_from("<II", payload, 8)
    parts = payload[16 : 16 + first], payload[16 + first : 16 + first + second]
    assert read_as_specified(parts[0]) == list(range(len(times)))
    assert read_as_specified(parts[1]) == times
    assert read_as_specified(payload[16 + first + second : -8]) == list(range(7, 7 + len(times)))


def test_the_example_of_the_specification() -> None:
    assert encode_column(INT, [5, 7, 9])[:-8].hex(" ") == (
        "71 02 00 00 03 00 00 00 05 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00"
    )
