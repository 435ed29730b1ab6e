"""Fixtures of the proofs: the tools that spoil system calls and clocks."""

from __future__ import annotations

import pytest
from services import faults


@pytest.fixture(scope="session")
def strace() -> str:
    """Return the path of strace."""
    return faults.strace()


@pytest.fixture(scope="session")
def faketime() -> str:
    """Return the path of libfaketime."""
    return faults.faketime()
