"""``run.watch`` where there is no PyTorch; with it see tests/integrations."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

import artline as art
from artline.errors import UsageError
from artline.runs.gradients import BINS, histogram_text

QUIET = {"quiet": True, "console": False, "save_code": False}


def test_without_torch_watch_says_what_is_missing(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.nn", None)
    with art.init(project="nets", settings=QUIET) as run, pytest.raises(UsageError, match="needs PyTorch"):
        run.watch(object())


def test_a_disabled_run_watches_nothing(store_root: Path) -> None:
    with art.init(mode="disabled") as run:
        run.watch(object())
        run.unwatch()


def test_wrong_arguments_are_refused_before_anything_is_imported(store_root: Path) -> None:
    with art.init(project="nets", settings=QUIET) as run:
        with pytest.raises(UsageError, match="log must be"):
            run.watch(object(), log="weights")  # type: ignore[arg-type]  # on purpose
        with pytest.raises(UsageError, match="log_freq must be"):
            run.watch(object(), log_freq=0)


def test_a_histogram_is_logged_and_read_as_it_was_taken(store_root: Path) -> None:
    bounds = struct.unpack("<ii", struct.pack("<ff", -1.0, 1.0))
    text = histogram_text([1] * BINS + [2, 0, *bounds])
    with art.init(project="nets", settings=QUIET) as run:
        run.log({"gradients/w": text, "nested": {"also": text}})
    row = next(iter(art.Api().run(f"nets/{run.id}").scan_history()))
    assert row["gradients/w"] == row["nested.also"]
    assert row["gradients/w"]["values"] == [1] * BINS
    assert row["gradients/w"]["bins"][:2] == [-1.0, -0.96875]
    assert row["gradients/w"]["nan"] == 2
    assert "inf" not in row["gradients/w"]
