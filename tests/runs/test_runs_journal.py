"""The journal: what was written is read back, and a torn tail costs only itself."""

from __future__ import annotations

import errno
import json
import math
import os
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artline.errors import IntegrityError, StoreTooNewError
from artline.runs import journal, records
from artline.runs.journal import JournalReader, JournalWriter, read_journal

PROCESS = records.Process(4321, 987654, "5b2c", "4026531836", "host-1")
START = records.Start("local", "digits", "abc", "w1", 1, 1700000000.5, PROCESS, {"name": "calm-fox-1"})
OTHERS: list[records.Record] = [
    records.Update({"tags": ["a", "ü"], "git": {"commit": "0" * 40}}),
    records.Config({"optimizer.lr": 0.1, "odd": [1, None, "x"]}, ["gone"]),
    records.Define({"name": "val/*", "summary": ["max"]}),
    records.Summary({"best": 0.5}, ["acc"]),
    records.Console("stderr", 12.25, b"\x00\xff half \xc3"),
    records.File("logs/out.txt", "end"),
    records.Edge("output", "digits:v1"),
    records.Heartbeat(5.0),
    records.Rewind(41),
    records.Finish("failed", 3, 9.5, 8.25),
]


def rows(keys: tuple[str, ...], types: str, *columns: list[Any], first: int = 0) -> records.Rows:
    count = len(columns[0])
    steps, times = list(range(count)), [float(n) for n in range(count)]
    return records.Rows("history", keys, types, steps, times, columns, range(first, first + count))


def plain(record: records.Record | None) -> Any:
    """Make a record comparable: arrays become lists, floats their exact hexadecimal."""

    def flat(value: Any) -> Any:
        if isinstance(value, (list, tuple, array, range)):
            return [flat(item) for item in value]
        return value.hex() if isinstance(value, float) else value

    if isinstance(record, records.Rows):
        parts = (record.steps, record.times, record.columns, record.orders)
        return (record.stream, record.keys, record.types, *map(flat, parts))
    return record


def write(path: Path, *items: records.Record) -> None:
    writer = JournalWriter(path)
    for item in items:
        writer.append(item)
    writer.flush(fsync=True)
    writer.close()


def read(path: Path) -> list[records.Record]:
    return [frame.record for frame in read_journal(path) if frame.record is not None]


def test_every_record_comes_back_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "j", START, *OTHERS)
    assert read(tmp_path / "j") == [START, *OTHERS]


def test_non_finite_values_survive_in_json_records(tmp_path: Path) -> None:
    write(tmp_path / "j", records.Summary({"a": math.inf, "b": -math.inf, "c": math.nan}, []))
    [record] = read(tmp_path / "j")
    assert isinstance(record, records.Summary)
    assert record.values["a"] == math.inf
    assert record.values["b"] == -math.inf
    assert math.isnan(record.values["c"])


@st.composite
def row_records(draw: st.DrawFn) -> records.Rows:
    keys = tuple(draw(st.lists(st.text(max_size=6), min_size=1, max_size=5, unique=True)))
    types = "".join(draw(st.sampled_from("dq?j")) for _ in keys)
    count = draw(st.integers(1, 8))
    values = {
        "d": st.floats(),
        "q": st.integers(-(2**63), 2**63 - 1),
        "?": st.booleans(),
        "j": st.text(max_size=5).map(json.dumps),
    }
    columns = [draw(st.lists(values[t], min_size=count, max_size=count)) for t in types]
    steps = draw(st.lists(values["q"], min_size=count, max_size=count))
    times = draw(st.lists(st.floats(0, 1e10), min_size=count, max_size=count))
    orders = sorted(draw(st.sets(st.integers(0, 2**40), min_size=count, max_size=count)))
    stream = draw(st.sampled_from(["history", "system"]))
    return records.Rows(stream, keys, types, steps, times, columns, orders)


@settings(deadline=None)
@given(items=st.lists(row_records(), max_size=6))
def test_rows_of_any_types_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, items: list[records.Rows]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    write(path, *items)
    assert [plain(record) for record in read(path)] == [plain(item) for item in items]


def test_many_rows_are_split_into_frames_and_keep_their_order(tmp_path: Path) -> None:
    count = 3 * journal.ROWS_IN_FRAME + 1
    write(tmp_path / "j", rows(("a",), "q", list(range(count)), first=7))
    found = [record for record in read(tmp_path / "j") if isinstance(record, records.Rows)]
    assert len(found) == 4
    assert [value for record in found for value in record.columns[0]] == list(range(count))
    assert [order for record in found for order in record.orders] == list(range(7, 7 + count))


def test_long_texts_are_split_below_the_frame_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_PAYLOAD", 4096)
    texts = [json.dumps(str(n) * 1000) for n in range(9)]
    write(tmp_path / "j", rows(("a",), "j", texts))
    found = [record for record in read(tmp_path / "j") if isinstance(record, records.Rows)]
    assert [text for record in found for text in record.columns[0]] == texts


def test_an_integer_beyond_64_bits_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    count = journal.ROWS_IN_FRAME + 1
    writer = JournalWriter(tmp_path / "j")
    with pytest.raises(OverflowError):
        writer.append(rows(("a",), "q", [1] * (count - 1) + [2**63]))
    writer.append(records.Heartbeat(1.0))
    writer.flush()
    writer.close()
    assert read(tmp_path / "j") == [records.Heartbeat(1.0)]


