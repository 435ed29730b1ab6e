"""The chunk codec of metric history: one typed column, or the axis of a group, as bytes.

The layout is specified in ``docs/format/v1.md`` (metric history columns). Integers are little-endian. A
column is ``kind, encoding, flags, 0, count (u32)``, its body, and the xxh3-64 of everything before.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import isnan
from operator import sub
from typing import Any

from artline.errors import IntegrityError, UsageError

__all__ = [
    "BOOL",
    "FLOAT",
    "INT",
    "JSON",
    "ColumnStats",
    "column_stats",
    "decode_axis",
    "decode_column",
    "decode_numbers",
    "decode_orders",
    "decode_parts",
    "decode_steps",
    "encode_axis",
    "encode_column",
    "encode_parts",
]

FLOAT, INT, BOOL, JSON = "d", "q", "?", "j"

_PLAIN, _SHUFFLED, _STRIDE, _DELTA, _BIT_DELTA = range(5)
_ZSTD = 1
_HEADER = struct.Struct("<ccBBI")
_CHECKSUM = struct.Struct("<Q")
_LENGTHS = struct.Struct("<II")
_PAIR = struct.Struct("<qq")
_ENCODINGS = {code: bytes([code]) for code in (_PLAIN, _SHUFFLED, _STRIDE, _DELTA, _BIT_DELTA)}
# A body shorter than this is not worth a compressor's frame.
_SMALLEST_TO_COMPRESS = 64
_APART = 1024  # values from which on shuffled bytes are compressed place by place
_COUNT = struct.Struct("<I")
_WIDTHS = ((1, "b"), (2, "h"), (4, "i"))
_CODES = dict(_WIDTHS)


@dataclass(frozen=True, slots=True)
class ColumnStats:
    """Smallest, largest and last value of a numeric column; NaN does not count as smallest or largest."""

    minimum: float | None
    maximum: float | None
    last: float | None


def encode_column(kind: str, values: Sequence[Any]) -> bytes:
    """Encode one column of ``kind`` ``d`` (float), ``q`` (int64), ``?`` (bool) or ``j`` (JSON text).

    Floats keep every bit (NaN payloads, -0.0). Raises UsageError for another kind or an integer that
    does not fit 64 bits.
    """
    if kind == FLOAT:
        return _pack(kind, _SHUFFLED, len(values), _shuffle(_bytes(array("d", values)), 8))
    if kind == INT:
        return _encode_integers(kind, _integers(values))
    if kind == BOOL:
        return _pack(kind, _PLAIN, len(values), bytes(map(bool, values)))
    if kind == JSON:
        texts = [text.encode("utf-8", "surrogatepass") for text in values]
        lengths = _shuffle(_bytes(array("I", map(len, texts))), 4)
        return _pack(kind, _PLAIN, len(values), lengths + b"".join(texts))
    raise UsageError(f"unknown column kind {kind!r}; known kinds are d, q, ? and j")


def decode_column(payload: bytes) -> list[Any]:
    """Return the values that ``encode_column`` was given. Raises IntegrityError for damaged bytes."""
    kind, encoding, count, body = _unpack(payload)
    try:
        return _decode(kind, encoding, count, body)
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        raise IntegrityError(f"metric column of {count} values is malformed: {error}") from error


def decode_numbers(payload: bytes) -> array[Any]:
    """Return a column of kind ``d`` or ``q`` as an array. Raises IntegrityError as ``decode_column``."""
    kind, encoding, count, body = _unpack(payload)
    if kind not in (FLOAT, INT):
        raise IntegrityError(f"a metric column of numbers was expected and one of kind {kind!r} found")
    try:
        if encoding == _SHUFFLED:
            return _array(kind, _unshuffle(body, 8), count)
        return array(kind, _decode(kind, encoding, count, body))
    except (ValueError, struct.error) as error:
        raise IntegrityError(f"metric column of {count} values is malformed: {error}") from error


def encode_parts(parts: Sequence[tuple[str, Sequence[Any]]]) -> bytes:
    """Encode several columns of numbers, each with its kind, as one: the entries of a pyramid."""
    encoded = [encode_column(kind, values) for kind, values in parts]
    lengths = b"".join(map(_COUNT.pack, map(len, encoded)))
    body = _COUNT.pack(len(encoded)) + lengths + b"".join(encoded)
    return _pack("p", _PLAIN, len(parts[0][1]) if parts else 0, body, compress=False)


def decode_parts(payload: bytes, wanted: Sequence[int] | None = None) -> list[array[Any]]:
    """Return the columns that ``encode_parts`` was given, or those at some places. Raises IntegrityError."""
    kind, _, count, body = _unpack(payload)
    if kind != "p" or len(body) < _COUNT.size:
        raise IntegrityError(f"pyramid entries were expected and a column of kind {kind!r} found")
    (number,) = _COUNT.unpack_from(body)
    if len(body) < _COUNT.size * (1 + number) or any(at >= number for at in wanted or ()):
        raise IntegrityError(f"pyramid entries of {number} columns are cut short")
    lengths = [_COUNT.unpack_from(body, _COUNT.size * (1 + at))[0] for at in range(number)]
    ends = list(accumulate(lengths, initial=_COUNT.size * (1 + number)))
    places = range(number) if wanted is None else wanted
    found = [decode_numbers(body[ends[at] : ends[at + 1]]) for at in places]
    if any(len(column) != count for column in found):
        raise IntegrityError(f"pyramid of {count} entries holds columns of another length")
    return found


def encode_axis(steps: Sequence[int], times: Sequence[float], orders: Sequence[int]) -> bytes:
    """Encode what keys logged together share: step, time (seconds since 1970), and order of logging."""
    bits = array("q", array("d", times).tobytes())
    parts = (
        _encode_integers(INT, _integers(steps)),
        _encode_integers(FLOAT, bits),
        _encode_integers(INT, _integers(orders)),
    )
    body = _LENGTHS.pack(len(parts[0]), len(parts[1])) + b"".join(parts)
    return _pack("a", _PLAIN, len(steps), body, compress=False)


def decode_axis(payload: bytes) -> tuple[list[int], list[float]]:
    """Return ``(steps, times)`` of an axis. Raises IntegrityError for damaged bytes."""
    count, (steps, times, _) = _axis_parts(payload)
    return _exactly(count, decode_column(steps)), _exactly(count, decode_column(times))


def decode_steps(payload: bytes) -> list[int]:
    """Return the steps of an axis. Raises IntegrityError for damaged bytes."""
    count, (steps, _, _) = _axis_parts(payload)
    return _exactly(count, decode_column(steps))


def decode_orders(payload: bytes) -> list[int]:
    """Return the order of logging of an axis. Raises IntegrityError for damaged bytes."""
    count, (_, _, orders) = _axis_parts(payload)
    return _exactly(count, decode_column(orders))


def _axis_parts(payload: bytes) -> tuple[int, tuple[bytes, bytes, bytes]]:
    kind, _, count, body = _unpack(payload)
    if kind != "a" or len(body) < _LENGTHS.size:
        raise IntegrityError(f"a metric axis was expected and a column of kind {kind!r} found")
    first, second = _LENGTHS.unpack_from(body)
    first += _LENGTHS.size
    second += first
    return count, (body[_LENGTHS.size : first], body[first:second], body[second:])


def _exactly(count: int, values: list[Any]) -> list[Any]:
    if len(values) != count:
        raise IntegrityError(f"metric axis of {count} rows holds a column of {len(values)}")
    return values


def column_stats(kind: str, values: Sequence[Any]) -> ColumnStats:
    """Summarise a numeric or boolean column; JSON and empty columns have no statistics."""
    if kind == JSON or not values:
        return ColumnStats(None, None, None)
    last = float(values[-1])
    if kind == FLOAT and isnan(sum(values)):
        values = [value for value in values if not isnan(value)]
        if not values:
            return ColumnStats(None, None, last)
    return ColumnStats(float(min(values)), float(max(values)), last)


def _integers(values: Sequence[int]) -> array[int]:
    try:
        return array("q", values)
    except OverflowError as error:
        raise UsageError(f"an integer does not fit 64 bits: {error}. Store it as JSON") from error


def _encode_integers(kind: str, values: array[int]) -> bytes:
    """Encode 64-bit integers: an arithmetic progression, narrow differences, or plain.

    For ``kind`` d the integers are the bit patterns of floats.
    """
    count = len(values)
    if count > 1:
        steps = list(map(sub, values[1:], values))
        low, high = min(steps), max(steps)
        if kind == INT and low == high and -(2**63) <= low < 2**63:
            return _pack(kind, _STRIDE, count, _PAIR.pack(values[0], low))
        for width, code in _WIDTHS:
            limit = 1 << (8 * width - 1)
            if -limit <= low and high < limit:
                body = struct.pack("<qB", values[0], width) + _shuffle(_bytes(array(code, steps)), width)
                return _pack(kind, _DELTA if kind == INT else _BIT_DELTA, count, body)
    return _pack(kind, _SHUFFLED, count, _shuffle(_bytes(values), 8))


def _decode(kind: str, encoding: int, count: int, body: bytes) -> list[Any]:
    if encoding == _SHUFFLED and kind in (FLOAT, INT):
        return _array(kind, _unshuffle(body, 8), count).tolist()
    if encoding == _STRIDE and kind == INT:
        first, stride = _PAIR.unpack(body)
        if stride == 0:
            return [first] * count
        return list(range(first, first + count * stride, stride))
    if encoding in (_DELTA, _BIT_DELTA):
        first, width = struct.unpack_from("<qB", body)
        if width not in _CODES:
            raise ValueError(f"differences of {width} bytes are not defined")
        steps = _array(_CODES[width], _unshuffle(body[9:], width), count - 1)
        values = list(accumulate(steps, initial=first))
        if encoding == _BIT_DELTA:
            return memoryview(array("q", values)).cast("B").cast("d").tolist()
        return values
    if encoding == _PLAIN and kind == BOOL and len(body) == count:
        return list(map(bool, body))
    if encoding == _PLAIN and kind == JSON and len(body) >= 4 * count:
        lengths = _array("I", _unshuffle(body[: 4 * count], 4), count)
        ends = list(accumulate(lengths, initial=4 * count))
        if ends[-1] != len(body):
            raise ValueError(f"the texts end at byte {ends[-1]} of {len(body)}")
        return [str(body[start:end], "utf-8", "surrogatepass") for start, end in pairwise(ends)]
    raise ValueError(f"kind {kind!r} with encoding {encoding} and {len(body)} bytes is not defined")


def _pack(kind: str, encoding: int, count: int, body: bytes, *, compress: bool = True) -> bytes:
    flags = 0
    if compress and len(body) >= _SMALLEST_TO_COMPRESS:
        squeezed = _squeeze(body, apart=encoding == _SHUFFLED and count >= _APART)
        if len(squeezed) <= len(body) - len(body) // 16:
            body, flags = squeezed, _ZSTD
    from xxhash import xxh3_64_intdigest

    data = _HEADER.pack(kind.encode(), _ENCODINGS[encoding], flags, 0, count) + body
    return data + _CHECKSUM.pack(xxh3_64_intdigest(data))


def _squeeze(body: bytes, *, apart: bool) -> bytes:
    """Return one zstd frame; with ``apart`` each eighth is a block: noise does not spoil the others then."""
    from zstandard import COMPRESSOBJ_FLUSH_BLOCK, ZstdCompressor

    compressor = ZstdCompressor(level=1, write_content_size=True)
    if not apart:
        return compressor.compress(body)
    stream = compressor.compressobj(size=len(body))
    part = len(body) // 8
    parts = [
        stream.compress(body[at : at + part]) + stream.flush(COMPRESSOBJ_FLUSH_BLOCK)
        for at in range(0, len(body), part)
    ]
    return b"".join([*parts, stream.flush()])


def _unpack(payload: bytes) -> tuple[str, int, int, bytes]:
    from xxhash import xxh3_64_intdigest

    if len(payload) < _HEADER.size + _CHECKSUM.size:
        raise IntegrityError(f"metric column of {len(payload)} bytes is cut short")
    view = memoryview(payload)
    (checksum,) = _CHECKSUM.unpack_from(payload, len(payload) - _CHECKSUM.size)
    if xxh3_64_intdigest(view[: -_CHECKSUM.size]) != checksum:
        raise IntegrityError(f"metric column of {len(payload)} bytes does not match its checksum")
    kind, encoding, flags, _, count = _HEADER.unpack_from(payload)
    body = bytes(view[_HEADER.size : -_CHECKSUM.size])
    if flags & _ZSTD:
        from zstandard import ZstdDecompressor, ZstdError

        try:
            body = ZstdDecompressor().decompress(body)
        except ZstdError as error:
            raise IntegrityError(f"metric column of {count} values cannot be unpacked: {error}") from error
    return kind.decode("latin-1"), encoding[0], count, body


def _bytes(values: array[Any]) -> bytes:
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()


def _array(code: str, data: bytes, count: int) -> array[Any]:
    values = array(code)
    values.frombytes(data)
    if len(values) != count:
        raise ValueError(f"{len(values)} values where {count} were expected")
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _shuffle(data: bytes, width: int) -> bytes:
    """Group the first bytes of all values, then the second ones, … so that a compressor sees the pattern."""
    if width == 1:
        return data
    return b"".join([data[offset::width] for offset in range(width)])


def _unshuffle(data: bytes, width: int) -> bytes:
    if width == 1:
        return data
    count = len(data) // width
    if count * width != len(data):
        raise ValueError(f"{len(data)} bytes are no multiple of {width}")
    out = bytearray(len(data))
    for offset in range(width):
        out[offset::width] = data[offset * count : (offset + 1) * count]
    return bytes(out)
