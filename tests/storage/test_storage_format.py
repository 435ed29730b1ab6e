"""The format document: its examples are what the code reads and writes."""

from __future__ import annotations

import re
from pathlib import Path

from blake3 import blake3

from artline.storage.chunker import ChunkerParameters
from artline.storage.digest import Algorithm
from artline.storage.pack import (
    TRAILER_SIZE,
    PackHeader,
    decode_block,
    decode_entries,
    decode_header,
    decode_trailer,
    encode_header,
    scan,
)
from artline.storage.recipe import decode_recipe, encode_recipe

DOCUMENT = (Path(__file__).parents[2] / "docs" / "format" / "v1.md").read_text()
HELLO = b"hello, artline\n"
REPEATED = b"a line that repeats\n" * 10


def example(kind: str) -> bytes:
    """Return the bytes of the document's example of a kind."""
    (text,) = re.findall(rf"```{kind}\n(.*?)```", DOCUMENT, re.DOTALL)
    return bytes.fromhex("".join(line for line in text.splitlines() if not line.startswith("#")))


def test_example_pack_is_read() -> None:
    data = example("pack")
    assert f"A pack of {len(data)} bytes" in DOCUMENT
    header = decode_header(data, "p")
    assert encode_header(header) == data[:64]
    assert header == PackHeader(
        1, "9d4c2b6e0f7a4e1c8b3d5a6978f0e1d2", "00112233445566778899aabbccddeeff", 1_790_000_000_000
    )
    trailer = decode_trailer(data[-TRAILER_SIZE:], len(data), "p")
    listed = list(decode_entries(data[trailer.position : -TRAILER_SIZE], trailer, "p"))
    assert [block.position for block in scan(data)] == [block.position for block in listed] == [64, 143]
    contents = [decode_block(data[one.position :], one.digest, Algorithm.BLAKE3, "p") for one in listed]
    assert contents == [HELLO, REPEATED]
    assert f"blake3:{blake3(HELLO).hexdigest()}" in DOCUMENT


def test_positions_beside_the_example_are_right() -> None:
    (text,) = re.findall(r"```pack\n(.*?)```", DOCUMENT, re.DOTALL)
    position = 0
    for line in text.splitlines():
        if line.startswith("#"):
            assert line.startswith(f"# {position}: ")
        else:
            position += len(bytes.fromhex(line))


def test_example_recipe_is_what_is_written() -> None:
    parts = [b"first chunk, ", b"second chunk"]
    chunks = [(blake3(part).digest(), len(part)) for part in parts]
    data = example("recipe")
    assert encode_recipe(Algorithm.BLAKE3, blake3(b"".join(parts)).digest(), chunks) == data
    assert list(decode_recipe(data, "r").chunks) == chunks


def test_chunker_defaults_are_documented() -> None:
    values = ChunkerParameters().to_json()
    for name in ("minimum", "average", "maximum"):
        assert str(values.pop(name)) in DOCUMENT
    for name, value in values.items():
        shown = f'"{value}"' if isinstance(value, str) else str(value)
        assert re.search(rf"`{name}` \| `?{re.escape(shown)}`? \|", DOCUMENT), name
