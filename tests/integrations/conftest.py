"""Frameworks as the tests want them: Keras on torch, few threads, nothing fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["KERAS_BACKEND"] = "torch"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture
def quiet(store_root: Path) -> Iterator[None]:
    """Begin no run with console, code or lines of its own; leave none open."""
    import artline as art

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("ART_QUIET", "1"), ("ART_CONSOLE", "0"), ("ART_SAVE_CODE", "0")):
            patch.setenv(name, value)
        yield
        while art.run is not None:
            art.finish()
