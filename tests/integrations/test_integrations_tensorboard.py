"""Event files of real TensorBoard writers, mirrored to a run as they are written."""

from __future__ import annotations

import importlib
import random
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import artline as art
from artline.errors import UsageError
from artline.runs.tensorboard_events import EventFile, masked_crc32c

WRITERS = ("torch.utils.tensorboard", "tensorboardX")
QUIET = {"quiet": True, "console": False, "save_code": False}


@pytest.fixture(autouse=True)
def unpatched() -> Iterator[None]:
    yield
    art.tensorboard.unpatch()
    art.finish()


def writer_of(name: str) -> Any:
    return importlib.import_module(name).SummaryWriter


def begin(**named: Any) -> Any:
    return art.init(project="boards", settings=QUIET, **named)


def rows(run: Any) -> list[dict[str, Any]]:
    run.finish()
    return list(art.Api().run(f"boards/{run.id}").scan_history())


@pytest.mark.parametrize("name", WRITERS)
def test_scalars_keep_their_steps_and_times(name: str, store_root: Path) -> None:
    run = begin(sync_tensorboard=True)
    writer = writer_of(name)("logs")
    for step in (0, 10, 20):
        writer.add_scalar("train/loss", 1.0 / (step + 1), step, walltime=1000.0 + step)
        writer.add_scalar("lr", 0.5, step, walltime=1000.0 + step)
    run.log({"own": 1})
    run.log({"own": 2})
    found = rows(run)  # the writer is neither flushed nor closed
    writer.close()
    mirrored = [row for row in found if "lr" in row]
    assert [(row["_step"], row["_timestamp"], row["lr"]) for row in mirrored] == [
        (0, 1000.0, 0.5),
        (10, 1010.0, 0.5),
        (20, 1020.0, 0.5),
    ]
    assert mirrored[1]["train/loss"] == pytest.approx(1 / 11)
    assert [row["_step"] for row in found if "own" in row] == [0, 1]


@pytest.mark.parametrize("name", WRITERS)
def test_histograms_images_texts_and_hyperparameters(name: str, store_root: Path) -> None:
    run = begin()
    art.tensorboard.patch()
    writer = writer_of(name)("logs")
    values = numpy.random.default_rng(1).normal(size=1000)
    writer.add_histogram("weights", values, 3)
    writer.add_image("picture", numpy.full((3, 5, 7), 200, numpy.uint8), 3)
    writer.add_text("note", "two words", 3)
    writer.add_hparams({"lr": 0.1, "optimizer": "adam", "fast": True}, {"accuracy": 0.5})
    writer.close()
    found = {key: value for row in rows(run) for key, value in row.items() if not key.startswith("_")}
    histogram = found["weights"]
    assert histogram["_type"] == "histogram"
    assert sum(histogram["values"]) == 1000
    assert histogram["bins"][0] == pytest.approx(values.min())
    assert histogram["bins"][-1] == pytest.approx(values.max())
    picture = found["picture"]
    assert (picture["_type"], picture["width"], picture["height"]) == ("image-file", 7, 5)
    text = next(value for key, value in found.items() if key.startswith("note"))
    assert text == "two words"
    assert found["accuracy"] == 0.5
    config = art.Api().run(f"boards/{run.id}").config
    assert config == {"lr": pytest.approx(0.1), "optimizer": "adam", "fast": True}


@pytest.mark.parametrize("name", WRITERS)
def test_events_arrive_while_the_run_goes_on(name: str, store_root: Path) -> None:
    run = begin(sync_tensorboard=True)
    arrived = threading.Event()
    take = run.queue.log_at
    run.queue.log_at = lambda *row: (take(*row), arrived.set())
    writer = writer_of(name)("logs")
    writer.add_scalar("loss", 1.0, 1)  # which writers themselves keep back for two minutes
    assert arrived.wait(30)
    assert run.summary["loss"] == 1.0
    writer.add_scalar("loss", 2.0, 2)
    writer.close()
    assert [row["loss"] for row in rows(run)] == [1.0, 2.0]


def test_folders_of_writers_become_prefixes(store_root: Path) -> None:
    run = begin(sync_tensorboard=True)
    for part in ("train", "validation"):
        writer = writer_of("torch.utils.tensorboard")(f"logs/{part}")
        writer.add_scalar("loss", 1.0, 0)
        writer.close()
    assert {key for row in rows(run) for key in row if key[0] != "_"} == {"train/loss", "validation/loss"}


def test_add_scalars_and_writers_below_the_first(store_root: Path) -> None:
    run = begin(sync_tensorboard=True)
    writer = writer_of("tensorboardX")("logs")
    writer.add_scalars("losses", {"one": 1.0, "two": 2.0}, 7)
    writer.close()
    below = writer_of("tensorboardX")("logs/deeper/still")
    below.add_scalar("x", 3.0, 7)
    below.close()
    found = {key: value for row in rows(run) for key, value in row.items() if key[0] != "_"}
    assert found == {"losses/one/losses": 1.0, "losses/two/losses": 2.0, "deeper/still/x": 3.0} or found == {
        "losses_one/losses": 1.0,
        "losses_two/losses": 2.0,
        "deeper/still/x": 3.0,
    }


