"""Media by themselves: what they are made of, what they become, and what is refused."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from artline.artifacts import media
from artline.artifacts.artifact import Artifact
from artline.artifacts.media import Audio, Classes, Histogram, Html, Image, Molecule, Object3D, Plotly, Video
from artline.artifacts.media.image_header import image_size
from artline.artifacts.store import ArtifactStore
from artline.artifacts.table import Table
from artline.errors import MissingExtraError, SourceNotFoundError, UsageError


class Tensor:
    """Has of a tensor of torch what is looked at: the channels first, and a way out of its graph."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.dtype, self.shape = array, array.dtype, array.shape

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
@settings(deadline=None, max_examples=30)
@given(width=st.integers(1, 300), height=st.integers(1, 300))
def test_the_size_is_read_without_decoding(form: str, width: int, height: int) -> None:
    buffer = io.BytesIO()
    Pillow.new("RGB", (width, height)).save(buffer, format=form)
    image = Image(buffer.getvalue())
    assert image.size == (width, height)
    assert image_size(buffer.getvalue()) == (None if form == "TIFF" else (width, height))


@given(
    st.binary(max_size=64), st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF"])
)
def test_damaged_headers_have_no_size(rest: bytes, start: bytes) -> None:
    found = image_size(start + rest)
    assert found is None or len(found) == 2


def test_tensors_have_their_channels_first() -> None:
    color = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    assert np.array_equal(Image(Tensor(color)).to_numpy(), np.moveaxis(color, 0, -1))
    assert Image(Tensor(color[0])).size == (5, 4)
    batch = Image(Tensor(np.ones((10, 1, 4, 5), dtype=np.float32)))
    assert batch.size == (8 * 7 + 2, 2 * 6 + 2)
    assert batch.to_numpy().sum() == 10 * 4 * 5 * 255


def test_other_formats_are_written_by_pillow() -> None:
    clear = np.full((4, 4, 4), 200, np.uint8)
    photo = Image(clear, file_type="jpg")
    assert (photo.suffix, photo.to_pil().mode) == (".jpg", "RGB")
    assert Image(clear, mode="L", file_type="webp").to_pil().size == (4, 4)
    assert Image(Pillow.new("RGBA", (2, 3)), file_type="jpeg").suffix == ".jpg"
    with pytest.raises(UsageError, match="file_type 'svg' is not known"):
        Image(clear, file_type="svg")


def test_a_picture_that_is_a_program_is_no_image(tmp_path: Path) -> None:
    drawing = tmp_path / "drawing.svg"
    drawing.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    with pytest.raises(UsageError, match="not an image"):
        Image(drawing)


@pytest.mark.parametrize(
    "box",
    [
        {},
        {"position": {"minX": 0}},
        {"position": {"minX": 0, "maxX": 1, "minY": 0, "maxY": "a"}},
        {"position": {"middle": [0, 0], "width": 1, "height": 1}, "domain": "metres"},
        {"position": {"middle": 3, "width": 1, "height": 1}},
        {"position": {"middle": [0, 0], "width": 1, "height": 1}, "scores": [1]},
    ],
)
def test_boxes_are_checked(box: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="box 0 of 'truth'"):
        Image(np.eye(2), boxes={"truth": {"box_data": [box]}})


def test_masks_are_checked(tmp_path: Path) -> None:
    for wrong in (
        np.eye(2),
        np.full((2, 2), 256),
        np.full((2, 2), -1),
        np.zeros(3, int),
        np.zeros((0, 2), int),
    ):
        with pytest.raises(UsageError, match="mask 'm'"):
            Image(np.eye(2), masks={"m": {"mask_data": wrong}})
    with pytest.raises(UsageError, match="needs 'mask_data' or 'path'"):
        Image(np.eye(2), masks={"m": {}})
    Pillow.new("L", (2, 2), 3).save(tmp_path / "mask.png")
    classes = Classes([{"id": 3, "name": "sky"}])
    image = Image(np.eye(2), masks={"m": {"path": tmp_path / "mask.png"}}, classes=classes)
    assert image.masks["m"].class_labels == {3: "sky"}


