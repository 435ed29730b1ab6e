"""Images of every mode that Pillow has are kept, and a failing encoder is called that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import artline as art
from artline.artifacts.media.base import Content

QUIET = {"quiet": True, "console": False}
MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"]
MODES += ["F", "I", "I;16", "I;16B", "I;16L"]


@pytest.mark.parametrize("file_type", ["png", "jpg", "bmp", "gif", "webp"])
def test_an_image_of_any_mode_is_encoded(file_type: str) -> None:
    for mode in MODES:
        with art.Image(Pillow.new(mode, (4, 3)), file_type=file_type).to_pil() as found:
            assert found.size == (4, 3), mode


def test_colors_and_numbers_are_those_of_the_image() -> None:
    red = Pillow.new("RGB", (2, 2), (255, 0, 0))
    for mode in ("CMYK", "HSV", "YCbCr"):
        found = art.Image(red.convert(mode)).to_numpy()
        assert found[0, 0] == pytest.approx([255, 0, 0], abs=2), mode
    white = Pillow.new("LAB", (2, 2), (255, 128, 128))
    assert art.Image(white).to_numpy()[0, 0] == pytest.approx([255, 255, 255], abs=3)
    for mode in ("I", "I;16", "I;16B"):
        found = art.Image(Pillow.new(mode, (1, 1), 40_000))
        assert found.image.mode == "I;16"
        assert found.to_numpy().tolist() == [[40_000]]
    clipped = Pillow.fromarray(np.array([[-5, 70_000]], np.int32))
    assert art.Image(clipped).to_numpy().tolist() == [[0, 65_535]]
    shallow, deep = Pillow.new("I", (8, 8), 200), Pillow.new("I;16", (8, 8), 200 * 256)
    for image in (shallow, deep):
        assert art.Image(image, file_type="jpg").to_numpy()[0, 0] == pytest.approx(200, abs=2)
    floats = np.array([[0.0, 0.5, 1.0]], np.float32)
    assert art.Image(Pillow.fromarray(floats)).to_numpy().tolist() == [[0, 128, 255]]


def test_floats_are_left_as_they_are_without_normalizing() -> None:
    floats = np.array([[0.0, 0.6, 1.0]])
    assert art.Image(floats, normalize=False).to_numpy().tolist() == [[0, 1, 1]]
    assert art.Image(floats, normalize=True) == art.Image(floats)
    assert art.Image(floats).image.size == (3, 1)


def test_an_encoder_that_fails_is_not_called_a_disk(
    store_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def encode() -> bytes:
        raise OSError("encoder error -2")

    broken = art.Image([[0]])
    broken._content = Content(make=encode)
    with art.init("p", settings={"console": False}) as run:
        run.log({"broken": broken})
        run.log({"whole": art.Image([[0]])})
    said = capsys.readouterr().err
    assert "one image cannot be kept: encoder error -2" in said
    assert "cannot write under" not in said
    assert art.Api().run(f"p/{run.id}").summary["whole"]["_type"] == "image-file"
