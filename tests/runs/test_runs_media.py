"""Media in a run: logged without waiting, written once, read back."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

import artline as art
from artline.errors import EntryNotFoundError, IntegrityError, MissingExtraError, UsageError
from artline.runs import media

QUIET = {"quiet": True, "console": False, "stats_interval": 600.0}


def begin(**arguments: Any) -> Any:
    return art.init(project="p", settings=QUIET, save_code=False, **arguments)


def again(run: Any) -> Any:
    return art.Api().run(f"p/{run.id}")


def pixels(value: int) -> np.ndarray:
    return np.full((4, 5, 3), value, np.uint8)


def media_files(run: Any) -> list[str]:
    folder = Path(run.dir)
    return sorted(p.relative_to(folder).as_posix() for p in (folder / "media").rglob("*") if p.is_file())


def test_an_image_is_read_back_from_the_row_it_was_logged_in(store_root: Path) -> None:
    with begin() as run:
        for value in range(3):
            run.log({"loss": 0.5, "val": {"image": art.Image(pixels(value), caption=f"no. {value}")}})
    found = again(run)
    rows = found.history()
    assert [row["_step"] for row in rows] == [0, 1, 2]
    assert [row["loss"] for row in rows] == [0.5] * 3
    record = rows[1]["val.image"]
    assert (record["_type"], record["format"], record["width"], record["height"]) == (
        "image-file",
        "png",
        5,
        4,
    )
    assert record["caption"] == "no. 1"
    with found.file(record["path"]).open() as stream:
        assert len(stream.read()) == record["size"]
    assert np.array_equal(found.media("val.image", step=1).to_numpy(), pixels(1))
    assert found.media("val.image").caption == "no. 2"
    assert found.summary["val"]["image"]["caption"] == "no. 2"


def test_every_kind_comes_back_as_it_was(store_root: Path) -> None:
    logged = {
        "image": art.Image(pixels(3), caption="three"),
        "audio": art.Audio(np.sin(np.arange(80)), sample_rate=800),
        "video": art.Video(np.zeros((2, 3, 4, 6), np.uint8), fps=2),
        "html": art.Html("<b>bold</b>"),
        "object3d": art.Object3D(np.eye(3)),
        "molecule": art.Molecule(io.StringIO("HELIX"), file_type="pdb", caption="not one"),
        "plotly": art.Plotly({"data": [], "layout": {}}),
        "histogram": art.Histogram([1, 2, 2, 3], num_bins=3),
        "table": art.Table(["id", "image"], [[1, art.Image(pixels(3))], [2, None]]),
    }
    with begin() as run:
        run.log(logged)
        run.log({name: [value, value] for name, value in logged.items()})
    found = again(run)
    for name, value in logged.items():
        assert found.media(name, step=0) == value
        assert found.media(name, step=0).caption == value.caption
        assert found.media(name) == [value, value]
    types = {name: record["_type"] for name, record in found.history()[0].items() if name in logged}
    assert types == {
        "image": "image-file",
        "audio": "audio-file",
        "video": "video-file",
        "html": "html-file",
        "object3d": "object3D-file",
        "molecule": "molecule-file",
        "plotly": "plotly-file",
        "histogram": "histogram",
        "table": "table-file",
    }
    assert found.history()[1]["image"]["_type"] == "images/separated"
    assert found.history()[1]["audio"]["durations"] == [0.1, 0.1]


def test_boxes_and_masks_come_back(store_root: Path) -> None:
    box = {
        "position": {"minX": 0.1, "maxX": 0.5, "minY": 0.0, "maxY": 1.0},
        "class_id": 1,
        "scores": {"p": 0.5},
    }
    image = art.Image(
        pixels(0),
        boxes={"truth": {"box_data": [box], "class_labels": {1: "cat"}}},
        masks={"guess": {"mask_data": np.eye(4, 5, dtype=int)}},
        classes=[{"id": 0, "name": "road"}],
    )
    with begin() as run:
        run.log({"one": image, "two": [art.Image(pixels(1)), image]})
    found = again(run)
    for back in (found.media("one"), found.media("two")[1]):
        assert back == image
        assert back.boxes["truth"].box_data == [box]
        assert back.boxes["truth"].class_labels == {0: "road", 1: "cat"}
        assert back.masks["guess"].class_labels == {0: "road"}
    assert found.media("two")[0].boxes == {}


def test_what_an_array_holds_later_is_not_what_was_logged(store_root: Path) -> None:
    array = pixels(1)
    table = art.Table(["a"], [[1]])
    with begin() as run:
        image = art.Image(array)
        array[:] = 9
        run.log({"image": image, "table": table})
        table.add_data(2)
        run.log({"table": table})
    found = again(run)
    assert np.array_equal(found.media("image").to_numpy(), pixels(1))
    assert found.media("table", step=0).data == [[1]]
    assert found.media("table").data == [[1], [2]]


def test_the_same_content_is_written_once(store_root: Path) -> None:
    with begin() as run:
        for _ in range(5):
            run.log({"a": art.Image(pixels(1)), "b": [art.Image(pixels(1), caption="again")]})
    assert len(media_files(run)) == 1


def test_what_others_draw_is_taken_as_it_is(store_root: Path) -> None:
    with begin() as run:
        run.log({"pil": Pillow.new("RGB", (3, 2), "red"), "frame": pd.DataFrame({"x": [1, 2]})})
    assert again(run).media("pil").size == (3, 2)
    assert again(run).media("frame").data == [[1], [2]]


def test_media_keep_the_steps_of_their_rows(store_root: Path) -> None:
    with begin() as run:
        run.log({"a": 1.0}, step=5)
        run.log({"image": art.Image(pixels(5))}, step=5)
        run.log({"image": art.Image(pixels(6)), "b": 2.0}, commit=False)
        run.log({"c": 3.0}, step=7)
        run.log({"image": art.Image(pixels(3))}, step=3)
    found = again(run)
    rows = [{"_step": row["_step"], "has": sorted({*"abc", "image"} & set(row))} for row in found.history()]
    assert rows == [
        {"_step": 3, "has": ["image"]},
        {"_step": 5, "has": ["a", "b", "image"]},
        {"_step": 7, "has": ["c"]},
    ]
    assert [found.media("image", step=step).to_numpy()[0, 0, 0] for step in (3, 5)] == [3, 6]
    with pytest.raises(EntryNotFoundError, match="at step 7"):
        found.media("image", step=7)


def test_synced_step_metrics_are_not_moved_by_media(store_root: Path) -> None:
    with begin() as run:
        run.define_metric("*", step_metric="epoch")
        for epoch in range(20):
            run.log({"epoch": epoch, "image": art.Image(pixels(epoch))})
    rows = again(run).history()
    assert [row["epoch"] for row in rows] == list(range(20))
    assert all("image" in row for row in rows)


def test_lists_of_different_things_are_refused(store_root: Path) -> None:
    with begin() as run:
        with pytest.raises(UsageError, match="'x' is a list of a Image and a int"):
            run.log({"x": [art.Image(pixels(1)), 3]})
        run.log({"x": 1.0})
    assert again(run).history()[0]["_step"] == 0


def test_a_table_without_pyarrow_is_refused(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "find_spec", lambda name: None)
    with begin() as run, pytest.raises(MissingExtraError, match=r"artline\[table\]"):
        run.log({"t": art.Table(["a"], [[1]])})


def test_a_table_that_cannot_be_kept_costs_a_warning(
    store_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with begin() as run:
        run.log({"t": art.Table(["a"], [[1], ["text"]]), "loss": 1.0})
        run.log({"loss": 2.0})
    assert "one table cannot be kept: the cells of column 'a'" in capsys.readouterr().err
    assert [row["loss"] for row in again(run).history()] == [1.0, 2.0]
    with pytest.raises(EntryNotFoundError, match="no media were logged as 't'"):
        again(run).media("t")


def test_little_waits_and_nothing_is_lost(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MOST_WAITING", 300_000)
    most = 0
    with begin() as run:
        for value in range(40):
            run.log({"image": art.Image(np.full((200, 200, 3), value, np.uint8))})
            desk = run.queue.take_late.__self__
            most = max(most, desk._admitted - desk._done)
    assert most <= 300_000
    assert sum("image" in row for row in again(run).history()) == 40


def test_a_disk_that_refuses_stops_nothing(
    store_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(media, "RETRIES", (0.0,))
    with begin() as run:
        Path(run.dir, "media").write_text("in the way")
        for value in range(4):
            run.log({"image": art.Image(pixels(value)), "loss": 1.0})
    said = capsys.readouterr().err
    assert said.count("cannot write under") == 1
    assert "4 could not be written" in said
    assert [row["loss"] for row in again(run).history()] == [1.0] * 4


def test_a_caller_waits_in_vain_once(
    store_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(media, "MOST_WAITING", 10)
    monkeypatch.setattr(media, "LONGEST_WAIT", 0.05)
    with begin() as run:
        run.log({"first": art.Image(pixels(9))})
        desk = run.queue.take_late.__self__
        monkeypatch.setattr(desk, "_admitted", 10**6)  # as if the thread hung over something large
        for value in range(5):
            run.log({"image": art.Image(pixels(value)), "loss": 1.0})
        monkeypatch.setattr(desk, "_admitted", 0)
    said = capsys.readouterr().err
    assert said.count("nothing was written for") == 1
    assert "5 could not be written" in said
    assert len(again(run).history(keys=["loss"])) == 5


def test_a_file_that_changed_is_refused(store_root: Path) -> None:
    with begin() as run:
        run.log({"image": art.Image(pixels(1))})
    (name,) = media_files(run)
    Path(run.dir, name).write_bytes(b"other")
    with pytest.raises(IntegrityError, match="does not match its digest"):
        again(run).media("image")


def test_a_large_file_may_go_once_it_is_logged(store_root: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(bytes(range(256)) * (70 << 10))
    with begin() as run:
        run.log({"film": art.Video(film, caption="large")})
        film.unlink()
    assert again(run).media("film").data == bytes(range(256)) * (70 << 10)


def test_a_fork_shows_what_its_parent_logged(store_root: Path) -> None:
    with begin() as parent:
        parent.log({"image": art.Image(pixels(1))})
        parent.log({"loss": 1.0})
    with begin(fork_from=f"{parent.id}?_step=0") as run:
        run.log({"image": art.Image(pixels(2))})
    found = again(run)
    assert [found.media("image", step=step).to_numpy()[0, 0, 0] for step in (0, 1)] == [1, 2]


KILLED = """
import os, signal, time
import numpy as np
import artline as art
from pathlib import Path

run = art.init(project="p", id="killed", save_code=False,
               settings={"quiet": True, "console": False, "stats_interval": 600.0, "flush_interval": 0.05})
for step in range(10):
    run.log({"loss": 1.0, "image": art.Image(np.full((4, 5, 3), step, np.uint8))})
journal = run._recorder.path
while b'"image"' not in journal.read_bytes() or journal.read_bytes().count(b"image-file") < 10:
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_keeps_what_was_written(store_root: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", KILLED], check=False, timeout=60)
    found = art.Api().run("p/killed")
    assert found.state == "crashed"
    assert [row["image"]["size"] > 0 for row in found.history()] == [True] * 10
    assert np.array_equal(found.media("image", step=7).to_numpy(), pixels(7))


CHEAP = """
import sys
import artline as art
with art.init(project="p", save_code=False, settings={"quiet": True}) as run:
    run.log({"loss": 1.0, "list": [1, 2]})
    assert "numpy" not in sys.modules and "artline.artifacts.media" not in sys.modules
    run.log({"page": art.Html("<b>")})
    assert "sqlalchemy" not in sys.modules
"""


def test_only_who_logs_media_loads_them(store_root: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", CHEAP], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