def test_samples_become_wav(tmp_path: Path) -> None:
    stereo = Audio(np.array([[0.0, 1.0], [-1.0, 7.0]]), sample_rate=2)
    with wave.open(io.BytesIO(stereo.data)) as sound:
        assert (sound.getnchannels(), sound.getframerate(), sound.getnframes()) == (2, 2, 2)
        assert np.frombuffer(sound.readframes(2), "<i2").tolist() == [0, 32767, -32767, 32767]
    assert stereo.duration == 1.0
    assert Audio(io.BytesIO(stereo.data)).duration == 1.0
    song = tmp_path / "song.mp3"
    song.write_bytes(b"ID3")
    assert (Audio(song).duration, Audio(song).suffix) == (None, ".mp3")
    for wrong in (np.zeros((2, 2, 2)), np.zeros(0), np.zeros((1, 300)), ["a"]):
        with pytest.raises(UsageError):
            Audio(wrong, sample_rate=8000)
    with pytest.raises(UsageError, match="sample rate"):
        Audio(np.zeros(3))


def test_frames_become_a_gif() -> None:
    frames = np.zeros((3, 3, 4, 6), np.uint8)
    frames[1] = 255
    film = Video(frames, fps=5)
    with Pillow.open(io.BytesIO(film.data)) as shown:
        assert (shown.n_frames, shown.size) == (3, (6, 4)) or shown.n_frames == 3
        assert shown.info["duration"] == 200
    wide = Video(np.zeros((2, 3, 1, 4, 6)))
    with Pillow.open(io.BytesIO(wide.data)) as shown:
        assert shown.size == (12, 4)
    for wrong in (np.zeros((3, 4, 6)), np.zeros((3, 2, 4, 6)), np.zeros((0, 3, 4, 6))):
        with pytest.raises(UsageError, match="frames × channels"):
            Video(wrong)
    with pytest.raises(UsageError, match="format 'avi' is not known"):
        Video(frames, format="avi")  # type: ignore[arg-type]  # what is refused


def test_a_film_without_an_encoder_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artline.artifacts.media.video.find_spec", lambda name: None)
    monkeypatch.setattr("artline.artifacts.media.video.shutil.which", lambda name: None)
    with pytest.raises(MissingExtraError, match="imageio-ffmpeg"):
        Video(np.zeros((2, 3, 4, 4)), format="mp4")
    with pytest.raises(MissingExtraError, match="pillow"):
        Video(np.zeros((2, 3, 4, 4)))