def test_reading_resumes_at_any_frame_with_nothing_but_the_offset(tmp_path: Path) -> None:
    write(
        tmp_path / "j",
        START,
        rows(("a", "b"), "dq", [0.5], [1]),
        records.Heartbeat(1.0),
        rows(("a",), "d", [2.5]),
        rows(("a", "b"), "dq", [1.5, 2.5], [3, 4]),
    )
    frames = list(read_journal(tmp_path / "j"))
    for number, frame in enumerate(frames):
        later = list(read_journal(tmp_path / "j", frame.end, frame.seq + 1))
        assert [(f.seq, f.end, plain(f.record)) for f in later] == [
            (f.seq, f.end, plain(f.record)) for f in frames[number + 1 :]
        ]


def test_a_journal_cut_at_any_byte_yields_exactly_the_whole_frames_before_the_cut(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    write(whole, START, rows(("a",), "d", [1.0, 2.0]), *OTHERS)
    frames = list(read_journal(whole))
    data = whole.read_bytes()
    cut = tmp_path / "cut"
    for size in range(len(data) + 1):
        cut.write_bytes(data[:size])
        reader = JournalReader(cut)
        expected = [frame.seq for frame in frames if frame.end <= size]
        assert [frame.seq for frame in reader] == expected
        assert bool(reader.damage) == (size not in {0, 16, *(frame.end for frame in frames)})
        assert reader.offset == max([frames[n].end for n in expected], default=16 if size >= 16 else 0)


@settings(deadline=None)
@given(at=st.integers(0), flip=st.integers(1, 255))
def test_a_changed_byte_stops_the_reader_before_its_frame(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    write(path, START, rows(("a",), "d", [1.0, 2.0]), *OTHERS)
    frames = list(read_journal(path))
    data = bytearray(path.read_bytes())
    at = 16 + at % (len(data) - 16)
    data[at] ^= flip
    path.write_bytes(data)
    reader = JournalReader(path)
    assert [f.seq for f in reader] == [f.seq for f in frames if f.end <= at]
    assert reader.damage


def test_a_reader_goes_on_where_the_writer_does(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "j")
    reader = JournalReader(tmp_path / "j")
    assert list(reader) == []
    for number in range(3):
        writer.append(records.Heartbeat(float(number)))
        writer.flush()
        assert [frame.record for frame in reader] == [records.Heartbeat(float(number))]
    writer.close()


def test_unknown_frame_types_are_passed_over_but_counted(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "j")
    writer._frame(200, b"from the future")
    writer.append(records.Heartbeat(1.0))
    writer.flush()
    writer.close()
    assert [(f.seq, f.record) for f in read_journal(tmp_path / "j")] == [
        (0, None),
        (1, records.Heartbeat(1.0)),
    ]


def test_fields_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    process = {"pid": 1, "started": 2, "boot_id": "", "pid_namespace": "", "host": "h", "later": 1}
    start = {
        "entity": "e",
        "project": "p",
        "run_id": "r",
        "writer": "w",
        "attempt": 1,
        "time": 0.0,
        "info": {},
    }
    writer = JournalWriter(tmp_path / "j")
    writer._frame(journal.START, journal.encode_json({**start, "process": process, "later": [1]}))
    writer._frame(journal.HEARTBEAT, journal.encode_json({"time": 1.0, "mood": "good"}))
    writer.flush()
    writer.close()
    first, second = [frame.record for frame in read_journal(tmp_path / "j")]
    assert isinstance(first, records.Start)
    assert first.process.host == "h"
    assert second == records.Heartbeat(1.0)


def test_foreign_and_newer_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"not a journal at all")
    with pytest.raises(IntegrityError, match="is not a run journal"):
        list(read_journal(path))
    path.write_bytes(journal.FILE_HEADER.pack(journal.MAGIC, 2, 0))
    with pytest.raises(StoreTooNewError, match="format 2"):
        list(read_journal(path))


def test_two_writers_never_share_a_file(tmp_path: Path) -> None:
    JournalWriter(tmp_path / "j").close()
    with pytest.raises(FileExistsError):
        JournalWriter(tmp_path / "j")


def test_a_write_that_fails_halfway_is_repeated_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path / "j")
    writer.append(START)
    writer.flush()
    real = os.pwrite
    left = [30]

    def full(fd: int, data: Any, offset: int) -> int:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(fd, bytes(data)[: left[0]], offset)
        left[0] -= count
        return count

    monkeypatch.setattr(os, "pwrite", full)
    for number in range(5):
        writer.append(records.Heartbeat(float(number)))
    with pytest.raises(OSError, match="No space"):
        writer.flush()
    assert read(tmp_path / "j") == [START]
    writer.append(records.Heartbeat(5.0))
    monkeypatch.undo()
    writer.flush(fsync=True)
    writer.close()
    assert read(tmp_path / "j") == [START, *(records.Heartbeat(float(n)) for n in range(6))]


def test_a_writer_notices_that_its_file_was_deleted_or_replaced(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "j")
    assert not writer.lost()
    (tmp_path / "j").unlink()
    assert writer.lost()
    (tmp_path / "j").write_bytes(b"")
    assert writer.lost()
    writer.close()
