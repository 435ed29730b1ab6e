"""The stat cache: unchanged files are not read again, and changed ones always are."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from artline.storage import change_time
from artline.storage.content import ContentStore
from artline.storage.recipe import Blob
from artline.storage.writer import ContentWriter

MIB = 1 << 20


def settle(path: Path) -> None:
    """Wait until the clock that stamps files has left the file's change time well behind."""
    while time.time_ns() - path.stat().st_ctime_ns < 150_000_000:
        os.sched_yield()


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the folder of the tests for one on a disk, whatever it is on."""
    monkeypatch.setattr(change_time, "_file_system", lambda device: "ext4")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of files that are opened to be added."""
    opened: list[str] = []
    real = ContentWriter._add_path

    def spy(self: ContentWriter, path: str, *others: Any) -> object:
        opened.append(os.path.basename(path))
        return real(self, path, *others)

    monkeypatch.setattr(ContentWriter, "_add_path", spy)
    return opened


def add(store: ContentStore, *paths: Path) -> list[Blob]:
    with store.writer() as writer:
        blobs = [blob for blob, _ in writer.add_files([str(path) for path in paths])]
        writer.flush()
    return blobs


def test_unchanged_files_are_not_read(store: ContentStore, tmp_path: Path, reads: list[str]) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"small")
    large.write_bytes(os.urandom(9 * MIB))
    settle(large)
    first = add(store, small, large)
    assert reads == ["small", "large"]
    assert add(store, small, large) == first
    assert reads == ["small", "large"]


def test_file_that_just_changed_is_read_again(store: ContentStore, tmp_path: Path, reads: list[str]) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    add(store, file)
    add(store, file)
    assert reads == ["file", "file"]


def test_edit_that_restores_the_modification_time(store: ContentStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    settle(file)
    (before,) = add(store, file)
    status = file.stat()
    file.write_bytes(b"after!")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    (after,) = add(store, file)
    assert after != before
    assert store.read(after.digest) == b"after!"


def test_another_file_moved_into_its_place(store: ContentStore, tmp_path: Path) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_bytes(b"before")
    other.write_bytes(b"after!")
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    settle(other)
    (before,) = add(store, file)
    other.rename(file)
    (after,) = add(store, file)
    assert after != before


def test_content_that_the_store_lost_is_read_again(
    store: ContentStore, tmp_path: Path, reads: list[str]
) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(9 * MIB))
    settle(file)
    (blob,) = add(store, file)
    with store.catalog.write() as connection:
        connection.exec_driver_sql("DELETE FROM chunk WHERE digest = ?", (store.chunks(blob)[3],))
    add(store, file)
    assert reads == ["file", "file"]
    assert store.open_blob(blob).read() == file.read_bytes()


@pytest.mark.parametrize("damage", [b"", b"not a database " * 1000])
def test_damaged_cache_costs_only_time(store: ContentStore, tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    settle(file)
    first = add(store, file)
    store.stat_cache.close()
    for path in (store.root / "cache").iterdir():
        path.unlink()
    (store.root / "cache" / "stat.db").write_bytes(damage)
    assert add(store, file) == first
    assert add(store, file) == first


def test_flipped_bit_in_a_row_is_not_believed(store: ContentStore, tmp_path: Path, reads: list[str]) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    settle(file)
    first = add(store, file)
    with contextlib.closing(sqlite3.connect(store.root / "cache" / "stat.db")) as connection, connection:
        (value,) = connection.execute("SELECT value FROM entry").fetchone()
        connection.execute("UPDATE entry SET value = ?", (value[:-1] + bytes([value[-1] ^ 1]),))
    assert add(store, file) == first
    assert reads == ["file", "file"]


def test_cache_of_another_store_is_not_used(store: ContentStore, tmp_path: Path, reads: list[str]) -> None:
    from artline.storage.stat_cache import StatCache

    file = tmp_path / "file"
    file.write_bytes(b"content")
    settle(file)
    add(store, file)
    store.stat_cache.close()
    other = StatCache(store.root / "cache" / "stat.db", "another")
    assert other.lookup(os.fsencode(tmp_path), [b"file"]) == {}
    other.close()
