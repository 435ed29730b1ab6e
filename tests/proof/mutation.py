"""Turning real bytes into hostile ones: bits, stretches and numbers that formats do not expect."""

from __future__ import annotations

import random
import struct

NUMBERS = [
    0,
    1,
    2,
    31,
    32,
    64,
    255,
    256,
    4096,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
]
TEXTS = [
    b"..",
    b"../x",
    b"/etc/passwd",
    b"a/../../b",
    b"a//b",
    b"a\0b",
    b"C:x",
    b"a\\b",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xe2\x80\xae",
    b"",
    b".",
    b"a" * 300,
    b"NaN",
    b"null",
    b"-1",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"1e999",
    b"9" * 5000,
]


def mutate(source: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """Return ``data`` changed in one to four places; ``other`` lends stretches."""
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 2, 3, 4))):
        size = len(changed)
        at = source.randrange(size + 1)
        kind = source.randrange(10)
        if kind == 0 and size:
            changed[at % size] ^= 1 << source.randrange(8)
        elif kind == 1 and size:
            changed[at % size] = source.randrange(256)
        elif kind == 2:
            del changed[at : at + source.choice((1, 2, 8, 32, size))]
        elif kind == 3:
            changed[at:at] = source.randbytes(source.choice((1, 8, 40)))
        elif kind == 4:
            length = source.choice((1, 8, 32, 64, 200))
            changed[at:at] = changed[at : at + length]
        elif kind == 5:
            layout = source.choice(("<B", "<H", "<I", "<Q"))
            width = struct.calcsize(layout)
            number = (source.choice(NUMBERS) + source.choice((-1, 0, 0, 1))) % (1 << 8 * width)
            changed[at : at + width] = struct.pack(layout, number)
        elif kind == 6:
            text = source.choice(TEXTS)
            changed[at : at + source.choice((0, len(text)))] = text
        elif kind == 7 and other:
            start = source.randrange(len(other))
            length = source.choice((8, 32, 64, 500))
            changed[at : at + length] = other[start : start + length]
        elif kind == 8 and size:
            start = source.randrange(size)
            length = source.choice((1, 8, 32, 64))
            changed[at : at + length] = changed[start : start + length]
        elif kind == 9:
            length = source.choice((1, 8, 64, 512))
            changed[at : at + length] = bytes(min(length, max(0, size - at)))
    return bytes(changed)


def number(source: random.Random, bits: int, *near: int) -> int:
    """Return a number of so many bits that is worth trying: a limit, or one close to those given."""
    if near and source.random() < 0.6:
        value = source.choice(near) + source.choice((-1, 0, 0, 0, 1, 64, -64))
    elif source.random() < 0.7:
        value = source.choice(NUMBERS)
    else:
        value = source.getrandbits(bits)
    return value % (1 << bits)
