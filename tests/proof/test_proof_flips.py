"""A flipped bit in any kind of file is noticed, named, and never delivered."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proof.flips import TARGETS, attempt


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_flipped_bit_is_never_delivered(
    target: Callable[[random.Random, Path, Path], None], tmp_path: Path, seed: int
) -> None:
    attempt(target, random.Random(seed), tmp_path)
