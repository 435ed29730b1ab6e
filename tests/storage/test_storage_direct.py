"""Appending past the page cache: what was appended is in the file, and a failure stays one."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artline.storage.direct import BUFFER_SIZE, DirectAppender


def write(path: Path, appender: DirectAppender, parts: list[bytes | bytearray]) -> bytes:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        appender.begin(descriptor)
        for part in parts:
            appender.append([part])
        appender.finish()
    finally:
        os.close(descriptor)
    return path.read_bytes()


sizes = st.sampled_from([0, 1, 64, 4095, 4096, 100_000, BUFFER_SIZE - 1, BUFFER_SIZE, BUFFER_SIZE + 1])


@given(files=st.lists(st.lists(sizes, max_size=6), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_files_hold_what_was_appended(
    files: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    appender = DirectAppender()
    path = tmp_path_factory.getbasetemp() / "appended"
    try:
        for number, lengths in enumerate(files):
            parts: list[bytes | bytearray] = []
            for place, size in enumerate(lengths):
                data = (os.urandom(16) * (size // 16 + 1))[:size]
                parts.append(data if place % 2 else bytearray(data))
            assert write(path, appender, [*parts, b"end %d" % number]) == b"".join(parts) + b"end %d" % number
    finally:
        appender.close()


def test_a_failed_write_fails_the_file_and_not_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appender = DirectAppender()
    real = os.pwrite
    refused: list[int] = []

    def once(descriptor: int, data: memoryview, position: int) -> int:
        if not refused:
            refused.append(position)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, position)

    monkeypatch.setattr(os, "pwrite", once)
    try:
        with pytest.raises(OSError, match="No space") as caught:
            write(tmp_path / "a", appender, [bytes(BUFFER_SIZE), bytes(BUFFER_SIZE), b"more"])
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(OSError, match="No space"):
            appender.append([b"later"])
        with pytest.raises(OSError, match="No space"):
            appender.finish()
        assert write(tmp_path / "b", appender, [b"fine"]) == b"fine"
    finally:
        appender.close()


def test_a_file_system_that_refuses_unbuffered_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appender = DirectAppender()
    real = os.pwrite

    def picky(descriptor: int, data: memoryview, position: int) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, data[:1000], position)  # and takes little at a time

    monkeypatch.setattr(os, "pwrite", picky)
    content = os.urandom(BUFFER_SIZE + 5000)
    try:
        assert write(tmp_path / "a", appender, [content]) == content
    finally:
        appender.close()
