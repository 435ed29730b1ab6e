"""Edits that try to get past the stat cache: what is stored is always what the file holds."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from artline.storage import change_time
from artline.storage.change_time import _file_system, settled
from artline.storage.content import ContentStore
from artline.storage.writer import ContentWriter

SIZE = 8192


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the folder of the tests for one on a disk, whatever it is on."""
    monkeypatch.setattr(change_time, "_file_system", lambda device: "ext4")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of files that are opened to be added."""
    opened: list[str] = []
    real = ContentWriter._add_path

    def spy(self: ContentWriter, path: str, *rest: object) -> object:
        opened.append(os.path.basename(path))
        return real(self, path, *rest)  # type: ignore[arg-type]  # handed on as they are

    monkeypatch.setattr(ContentWriter, "_add_path", spy)
    return opened


def settle(*paths: Path) -> None:
    """Wait until the clock that stamps files has left the files' change times well behind."""
    while time.time_ns() - max(path.stat().st_ctime_ns for path in paths) < 150_000_000:
        os.sched_yield()


def stored(store: ContentStore, path: Path) -> bytes:
    """Add a file and return what the store then has for it."""
    with store.writer() as writer:
        blob = writer.add_file(path)
        writer.flush()
    return store.open_blob(blob).read()


def times(path: Path) -> tuple[int, int]:
    return path.stat().st_mtime_ns, path.stat().st_ctime_ns


def test_a_second_write_through_a_map_leaves_no_trace_but_is_seen(
    store: ContentStore, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a" * SIZE)
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), SIZE) as memory:
        opened.close()
        memory[0:1] = b"b"
        settle(file)
        assert stored(store, file) == bytes(memory)
        before = times(file)
        memory[1:2] = b"c"
        assert times(file) == before
        assert stored(store, file) == bytes(memory)


def test_what_nobody_writes_any_more_is_known_again(
    store: ContentStore, tmp_path: Path, reads: list[str]
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a" * SIZE)
    settle(file)
    with file.open("r+b"):
        stored(store, file)
        stored(store, file)
    assert len(reads) == 2
    stored(store, file)
    stored(store, file)
    assert len(reads) == 3
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), SIZE) as memory:
        memory[5:6] = memory[6:7] = b"z"
        assert stored(store, file) == bytes(memory)


def test_what_is_being_read_by_others_is_known_again(
    store: ContentStore, tmp_path: Path, reads: list[str]
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a" * SIZE)
    settle(file)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), SIZE, access=mmap.ACCESS_READ):
        stored(store, file)
        stored(store, file)
    assert len(reads) == 1


def in_place(file: Path, other: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"b")


def through_another_name(file: Path, other: Path) -> None:
    other.unlink()
    os.link(file, other)
    in_place(other, file)


def swapped(file: Path, other: Path) -> None:
    between = file.with_name("between")
    file.rename(between)
    other.rename(file)
    between.rename(other)


def exchanged_and_back_with_an_edit(file: Path, other: Path) -> None:
    swapped(file, other)
    in_place(other, file)
    swapped(file, other)


def made_anew(file: Path, other: Path) -> None:
    file.unlink()
    file.write_bytes(b"b" * SIZE)


def cut_and_filled(file: Path, other: Path) -> None:
    os.truncate(file, SIZE - 1)
    os.truncate(file, SIZE)


def folder_behind_a_link(file: Path, other: Path) -> None:
    folder = file.parent
    old = folder.with_name("old")
    folder.rename(old)
    new = folder.with_name("new")
    new.mkdir()
    (new / file.name).write_bytes(b"b" * SIZE)
    folder.symlink_to(new)


EDITS = [
    in_place, through_another_name, swapped, exchanged_and_back_with_an_edit, made_anew, cut_and_filled,
    folder_behind_a_link,
]  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_that_keeps_size_and_modification_time(
    store: ContentStore, tmp_path: Path, edit: Callable[[Path, Path], None]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file, other = folder / "file", folder / "other"
    file.write_bytes(b"a" * SIZE)
    other.write_bytes(b"o" * SIZE)
    os.utime(file, ns=(10**18, 10**18))
    os.utime(other, ns=(10**18, 10**18))
    settle(file, other)
    assert stored(store, file) == b"a" * SIZE
    edit(file, other)
    os.utime(file, ns=(10**18, 10**18))
    now = file.read_bytes()
    assert now != b"a" * SIZE
    assert len(now) == SIZE
    assert stored(store, file) == now


def test_a_clock_that_is_behind_the_files_records_nothing(
    store: ContentStore, tmp_path: Path, reads: list[str]
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a")
    settle(file)
    real = time.time_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: real() - 3_600_000_000_000)
        stored(store, file)
    stored(store, file)
    stored(store, file)
    assert len(reads) == 2


def status_of(changed: int) -> os.stat_result:
    fields = (0o100644, 1, 1, 1, 0, 0, 1, 0, 0, changed // 10**9)
    return os.stat_result(fields, {"st_ctime_ns": changed, "st_mtime_ns": changed})


@pytest.mark.parametrize(
    ("age", "fraction", "expected"),
    [
        (50_000_000, 123_456_789, False),  # within a tick
        (200_000_000, 123_456_789, True),
        (200_000_000, 0, False),  # perhaps only whole seconds are kept
        (2_000_000_000, 0, False),  # or every other one
        (3_000_000_000, 0, True),
        (-5_000_000_000, 123_456_789, False),  # the clock was set back
    ],
)
def test_how_old_a_change_must_be(tmp_path: Path, age: int, fraction: int, expected: bool) -> None:
    file = tmp_path / "file"
    file.touch()
    changed = 1_700_000_000_000_000_000 + fraction
    with file.open("rb") as opened:
        assert settled(opened.fileno(), status_of(changed), changed + age) is expected


@pytest.mark.parametrize(
    ("kind", "recent", "old"),
    [
        ("ext4", True, True),
        ("tmpfs", False, False),
        ("vfat", False, False),
        ("fuse.sshfs", False, False),
        ("fuse.juicefs", True, True),
        ("overlay", False, True),
        ("", True, True),
    ],
)
def test_which_file_systems_keep_the_time_of_every_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, recent: bool, old: bool
) -> None:
    monkeypatch.setattr(change_time, "_file_system", lambda device: kind)
    file = tmp_path / "file"
    file.touch()
    changed = 1_700_000_000_123_456_789
    with file.open("rb") as opened:
        assert settled(opened.fileno(), status_of(changed), changed + 10**9) is recent
        assert settled(opened.fileno(), status_of(changed), changed + 300 * 10**9) is old


def test_the_kind_of_a_file_system_is_found() -> None:
    assert _file_system(os.stat("/proc").st_dev) == "proc"
    assert _file_system(os.makedev(4095, 77)) == ""
