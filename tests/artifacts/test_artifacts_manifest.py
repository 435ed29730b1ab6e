from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artline.artifacts.diff import diff_manifests
from artline.artifacts.manifest import (
    MAX_ROWS,
    MIN_ROWS,
    Built,
    EntryKind,
    Manifest,
    ManifestBuilder,
    Reference,
    Row,
    decode_reference,
    encode_reference,
)
from artline.artifacts.shards import decode_root, decode_shard, encode_shard
from artline.errors import IntegrityError, InvalidPathError, StoreTooNewError, UsageError
from artline.storage.digest import Algorithm


class Chunks:
    """Chunks in a dict, counting what is read."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self.reads = 0

    def put(self, data: bytes, *, root: bool) -> bytes:
        digest = Algorithm.BLAKE3.hash(data)
        self.data[digest] = data
        return digest

    def read(self, digest: bytes) -> bytes:
        self.reads += 1
        return self.data[digest]

    def read_many(self, digests: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for digest in digests:
            yield digest, self.read(digest)


def build(chunks: Chunks, rows: list[Row], step: int = 1000) -> Built:
    builder = ManifestBuilder(chunks.put, Algorithm.BLAKE3)
    for start in range(0, len(rows), step):
        builder.add(rows[start : start + step])
    return builder.finish()


def load(chunks: Chunks, rows: list[Row]) -> Manifest:
    return Manifest(chunks, Algorithm.BLAKE3, build(chunks, rows).root)


def file(path: str, content: bytes = b"x", kind: int = 0, recipe: bytes = b"") -> Row:
    return (path, kind, len(content), hashlib.sha256(content).digest(), recipe, "")


def many(count: int, prefix: str = "d") -> list[Row]:
    return [file(f"{prefix}/{i // 100:04d}/{i:06d}", str(i).encode()) for i in range(count)]


names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\:"), min_size=1, max_size=8
)
paths = st.lists(names.filter(lambda n: n not in (".", "..")), min_size=1, max_size=3).map("/".join)
digests = st.binary(min_size=32, max_size=32)
contents = st.one_of(
    st.tuples(st.sampled_from([0, 1]), st.integers(0, 2**55), digests, st.just(b"") | digests, st.just("")),
    st.just((2, 0, b"", b"", "")),
    st.just((3, 0, b"", b"", "target")),
    st.tuples(
        st.just(4), st.integers(0, 2**40), st.just(b"") | digests, st.just(b""), st.just('{"uri":"s3://b/k"}')
    ),
)
tables = st.dictionaries(paths, contents, max_size=30).map(
    lambda table: [(path, *table[path]) for path in sorted(table)]
)


@given(tables)
def test_rows_come_back_as_they_were(rows: list[Row]) -> None:
    chunks = Chunks()
    manifest = load(chunks, rows)
    assert [row for batch in manifest.rows() for row in batch] == rows
    for row in rows:
        assert manifest.row(row[0]) == row
    assert manifest.row("no such path") is None
    assert manifest.root.rows == len(rows)
    assert manifest.root.size == sum(row[2] for row in rows)
    manifest.check()


@given(tables, st.data())
@settings(max_examples=50)
def test_a_damaged_shard_is_noticed_or_decodes_to_rows(rows: list[Row], data: st.DataObject) -> None:
    if not rows:
        return
    block = bytearray(encode_shard(rows))
    place = data.draw(st.integers(0, len(block) - 1))
    cut = data.draw(st.booleans())
    if cut:
        del block[place:]
    else:
        block[place] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_shard(bytes(block))
    except (IntegrityError, StoreTooNewError):
        return
    assert len(decoded) == len(rows)


@pytest.mark.parametrize("step", [1, 7, 999, 100_000])
def test_the_manifest_does_not_depend_on_how_rows_arrive(step: int) -> None:
    rows = many(9000)
    assert build(Chunks(), rows, step) == build(Chunks(), rows)


def test_order_is_by_utf8_bytes() -> None:
    rows = sorted([file("a-b"), file("a/b"), file("a"), file("ä"), file("z"), file("😀")])
    assert [r[0].encode() for r in rows] == sorted(r[0].encode() for r in rows)
    manifest = load(Chunks(), rows)
    assert [r[0] for batch in manifest.rows() for r in batch] == ["a", "a-b", "a/b", "z", "ä", "😀"]
    assert [r[0] for batch in manifest.rows("a") for r in batch] == ["a", "a/b"]


def test_rows_out_of_order_or_repeated_are_refused() -> None:
    for rows in ([file("b"), file("a")], [file("a"), file("a")]):
        with pytest.raises(IntegrityError):
            build(Chunks(), rows)
        with pytest.raises(IntegrityError):
            build(Chunks(), rows, 1)


def test_shards_are_neither_tiny_nor_huge() -> None:
    manifest = load(Chunks(), many(30_000))
    sizes = [shard.rows for shard in manifest.root.shards]
    assert max(sizes) <= MAX_ROWS
    assert min(sizes[:-1]) >= MIN_ROWS
    assert len(sizes) > 10


@pytest.mark.parametrize("place", [0, 4321, 19_999])
def test_versions_share_the_shards_that_did_not_change(place: int) -> None:
    chunks = Chunks()
    rows = many(20_000)
    before = load(chunks, rows)
    changed = [*rows[:place], file(rows[place][0], b"new"), *rows[place + 1 :]]
    inserted = [*rows[:place], file(rows[place][0] + "x", b"new"), *rows[place:]]
    for other in (changed, sorted(inserted)):
        after = load(chunks, other)
        assert len(set(after.shard_digests()) - set(before.shard_digests())) <= 3
        assert after.digest != before.digest


def test_looking_up_one_path_reads_one_shard() -> None:
    chunks = Chunks()
    manifest = load(chunks, many(20_000))
    chunks.reads = 0
    assert manifest.row("d/0123/012345") is not None
    assert chunks.reads == 1


def test_a_prefix_reads_only_its_shards() -> None:
    chunks = Chunks()
    manifest = load(chunks, many(50_000))
    chunks.reads = 0
    assert sum(map(len, manifest.rows("d/0123"))) == 100
    assert chunks.reads <= 2


def test_the_digest_ignores_recipes_but_nothing_else() -> None:
    row = file("a", b"x")
    digest = build(Chunks(), [row]).digest
    assert build(Chunks(), [(*row[:4], b"r" * 32, "")]).digest == digest
    others = [
        ("b", *row[1:]),
        (row[0], 1, *row[2:]),
        (row[0], 0, 2, *row[3:]),
        (row[0], 0, 1, b"d" * 32, b"", ""),
        ("a", 3, 0, b"", b"", "t"),
    ]
    assert digest not in {build(Chunks(), [other]).digest for other in others}


def test_the_first_manifest_ever_written_keeps_its_digest() -> None:
    rows = [
        file("bin/run", b"#!", kind=1),
        ("empty", 2, 0, b"", b"", ""),
        ("link", 3, 0, b"", b"", "bin/run"),
        ("ref", 4, 5, b"", b"", encode_reference(Reference("s3://bucket/key", etag="e"))),
    ]
    assert build(Chunks(), rows).digest.hex() == FIRST


FIRST = "0d04318e5b246243b8e26484e6366378f04c339b83d6f68e7208495216ff796e"


def test_a_manifest_without_entries_is_one() -> None:
    manifest = load(Chunks(), [])
    assert list(manifest.rows()) == []
    assert manifest.row("a") is None
    manifest.check()


def test_check_finds_rows_that_do_not_match_the_digest() -> None:
    chunks = Chunks()
    manifest = load(chunks, many(10))
    shard = manifest.root.shards[0].digest
    chunks.data[shard] = encode_shard([*many(9), (*many(10)[9][:2], 77, *many(10)[9][3:])])
    with pytest.raises(IntegrityError, match="another digest"):
        Manifest(chunks, Algorithm.BLAKE3, manifest.root_digest).check()


def test_a_shard_of_another_place_is_refused() -> None:
    chunks = Chunks()
    manifest = load(chunks, many(10))
    chunks.data[manifest.root.shards[0].digest] = encode_shard(many(10, "other"))
    with pytest.raises(IntegrityError, match="not what its root says"):
        list(manifest.rows())


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../b"])
def test_a_manifest_with_an_escaping_path_is_refused_when_read(path: str) -> None:
    chunks = Chunks()
    manifest = load(chunks, [file("a")])
    root = decode_root(chunks.data[manifest.root_digest])
    forged = chunks.put(encode_shard([file(path)]), root=False)
    from dataclasses import replace

    from artline.artifacts.shards import encode_root

    shard = replace(root.shards[0], first=path, last=path, digest=forged)
    digest = chunks.put(encode_root(replace(root, shards=(shard,))), root=True)
    with pytest.raises(InvalidPathError):
        list(Manifest(chunks, Algorithm.BLAKE3, digest).rows())


def test_newer_formats_are_refused_with_their_number() -> None:
    block = bytearray(encode_shard([file("a")]))
    block[4] = 9
    with pytest.raises(StoreTooNewError, match="format 9"):
        decode_shard(bytes(block))


@given(st.builds(Reference, st.text(min_size=1), st.text(), st.text(), st.integers(0, 2**62)))
def test_references_come_back_as_they_were(reference: Reference) -> None:
    assert decode_reference(encode_reference(reference)) == reference


@given(tables, tables)
def test_a_difference_says_how_to_get_from_one_to_the_other(old: list[Row], new: list[Row]) -> None:
    chunks = Chunks()
    before, after = load(chunks, old), load(chunks, new)
    result = diff_manifests(before, after, Algorithm.BLAKE3)
    paths = {row[0] for row in old}
    paths -= {entry.path for entry in result.removed} | {entry.path for entry, _ in result.renamed}
    paths |= {entry.path for entry in result.added} | {entry.path for _, entry in result.renamed}
    assert paths == {row[0] for row in new}
    same = {row[0]: (row[1:4], row[5]) for row in old}
    differing = {row[0] for row in new if row[0] in same and same[row[0]] != (row[1:4], row[5])}
    assert {entry.path for entry, _ in result.changed} == differing
    assert bool(result) == (before.digest != after.digest)


def test_renames_pair_the_same_content() -> None:
    chunks = Chunks()
    before = load(chunks, [file("a", b"1"), file("b", b"2"), file("c", b""), file("keep", b"4")])
    after = load(chunks, [file("keep", b"4"), file("x", b""), file("y", b"1"), file("z", b"3")])
    result = diff_manifests(before, after, Algorithm.BLAKE3)
    assert [(old.path, new.path) for old, new in result.renamed] == [("a", "y")]
    assert [entry.path for entry in result.removed] == ["b", "c"]
    assert [entry.path for entry in result.added] == ["x", "z"]


def test_a_difference_reads_only_what_is_not_shared() -> None:
    chunks = Chunks()
    rows = many(50_000)
    before = load(chunks, rows)
    after = load(chunks, [*rows[:25_000], file(rows[25_000][0], b"new"), *rows[25_001:]])
    chunks.reads = 0
    result = diff_manifests(before, after, Algorithm.BLAKE3)
    assert [old.path for old, _ in result.changed] == [rows[25_000][0]]
    assert chunks.reads == 2


def test_kinds_have_their_numbers_for_ever() -> None:
    assert [(kind.name, kind.value) for kind in EntryKind] == [
        ("FILE", 0),
        ("EXECUTABLE", 1),
        ("FOLDER", 2),
        ("LINK", 3),
        ("REFERENCE", 4),
    ]


def test_sizes_that_no_catalog_could_hold_are_refused() -> None:
    rows: list[Row] = [(name, EntryKind.FILE, 2**62, bytes(32), b"", "") for name in ("a", "b")]
    with pytest.raises(UsageError, match="claim 9,223,372,036,854,775,808 bytes together"):
        build(Chunks(), rows)
