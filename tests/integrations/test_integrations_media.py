"""Media made of what torch, matplotlib, Plotly and ffmpeg really give."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import matplotlib as mpl
import numpy as np
import plotly.graph_objects as go
import torch
from imageio_ffmpeg import get_ffmpeg_exe

import artline as art

mpl.use("Agg")
QUIET = {"quiet": True, "console": False, "save_code": False}


def test_figures_are_logged_as_they_are(store_root: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(3, 2), dpi=50)
    axes.plot([1, 2, 3])
    bars = go.Figure(data=go.Bar(y=[1, 2]))
    with art.init(project="p", settings=QUIET) as run:
        run.log({"figure": figure, "axes": axes, "pyplot": pyplot, "bars": bars, "several": [bars, bars]})
        axes.plot([3, 2, 1])
    pyplot.close(figure)
    found = art.Api().run(f"p/{run.id}")
    assert found.media("figure").size == (150, 100)
    assert found.media("figure") == found.media("axes") == found.media("pyplot")
    assert found.media("bars").figure == json.loads(bars.to_json())
    assert len(found.media("several")) == 2


def test_tensors_become_media(store_root: Path) -> None:
    color = torch.rand(3, 8, 9, requires_grad=True)
    with art.init(project="p", settings=QUIET) as run:
        run.log(
            {
                "image": art.Image(color, masks={"m": {"mask_data": torch.ones(8, 9, dtype=torch.long)}}),
                "half": art.Image(torch.ones(3, 2, 2, dtype=torch.bfloat16)),
                "batch": art.Image(torch.rand(9, 3, 4, 4)),
                "sound": art.Audio(torch.zeros(80), sample_rate=80),
                "spread": art.Histogram(
                    torch.tensor([1.0, 2.0, float("nan")], dtype=torch.bfloat16), num_bins=2
                ),
                "points": art.Object3D(torch.zeros(5, 3)),
            }
        )
    found = art.Api().run(f"p/{run.id}")
    expected = np.rint(np.moveaxis(color.detach().numpy(), 0, -1) * 255)
    assert np.array_equal(found.media("image").to_numpy(), expected)
    assert found.media("half").to_numpy().min() == 255
    assert found.media("batch").size == (8 * 6 + 2, 2 * 6 + 2)
    assert found.media("sound").duration == 1.0
    assert found.media("spread").histogram == [1, 1]


def test_films_are_written_by_ffmpeg(store_root: Path, tmp_path: Path) -> None:
    frames = torch.randint(0, 256, (6, 3, 17, 33), dtype=torch.uint8)
    with art.init(project="p", settings=QUIET) as run:
        run.log({form: art.Video(frames, fps=3, format=form) for form in ("mp4", "webm")})
    found = art.Api().run(f"p/{run.id}")
    for form in ("mp4", "webm"):
        film = tmp_path / f"film.{form}"
        film.write_bytes(found.media(form).data)
        said = subprocess.run(
            [get_ffmpeg_exe(), "-i", str(film), "-f", "null", "-"], capture_output=True, text=True, check=True
        ).stderr
        assert "34x18" in said
        assert "frame=    6" in said