def test_pages_are_kept_as_they_are(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<script>alert("&")</script>')
    assert Html(page) == Html(str(page)) == Html('<script>alert("&")</script>')
    assert Html("page.html", data_is_not_path=True).html == "page.html"
    shown = Html(page)._repr_html_()
    assert 'sandbox=""' in shown
    assert "<script" not in shown.replace('srcdoc="<script', "")
    assert "alert(&quot;&amp;&quot;)" in shown
    with pytest.raises(SourceNotFoundError):
        Html("nowhere.html")


def test_clouds_of_points(tmp_path: Path) -> None:
    assert json.loads(Object3D(np.eye(3)).data) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    corners = np.zeros((8, 3))
    scene = Object3D.from_point_cloud(
        points=np.ones((1, 4)), boxes=[{"corners": corners, "label": "car", "color": [0, 255, 0]}]
    )
    assert json.loads(scene.data)["boxes"][0]["corners"][7] == [0, 0, 0]
    mesh = tmp_path / "mesh.obj"
    mesh.write_text("v 0 0 0")
    assert Object3D.from_file(str(mesh)).suffix == ".obj"
    assert Object3D(io.StringIO("solid"), file_type="stl").suffix == ".stl"
    wrong: Any
    for wrong in (np.eye(2), np.full((1, 3), np.nan), {"type": "x", "points": []}, {"type": "lidar/beta"}):
        with pytest.raises(UsageError):
            Object3D(wrong)
    with pytest.raises(UsageError, match="no Object3D"):
        Object3D(io.StringIO("solid"))


def test_molecules_are_files(tmp_path: Path) -> None:
    file = tmp_path / "caffeine.SDF"
    file.write_text("atoms")
    assert Molecule(file).suffix == ".sdf"
    other = tmp_path / "caffeine.txt"
    other.write_text("")
    with pytest.raises(UsageError, match="no Molecule"):
        Molecule(other)
    with pytest.raises(UsageError, match="from_rdkit"):
        Molecule(3)


def test_histograms() -> None:
    assert Histogram([1, 2, 3, np.nan, np.inf], num_bins=2).histogram == [1, 2]
    assert Histogram(np_histogram=np.histogram([1, 2, 3], bins=4)).histogram == [1, 0, 1, 1]
    assert Histogram(Tensor(np.ones((3, 3), np.float16)), num_bins=1).histogram == [9]
    assert Histogram(np.array([True, False])).histogram[0] == 1
    assert sum(Histogram([]).histogram) == 0
    assert len(Histogram(range(1000), num_bins=512).bins) == 513
    wrong: Any
    for wrong in (
        {},
        {"sequence": [1], "num_bins": 513},
        {"sequence": [1], "num_bins": 0},
        {"sequence": ["a"]},
        {"np_histogram": ([1], [0])},
        {"np_histogram": ([1] * 600, range(601))},
        {"sequence": [1], "np_histogram": ([1], [0, 1])},
    ):
        with pytest.raises(UsageError):
            Histogram(**wrong)


def test_figures_of_plotly_are_their_json() -> None:
    assert Plotly({"data": [{"y": [1]}]}).figure == {"data": [{"y": [1]}]}
    with pytest.raises(UsageError, match="use Image"):
        Plotly(3)


CELLS: dict[str, Any] = {
    "image": Image(np.eye(3), caption="eye", boxes={"b": {"box_data": []}}),
    "audio": Audio(np.zeros(8), sample_rate=4, caption="quiet"),
    "video": Video(np.zeros((2, 1, 4, 4))),
    "html": Html("<b>"),
    "object3d": Object3D(np.eye(3)),
    "molecule": Molecule(io.StringIO("x"), file_type="pdb"),
    "plotly": Plotly({"data": []}),
    "histogram": Histogram([1, 2, 3], num_bins=2),
}


def test_all_kinds_are_cells_and_entries(store: ArtifactStore) -> None:
    artifact = Artifact("all", "dataset", store=store)
    artifact.add(Table(list(CELLS), [list(CELLS.values()), [None] * len(CELLS)]), "cells")
    for name, cell in CELLS.items():
        if name != "histogram":
            artifact.add(cell, f"alone/{name}")
    version = store.log(artifact, project="p")
    table = version.get("cells")
    assert table.data == [list(CELLS.values()), [None] * len(CELLS)]
    assert [cell.caption for cell in table.data[0]] == [cell.caption for cell in CELLS.values()]
    assert table.get_column("audio")[0].sample_rate == 4
    for name, cell in CELLS.items():
        if name != "histogram":
            assert version.get(f"alone/{name}") == cell
            assert version.get(f"alone/{name}").caption == cell.caption
    again = Artifact("again", "dataset", store=store)
    again.add(table, "cells")
    assert store.log(again, project="p").get("cells").data[0] == list(CELLS.values())


def test_a_column_has_one_kind(store: ArtifactStore) -> None:
    artifact = Artifact("mixed", "dataset", store=store)
    with pytest.raises(UsageError, match="mixes images and Html"):
        artifact.add(Table(["x"], [[CELLS["image"]], [CELLS["html"]]]), "t")
    with pytest.raises(UsageError, match="a Table, which cannot be a cell"):
        artifact.add(Table(["x"], [[Table(["a"])]]), "t")


def test_every_class_says_what_it_is() -> None:
    kinds = [*media.FILE_KINDS, Histogram]
    assert len({kind.kind for kind in kinds}) == len({kind.record_type for kind in kinds}) == len(kinds)
    assert all(kind.__doc__ for kind in kinds)
