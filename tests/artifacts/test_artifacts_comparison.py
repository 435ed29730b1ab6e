"""Where two manifests differ: the same answer as comparing row by row, from columns of shards."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memchunks import Chunks

from artline.artifacts import manifest as manifests
from artline.artifacts.comparison import differences
from artline.artifacts.diff import diff_manifests
from artline.artifacts.manifest import Manifest, ManifestBuilder, Row, entry_of
from artline.artifacts.shards import Columns, decode_root, encode_root, encode_shard
from artline.errors import IntegrityError, InvalidPathError
from artline.storage.digest import Algorithm

Difference = tuple[Row | None, Row | None]


def load(chunks: Chunks, rows: list[Row]) -> Manifest:
    builder = ManifestBuilder(chunks.put, Algorithm.SHA256)
    builder.add(rows)
    return Manifest(chunks, Algorithm.SHA256, builder.finish().root)


def row(place: int, content: int, kind: int = 0) -> Row:
    path, digest = f"d/{place:05}", hashlib.sha256(b"%d" % content).digest()
    if kind <= 1:
        return (path, kind, content, digest, digest if content % 5 == 0 else b"", "")
    return (path, kind, 0, b"", b"", {2: "", 3: f"{content}", 4: f'{{"uri":"s3://b/{content}"}}'}[kind])


def row_by_row(old: list[Row], new: list[Row]) -> list[Difference]:
    before, after = {r[0]: r for r in old}, {r[0]: r for r in new}
    found: list[Difference] = []
    for path in sorted(before.keys() | after.keys()):
        left, right = before.get(path), after.get(path)
        if left is None or right is None or (left[1:4], left[5]) != (right[1:4], right[5]):
            found.append((left, right))
    return found


def in_order(found: Iterable[Difference]) -> list[Difference]:
    return sorted(found, key=lambda pair: (pair[0] or pair[1] or ("",))[0])


rows = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 3), st.sampled_from([0, 0, 0, 1, 2, 3, 4])),
    max_size=50,
    unique_by=lambda item: item[0],
).map(lambda items: sorted(row(*item) for item in items))


@given(rows, rows)
@settings(max_examples=100)
def test_the_same_as_row_by_row(old: list[Row], new: list[Row]) -> None:
    patch = pytest.MonkeyPatch()
    with patch.context() as context:  # shards of a few rows, whose ends do not meet
        context.setattr(manifests, "BOUNDARY_MASK", 3)
        context.setattr(manifests, "MIN_ROWS", 2)
        context.setattr(manifests, "MAX_ROWS", 7)
        chunks = Chunks()
        before, after = load(chunks, old), load(chunks, new)
    assert in_order(differences(before, after)) == row_by_row(old, new)
    assert not list(differences(before, before))


@pytest.mark.parametrize("kinds", [[0], [0, 0, 0, 1, 2, 3], [4], [2]])
@pytest.mark.parametrize("share", [0.0003, 0.01, 0.6])
def test_large_manifests(kinds: list[int], share: float) -> None:
    source = random.Random(7)
    old = [row(i, i, source.choice(kinds)) for i in range(9000)]
    new = []
    for item in old:
        if source.random() >= share:
            new.append(item)
            continue
        act = source.randrange(3)
        if act:
            new.append(row(int(item[0][2:]), source.randrange(10**6), source.choice(kinds)))
        if act == 2:
            new.append((item[0] + "+", *item[1:]))
    chunks = Chunks()
    before, after = load(chunks, old), load(chunks, new)
    found = list(differences(before, after))
    assert in_order(found) == row_by_row(old, new)
    for part in (
        [a[0] for a, b in found if a and not b],
        [b[0] for a, b in found if b and not a],
        [a[0] for a, b in found if a and b],
    ):
        assert part == sorted(part)


def test_only_the_first_shards_are_read_where_that_is_enough() -> None:
    chunks = Chunks()
    before, after = load(chunks, []), load(chunks, [row(i, i) for i in range(60_000)])
    chunks.reads = 0
    assert next(differences(before, after)) == (None, row(0, 0))
    assert chunks.reads <= 3
    chunks.reads = 0
    assert next(after.rows())[0] == row(0, 0)
    assert chunks.reads == 1


def test_rows_one_by_one_are_those_of_the_whole_shard() -> None:
    source = random.Random(3)
    for kinds in ([0], [0, 1, 2, 3, 4], [3, 4], [2]):
        table = [row(i, source.randrange(50), source.choice(kinds)) for i in range(400)]
        columns = Columns(encode_shard(table))
        assert columns.rows() == table
        assert [columns.row(place) for place in range(400)] == table


@pytest.mark.parametrize("twist", [lambda rows: rows[::-1], lambda rows: [*rows[1:-1], rows[1], rows[-1]]])
def test_a_forged_shard_out_of_order_is_refused(twist: object) -> None:
    chunks = Chunks()
    old = [row(i, i) for i in range(20)]
    before = load(chunks, old)
    forged = [old[0], *twist(old[1:-1]), (*old[-1][:1], 1, *old[-1][2:])]  # type: ignore[operator]
    root = decode_root(chunks.data[before.root_digest])
    digest = chunks.put(encode_shard(forged), root=False)
    shard = replace(root.shards[0], digest=digest, logical=bytes(32), rows=len(forged))
    other = encode_root(replace(root, shards=(shard,), rows=len(forged)))
    after = Manifest(chunks, Algorithm.SHA256, chunks.put(other, root=True))
    with pytest.raises(IntegrityError, match="out of order"):
        list(differences(before, after))


def test_thousands_of_changes_renames_and_removals() -> None:
    chunks = Chunks()
    old = [row(i, i) for i in range(5000)]
    new = [row(i, i + 10**6) for i in range(1500)]  # changed
    new += [row(i + 20_000, i) for i in range(4999, 2499, -1)]  # renamed, in another order
    new += [row(i + 40_000, i + 10**7) for i in range(1100)]  # added
    found = diff_manifests(load(chunks, old), load(chunks, sorted(new)), Algorithm.SHA256)
    assert [(a.path, b.path) for a, b in found.changed] == [(r[0],) * 2 for r in old[:1500]]
    assert [(a.path, b.path) for a, b in found.renamed] == [
        (row(i, 0)[0], row(i + 20_000, 0)[0]) for i in range(2500, 5000)
    ]
    assert [e.path for e in found.removed] == [row(i, 0)[0] for i in range(1500, 2500)]
    assert [e.path for e in found.added] == [row(i + 40_000, 0)[0] for i in range(1100)]
    assert found.added[-1] == entry_of(row(41_099, 10**7 + 1099), Algorithm.SHA256)
    assert found.added[1030:1032] == tuple(found.added)[1030:1032]
    assert list(found.changed) == [found.changed[place] for place in range(1500)]
    assert found.removed == list(found.removed) != list(found.removed)[:-1]
    assert found.removed != list(found.added)
    assert repr(found.removed).startswith("<1,000 of them: Entry(path='d/01500'")
    with pytest.raises(IndexError):
        found.added[1100]


def test_the_same_content_at_several_paths_is_renamed_in_order() -> None:
    chunks = Chunks()
    copies = [(path, *row(0, 7)[1:]) for path in ("a", "b", "c", "x", "y")]
    found = diff_manifests(load(chunks, copies[:3]), load(chunks, copies[3:]), Algorithm.SHA256)
    assert [(old.path, new.path) for old, new in found.renamed] == [("a", "x"), ("b", "y")]
    assert [entry.path for entry in found.removed] == ["c"]
    assert not found.added


def test_a_path_that_breaks_the_rules_is_refused() -> None:
    chunks = Chunks()
    before = load(chunks, [row(1, 1)])
    root = decode_root(chunks.data[before.root_digest])
    forged = chunks.put(encode_shard([("../x", *row(1, 2)[1:])]), root=False)
    shard = replace(root.shards[0], first="../x", last="../x", digest=forged, logical=bytes(32))
    after = chunks.put(encode_root(replace(root, shards=(shard,))), root=True)
    with pytest.raises(InvalidPathError):
        diff_manifests(before, Manifest(chunks, Algorithm.SHA256, after), Algorithm.SHA256)
