"""The journal read by its specification alone, with none of Artline's own reading code."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import xxhash
from livescript import QUIET, history_of, journals

import artline as art

SPECIFICATION = Path(__file__).parents[2] / "docs" / "format" / "v1.md"


def read_by_the_specification(data: bytes) -> list[tuple[int, int, Any]]:
    magic, version, zero = struct.unpack_from("<8sII", data)
    assert (magic, version, zero) == (b"ARTJRNL\0", 1, 0)
    at, expected, frames = 16, 0, []
    schemas: dict[int, dict[str, Any]] = {}
    while at < len(data):
        length, kind = struct.unpack_from("<IB", data, at)
        seq, checksum = struct.unpack_from("<QQ", data, at + 8)
        payload = data[at + 24 : at + 24 + length]
        assert seq == expected
        assert checksum == xxhash.xxh3_64_intdigest(data[at : at + 16] + payload)
        content: Any
        if kind == 6:
            content = rows_by_the_specification(payload, schemas)
        elif kind == 8:
            content = (*struct.unpack_from("<Bd", payload), payload[9:])
        else:
            content = json.loads(payload.decode("ascii"))
        if kind == 5:
            schemas[at] = content
        frames.append((seq, kind, content))
        at, expected = at + 24 + length, expected + 1
    return frames


def rows_by_the_specification(payload: bytes, schemas: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    offset, first, count, layout = struct.unpack_from("<QQIB", payload)
    at = 24
    orders = [first + n for n in range(count)]
    if layout == 1:
        orders = [first + delta for delta in struct.unpack_from(f"<{count}Q", payload, at)]
        at += 8 * count
    steps = struct.unpack_from(f"<{count}q", payload, at)
    at += 16 * count
    found = [{"_order": order, "_step": step} for order, step in zip(orders, steps, strict=True)]
    schema = schemas[offset]
    for key, letter in zip(schema["keys"], schema["types"], strict=True):
        values: list[Any] = []
        if letter in "dq":
            values = list(struct.unpack_from(f"<{count}{letter}", payload, at))
            at += 8 * count
        elif letter == "?":
            values = [bool(byte) for byte in payload[at : at + count]]
            at += count
        else:
            lengths = struct.unpack_from(f"<{count}Q", payload, at)
            at += 8 * count
            for length in lengths:
                values.append(json.loads(payload[at : at + length]))
                at += length
        for row, value in zip(found, values, strict=True):
            row[key] = value
    assert at == len(payload)
    return found


def test_the_worked_example_says_what_the_text_says() -> None:
    text = SPECIFICATION.read_text(encoding="utf-8").partition("## Journal")[2].partition("\n## ")[0]
    data = bytes.fromhex("".join(re.findall(r"(?m)^    ([0-9a-f ]+)$", text)))
    assert read_by_the_specification(data) == [
        (0, 11, {"time": 1.5}),
        (1, 5, {"stream": "history", "keys": ["loss", "n"], "types": "dq"}),
        (
            2,
            6,
            [
                {"_order": 0, "_step": 0, "loss": 0.5, "n": 7},
                {"_order": 1, "_step": 1, "loss": 0.25, "n": 8},
            ],
        ),
    ]


def test_a_real_run_can_be_read_by_the_specification(store_root: Path) -> None:
    with art.init(project="p", settings={**QUIET, "flush_interval": 60.0}, config={"a": {"b": 1}}) as run:
        for n in range(6):
            run.log({"n": n, "half": n / 2, "even": n % 2 == 0, "text": f"ü{n}"} if n % 3 else {"n": n})
    [path] = journals(store_root)
    frames = read_by_the_specification(path.read_bytes())
    assert frames[0][1] == 1
    assert frames[-1][1] == 12
    assert {"removed": [], "values": {"a.b": 1}} in [content for _, kind, content in frames if kind == 3]
    rows = [row for _, kind, content in frames if kind == 6 for row in content]
    rows.sort(key=lambda row: row["_order"])
    assert [{k: v for k, v in row.items() if k != "_order"} for row in rows] == history_of(path)
