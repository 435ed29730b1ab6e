"""Forged packs, recipes, manifests, journals and settings are refused with an error, or read right."""

from __future__ import annotations

import random
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from artline.artifacts.manifest import Manifest, decode_reference
from artline.artifacts.pins import read_lock
from artline.artifacts.shards import Root, Row, Shard, decode_root, decode_shard, encode_root, encode_shard
from artline.errors import IntegrityError, StoreTooNewError, UsageError
from artline.runs.journal import FILE_HEADER, HEADED, JournalReader
from artline.storage.chunker import ChunkerParameters
from artline.storage.compression import LARGEST_FRAME, Compressor
from artline.storage.digest import Algorithm
from artline.storage.identity import parse_identity
from artline.storage.pack import (
    ENTRY,
    HEADER_SIZE,
    TRAILER_SIZE,
    Codec,
    Kind,
    decode_block,
    decode_entries,
    decode_trailer,
    encode_block_header,
    encode_footer,
)
from proof.decoders import TARGETS, Chunks, Target, attempt


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds=st.lists(st.integers(0, 2**32), min_size=1, max_size=20))
def test_forged_input_is_refused_or_read_right(target: Target, tmp_path: Path, seeds: list[int]) -> None:
    for seed in seeds:
        attempt(target, random.Random(seed), tmp_path)


def pack_index(*entries: tuple[int, int]) -> bytes:
    """Return an index of blocks at these positions, with these stored sizes, behind 1,000 bytes of blocks."""
    index = b"".join(ENTRY.pack(bytes(32), place, size, size, 1, 0) for place, size in entries)
    return bytes(HEADER_SIZE + 1000) + encode_footer(index, HEADER_SIZE + 1000)


@pytest.mark.parametrize(
    "entries",
    [
        [(2**63, 1)],
        [(2**64 - 1, 1)],
        [(0, 1)],
        [(64, 2**32 - 1)],
        [(64, 100), (200, 1)],
        [(300, 1), (64, 1)],
        [(1000, 1)],
    ],
)
def test_an_index_with_impossible_blocks_is_refused(entries: list[tuple[int, int]]) -> None:
    data = pack_index(*entries)
    trailer = decode_trailer(data[-TRAILER_SIZE:], len(data), "p")
    with pytest.raises(IntegrityError, match="cannot lie there"):
        decode_entries(data[trailer.position : -TRAILER_SIZE], trailer, "p")


def test_a_block_that_claims_to_expand_without_bounds_is_refused() -> None:
    content = bytes(LARGEST_FRAME + 1)
    digest = blake3(content).digest()
    frame = zstandard.ZstdCompressor().compress(content)
    assert len(frame) < LARGEST_FRAME // 1000
    assert Compressor().compress(memoryview(content)) is None  # no writer makes such a block
    block = encode_block_header(Kind.DATA, Codec.ZSTD, len(content), frame, digest) + frame
    del content
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="does not decompress"):
            decode_block(block, digest, Algorithm.BLAKE3, "p")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_raw_block_whose_sizes_disagree_is_refused() -> None:
    digest = blake3(b"x").digest()
    with pytest.raises(IntegrityError, match="sizes do not agree"):
        decode_block(encode_block_header(Kind.DATA, 0, 2, b"x", digest) + b"x", digest, Algorithm.BLAKE3, "p")


