"""The cheap decoders, each with real input, forgeries that keep checksums right, and what it may raise."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

from blake3 import blake3
from xxhash import xxh3_64_intdigest

from artline.artifacts.manifest import (
    EntryKind,
    Manifest,
    Reference,
    decode_reference,
    encode_reference,
    entry_of,
)
from artline.artifacts.paths import check_link_target, check_path
from artline.artifacts.pins import Lock, Pin, read_lock, write_lock
from artline.artifacts.shards import (
    Root,
    Row,
    Shard,
    decode_root,
    decode_shard,
    encode_root,
    encode_shard,
    records,
)
from artline.errors import ArtlineError
from artline.runs.journal import FILE_HEADER, FRAME_HEADER, HEADED, JournalReader, JournalWriter
from artline.runs.records import Config, Console, Finish, Heartbeat, Process, Rows, Start
from artline.storage.compression import Compressor
from artline.storage.digest import Algorithm
from artline.storage.identity import parse_identity
from artline.storage.pack import (
    BLOCK_HEADER,
    BLOCK_SIZE,
    CHECKSUM,
    ENTRY,
    HEADER,
    HEADER_SIZE,
    MAGIC,
    TRAILER,
    TRAILER_MAGIC,
    TRAILER_SIZE,
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
from proof.mutation import TEXTS, mutate, number

STORE = "ab" * 16


@dataclass(frozen=True)
class Target:
    """A decoder: ``make`` forges an input, ``feed`` decodes it and checks what came out."""

    name: str
    make: Callable[[random.Random], bytes]
    feed: Callable[[bytes, Path], None]


def attempt(target: Target, source: random.Random, scratch: Path) -> bool:
    """Feed one forged input; tell whether it was refused. Whatever else is raised is a defect."""
    data = target.make(source)
    try:
        target.feed(data, scratch)
    except ArtlineError:
        return True
    return False


def _checked(body: bytes) -> bytes:
    return body + CHECKSUM.pack(xxh3_64_intdigest(body))


# Packs


@cache
def _pack_parts() -> tuple[bytes, list[tuple[bytes, bytes]]]:
    header = encode_header(PackHeader(1, "0f" * 16, STORE, 1_700_000_000_000))
    compressor = Compressor()
    blocks = []
    for content in (b"", b"x", b"line\n" * 500, bytes(range(256)), b"last"):
        block = encode_chunk(compressor, memoryview(content), blake3(content).digest(), Kind.DATA)
        blocks.append((bytes(block.header), bytes(block.stored)))
    return header, blocks


def _make_pack(source: random.Random) -> bytes:
    """Return a pack whose parts lie while every checksum holds, or one with raw damage."""
    header, blocks = _pack_parts()
    body, index = bytearray(header), bytearray()
    for head, stored in source.sample(blocks, source.randrange(1, len(blocks) + 1)):
        position = len(body)
        magic, kind, codec, raw, size, digest, checksum = BLOCK_HEADER.unpack_from(head)
        if source.random() < 0.3:
            field = source.randrange(6)
            kind = number(source, 8, kind) if field == 0 else kind
            codec = number(source, 8, codec) if field == 1 else codec
            raw = number(source, 32, raw) if field == 2 else raw
            size = number(source, 32, size) if field == 3 else size
            digest = source.randbytes(32) if field == 4 else digest
            if field == 5:
                stored = mutate(source, stored) if stored else b"y"
                checksum = xxh3_64_intdigest(stored)
        body += _checked(BLOCK_HEADER.pack(magic, kind, codec, raw, size, digest, checksum)) + stored
        entry = [digest, position, raw, size, kind, codec]
        if source.random() < 0.2:
            place = source.randrange(1, 6)
            entry[place] = number(source, (0, 64, 32, 32, 8, 8)[place], entry[place], position, len(body))
        for _ in range(source.choice((1, 1, 1, 0, 2))):
            index += ENTRY.pack(*entry)
    end = len(body)
    if source.random() < 0.3:
        count = number(source, 32, len(index) // ENTRY.size)
        where = number(source, 64, end, len(body) + len(index))
        trailer = _checked(TRAILER.pack(where, count, xxh3_64_intdigest(bytes(index)))) + TRAILER_MAGIC
        data = bytes(body + index) + trailer
    else:
        data = bytes(body) + encode_footer(index, end)
    if source.random() < 0.2:
        fields = [MAGIC, number(source, 16, 1), number(source, 8, 1), source.randbytes(16)]
        data = _checked(HEADER.pack(*fields, bytes.fromhex(STORE), number(source, 64))) + data[HEADER_SIZE:]
    return mutate(source, data, header) if source.random() < 0.4 else data


def _feed_pack(data: bytes, scratch: Path) -> None:
    found = list(scan(data))
    end = HEADER_SIZE
    for block in found:
        assert end <= block.position, "blocks overlap"
        end = block.position + BLOCK_SIZE + block.stored_size
        assert end <= len(data)
        try:
            content = decode_block(data[block.position : end], block.digest, Algorithm.BLAKE3, "p")
        except ArtlineError:
            continue
        assert blake3(content).digest() == block.digest
        assert len(content) == block.raw_size
    decode_header(data, "p")
    trailer = decode_trailer(data[-TRAILER_SIZE:], len(data), "p")
    end = HEADER_SIZE
    for block in sorted(
        decode_entries(data[trailer.position : -TRAILER_SIZE], trailer, "p"), key=lambda one: one.position
    ):
        assert end <= block.position, "index entries overlap"
        end = block.position + BLOCK_SIZE + block.stored_size
        assert end <= trailer.position, "an index entry lies outside the blocks"


# Recipes


def _make_recipe(source: random.Random) -> bytes:
    chunks = [
        (source.randbytes(32), number(source, 32, 1 << 20)) for _ in range(source.choice((0, 1, 2, 5, 40)))
    ]
    data = encode_recipe(Algorithm.BLAKE3, source.randbytes(32), chunks)
    if source.random() < 0.5:
        head = [*struct.unpack_from("<HBxIQ", data, 8)]
        place = source.randrange(4)
        head[place] = number(source, (16, 8, 32, 64)[place], head[place])
        data = data[:8] + struct.pack("<HBxIQ", *head) + data[24:]
    return mutate(source, data) if source.random() < 0.5 else data


def _feed_recipe(data: bytes, scratch: Path) -> None:
    recipe = decode_recipe(data, "r")
    assert sum(size for _, size in recipe.chunks) == recipe.size
    assert len(recipe.chunks) * 36 <= len(data)


# Manifests

_PATHS = ["a", "a/b", "b/c/d", "bin/run", "ü", "z" * 200, "A", "a.txt", "link"]


def _row(source: random.Random, path: str) -> Row:
    kind = source.randrange(5)
    digest = blake3(path.encode()).digest()
    extra = ""
    if kind == EntryKind.LINK:
        extra = source.choice(("a", "../a", "..", "../../x", "/etc", "a/../..", "", "x\\y", "a\nb"))
    if kind == EntryKind.REFERENCE:
        extra = encode_reference(Reference("s3://b/k", etag="e"))
        extra = mutate(source, extra.encode()).decode(errors="replace") if source.random() < 0.3 else extra
    stored = kind <= EntryKind.EXECUTABLE
    return (path, kind, number(source, 60), digest if stored else b"", b"", extra.replace("\0", ""))


def _rows(source: random.Random) -> list[Row]:
    paths = source.sample(_PATHS, source.randrange(1, 6))
    if source.random() < 0.3:
        hostile = source.choice(TEXTS).decode(errors="surrogateescape").replace("\0", "0")
        paths.append(hostile.encode(errors="replace").decode())
    if source.random() < 0.1:
        paths.append(paths[0])
    if source.random() < 0.8:
        paths.sort()
    return [_row(source, path) for path in paths]


def _make_shard(source: random.Random) -> bytes:
    data = encode_shard(_rows(source))
    kind = source.randrange(4)
    if kind == 0:  # counts that do not go with the flags
        head = list(struct.unpack_from("<5I", data, 8))
        place = source.randrange(5)
        head[place] = number(source, 32, head[place])
        data = data[:8] + struct.pack("<5I", *head) + data[28:]
    elif kind == 1:  # flags that do not go with the columns
        (count,) = struct.unpack_from("<I", data, 8)
        at = 28 + source.randrange(count)
        data = data[:at] + bytes([source.randrange(256)]) + data[at + 1 :]
    return mutate(source, data) if source.random() < 0.5 else data


def _feed_shard(data: bytes, scratch: Path) -> None:
    for row in decode_shard(data):
        path, kind, size, digest, recipe, extra = row
        stored = kind <= EntryKind.EXECUTABLE
        assert (len(digest) == 32) if stored else (len(digest) in (0, 32)), "a file without a digest"
        assert len(recipe) in (0, 32)
        assert 0 <= size < 1 << 64
        assert stored or not recipe
        assert isinstance(path, str)
        assert isinstance(extra, str)


class Chunks:
    """Chunks in memory, for manifests."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}

    def put(self, data: bytes) -> bytes:
        digest = blake3(data).digest()
        self.data[digest] = data
        return digest

    def read(self, digest: bytes) -> bytes:
        return self.data[digest]

    def read_many(self, digests: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        return ((digest, self.data[digest]) for digest in digests)


def _make_manifest(source: random.Random) -> bytes:
    """Return a root and its shards, one after the other, with their lengths before them."""
    parts: list[bytes] = []
    shards = []
    for _ in range(source.choice((0, 1, 1, 2, 3))):
        rows = _rows(source)
        data = encode_shard(rows)
        if source.random() < 0.3:
            data = mutate(source, data)
        parts.append(data)
        names = [row[0] for row in rows]
        size = sum(row[2] for row in rows) % 2**64
        logical = blake3(records(rows)).digest()
        shard = Shard(names[0], names[-1], len(rows), size, blake3(data).digest(), logical)
        if source.random() < 0.3:
            shard = source.choice(
                (
                    replace(shard, rows=number(source, 64, shard.rows)),
                    replace(shard, size=number(source, 64)),
                    replace(shard, first=shard.last),
                    replace(shard, last=shard.first),
                    replace(shard, first=source.choice(_PATHS)),
                    replace(shard, last=source.choice(_PATHS)),
                )
            )
        shards.append(shard)
    if source.random() < 0.7:
        shards.sort(key=lambda shard: shard.first)
    total, size = sum(shard.rows for shard in shards), sum(shard.size for shard in shards)
    total, size = (n if source.random() < 0.9 else number(source, 64) for n in (total, size))
    root = encode_root(Root(bytes(32), total % 2**64, number(source, 64), size % 2**64, tuple(shards)))
    if source.random() < 0.3:
        head = list(struct.unpack_from("<HHII", root, 4))
        place = source.randrange(4)
        head[place] = number(source, (16, 16, 32, 32)[place], head[place])
        root = root[:4] + struct.pack("<HHII", *head) + root[16:]
    if source.random() < 0.3:
        root = mutate(source, root)
    return b"".join(struct.pack("<I", len(part)) + part for part in (root, *parts))


def _feed_manifest(data: bytes, scratch: Path) -> None:
    chunks, at, parts = Chunks(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        parts.append(chunks.put(data[at + 4 : at + 4 + length]))
        at += 4 + length
    root = decode_root(chunks.data[parts[0]])
    known = [shard for shard in root.shards if shard.digest in chunks.data]
    if len(known) != len(root.shards):
        return
    manifest = Manifest(chunks, Algorithm.BLAKE3, parts[0])
    outcomes: list[str] = []
    last = ""
    for step in (
        lambda: outcomes.extend(str(entry) for entry in manifest.entries()),
        manifest.check,
        *(lambda path=path: manifest.get(path) for path in ("a", "b/c", "zz")),
        *(lambda path=path: manifest.has_prefix(path) for path in ("", "a", "b/")),
        *(lambda path=path: list(manifest.rows(path)) for path in ("a", "b/c")),
    ):
        try:
            step()  # type: ignore[operator]  # mypy joins the kinds of callables to object
        except ArtlineError as error:
            outcomes.append(str(error))
    try:
        for rows in manifest.rows():
            for row in rows:
                assert row[0] > last, "rows out of order, or twice"
                last = row[0]
                check_path(row[0])
                if row[1] == EntryKind.LINK:
                    check_link_target(row[0], row[5])
                entry_of(row, Algorithm.BLAKE3)
    except ArtlineError:
        return


def _make_reference(source: random.Random) -> bytes:
    text = encode_reference(Reference("s3://bucket/key", etag="e", version="v", mtime_ns=5)).encode()
    if source.random() < 0.3:
        value = source.choice((None, [], {}, 1.5, "x", 2**70, float("inf"), -1, True))
        fields = json.loads(text) | {source.choice(("uri", "etag", "version", "mtime_ns")): value}
        text = json.dumps(fields).encode()
    return mutate(source, text) if source.random() < 0.8 else text


def _feed_reference(data: bytes, scratch: Path) -> None:
    reference = decode_reference(data.decode(errors="replace"))
    assert isinstance(reference.uri, str)
    assert isinstance(reference.mtime_ns, int)


# Identity, pins, journals

_IDENTITY = {
    "format": "artline-store",
    "version": 1,
    "id": STORE,
    "digest": "blake3",
    "chunker": {
        "algorithm": "fastcdc-2020",
        "minimum": 262144,
        "average": 1048576,
        "maximum": 4194304,
        "normalization": 1,
        "seed": 0,
        "threshold": 8388608,
    },
}


def _make_identity(source: random.Random) -> bytes:
    fields = json.loads(json.dumps(_IDENTITY))
    if source.random() < 0.7:
        inside = fields["chunker"] if source.random() < 0.5 else fields
        value = source.choice((None, [], {}, 1.5, "x", 2**70, -1, 0, True, "0", float("nan"), STORE + "0"))
        inside[source.choice([*inside, "other"])] = value
        if source.random() < 0.2:
            del inside[source.choice(list(inside))]
    text = json.dumps(fields).encode()
    return mutate(source, text) if source.random() < 0.5 else text


def _feed_identity(data: bytes, scratch: Path) -> None:
    from artline.storage.chunker import ChunkerParameters, Cutter

    identity = parse_identity(data.decode(errors="replace"), "p")
    Algorithm(identity["digest"])
    assert len(bytes.fromhex(identity["id"])) == 16
    parameters = ChunkerParameters.from_json(identity["chunker"])
    Cutter(parameters).cut(bytes(4096), last=True)
    assert 0 < parameters.minimum <= parameters.average <= parameters.maximum < 1 << 32


@cache
def _lock() -> bytes:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"artline-proof-{os.getpid()}.lock"
    write_lock(path, Lock((Pin("local", "p", "peds", "latest", "v3", "blake3:" + "ab" * 32),)))
    try:
        return path.read_bytes()
    finally:
        path.unlink()


def _make_lock(source: random.Random) -> bytes:
    return mutate(source, _lock(), b'version = 2\n[[pin]]\nname = [1]\nalias = "../x"\n')


def _feed_lock(data: bytes, scratch: Path) -> None:
    path = scratch / "art.lock"
    path.write_bytes(data)
    for pin in read_lock(path).pins:
        assert all(isinstance(text, str) for text in (pin.ref, pin.asked))


@cache
def _frames() -> tuple[tuple[int, bytes], ...]:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"artline-proof-{os.getpid()}.journal"
    writer = JournalWriter(path)
    process = Process(1, 2, "boot", "", "host")
    writer.append(Start("local", "p", "run", "0001-abc", 1, 1.5, process, {"name": "n"}))
    writer.append(Config({"a.b": 1}, ["c"]))
    writer.append(Console("stdout", 2.0, b"hello\n"))
    writer.append(Rows("history", ("loss", "n", "ok", "text"), "dq?j", [1, 2], [1.0, 2.0],
                       [[0.5, 0.25], [1, 2], [True, False], ['"a"', '"b"']], [0, 1]))  # fmt: skip
    writer.append(Rows("system", ("cpu",), "d", [1, 5], [1.0, 2.0], [[0.5, 0.25]], [0, 7]))
    writer.append(Heartbeat(3.0))
    writer.append(Finish("finished", 0, 4.0, 2.5))
    writer.flush()
    writer.close()
    data = path.read_bytes()
    path.unlink()
    frames, at = [], FILE_HEADER.size
    while at < len(data):
        length, kind, *_ = FRAME_HEADER.unpack_from(data, at)
        frames.append((kind, data[at + FRAME_HEADER.size : at + FRAME_HEADER.size + length]))
        at += FRAME_HEADER.size + length
    return tuple(frames)


def _make_journal(source: random.Random) -> bytes:
    """Return frames whose payloads lie while their checksums hold, or one with raw damage."""
    data = bytearray(FILE_HEADER.pack(b"ARTJRNL\x00", 1, 0))
    for place, (kind, payload) in enumerate(_frames()):
        if source.random() < 0.25:
            payload = mutate(source, payload, source.choice(_frames())[1])
            kind = source.randrange(15) if source.random() < 0.2 else kind
        seq = place if source.random() < 0.98 else number(source, 64)
        head = HEADED.pack(len(payload), kind, 0, 0, seq)
        data += head + struct.pack("<Q", xxh3_64_intdigest(head + payload)) + payload
    return mutate(source, bytes(data)) if source.random() < 0.3 else bytes(data)


def _feed_journal(data: bytes, scratch: Path) -> None:
    path = scratch / "j.journal"
    path.write_bytes(data)
    reader = JournalReader(path)
    for frame in islice(reader, 100):
        if isinstance(frame.record, Rows):
            rows = frame.record
            assert len(rows.steps) == len(rows.times) == len(rows.orders)
            assert all(len(column) == len(rows.steps) for column in rows.columns)
            assert len(rows.keys) == len(rows.types) == len(rows.columns)


TARGETS = (
    Target("pack", _make_pack, _feed_pack),
    Target("recipe", _make_recipe, _feed_recipe),
    Target("shard", _make_shard, _feed_shard),
    Target("manifest", _make_manifest, _feed_manifest),
    Target("reference", _make_reference, _feed_reference),
    Target("store.json", _make_identity, _feed_identity),
    Target("art.lock", _make_lock, _feed_lock),
    Target("journal", _make_journal, _feed_journal),
)
