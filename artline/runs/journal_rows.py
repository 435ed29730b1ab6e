"""What a journal's row frames hold: columns of numbers, flags and texts, behind a header of their own.

The layout is specified in ``docs/format/v1.md`` (section "Journal").
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from artline.runs import records
from artline.runs.records import Rows

__all__ = ["ROWS_HEADER", "decode_rows", "split_rows"]

ROWS_HEADER = struct.Struct("<QQIB3x")  # offset of the schema frame, first order, rows, order layout

_SWAP = sys.byteorder == "big"


def _contiguous(orders: Sequence[int]) -> bool:
    return orders[-1] - orders[0] == len(orders) - 1


def _numbers(code: str, values: Iterable[Any]) -> bytes:
    packed = array(code, values)
    if _SWAP:
        packed.byteswap()
    return packed.tobytes()


def split_rows(
    types: str,
    steps: Sequence[int],
    times: Sequence[float],
    columns: Sequence[Sequence[Any]],
    orders: Sequence[int],
    most: int,
    largest: int,
) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (first order, rows, order layout, rest of the payload) for frames of at most ``most`` rows.

    The rest takes ``largest`` bytes at most, unless a single row takes more.
    """
    count = len(steps)
    if count > most:
        for low in range(0, count, most):
            cut = slice(low, low + most)
            part = [column[cut] for column in columns]
            yield from split_rows(types, steps[cut], times[cut], part, orders[cut], most, largest)
        return
    payload = _encode_rows(types, steps, times, columns, orders)
    if len(payload) > largest and count > 1:  # long texts
        yield from split_rows(types, steps, times, columns, orders, count // 2, largest)
    else:
        yield orders[0], count, 0 if _contiguous(orders) else 1, payload


def _encode_rows(
    types: str,
    steps: Sequence[int],
    times: Sequence[float],
    columns: Sequence[Sequence[Any]],
    orders: Sequence[int],
) -> bytes:
    parts = []
    if not _contiguous(orders):
        first = orders[0]
        parts.append(_numbers("Q", [order - first for order in orders]))
    parts += [_numbers("q", steps), _numbers("d", times)]
    if types == "d" * len(types) and len(steps) == 1:  # the common single row: one array, not one a column
        parts.append(_numbers("d", chain.from_iterable(columns)))
        return b"".join(parts)
    for letter, column in zip(types, columns, strict=True):
        if letter == "j":
            texts = [text.encode("ascii") for text in column]
            parts.append(_numbers("Q", map(len, texts)))
            parts += texts
        elif letter == "?":
            parts.append(bytes(column))
        else:
            parts.append(_numbers(letter, column))
    return b"".join(parts)


def decode_rows(
    schema: tuple[records.Stream, tuple[str, ...], str], first: int, count: int, layout: int, payload: bytes
) -> Rows:
    stream, keys, types = schema
    view = memoryview(payload)
    at = ROWS_HEADER.size

    def numbers(code: str) -> Any:
        nonlocal at
        values = array(code)
        values.frombytes(view[at : at + 8 * count])
        if len(values) != count:
            raise ValueError("the frame ends inside a column")
        if _SWAP:
            values.byteswap()
        at += 8 * count
        return values

    def flags() -> list[bool]:
        nonlocal at
        values = [byte != 0 for byte in view[at : at + count]]
        if len(values) != count:
            raise ValueError("the frame ends inside a column")
        at += count
        return values

    def texts() -> list[str]:
        nonlocal at
        values = []
        for length in numbers("Q"):
            values.append(str(view[at : at + length], "ascii"))
            at += length
        return values

    readers: dict[str, Callable[[], Any]] = {
        "d": lambda: numbers("d"),
        "q": lambda: numbers("q"),
        "?": flags,
        "j": texts,
    }
    orders: Sequence[int] = range(first, first + count)
    if layout == 1:
        orders = [first + delta for delta in numbers("Q")]
    steps = numbers("q")
    times = numbers("d")
    columns = [readers[letter]() for letter in types]
    if at != len(payload):
        raise ValueError(f"{len(payload) - at} bytes follow the last column")
    return Rows(stream, keys, types, steps, times, columns, orders)