def test_a_shard_of_more_rows_than_any_has_is_refused_before_they_take_memory() -> None:
    rows: list[Row] = [(f"{number:09d}", 2, 0, b"", b"", "") for number in range(100_000)]
    data = encode_shard(rows)
    del rows
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="do not add up"):
            decode_shard(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


ROWS: list[Row] = [(path, 0, 1, blake3(path.encode()).digest(), b"", "") for path in ("a", "b", "c")]


@pytest.mark.parametrize("flag", [0x00, 0x42 | 0x80, 0xC0], ids=["no digest", "folder with recipe", "recipe"])
def test_a_shard_whose_flags_do_not_go_with_its_columns_is_refused(flag: int) -> None:
    data = bytearray(encode_shard(ROWS))
    data[28] = flag
    with pytest.raises(IntegrityError, match="do not add up"):
        decode_shard(bytes(data))


def manifest_of(*parts: list[Row]) -> tuple[Chunks, Root]:
    chunks, shards = Chunks(), []
    for rows in parts:
        digest = chunks.put(encode_shard(rows))
        shards.append(Shard(rows[0][0], rows[-1][0], len(rows), len(rows), digest, bytes(32)))
    rows = sum(map(len, parts))
    return chunks, Root(bytes(32), rows, rows, rows, tuple(shards))


@pytest.mark.parametrize("paths", ["aab", "bac", "abb"])
def test_a_manifest_with_a_path_twice_or_out_of_order_is_refused_when_read(paths: str) -> None:
    by_path = {row[0]: row for row in ROWS}
    chunks, root = manifest_of([by_path[path] for path in paths])
    with pytest.raises(IntegrityError):
        list(Manifest(chunks, Algorithm.BLAKE3, chunks.put(encode_root(root))).rows())


def test_a_root_whose_shards_overlap_or_are_empty_is_refused() -> None:
    _, root = manifest_of(ROWS[:2], ROWS[1:])
    _, good = manifest_of(ROWS[:1], ROWS[1:])
    assert decode_root(encode_root(good)) == good
    first, second = good.shards
    for wrong in (
        root,
        replace(good, shards=(second, first)),
        replace(good, shards=(replace(first, rows=0), second), rows=2),
        replace(good, rows=2**64 - 1),
        replace(good, size=0),
        replace(good, shards=(first, replace(second, last="a"))),
    ):
        with pytest.raises(IntegrityError, match="do not add up"):
            decode_root(encode_root(wrong))


@pytest.mark.parametrize(
    "text", ['{"uri": "s3://b/k", "mtime_ns": Infinity}', "[" * 100_000, '{"a":' * 100_000, "null", "1"]
)
def test_a_reference_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError, match="cannot be read"):
        decode_reference(text)


IDENTITY = (
    '{"format": "artline-store", "version": 1, "id": "%s", "digest": "blake3", "chunker": %s}'
)  # fmt: skip
CHUNKER = str(ChunkerParameters().to_json()).replace("'", '"')


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        IDENTITY % ("", CHUNKER),
        IDENTITY % ("../../../../../../../../../../x", CHUNKER),
        IDENTITY % ("ab" * 16, CHUNKER.replace("4194304", "1073741824")),
        IDENTITY % ("ab" * 16, CHUNKER.replace("262144", "0")),
        IDENTITY % ("ab" * 16, CHUNKER.replace("8388608", "17179869184")),
        IDENTITY % ("ab" * 16, CHUNKER.replace("262144", "NaN")),
        IDENTITY % ("ab" * 16, "[1]"),
        (IDENTITY % ("ab" * 16, CHUNKER)).replace('"version": 1', '"version": true'),
    ],
)
def test_a_store_file_that_no_writer_can_follow_is_refused(text: str) -> None:
    assert parse_identity(IDENTITY % ("ab" * 16, CHUNKER), "p")["id"] == "ab" * 16
    with pytest.raises(IntegrityError, match=r"store\.json of the store at p is damaged"):
        parse_identity(text, "p")


def test_a_chunker_with_an_unknown_parameter_is_newer() -> None:
    with pytest.raises(StoreTooNewError, match="window"):
        ChunkerParameters.from_json(ChunkerParameters().to_json() | {"window": 3})


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "9" * 5000, "\ufffd"])
def test_a_lock_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "art.lock").write_text(text)
    with pytest.raises(UsageError, match="cannot read"):
        read_lock(tmp_path / "art.lock")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (8, struct.pack("<Bd", 7, 1.0) + b"text"),
        (3, b'{"values":' + b"[" * 100_000),
        (6, struct.pack("<QQIB3x", 2**64 - 1, 0, 1, 0)),
        (5, b'{"stream": "other", "keys": ["a"], "types": "d"}'),
        (5, b'{"stream": "history", "keys": ["a"], "types": "dd"}'),
        (5, b'{"stream": "history", "keys": [1], "types": "d"}'),
    ],
)
def test_a_frame_that_lies_under_a_right_checksum_is_refused(
    tmp_path: Path, kind: int, payload: bytes
) -> None:
    head = HEADED.pack(len(payload), kind, 0, 0, 0)
    frame = head + struct.pack("<Q", xxh3_64_intdigest(head + payload)) + payload
    (tmp_path / "j").write_bytes(FILE_HEADER.pack(b"ARTJRNL\x00", 1, 0) + frame)
    with pytest.raises(IntegrityError, match="valid checksum but cannot be decoded"):
        list(JournalReader(tmp_path / "j"))
