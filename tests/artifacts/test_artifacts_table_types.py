"""Tables of every type: in from pandas, Polars and Arrow, through the store, and out again."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artline.artifacts.artifact import Artifact
from artline.artifacts.media import Image
from artline.artifacts.store import ArtifactStore
from artline.artifacts.table import Table, TableWriter
from artline.errors import MissingExtraError, UsageError

UTC = datetime.UTC
ZONE = zoneinfo.ZoneInfo("Asia/Tokyo")

TIMES = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1))
LEAVES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.string(), st.text(st.characters(exclude_categories=["Cs"]))),
    (pa.large_string(), st.text(st.characters(exclude_categories=["Cs"]))),
    (pa.binary(), st.binary()),
    (pa.decimal128(20, 4), st.decimals(-(10**15), 10**15, places=4)),
    (pa.date32(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.duration("us"), st.timedeltas(datetime.timedelta(-(10**4)), datetime.timedelta(10**4))),
    (pa.timestamp("us"), TIMES),
    (pa.timestamp("us", tz="UTC"), TIMES.map(lambda time: time.replace(tzinfo=UTC))),
    (pa.timestamp("ms", tz="Asia/Tokyo"), TIMES.map(lambda t: t.replace(microsecond=0, tzinfo=ZONE))),
    (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "b", "ü"])),
]


def nested(
    kinds: st.SearchStrategy[tuple[pa.DataType, st.SearchStrategy[Any]]],
) -> st.SearchStrategy[tuple[pa.DataType, st.SearchStrategy[Any]]]:
    def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.none() | values

    lists = kinds.map(lambda kind: (pa.list_(kind[0]), st.lists(some(kind[1]), max_size=3)))
    structs = st.tuples(kinds, kinds).map(
        lambda pair: (
            pa.struct([("x", pair[0][0]), ("y", pair[1][0])]),
            st.fixed_dictionaries({"x": some(pair[0][1]), "y": some(pair[1][1])}),
        )
    )
    return lists | structs


PLAIN = st.sampled_from([leaf for leaf in LEAVES if not pa.types.is_dictionary(leaf[0])])
KINDS = st.sampled_from(LEAVES) | st.recursive(PLAIN, nested, max_leaves=3)


@st.composite
def arrow_tables(draw: st.DrawFn) -> pa.Table:
    kinds = draw(st.lists(KINDS, min_size=1, max_size=4))
    rows = draw(st.integers(0, 6))
    return pa.table(
        {
            f"c{number}": pa.array(
                draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), type=kind
            )
            for number, (kind, values) in enumerate(kinds)
        }
    )


def through(store: ArtifactStore, table: Table) -> Table:
    artifact = Artifact("tables", "table", store=store)
    artifact.add(table, "predictions")
    found = store.log(artifact, project="p").get("predictions")
    assert isinstance(found, Table)
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(table=arrow_tables())
def test_every_type_comes_back(store: ArtifactStore, table: pa.Table) -> None:
    found = through(store, Table(dataframe=table))
    assert found.schema == table.schema
    assert found.to_arrow().equals(table)
    assert len(found) == len(table)
    assert pa.Table.from_batches(found.iter_batches(2), schema=table.schema).equals(table)
    assert found.data == [list(row.values()) for row in table.to_pylist()]
    assert [row for _, row in found.iterrows()] == found.data
    again = through(store, found)
    assert again.schema == table.schema
    assert again.to_arrow().equals(table)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(table=arrow_tables(), data=st.data())
def test_python_cells_take_the_types_they_are_given(
    store: ArtifactStore, table: pa.Table, data: st.DataObject
) -> None:
    rows = [list(row.values()) for row in table.to_pylist()]
    schema = data.draw(st.sampled_from([table.schema, {f.name: f.type for f in table.schema}]))
    given_types = Table(table.column_names, rows, schema=schema)
    given_types.add_data(*[None] * table.num_columns)
    found = through(store, given_types).to_arrow()
    assert found.schema == table.schema
    assert found.slice(0, len(table)).equals(table)
    assert found.slice(len(table)).to_pylist() == [dict.fromkeys(table.column_names)]


def test_zones_decimals_and_nested_cells_need_no_schema(store: ArtifactStore) -> None:
    row = [
        datetime.datetime(2026, 3, 1, 12, tzinfo=ZONE),
        decimal.Decimal("12.345"),
        {"box": [1.5, 2.5], "name": None},
        [[1], [], None],
        b"\x00\xff",
    ]
    table = Table(["when", "price", "struct", "lists", "raw"], [row, [None] * 5])
    found = through(store, table)
    assert found.data == [row, [None] * 5]
    assert found.data[0][0].utcoffset() == datetime.timedelta(hours=9)
    assert str(found.schema.field("when").type) == "timestamp[us, tz=Asia/Tokyo]"
    assert str(found.schema.field("price").type) == "decimal128(5, 3)"


def test_pandas_comes_in_and_goes_out(store: ArtifactStore) -> None:
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None, 3], dtype="Int64"),
            "f": [0.5, None, 2.0],
            "t": pd.to_datetime(["2026-01-01", None, "2026-01-03"], utc=True),
            "s": ["a", None, "c"],
            "c": pd.Categorical(["x", "y", "x"]),
            "l": [[1, 2], None, []],
        },
        index=[7, 8, 9],
    )
    found = through(store, Table(dataframe=frame))
    assert [str(kind) for kind in found.schema.types[:2]] == ["int64", "double"]
    assert found.get_column("i") == [1, None, 3]
    assert found.get_column("l") == [[1, 2], None, []]
    back = found.to_pandas()
    assert back["t"].dt.tz is not None
    assert back["c"].dtype == "category"
    assert back.index.tolist() == [0, 1, 2]
    pd.testing.assert_series_equal(back["f"], frame["f"].reset_index(drop=True))


def test_polars_comes_in_and_goes_out(store: ArtifactStore) -> None:
    frame = pl.DataFrame(
        {
            "i": [1, None, 3],
            "s": ["a", None, "ü"],
            "t": [datetime.datetime(2026, 1, 1, tzinfo=UTC), None, None],
            "l": [[1.5], [], None],
            "d": [decimal.Decimal("1.50"), None, decimal.Decimal("2.25")],
            "st": [{"a": 1}, None, {"a": None}],
        }
    )
    polars.testing.assert_frame_equal(through(store, Table(dataframe=frame)).to_polars(), frame)
    polars.testing.assert_frame_equal(through(store, Table(data=frame)).to_polars(), frame)


def test_frames_of_all_kinds_make_equal_tables() -> None:
    columns = {"a": [1, 2], "b": ["x", "y"]}
    tables = [
        Table(["a", "b"], [[1, "x"], [2, "y"]]),
        Table(dataframe=pd.DataFrame(columns)),
        Table(dataframe=pl.DataFrame(columns)),
        Table(dataframe=pa.table(columns)),
        Table(dataframe=pa.RecordBatch.from_pydict(columns)),
    ]
    assert all(table == tables[0] for table in tables)
    assert all(table.to_pandas().equals(tables[1].to_pandas()) for table in tables)
    assert Table(["a"]) != "a"
    with pytest.raises(UsageError, match="is no table"):
        Table(dataframe=3)
    with pytest.raises(UsageError, match="different names"):
        Table(dataframe=pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_a_cell_of_another_type_is_named(store: ArtifactStore) -> None:
    with pytest.raises(UsageError, match=r"column 'a' are not of type int8"):
        through(store, Table(["a"], [[300]], schema=pa.schema([("a", pa.int8())])))
    with pytest.raises(UsageError, match="no column 'z'"):
        Table(["a"], [[1]], schema={"z": pa.int8()})
    with pytest.raises(UsageError, match="column 'mixed'"):
        Table(dataframe=pd.DataFrame({"mixed": [1, "a"]}))
    with pytest.raises(UsageError, match="Parquet has no form"):
        through(store, Table(["a"], [[{}]]))


def test_images_keep_their_captions(store: ArtifactStore) -> None:
    one = Image(np.zeros((2, 2), np.uint8), caption="a zero")
    frame = pd.DataFrame({"image": [one, None], "label": [0, 1]})
    found = through(store, Table(dataframe=frame))
    assert found.to_arrow()["image"].to_pylist()[0]["caption"] == "a zero"
    assert found.to_pandas()["image"].tolist() == [one, None]
    assert found.to_polars()["image"].struct.field("path")[0].endswith(".png")
    assert [row[0] for _, row in found.iterrows()] == [one, None]
    moved = through(store, found)
    assert moved.get_column("image")[0].caption == "a zero"
    with pytest.raises(UsageError, match="holds images"):
        Table(["image"], [[one]]).to_arrow()


def test_dots_in_names_are_no_nesting(store: ArtifactStore) -> None:
    found = through(store, Table(["a.b", "a", "a.b.c"], [[1, {"b": 2}, 3]]))
    assert [found.get_column(name) for name in found.columns] == [[1], [{"b": 2}], [3]]


def test_a_table_out_of_the_store_can_be_changed(store: ArtifactStore) -> None:
    small = pa.table({"a": pa.array([1, 2], pa.int8()), "b": ["x", "y"]})
    found = through(store, Table(dataframe=small))
    assert not found._loaded
    found.add_data(3, None)
    found.add_column("c", [True, False, True])
    again = through(store, found)
    assert again.schema.field("a").type == pa.int8()
    assert again.data == [[1, "x", True], [2, "y", False], [3, None, True]]


def test_batches_are_written_as_they_come(store: ArtifactStore) -> None:
    artifact = Artifact("tables", "table", store=store)
    with TableWriter(artifact, "deep/rows") as rows:
        rows.write({"id": [0], "image": [Image(np.eye(2))]})
        rows.write(pd.DataFrame({"id": [1], "image": [Image(np.zeros((2, 2)))]}))
    with TableWriter(artifact, "typed", schema=pa.schema([("id", pa.int16())])) as rows:
        rows.write(pl.DataFrame({"id": [None]}))
        rows.write(pa.table({"id": [5]}))
    with TableWriter(artifact, "empty", schema=pa.schema([("id", pa.int16())])):
        pass
    for first, second, said in (
        ({"id": [1]}, {"id": ["one"]}, "column 'id'"),
        ({"id": [1]}, {"it": [1]}, "the table id"),
        ({"id": [1]}, {"id": [Image(np.eye(2))]}, "not images"),
    ):
        with TableWriter(artifact, "bad") as rows:
            rows.write(first)
            with pytest.raises(UsageError, match=said):
                rows.write(second)
        artifact.remove("bad.table.parquet")
    with contextlib.suppress(KeyError), TableWriter(artifact, "bad") as rows:
        rows.write({"id": [1]})
        raise KeyError
    version = store.log(artifact, project="p")
    assert version.get("bad") is None
    assert version.get("deep/rows").get_column("id") == [0, 1]
    assert version.get("deep/rows").get_column("image")[0] == Image(np.eye(2))
    assert version.get("typed").to_arrow().to_pydict() == {"id": [None, 5]}
    assert (len(version.get("empty")), version.get("empty").columns) == (0, ["id"])


def test_row_groups_lie_where_the_rows_put_them(store: ArtifactStore) -> None:
    """However the rows were handed over, so that tables that begin alike are stored alike."""
    table = pa.table({"x": np.arange(300_000)})
    digests = set()
    for size in (300_000, 70_001):
        artifact = Artifact("tables", "table", store=store)
        with TableWriter(artifact, "rows") as rows:
            for start in range(0, len(table), size):
                rows.write(table.slice(start, size))
        version = store.log(artifact, project="p")
        digests.add(version.get_entry("rows.table.parquet").digest)
    with version.open("rows.table.parquet") as stream:
        file = pa.parquet.ParquetFile(stream)
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [1 << 17, 1 << 17, 300_000 - (2 << 17)]
    assert len(digests) == 1


def test_an_appended_table_is_stored_but_for_its_new_rows(store: ArtifactStore) -> None:
    numbers = np.random.default_rng(0)
    table = pa.table({f"c{i}": numbers.random(300_000) for i in range(8)})
    more = pa.table({f"c{i}": numbers.random(3_000) for i in range(8)})
    first = Artifact("tables", "table", store=store)
    first.add(Table(dataframe=table), "rows")
    whole = first.stats
    assert whole is not None
    assert whole.new_bytes > 18 << 20
    store.log(first, project="p")
    second = Artifact("tables", "table", store=store)
    second.add(Table(dataframe=pa.concat_tables([table, more])), "rows")
    grown = second.stats
    assert grown is not None
    assert grown.new_bytes < 0.3 * whole.new_bytes  # the last, short row group and the footer
    store.log(second, project="p")
    assert len(second.get("rows")) == 303_000


def test_rows_changed_in_place_cost_their_surroundings(store: ArtifactStore) -> None:
    numbers = np.random.default_rng(1)
    table = pa.table({f"c{i}": numbers.random(400_000) for i in range(8)})
    first = Artifact("tables", "table", store=store)
    first.add(Table(dataframe=table), "rows")
    store.log(first, project="p")
    second = Artifact("tables", "table", store=store)
    cut = pa.concat_tables([table.slice(0, 399_000), table.slice(399_900)])
    second.add(Table(dataframe=cut), "rows")
    stats = second.stats
    assert stats is not None
    assert stats.new_bytes < 0.3 * stats.bytes


def test_missing_libraries_are_named(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    found = through(store, Table(["a"], [[1]]))
    for name, call in (("pandas", found.to_pandas), ("polars", found.to_polars)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtraError, match=f"pip install {name}"):
            call()