def test_a_root_is_read_whoever_writes_there(store_root: Path) -> None:
    old = writer_of("tensorboardX")("logs/old")
    old.add_scalar("x", 0.0, 0)
    old.close()
    run = begin()
    art.tensorboard.patch(root_logdir="logs")
    program = (
        "from tensorboardX import SummaryWriter; w = SummaryWriter('logs/child/train'); "
        "w.add_scalar('x', 1.0, 5); w.close()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    found = rows(run)
    assert [(row["_step"], row["child/train/x"]) for row in found] == [(5, 1.0)]


def test_old_files_in_a_writers_folder_are_left_alone(store_root: Path) -> None:
    for _ in range(2):
        run = begin(sync_tensorboard=True)
        writer = writer_of("torch.utils.tensorboard")("logs")
        writer.add_scalar("x", 1.0, 0)
        writer.close()
        assert len(rows(run)) == 1


def test_a_writer_is_noticed_before_and_after_its_module_is_imported(store_root: Path) -> None:
    program = """
import artline as art, sys
run = art.init(project="boards", sync_tensorboard=True)
assert "tensorboard" not in sys.modules and "torch" not in sys.modules
from tensorboardX import SummaryWriter
writer = SummaryWriter("logs"); writer.add_scalar("x", 1.0, 0)
run.finish()
art.tensorboard.unpatch()
assert not any(type(f).__module__.startswith("artline") for f in sys.meta_path)
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    run = next(iter(art.Api().runs("boards")))
    assert [row["x"] for row in run.scan_history()] == [1.0]


def test_unpatch_and_a_disabled_run_leave_writers_alone(store_root: Path) -> None:
    run = begin(sync_tensorboard=True)
    art.tensorboard.unpatch()
    writer = writer_of("tensorboardX")("logs")
    writer.add_scalar("x", 1.0, 0)
    writer.close()
    assert rows(run) == []
    with art.init(mode="disabled", sync_tensorboard=True):
        writer_of("tensorboardX")("more").close()


def test_event_files_are_kept_where_asked(store_root: Path) -> None:
    run = begin()
    art.tensorboard.patch(save=True)
    writer = writer_of("tensorboardX")("logs")
    writer.add_scalar("x", 1.0, 5)
    assert len(rows(run)) == 1
    writer.close()
    found = [file for file in art.Api().run(f"boards/{run.id}").files() if "tfevents" in file.name]
    assert [file.name.split("/")[0] for file in found] == ["logs"]
    (event,) = EventFile(Path(found[0].download(root="down"))).read()
    assert (event.step, event.values) == (5, {"x": 1.0})


def test_a_root_needs_a_run(store_root: Path) -> None:
    with pytest.raises(UsageError, match="no run is in progress"):
        art.tensorboard.patch(root_logdir="logs")


def _tensor_event(step: int, value: bytes, plugin: str) -> bytes:
    """Return the frame of an event of the later form, as TensorFlow 2 writes it."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.tensor_pb2 import TensorProto

    event = Event(wall_time=5.0, step=step)
    one = event.summary.value.add(tag="x", tensor=TensorProto.FromString(value))
    one.metadata.plugin_data.plugin_name = plugin
    data = event.SerializeToString()
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc32c(head)) + data + struct.pack("<I", masked_crc32c(data))


def test_tensors_of_the_later_form(tmp_path: Path) -> None:
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.util.tensor_util import make_tensor_proto

    scalar = make_tensor_proto(numpy.float32(0.25)).SerializeToString()
    spread = make_tensor_proto(numpy.array([[0.0, 1.0, 3.0], [1.0, 2.0, 4.0]])).SerializeToString()
    images = TensorProto(dtype=7, string_val=[b"7", b"5", b"one", b"two"]).SerializeToString()
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(
        _tensor_event(1, scalar, "scalars")
        + _tensor_event(-1, spread, "histograms")
        + _tensor_event(2**40, images, "images")
        + _tensor_event(3, scalar, "mesh")
    )
    one, two, three, four = EventFile(path).read()
    assert (one.step, one.time, one.values) == (1, 5.0, {"x": 0.25})
    assert (two.step, two.values["x"].counts, two.values["x"].edges) == (-1, [3, 4], [0.0, 1.0, 2.0])
    assert (three.step, three.values) == (2**40, {"x": [b"one", b"two"]})
    assert (four.values, four.skipped) == ({}, {"x": "mesh"})


def test_a_file_read_in_any_pieces_gives_the_same(tmp_path: Path) -> None:
    writer = writer_of("tensorboardX")(str(tmp_path / "whole"))
    for step in range(50):
        writer.add_scalar("x", step, step)
        writer.add_text("t", "long " * step, step)
    writer.close()
    whole = next((tmp_path / "whole").iterdir()).read_bytes()
    expected = list(EventFile(next((tmp_path / "whole").iterdir())).read())
    assert len(expected) == 100
    path = tmp_path / "growing"
    path.touch()
    file, found, place = EventFile(path), [], 0
    choose = random.Random(7)
    while place < len(whole):
        size = choose.randrange(1, 200)
        with path.open("ab") as stream:
            stream.write(whole[place : place + size])
        place += size
        found += file.read()
    assert found == expected


def test_a_damaged_file_is_read_up_to_the_damage(tmp_path: Path) -> None:
    writer = writer_of("tensorboardX")(str(tmp_path / "whole"))
    for step in range(5):
        writer.add_scalar("x", step, step)
    writer.close()
    whole = next((tmp_path / "whole").iterdir())
    count = len(list(EventFile(whole).read()))
    path = tmp_path / "damaged"
    path.write_bytes(whole.read_bytes() + b"\xff" * 100)
    file = EventFile(path)
    assert len(list(file.read())) == count
    assert "no record begins at byte" in file.broken
    for size in range(0, whole.stat().st_size, 3):  # bytes of anything never raise
        path.write_bytes(whole.read_bytes()[:size] + random.Random(size).randbytes(64))
        list(EventFile(path).read())
