"""The recorder: what it does by itself, and what failing, full and hanging disks make of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livescript import (
    QUIET,
    finish_of,
    history_of,
    journal_of,
    records_of,
    wait_until,
)

import artline as art
from artline.errors import StoreUnavailableError
from artline.runs import records
from artline.runs.journal import JournalWriter
from artline.runs.recorder import Recorder
from artline.runs.rows import RowQueue


def test_heartbeats_and_the_first_system_sample_come_by_themselves(store_root: Path) -> None:
    run = art.init(
        project="p",
        settings={**QUIET, "flush_interval": 0.02, "heartbeat_interval": 0.05, "stats_interval": 60.0},
    )

    def seen() -> bool:
        found = records_of(journal_of(run))
        beats = sum(isinstance(record, records.Heartbeat) for record in found)
        return beats >= 2 and any(isinstance(r, records.Rows) and r.stream == "system" for r in found)

    wait_until(seen, "heartbeats and a sample")
    run.finish()
    assert finish_of(journal_of(run)) == ("finished", 0)
    sample = history_of(journal_of(run), "system")[0]
    assert sample["_step"] == 0
    for name in ("cpu", "proc.cpu.threads", "proc.memory.rssMB", "memory_percent", "network.sent"):
        assert sample[name] >= 0.0


def test_a_queue_that_nobody_empties_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from artline.runs import rows as rows_module

    monkeypatch.setattr(rows_module, "MOST_CELLS", 1000)
    monkeypatch.setattr(rows_module, "WAKE_CELLS", 500)
    monkeypatch.setattr(rows_module, "LONGEST_WAIT", 0.02)
    woken = []
    queue = RowQueue(lambda: woken.append(1))
    for n in range(5000):
        queue.log({"n": n})
    assert len(queue.items) <= 201
    assert queue.dropped == 5000 - len(queue.items)
    assert woken
    assert len(queue.take()) + queue.dropped == 5000
    queue.log({"n": 1})
    assert len(queue.take()) == 1


def make_recorder(path: Path, **options: Any) -> Recorder:
    process = records.Process(1, 1, "", "", "h")
    start = records.Start("local", "p", "r", "w", 1, 0.0, process, {})
    return Recorder(JournalWriter(path), start, flush_interval=0.01, heartbeat_interval=60.0, **options)


END = records.Finish("finished", 0, 1.0, 1.0)


def test_a_deleted_journal_is_written_again_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deep" / "down"
    folder.mkdir(parents=True)
    recorder = make_recorder(folder / "j")
    recorder.queue.log({"a": 1})
    recorder.flush()
    (folder / "j").unlink()
    folder.rmdir()
    recorder.queue.log({"a": 2})
    recorder.flush()
    assert recorder.finish(END, 30)
    assert [row["a"] for row in history_of(folder / "j")] == [1, 2]
    assert capsys.readouterr().err.count("journal was deleted") == 1


def test_failing_writes_cost_one_warning_and_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.pwrite
    full = threading.Event()
    refused = threading.Event()

    def pwrite(fd: int, data: Any, offset: int) -> int:
        if full.is_set():
            refused.set()
            raise OSError(28, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    recorder = make_recorder(tmp_path / "j")
    recorder.queue.log({"a": 1})
    recorder.flush()
    full.set()
    for n in range(20):
        recorder.queue.log({"a": n})
        recorder.flush()
    assert refused.is_set()
    assert recorder.trouble
    full.clear()
    recorder.flush()
    assert not recorder.trouble
    assert recorder.finish(END, 30)
    said = capsys.readouterr().err
    assert said.count("cannot write") == 1
    assert said.count("j works again") == 1
    assert [row["a"] for row in history_of(tmp_path / "j")] == [1, *range(20)]


def test_writes_that_fail_for_long_stay_within_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from artline.runs import recorder as recorder_module

    monkeypatch.setattr(recorder_module, "MOST_PENDING", 10_000)
    recorder = make_recorder(tmp_path / "j")
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    for _ in range(100):
        for n in range(50):
            recorder.queue.log({"a": n})
        recorder.flush()
    assert recorder._writer.pending < 20_000
    monkeypatch.setattr(os, "pwrite", real)
    recorder.flush()
    recorder.queue.log({"after": 1})
    assert recorder.finish(END, 30)
    said = capsys.readouterr().err
    assert "are lost" in said
    found = history_of(tmp_path / "j")
    assert found[-1]["after"] == 1
    assert finish_of(tmp_path / "j") == ("finished", 0)


def test_an_end_that_cannot_be_written_is_told_and_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = make_recorder(tmp_path / "j")
    monkeypatch.setattr(
        os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    assert not recorder.finish(END, 30)
    assert "its end could not be written" in capsys.readouterr().err


def test_a_write_that_hangs_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = make_recorder(tmp_path / "j")
    release = threading.Event()
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (release.wait(60), real(fd)))
    assert not recorder.finish(END, 0.05)
    assert "hangs" in capsys.readouterr().err
    release.set()
    assert recorder.finish(END, 30)


def test_wrong_data_in_the_recorder_does_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = make_recorder(tmp_path / "j")
    recorder.put("not a record")  # type: ignore[arg-type]  # what must never happen
    recorder.flush()
    recorder.queue.log({"a": 1})
    assert recorder.finish(END, 30)
    assert "KeyError" in capsys.readouterr().err
    assert [row["a"] for row in history_of(tmp_path / "j")] == [1]


def test_what_has_no_json_form_costs_no_other_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = make_recorder(tmp_path / "j")
    recorder.queue.log({"a": 1})
    recorder.put(records.Update({"odd": Path("x")}))
    recorder.queue.log({"a": 2})
    assert recorder.finish(records.Finish("finished", 0, 2.0, 1.0), 5.0)
    assert [row["a"] for row in history_of(tmp_path / "j")] == [1, 2]
    assert finish_of(tmp_path / "j") == ("finished", 0)
    assert "one update record cannot be kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "kept"), [(np.int64(3), 3), (-9, -9), (2**70, 1), (True, 1), ("no", 1), (np.int64(0), 0)]
)
def test_any_exit_code_ends_a_run(store_root: Path, given: Any, kept: int) -> None:
    run = art.init(project="p", name=Path("n"), settings=QUIET)  # type: ignore[arg-type]  # as scripts do
    run.notes = Path("notes")  # type: ignore[assignment]
    run.log({"a": 1})
    run.finish(exit_code=given)
    assert finish_of(journal_of(run)) == ("failed" if kept else "finished", kept)
    assert len(history_of(journal_of(run))) == 1


def test_a_journal_that_cannot_be_begun_is_not_left_behind(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwrite(fd: int, data: Any, offset: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        with pytest.raises(StoreUnavailableError, match="No space left"):
            art.init(project="p", id="a", settings=QUIET)
    assert not list(store_root.rglob("*.journal"))
