from __future__ import annotations

import datetime
import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from artline.artifacts.artifact import Artifact
from artline.artifacts.media import Image
from artline.artifacts.store import ArtifactStore
from artline.artifacts.table import Table
from artline.errors import MissingExtraError, SourceNotFoundError, UsageError


def through(store: ArtifactStore, table: Table, name: str = "predictions") -> Table:
    artifact = Artifact("tables", "table", store=store)
    artifact.add(table, name)
    found = store.log(artifact, project="p").get(name)
    assert isinstance(found, Table)
    return found


def test_a_table_comes_back_with_its_types(store: ArtifactStore) -> None:
    when = datetime.datetime(2026, 1, 2, 3, 4, 5)
    table = Table(
        columns=["id", "score", "label", "ok", "raw", "when", "list", "none"],
        data=[
            [1, 0.5, "a", True, b"\0\1", when, [1, 2], None],
            [2**60, float("inf"), "ü", None, b"", when, [], None],
        ],
    )
    table.add_data(-3, None, None, False, None, None, None, None)
    found = through(store, table)
    assert found == table
    assert [type(cell) for cell in found.data[0]] == [type(cell) for cell in table.data[0]]
    assert (len(found), found.columns) == (3, table.columns)


def test_the_stored_form_is_plain_parquet(store: ArtifactStore) -> None:
    import pyarrow.parquet

    artifact = Artifact("tables", "table", store=store)
    entry = artifact.add(Table(["a"], [[1]]), "deep/predictions")
    assert entry.path == "deep/predictions.table.parquet"
    store.log(artifact, project="p")
    with artifact.open(entry.path) as stream:
        assert pyarrow.parquet.read_table(stream).to_pydict() == {"a": [1]}
    assert artifact.get("deep/predictions.table.parquet") == Table(["a"], [[1]])
    assert artifact.get("nothing") is None


def test_dataframes_go_in_and_out(store: ArtifactStore) -> None:
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", "b"], 3: [0.5, None]})
    table = Table(dataframe=frame)
    assert table.columns == ["x", "y", "3"]
    back = through(store, table).to_pandas()
    assert back["x"].tolist() == [1, 2]
    assert back["y"].tolist() == ["a", "b"]
    with pytest.raises(UsageError):
        Table(columns=["x"], dataframe=frame)


def test_numpy_cells_are_plain_values(store: ArtifactStore) -> None:
    table = Table(["f", "i", "v"], [[np.float32(0.5), np.int64(3), np.arange(3)]])
    assert through(store, table).data == [[0.5, 3, [0, 1, 2]]]
    assert Table(data=np.eye(2)).columns == ["0", "1"]


def test_images_are_kept_as_files_beside_the_table(store: ArtifactStore) -> None:
    one, two = Image(np.zeros((4, 5), np.uint8)), Image(np.ones((4, 5, 3)))
    table = Table(["id", "image"], [[1, one], [2, two], [3, None], [4, one]])
    artifact = Artifact("tables", "table", store=store)
    artifact.add(table, "eval/predictions")
    store.log(artifact, project="p")
    paths = [entry.path for entry in artifact.files()]
    assert len(paths) == 3
    assert paths[-1] == "eval/predictions.table.parquet"
    assert all(path.startswith("eval/media/images/") and path.endswith(".png") for path in paths[:2])
    found = artifact.get("eval/predictions")
    assert found.get_column("image") == [one, two, None, one]
    assert found.get_column("image")[0].to_numpy().shape == (4, 5)


@pytest.mark.parametrize("cells", [[1, "a"], [[1], 2], [2**70], [object()], [Image(np.eye(2)), 1]])
def test_a_column_of_mixed_types_is_named(store: ArtifactStore, cells: list[object]) -> None:
    artifact = Artifact("tables", "table", store=store)
    with pytest.raises(UsageError, match="column 'mixed'"):
        artifact.add(Table(["mixed"], [[cell] for cell in cells]), "t")


def test_rows_and_columns_must_fit() -> None:
    table = Table(["a", "b"], [[1, 2]])
    for wrong in ([1], [1, 2, 3]):
        with pytest.raises(UsageError, match="cells"):
            table.add_data(*wrong)
    with pytest.raises(UsageError):
        table.add_column("a", [1])
    with pytest.raises(UsageError):
        table.add_column("c", [1, 2])
    with pytest.raises(UsageError, match="no column 'z'"):
        table.get_column("z")
    with pytest.raises(UsageError, match="different names"):
        Table(["a", "a"])
    table.add_column("c", [3])
    assert list(table.iterrows()) == [(0, [1, 2, 3])]


def test_other_objects_are_refused(store: ArtifactStore) -> None:
    with pytest.raises(UsageError, match="cannot add a int"):
        Artifact("t", "table", store=store).add(3, "x")


def test_without_pyarrow_the_extra_is_named(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"artline\[table\]"):
        Artifact("t", "table", store=store).add(Table(["a"], [[1]]), "x")


@given(st.data())
def test_arrays_become_png_without_loss(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    channels = data.draw(st.sampled_from([0, 1, 2, 3, 4]))
    shape = (height, width, channels) if channels else (height, width)
    size = height * width * max(channels, 1)
    pixels = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), np.uint8).reshape(shape)
    back = np.asarray(Pillow.open(io.BytesIO(Image(pixels).data)))
    assert np.array_equal(back, pixels[:, :, 0] if channels == 1 else pixels)


def test_numbers_of_other_types_are_scaled_and_clipped() -> None:
    assert Image(np.array([[True, False]])).to_numpy().tolist() == [[255, 0]]
    assert Image(np.array([[0.0, 0.5, 1.0]])).to_numpy().tolist() == [[0, 128, 255]]
    assert Image(np.array([[0.0, 16.0, 300.0, np.nan]])).to_numpy().tolist() == [[0, 16, 255, 0]]
    assert Image(np.array([[-5, 300]])).to_numpy().tolist() == [[0, 255]]
    for wrong in (np.zeros((2, 2, 5)), np.zeros(3), np.zeros((0, 2)), np.array([["a"]])):
        with pytest.raises(UsageError, match="cannot make an image"):
            Image(wrong)


def test_files_and_pil_images_are_taken(store: ArtifactStore, tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    Pillow.new("RGB", (8, 8), "red").save(file)
    photo = Image(file, caption="red")
    assert photo.data == file.read_bytes()
    drawn = Image(Pillow.new("L", (2, 3), 7), mode="RGB")
    assert drawn.to_numpy().shape == (3, 2, 3)
    artifact = Artifact("images", "image", store=store)
    assert artifact.add(photo, "photo").path == "photo.jpg"
    assert artifact.add(drawn, "drawn.png").path == "drawn.png"
    store.log(artifact, project="p")
    assert artifact.get("photo") == artifact.get("photo.jpg") == photo
    with pytest.raises(UsageError, match="not an image"):
        Image(b"text")
    with pytest.raises(SourceNotFoundError):
        Image(tmp_path / "nowhere.png")
    with pytest.raises(UsageError, match="cannot make"):
        Image(3)
