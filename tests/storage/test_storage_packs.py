"""The pack format: what is written can be found again, and damage never passes for content."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from artline.errors import IntegrityError, StoreTooNewError
from artline.storage import pack as format_
from artline.storage.compression import Compressor, decompress
from artline.storage.digest import Algorithm, format_digest, parse_digest
from artline.storage.pack import (
    ENTRY,
    HEADER_SIZE,
    TRAILER_SIZE,
    Codec,
    Kind,
    PackHeader,
    decode_block,
    decode_entries,
    decode_header,
    decode_trailer,
    encode_footer,
    encode_header,
    scan,
)
from artline.storage.recipe import decode_recipe, encode_recipe
from artline.storage.stream import encode_chunk

HEADER = PackHeader(1, "0f" * 16, "ab" * 16, 1_700_000_000_000)
CONTENTS = st.lists(
    st.one_of(st.binary(max_size=300), st.text(alphabet="ab", min_size=200, max_size=2000).map(str.encode)),
    max_size=12,
)


def build(contents: list[bytes]) -> bytes:
    """Make a pack by the format's own functions."""
    data, index = bytearray(encode_header(HEADER)), bytearray()
    for content in contents:
        block = encode_chunk(Compressor(), memoryview(content), blake3(content).digest(), Kind.DATA)
        index += ENTRY.pack(block.digest, len(data), len(content), len(block.stored), block.kind, block.codec)
        data += block.header + bytes(block.stored)
    return bytes(data) + encode_footer(index, len(data))


@given(CONTENTS)
def test_index_and_blocks_tell_the_same(contents: list[bytes]) -> None:
    data = build(contents)
    assert decode_header(data, "p") == HEADER
    trailer = decode_trailer(data[-TRAILER_SIZE:], len(data), "p")
    listed = list(decode_entries(data[trailer.position : -TRAILER_SIZE], trailer, "p"))
    found = list(scan(data[: trailer.position]))
    assert [block.digest for block in listed] == [blake3(content).digest() for content in contents]
    assert [(b.digest, b.position, b.stored_size, b.raw_size, b.kind, b.codec) for b in found] == [
        (b.digest, b.position, b.stored_size, b.raw_size, b.kind, b.codec) for b in listed
    ]
    for block, content in zip(found, contents, strict=True):
        assert decode_block(data[block.position :], block.digest, Algorithm.BLAKE3, "p") == content


@given(CONTENTS.filter(bool), st.data())
def test_a_flipped_bit_never_passes_for_content(contents: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(build(contents))
    good = {content: blake3(content).digest() for content in contents}
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    damaged = 0
    for block in scan(bytes(whole)):
        try:
            content = decode_block(bytes(whole[block.position :]), block.digest, Algorithm.BLAKE3, "p")
        except IntegrityError:
            damaged += 1
            continue
        assert good[bytes(content)] == block.digest
    assert damaged <= 1
    found = {block.digest for block in scan(bytes(whole))}
    assert len(set(good.values()) - found) <= 1  # at most the block that was hit is lost


@given(CONTENTS, st.integers(0, 2000))
def test_a_truncated_pack_is_noticed(contents: list[bytes], missing: int) -> None:
    data = build(contents)
    cut = data[: max(0, len(data) - 1 - missing)]
    with pytest.raises(IntegrityError, match="truncated"):
        decode_trailer(cut[-TRAILER_SIZE:], len(cut), "p")


def test_damaged_header_and_index() -> None:
    data = build([b"hello"])
    with pytest.raises(IntegrityError, match="header"):
        decode_header(b"\0" + data[1:], "p")
    with pytest.raises(IntegrityError, match="header"):
        decode_header(data[:20], "p")
    trailer = decode_trailer(data[-TRAILER_SIZE:], len(data), "p")
    with pytest.raises(IntegrityError, match="index"):
        decode_entries(b"\1" + data[trailer.position + 1 : -TRAILER_SIZE], trailer, "p")


def test_newer_pack_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_, "FORMAT_VERSION", 2)
    data = encode_header(HEADER)
    monkeypatch.undo()
    with pytest.raises(StoreTooNewError, match="format 2"):
        decode_header(data, "p")


def test_sizes_of_the_fixed_parts() -> None:
    assert (HEADER_SIZE, format_.BLOCK_SIZE, ENTRY.size, TRAILER_SIZE) == (64, 64, 56, 40)


def test_text_is_compressed_and_noise_is_not() -> None:
    compressor = Compressor()
    text = memoryview(b"some text that repeats itself; " * 10_000)
    assert encode_chunk(compressor, text, b"d" * 32, Kind.DATA).codec == Codec.ZSTD
    noise = memoryview(blake3(b"noise").digest(length=300_000))
    for _ in range(40):
        assert encode_chunk(compressor, noise, b"d" * 32, Kind.DATA).codec == Codec.RAW
    frames = [compressor.compress(text) for _ in range(17)]
    assert any(frames)  # after noise, it is tried again before long
    assert decompress(next(filter(None, frames)), len(text)) == text


def test_decompression_is_bounded() -> None:
    frame = Compressor().compress(memoryview(bytes(1 << 20)))
    assert frame is not None
    assert decompress(frame, 1000) is None
    assert decompress(b"no frame", 8) is None


def test_a_frame_takes_no_more_memory_than_its_block_says() -> None:
    for sized in (True, False):
        bomb = zstandard.ZstdCompressor(write_content_size=sized).compress(bytes(64 << 20))
        tracemalloc.start()
        try:
            assert decompress(bomb, 10) is None
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    ).compressobj()
    assert decompress(wide.compress(b"ten bytes!") + wide.flush(), 10) is None
    streamed = zstandard.ZstdCompressor(level=19).compressobj()
    assert decompress(streamed.compress(b"ten bytes!") + streamed.flush(), 10) == b"ten bytes!"


def test_a_block_is_one_frame() -> None:
    frame = zstandard.ZstdCompressor().compress(b"ten bytes!")
    assert decompress(frame, 10) == b"ten bytes!"
    assert decompress(frame + b"more", 10) is None
    assert decompress(frame + frame, 10) is None
    assert decompress(frame, 9) is None
    assert decompress(zstandard.ZstdCompressor().compress(b""), 0) == b""


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1)), max_size=50))
def test_recipes(chunks: list[tuple[bytes, int]]) -> None:
    data = encode_recipe(Algorithm.BLAKE3, b"w" * 32, chunks)
    recipe = decode_recipe(data, "r")
    assert list(recipe.chunks) == chunks
    assert (recipe.digest, recipe.size) == (b"w" * 32, sum(size for _, size in chunks))
    for wrong in (data[:-1], data + b"x", b"x" + data):
        with pytest.raises(IntegrityError):
            decode_recipe(wrong, "r")


@given(st.binary(min_size=32, max_size=32), st.sampled_from(Algorithm))
def test_digests_are_written_and_read(raw: bytes, algorithm: Algorithm) -> None:
    assert parse_digest(format_digest(algorithm, raw)) == (algorithm, raw)


def test_threads_may_share_a_compressor() -> None:
    compressor = Compressor()
    texts = [memoryview(b"%d some text; " % number * 20_000) for number in range(64)]
    with ThreadPoolExecutor(4) as pool:
        frames = list(pool.map(compressor.compress, texts))
    assert [
        frame and decompress(frame, len(text)) for frame, text in zip(frames, texts, strict=True)
    ] == texts
