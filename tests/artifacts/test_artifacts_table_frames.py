"""Tables as pandas and Polars have them: the values stay what they are."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from artline.artifacts.artifact import Artifact
from artline.artifacts.store import ArtifactStore
from artline.artifacts.table import Table, TableWriter
from artline.errors import UsageError

BIG = 2**53 + 1


def through(store: ArtifactStore, table: Table) -> Table:
    artifact = Artifact("tables", "table", store=store)
    artifact.add(table, "t")
    found = store.log(artifact, project="p").get("t")
    assert isinstance(found, Table)
    return found


@pytest.mark.parametrize(
    ("type_", "cells", "dtype"),
    [
        (pa.int64(), [BIG, None], "Int64"),
        (pa.int64(), [BIG, 1], "int64"),
        (pa.uint64(), [2**64 - 1, None], "UInt64"),
        (pa.int8(), [1, None], "Int8"),
        (pa.bool_(), [True, None], "boolean"),
        (pa.bool_(), [True, False], "bool"),
        (pa.struct([("x", pa.int64())]), [{"x": BIG}, {"x": None}, None], "object"),
        (pa.list_(pa.int64()), [[BIG, None], None, []], "object"),
        (pa.list_(pa.struct([("x", pa.uint64())])), [[{"x": 2**64 - 1}, {"x": None}]], "object"),
        (pa.map_(pa.string(), pa.int64()), [[("a", BIG), ("b", None)]], "object"),
    ],
    ids=str,
)
def test_integers_stay_exact_in_pandas(
    store: ArtifactStore, type_: pa.DataType, cells: list[Any], dtype: str
) -> None:
    table = Table(dataframe=pa.table({"a": pa.array(cells, type_)}))
    for one in (table, through(store, table)):
        column = one.to_pandas()["a"]
        assert column.dtype == dtype
        assert [None if cell is pd.NA else cell for cell in column.tolist()] == cells


def test_cells_of_python_stay_exact_in_pandas() -> None:
    table = Table(["i", "b", "mixed", "f"], [[BIG, True, BIG, 0.5], [None, None, 0.5, None]])
    frame = table.to_pandas()
    assert list(map(str, frame.dtypes)) == ["Int64", "boolean", "object", "float64"]
    assert frame["i"].tolist() == [BIG, pd.NA]
    assert frame["mixed"].tolist() == [BIG, 0.5]


def test_nullable_columns_come_back_as_such(store: ArtifactStore) -> None:
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None, BIG], dtype="Int64"),
            "u": pd.array([1, 2, 3], dtype="UInt8"),
            "b": pd.array([True, None, False], dtype="boolean"),
            "f": pd.array([0.5, None, 2], dtype="Float64"),
            "s": pd.array(["a", None, "c"], dtype="string"),
            "a": pd.array([1, None, 3], dtype="int32[pyarrow]"),
            "plain": [1, 2, 3],
        }
    )
    table = Table(dataframe=frame)
    found = through(store, table)
    again = through(store, found)
    again.add_data(4, 4, True, 4.0, "d", 4, 4)
    again = through(store, again)
    for one in (table, table.snapshot(), found):
        pd.testing.assert_frame_equal(one.to_pandas(), frame)
    assert again.to_pandas().dtypes.equals(frame.dtypes)
    artifact = Artifact("tables", "table", store=store)
    with TableWriter(artifact, "w") as rows:
        rows.write(frame)
        rows.write(frame)
    written = store.log(artifact, project="p").get("w").to_pandas()
    pd.testing.assert_frame_equal(written, pd.concat([frame, frame], ignore_index=True))
    other = Table(dataframe=frame, schema={"i": pa.int64(), "u": pa.float64()}).to_pandas()
    assert (str(other["i"].dtype), str(other["u"].dtype)) == ("Int64", "float64")


def test_types_that_polars_has_not_become_those_it_has() -> None:
    time = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "offset": pa.array([time, None], pa.timestamp("us", "+05:30")),
            "views": pa.array([[1, None], None], pa.list_view(pa.int64())),
            "wide": pa.array([decimal.Decimal("1.25"), None], pa.decimal256(50, 2)),
            "deep": pa.array([[{"t": time}], []], pa.list_(pa.struct([("t", pa.timestamp("s", "-01:00"))]))),
            "map": pa.array([[("a", [1])], []], pa.map_(pa.string(), pa.list_view(pa.int8()))),
        }
    )
    frame = Table(dataframe=table).to_polars()
    assert frame.schema["offset"] == pl.Datetime("us", "UTC")
    assert frame["offset"].to_list() == [time, None]
    assert frame["views"].to_list() == [[1, None], None]
    assert frame["wide"].to_list() == [decimal.Decimal("1.25"), None]
    assert frame["deep"].to_list() == [[{"t": time}], []]


@pytest.mark.parametrize(
    ("type_", "cell"),
    [
        (pa.decimal256(50, 2), decimal.Decimal("1" * 45)),
        (pa.decimal256(60, 45), None),
        (pa.timestamp("us", "Nowhere/Nothing"), None),
        (pa.month_day_nano_interval(), None),
    ],
    ids=str,
)
def test_types_that_polars_cannot_hold_are_named(type_: pa.DataType, cell: Any) -> None:
    table = Table(dataframe=pa.table({"odd": pa.array([cell], type_)}))
    with pytest.raises(UsageError, match=r"column 'odd' of type .*to_arrow"):
        table.to_polars()


def test_levels_of_an_index_become_columns(store: ArtifactStore) -> None:
    rows = pd.DataFrame({"g": ["a", "a", "b"], "h": [1, 2, 1], "x": [0.5, 1.5, 2.5]})
    grouped = rows.groupby(["g", "h"]).sum()
    table = through(store, Table(dataframe=grouped))
    assert table.columns == ["g", "h", "x"]
    assert table.data == [["a", 1, 0.5], ["a", 2, 1.5], ["b", 1, 2.5]]
    assert Table(dataframe=rows.set_index("g")).columns == ["h", "x"]
    for names, said in (([None, "h"], "not all of them named"), (["x", "h"], "Rename them")):
        with pytest.raises(UsageError, match=said):
            Table(dataframe=grouped.rename_axis(names))


def test_names_of_columns_are_text(store: ArtifactStore) -> None:
    table = through(store, Table(columns=[1, 2], data=[[3, 4]]))  # type: ignore[list-item]  # as users do
    assert table.columns == ["1", "2"]
    with pytest.raises(UsageError, match="different names"):
        Table(columns=[1, "1"])  # type: ignore[list-item]  # as users do
    artifact = Artifact("tables", "table", store=store)
    with TableWriter(artifact, "w") as writer:
        writer.write({1: [2]})
        with pytest.raises(UsageError, match="different names"):
            writer.write({1: [2], "1": [3]})
    assert store.log(artifact, project="p").get("w").columns == ["1"]


NAIVE = datetime.datetime(2026, 1, 1)
ZONED = NAIVE.replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("cells", "row"),
    [
        ([NAIVE, None, ZONED], 2),
        ([ZONED, NAIVE], 1),
        ([pd.Timestamp(NAIVE), pd.Timestamp(ZONED)], 1),
        ([[ZONED], [None, NAIVE]], 1),
        ([{"at": NAIVE}, {"at": ZONED}], 1),
        ([NAIVE.time(), NAIVE.time().replace(tzinfo=datetime.UTC)], 1),
    ],
    ids=str,
)
def test_times_with_and_without_a_zone_do_not_mix(cells: list[Any], row: int) -> None:
    said = rf"column 'at' mixes times.*row {row} \(from 0\)"
    with pytest.raises(UsageError, match=said):
        Table(["at"], [[cell] for cell in cells]).to_arrow()
    with pytest.raises(UsageError, match=said):
        Table(dataframe=pd.DataFrame({"at": pd.Series(cells, dtype=object)}))


def test_times_of_several_zones_are_of_one_type(store: ArtifactStore) -> None:
    other = ZONED.astimezone(datetime.timezone(datetime.timedelta(hours=9)))
    assert through(store, Table(["at"], [[ZONED], [other], [None]])).data == [[ZONED], [ZONED], [None]]
    gaps = pd.DataFrame({"at": pd.Series([pd.NaT, ZONED, other], dtype=object)})
    assert Table(dataframe=gaps).get_column("at") == [None, ZONED, ZONED]
    fields = Table(["at"], [[{"a": NAIVE, "b": ZONED}], [{"a": None, "b": ZONED}]])
    assert through(store, fields).data[0] == [{"a": NAIVE, "b": ZONED}]


def test_batches_and_rows_that_are_added_keep_the_zone(store: ArtifactStore) -> None:
    artifact = Artifact("tables", "table", store=store)
    for first, second in ((NAIVE, ZONED), (ZONED, NAIVE)):
        for batch in ({"at": [second]}, pd.DataFrame({"at": [second]}), pa.table({"at": [second]})):
            with TableWriter(artifact, "t", overwrite=True) as rows:
                rows.write({"at": [first]})
                with pytest.raises(UsageError, match="column 'at' mixes times"):
                    rows.write(batch)
                rows.write({"at": [None, first]})
        found = through(store, Table(["at"], [[first]]))
        found.add_data(second)
        with pytest.raises(UsageError, match="column 'at' mixes times"):
            found.to_arrow()
    with TableWriter(artifact, "given", schema=pa.schema([("at", pa.timestamp("us", "UTC"))])) as rows:
        rows.write({"at": [NAIVE]})  # the schema says what it is
        rows.write({"at": [NAIVE]})
