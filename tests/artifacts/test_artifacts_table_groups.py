"""Joined and partitioned tables."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artline.artifacts.artifact import Artifact
from artline.artifacts.store import ArtifactStore
from artline.artifacts.table import Table
from artline.artifacts.table_groups import JoinedTable, PartitionedTable
from artline.errors import EntryNotFoundError, IntegrityError, UsageError


def logged(store: ArtifactStore, objects: dict[str, Any]) -> Artifact:
    artifact = Artifact("tables", "table", store=store)
    for name, value in objects.items():
        artifact.add(value, name)
    return store.log(artifact, project="p")


def test_a_join_of_new_tables_comes_back(store: ArtifactStore) -> None:
    left = Table(["id", "label", "boxes"], [[1, "a", [1.5]], [2, "b", []], [3, "c", None]])
    right = Table(["key", "label"], [[3, "C"], [1, "A"], [4, "D"], [1, "Ä"]])
    version = logged(store, {"judged": JoinedTable(left, right, ["id", "key"])})
    assert [entry.path for entry in version.files()] == [
        "judged.1.table.parquet",
        "judged.2.table.parquet",
        "judged.joined-table.json",
    ]
    joined = version.get("judged")
    assert joined.table1 == left
    assert joined.table2 == right
    assert joined.to_arrow().to_pylist() == [
        {"id": 1, "label": "a", "boxes": [1.5], "label_2": "A"},
        {"id": 1, "label": "a", "boxes": [1.5], "label_2": "Ä"},
        {"id": 2, "label": "b", "boxes": [], "label_2": None},
        {"id": 3, "label": "c", "boxes": None, "label_2": "C"},
        {"id": 4, "label": None, "boxes": None, "label_2": "D"},
    ]
    assert joined.to_arrow("inner")["id"].to_pylist() == [1, 1, 3]
    assert joined.to_pandas()["label_2"].tolist()[0] == "A"
    assert joined.to_polars()["id"].to_list() == [1, 1, 2, 3, 4]
    assert version.get("judged.joined-table.json").join_key == ("id", "key")


ROWS = st.lists(st.tuples(st.none() | st.integers(0, 4), st.integers(0, 9)), max_size=8)


@given(left=ROWS, right=ROWS, how=st.sampled_from(["inner", "left outer", "right outer", "full outer"]))
def test_joins_agree_with_a_plain_loop(
    left: list[tuple[int | None, int]], right: list[tuple[int | None, int]], how: str
) -> None:
    expected: list[tuple[Any, Any, Any]] = []
    for key, a in left:
        matches = [b for other, b in right if other == key and key is not None]
        expected += [(key, a, b) for b in matches]
        if not matches and how in ("left outer", "full outer"):
            expected.append((key, a, None))
    if how in ("right outer", "full outer"):
        known = {key for key, _ in left} - {None}
        expected += [(key, None, b) for key, b in right if key not in known]
    schema = {"k": pa.int64()}
    joined = JoinedTable(Table(["k", "a"], left, schema=schema), Table(["k", "b"], right, schema=schema), "k")
    found = [tuple(row.values()) for row in joined.to_arrow(how).to_pylist()]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_tables_that_are_there_are_joined_by_name(store: ArtifactStore) -> None:
    tables = {"a": Table(["k", "x"], [[1, 2]]), "b": Table(["k", "y"], [[1, 3]])}
    version = logged(store, {**tables, "ab": JoinedTable("a", "b.table.parquet", "k")})
    assert len(list(version.files())) == 3
    assert version.get("ab").to_arrow().to_pylist() == [{"k": 1, "x": 2, "y": 3}]


def test_wrong_joins_are_refused(store: ArtifactStore) -> None:
    one, two = Table(["k"], [[1]]), Table(["k"], [["1"]])
    with pytest.raises(UsageError, match="one column name or two"):
        JoinedTable(one, two, ["a", "b", "c"])
    with pytest.raises(UsageError, match="no column 'z'"):
        JoinedTable(one, two, ["k", "z"]).to_arrow()
    with pytest.raises(UsageError, match="cannot be joined"):
        JoinedTable(one, two, "k").to_arrow()
    with pytest.raises(UsageError, match="full outer"):
        JoinedTable(one, one, "k").to_arrow("sideways")
    with pytest.raises(UsageError, match="named only"):
        JoinedTable("a", "b", "k").to_arrow()
    with pytest.raises(EntryNotFoundError, match="nowhere"):
        logged(store, {"j": JoinedTable("nowhere", one, "k")})
    artifact = Artifact("tables", "table", store=store)
    artifact.add_stream(io.BytesIO(b"[1]"), "j.joined-table.json")
    broken = store.log(artifact, project="p")
    with pytest.raises(IntegrityError, match="does not describe"):
        broken.get("j")


def test_partitions_are_read_as_one(store: ArtifactStore) -> None:
    version = logged(
        store,
        {
            "parts/b": Table(["id", "x"], [[3, 0.5]]),
            "parts/a": Table(["id", "x"], [[1, 1], [2, None]]),
            "parts/sub/c": Table(["id", "x"], []),
            "other": Table(["z"], [[1]]),
            "all": PartitionedTable("parts/"),
        },
    )
    found = version.get("all")
    assert isinstance(found, PartitionedTable)
    assert [name for name, _ in found.parts()] == ["parts/a", "parts/b", "parts/sub/c"]
    assert len(found) == 3
    assert list(found.iterrows()) == [(0, [1, 1]), (1, [2, None]), (2, [3, 0.5])]
    assert [batch.num_rows for batch in found.iter_batches(1)] == [1, 1, 1]
    assert found.to_arrow().to_pydict() == {"id": [1, 2, 3], "x": [1.0, None, 0.5]}
    assert found.to_pandas()["id"].tolist() == found.to_polars()["id"].to_list() == [1, 2, 3]


def test_partitions_have_the_order_of_the_first(store: ArtifactStore) -> None:
    tables = {"p/a": Table(["id", "x"], [[1, 0.5]]), "p/b": Table(["x", "id"], [[1.5, 2]])}
    found = logged(store, tables | {"all": PartitionedTable("p")}).get("all")
    assert list(found.iterrows()) == [(0, [1, 0.5]), (1, [2, 1.5])]
    assert [batch.to_pydict() for batch in found.iter_batches()][1] == {"id": [2], "x": [1.5]}
    assert found.to_arrow().to_pydict() == {"id": [1, 2], "x": [0.5, 1.5]}


def test_partitions_must_agree(store: ArtifactStore) -> None:
    version = logged(
        store,
        {
            "p/a": Table(["id"], [[1]]),
            "p/b": Table(["key"], [[1]]),
            "q/a": Table(["id"], [[1]]),
            "q/b": Table(["id"], [["x"]]),
            "p": PartitionedTable("p"),
            "q": PartitionedTable("q"),
            "none": PartitionedTable("nowhere"),
        },
    )
    for read in (version.get("p").to_arrow, lambda: list(version.get("p").iterrows())):
        with pytest.raises(UsageError, match="different columns"):
            read()
    with pytest.raises(UsageError, match="different types"):
        version.get("q").to_arrow()
    assert len(version.get("none")) == version.get("none").to_arrow().num_rows == 0
    with pytest.raises(UsageError, match="out of an artifact"):
        len(PartitionedTable("p"))
