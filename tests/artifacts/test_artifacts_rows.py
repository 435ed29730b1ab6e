"""Rows of table files in two versions, compared by key."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artline.artifacts.artifact import Artifact
from artline.artifacts.diff import diff_manifests
from artline.artifacts.rows import DuplicateKey, RowChange, RowDiff
from artline.artifacts.store import ArtifactStore
from artline.errors import EntryNotFoundError, UsageError

Rows = list[dict[str, Any]]


def as_csv(rows: Rows, columns: list[str]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_json_lines(rows: Rows, columns: list[str]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_parquet(rows: Rows, columns: list[str]) -> bytes:
    buffer = io.BytesIO()
    table = pa.table({name: [row[name] for row in rows] for name in columns})
    pa.parquet.write_table(table, buffer, row_group_size=3)
    return buffer.getvalue()


FORMATS = {"t.csv": as_csv, "t.jsonl": as_json_lines, "t.parquet": as_parquet}


@pytest.fixture
def compare(store: ArtifactStore) -> Callable[..., RowDiff]:
    """Return what logs two contents of a file and compares them."""

    def compare(old: bytes, new: bytes, path: str, key: Any = "id") -> RowDiff:
        versions = []
        for content in (old, new):
            draft = Artifact("rows", "dataset", store=store)
            draft.add_stream(io.BytesIO(content), path)
            versions.append(store.log(draft, project="p"))
        return versions[0].diff(versions[1]).rows(path, key)

    return compare


@pytest.mark.parametrize("path", FORMATS)
def test_rows_are_told_apart_by_key(compare: Callable[..., RowDiff], path: str) -> None:
    old = [{"id": i, "price": i + 0.5, "label": "x"} for i in range(1, 8)]
    new = [dict(row) for row in old if row["id"] != 3] + [{"id": 9, "price": 1.5, "label": None}]
    new[0]["price"] = 7.25
    new[4] |= {"price": 0.25, "label": "y,z"}
    new.reverse()
    columns = ["id", "price", "label"]
    found = compare(FORMATS[path](old, columns), FORMATS[path](new, columns), path)
    assert (found.added, found.removed, found.changed, found.duplicates) == (1, 1, 2, 0)
    assert found
    plain = (lambda cell: "" if cell is None else str(cell)) if path == "t.csv" else (lambda cell: cell)
    changes = list(found.changes())
    assert [(c.kind, c.key, c.columns) for c in changes] == [
        ("removed", {"id": plain(3)}, ()),
        ("added", {"id": plain(9)}, ()),
        ("changed", {"id": plain(6)}, ("price", "label")),
        ("changed", {"id": plain(1)}, ("price",)),
    ]
    assert changes[0].new is None
    assert changes[1].new == {name: plain(cell) for name, cell in new[0].items()}
    assert changes[1].old is None
    assert changes[2].old == {name: plain(cell) for name, cell in old[5].items()}
    assert list(found.duplicate_keys()) == []
    assert (found.columns_added, found.columns_removed) == ((), ())


@pytest.mark.parametrize("path", FORMATS)
def test_order_of_rows_and_columns_does_not_count(compare: Callable[..., RowDiff], path: str) -> None:
    rows = [{"id": i, "x": i % 3, "y": "ä"} for i in range(9)]
    turned = [{"y": r["y"], "x": r["x"], "id": r["id"]} for r in reversed(rows)]
    found = compare(FORMATS[path](rows, ["id", "x", "y"]), FORMATS[path](turned, ["y", "x", "id"]), path)
    assert not found
    assert list(found.changes()) == []


@pytest.mark.parametrize("path", FORMATS)
def test_columns_of_one_side_are_named_once(compare: Callable[..., RowDiff], path: str) -> None:
    old = [{"id": i, "x": i, "gone": 1} for i in range(4)]
    new = [{"id": i, "x": 5 if i == 2 else i, "come": 2} for i in range(4)]
    found = compare(FORMATS[path](old, ["id", "x", "gone"]), FORMATS[path](new, ["id", "x", "come"]), path)
    assert (found.columns_added, found.columns_removed) == (("come",), ("gone",))
    assert [change.columns for change in found.changes()] == [("x",)]
    only = compare(
        FORMATS[path](old, ["id", "x", "gone"]),
        FORMATS[path]([{"id": i, "x": i} for i in range(4)], ["id", "x"]),
        path,
    )
    assert only
    assert (only.added, only.removed, only.changed) == (0, 0, 0)


@pytest.mark.parametrize("path", FORMATS)
def test_duplicate_keys_are_reported(compare: Callable[..., RowDiff], path: str) -> None:
    columns = ["id", "day", "x"]
    old = [{"id": 1, "day": 1, "x": 1}, {"id": 1, "day": 1, "x": 2}, {"id": 2, "day": 1, "x": 3}]
    same = [old[1], old[2], old[0]]
    found = compare(FORMATS[path](old, columns), FORMATS[path](same, columns), path, ["id", "day"])
    plain = str if path == "t.csv" else int
    key = {"id": plain(1), "day": plain(1)}
    assert list(found.duplicate_keys()) == [DuplicateKey(key, 2, 2, differs=False)]
    assert not found
    other = [*same, {"id": 2, "day": 1, "x": 4}, {"id": 3, "day": 1, "x": 4}]
    found = compare(FORMATS[path](old, columns), FORMATS[path](other, columns), path, ["id", "day"])
    assert sorted((d.key["id"], d.old, d.new, d.differs) for d in found.duplicate_keys()) == [
        (plain(1), 2, 2, False),
        (plain(2), 1, 2, True),
    ]
    assert (found.added, found.removed, found.changed, found.duplicates) == (1, 0, 0, 2)
    assert found


KEYS = st.integers(0, 6)
CELLS = st.none() | st.integers(0, 2) | st.sampled_from(["", "a", "1", "null"])


def model(old: Rows, new: Rows) -> tuple[set[Any], set[Any], set[Any], set[Any]]:
    """Return the keys added, removed, changed and duplicate, by plain dicts."""
    counts = [
        {key: sum(r["id"] == key for r in rows) for key in {r["id"] for r in rows}} for rows in (old, new)
    ]
    twice = {key for count in counts for key, many in count.items() if many > 1}
    before, after = ({r["id"]: r for r in rows if r["id"] not in twice} for rows in (old, new))
    changed = {key for key in before.keys() & after.keys() if before[key] != after[key]}
    return after.keys() - before.keys(), before.keys() - after.keys(), changed, twice


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    sides=st.lists(
        st.lists(st.fixed_dictionaries({"id": KEYS, "x": CELLS, "y": CELLS}), max_size=9),
        min_size=2,
        max_size=2,
    ),
    path=st.sampled_from(["t.csv", "t.jsonl", "t.parquet"]),
)
def test_it_agrees_with_plain_dicts(compare: Callable[..., RowDiff], sides: list[Rows], path: str) -> None:
    if path != "t.jsonl":  # one type a column
        sides = [[{name: str(cell) for name, cell in row.items()} for row in rows] for rows in sides]
    old, new = sides
    columns = ["id", "x", "y"]
    found = compare(FORMATS[path](old, columns), FORMATS[path](new, columns), path)
    added, removed, changed, twice = model(old, new)
    got: dict[str, list[RowChange]] = {kind: [] for kind in ("added", "removed", "changed")}
    for change in found.changes():
        got[change.kind].append(change)
    if path == "t.jsonl" and not (old and new):
        assert {c.key["id"] for kind in ("added", "removed") for c in got[kind]} == added | removed
        return
    assert {c.key["id"] for c in got["added"]} == added
    assert {c.key["id"] for c in got["removed"]} == removed
    assert {c.key["id"] for c in got["changed"]} == changed
    assert {d.key["id"] for d in found.duplicate_keys()} == twice
    for change in got["changed"]:
        assert change.old is not None
        assert change.new is not None
        assert set(change.columns) == {n for n in columns if change.old[n] != change.new[n]}


def test_cells_are_compared_by_value(compare: Callable[..., RowDiff]) -> None:
    old = b'{"id": 1, "a": 1, "b": [1, NaN], "c": {"x": 1, "y": 2}, "d": true}\n{"id": "1", "a": 0}\n'
    new = b'{"id": 1.0, "a": 1.0, "b": [1, NaN], "c": {"y": 2, "x": 1}, "d": 1}\n\n{"id": "1", "a": -0.0}\n'
    found = compare(old, new, "t.ndjson")
    assert [(change.kind, change.columns) for change in found.changes()] == [("changed", ("d",))]


def test_typed_cells_of_parquet(compare: Callable[..., RowDiff]) -> None:
    when = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    def content(price: str, kind: pa.DataType, nanoseconds: int) -> bytes:
        buffer = io.BytesIO()
        table = pa.table(
            {
                "id": pa.array([1, 2], kind),
                "price": [decimal.Decimal(price), None],
                "when": [when, None],
                "exact": pa.array([nanoseconds, None], pa.timestamp("ns", tz="UTC")),
                "nan": [math.nan, 1.0],
                "list": [[{"x": b"\0"}], None],
            }
        )
        pa.parquet.write_table(table, buffer)
        return buffer.getvalue()

    found = compare(content("1.50", pa.int64(), 1), content("1.75", pa.int32(), 2), "t.parquet")
    (change,) = found.changes()
    assert change.columns == ("price", "exact")
    assert change.new is not None
    assert change.new["price"] == decimal.Decimal("1.75")
    assert change.new["when"] == when


def test_only_row_groups_with_changes_are_read_again(
    compare: Callable[..., RowDiff], monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    original = pa.parquet.ParquetFile.iter_batches

    def iter_batches(self: Any, batch_size: int, row_groups: list[int]) -> Any:
        groups.extend(row_groups)
        return original(self, batch_size=batch_size, row_groups=row_groups)

    monkeypatch.setattr(pa.parquet.ParquetFile, "iter_batches", iter_batches)
    old = [{"id": i, "x": 0} for i in range(12)]
    new = [dict(row, x=1 if row["id"] == 7 else 0) for row in old]
    found = compare(as_parquet(old, ["id", "x"]), as_parquet(new, ["id", "x"]), "t.parquet")
    assert found.changed == 1
    assert groups == [0, 1, 2, 3, 0, 1, 2, 3, 2, 2]


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("t.csv", b"a,b\n1,2\n", "has no column 'id'. It has: a, b"),
        ("t.csv", b"", "has no column 'id'"),
        ("t.csv", b"id,b\n1,2\n1\n", "row 2 has 1 cells where there are 2 columns"),
        ("t.csv", b"id,id\n1,2\n", "two columns of one name"),
        ("t.csv", b"id,b\n\xff,2\n", "cannot be read as CSV"),
        ("t.csv", b'id,b\n"1"x,2\n', "cannot be read as CSV"),
        ("t.jsonl", b'{"a": 1}\n', "row 1 has no 'id' for a key"),
        ("t.jsonl", b'{"id": 1}\n[1]\n', "row 2 is not an object"),
        ("t.jsonl", b'{"id": 1}\n{"id"\n', "row 2 is not JSON"),
        ("t.parquet", b"PAR1", "cannot be read as Parquet"),
        ("t.txt", b"id\n1\n", "not a file of rows"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    compare: Callable[..., RowDiff], path: str, content: bytes, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        compare(content, content, path)
    assert path in str(caught.value)


def test_tabs_a_byte_order_mark_and_empty_lines_are_understood(compare: Callable[..., RowDiff]) -> None:
    old = "\ufeffid\tx\r\n1\ta\r\n\r\n2\tb\r\n".encode()
    found = compare(old, b'id\tx\n2\t"b"\n1\tc', "t.TSV")
    assert [(c.kind, c.key) for c in found.changes()] == [("changed", {"id": "1"})]


def test_many_rows_in_many_batches(compare: Callable[..., RowDiff]) -> None:
    rows = [{"id": i, "x": i * i} for i in range(10_000)]
    new = [dict(row, x=-1) if row["id"] % 997 == 0 else row for row in rows if row["id"] % 1000 != 1]
    found = compare(as_csv(rows, ["id", "x"]), as_csv(new[::-1], ["id", "x"]), "t.csv")
    assert (found.added, found.removed, found.changed) == (0, 10, 11)
    assert [c.key["id"] for c in found.changes()] == [str(i) for i in range(1, 10_000, 1000)] + [
        str(i) for i in range(9970, -1, -997)
    ]


def test_what_cannot_be_compared_is_refused(compare: Callable[..., RowDiff], store: ArtifactStore) -> None:
    with pytest.raises(UsageError, match="at least one key"):
        compare(b"id\n1\n", b"id\n2\n", "t.csv", [])
    version = store.get("rows:v0", project="p")
    with pytest.raises(EntryNotFoundError):
        version.diff(version).rows("nowhere.csv", "id")
    with pytest.raises(UsageError, match="of manifests"):
        diff_manifests(version.manifest, version.manifest, version.algorithm).rows("t.csv", "id")
