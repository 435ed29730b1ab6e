"""Event files written here byte by byte; for those of real writers see tests/integrations."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import artline as art
from artline.errors import UsageError
from artline.runs.tensorboard_events import EventFile, masked_crc32c

QUIET = {"quiet": True, "console": False, "save_code": False}


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def part(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def scalar(tag: str, value: float) -> bytes:
    return part(1, part(1, tag.encode()) + b"\x15" + struct.pack("<f", value))


def frame(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc32c(head)) + data + struct.pack("<I", masked_crc32c(data))


def event(step: int, time: float, *values: bytes) -> bytes:
    return frame(b"\x09" + struct.pack("<d", time) + b"\x10" + varint(step) + part(5, b"".join(values)))


def test_the_checksum_is_the_one_of_the_format() -> None:
    # RFC 3720, B.4: the CRC-32C of 32 zero bytes is 8a9136aa
    assert masked_crc32c(bytes(32)) == (((0x8A9136AA >> 15) | (0x8A9136AA << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_event_files_under_a_root_are_mirrored(store_root: Path) -> None:
    logs = Path("logs")
    (logs / "train").mkdir(parents=True)
    (logs / "events.out.tfevents.1.old").write_bytes(event(1, 1.0, scalar("old", 1.0)))
    with art.init(project="boards", settings=QUIET) as run:
        run.log({"own": 1})
        art.tensorboard.patch(root_logdir=logs)
        (logs / "train" / "events.out.tfevents.2.new").write_bytes(
            event(5, 100.0, scalar("loss", 0.5), scalar("acc", 0.25))
            + event(5, 101.0, scalar("lr", 2.0))
            + event(-3, 102.0, scalar("loss", 0.75))
        )
        run.log({"own": 2})
    art.tensorboard.unpatch()
    rows: list[dict[str, Any]] = list(art.Api().run(f"boards/{run.id}").scan_history())
    mirrored = [row for row in rows if "own" not in row]
    assert [(row["_step"], row["_timestamp"]) for row in mirrored] == [(-3, 102.0), (5, 101.0)]
    assert mirrored[0]["train/loss"] == 0.75
    assert {key: mirrored[1][key] for key in ("train/loss", "train/acc", "train/lr")} == {
        "train/loss": 0.5,
        "train/acc": 0.25,
        "train/lr": 2.0,
    }
    assert [row["_step"] for row in rows if "own" in row] == [0, 1]


def test_a_root_needs_a_run(store_root: Path) -> None:
    with pytest.raises(UsageError, match="no run is in progress"):
        art.tensorboard.patch(root_logdir="logs")


def test_what_cannot_be_logged_is_said_once_and_left_out(
    store_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = Path("logs")
    logs.mkdir()
    with art.init(project="boards", settings=QUIET) as run:
        art.tensorboard.patch(root_logdir=logs)
        audio = part(1, part(1, b"sound") + part(6, b""))
        (logs / "events.out.tfevents.1").write_bytes(
            event(0, 1.0, scalar("_step", 1.0))
            + event(1, 1.0, audio)
            + event(2, 1.0, audio, scalar("x", 1.0))
        )
    art.tensorboard.unpatch()
    said = capsys.readouterr().err
    assert said.count("'sound' is of the kind audio") == 1
    assert said.count("'_step' is Artline's own") == 1
    assert [row["x"] for row in art.Api().run(f"boards/{run.id}").scan_history()] == [1.0]


@settings(max_examples=500, deadline=None)
@given(data=st.binary(max_size=300), cut=st.integers(0, 400))
def test_no_bytes_make_the_reader_fail(data: bytes, cut: int, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "events.out.tfevents.fuzzed"
    whole = event(1, 1.0, scalar("x", 1.0)) + frame(data) + event(2, 1.0, part(1, data)) + data
    path.write_bytes(whole[: len(whole) - cut] if cut else whole)
    file = EventFile(path)
    found = list(file.read())
    assert len(found) <= 4
    if cut == 0:
        assert found[0].values == {"x": 1.0}
