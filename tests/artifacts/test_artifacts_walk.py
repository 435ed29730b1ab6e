from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from artline.artifacts.walk import EmptyFolder, Link, walk
from artline.errors import (
    InvalidPathError,
    SourceChangedError,
    SourceNotFoundError,
    SourceNotReadableError,
)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "top"
    (folder / "b" / "c").mkdir(parents=True)
    (folder / "empty" / "er").mkdir(parents=True)
    for name in ("z", "a", "b/x", "b/c/y"):
        (folder / name).write_text(name)
    return folder


def found(top: Path, prefix: str = "") -> list[object]:
    return [item[1] if isinstance(item, tuple) else item for item in walk(str(top), prefix)]


def test_files_and_empty_folders_are_found_in_order(top: Path) -> None:
    assert found(top) == ["a", "b/c/y", "b/x", EmptyFolder("empty/er"), "z"]
    assert found(top, "in/side")[0] == "in/side/a"
    assert next(walk(str(top))) == (str(top / "a"), "a")


def test_a_link_to_the_inside_stays_a_link(top: Path) -> None:
    (top / "b" / "up").symlink_to("../a")
    (top / "folder").symlink_to("b/c")
    (top / "absolute").symlink_to(top / "b" / "x")
    (top / "b" / "winding").symlink_to("c/../../z")
    links = {item.path: item.target for item in walk(str(top), "data") if isinstance(item, Link)}
    assert links == {
        "data/b/up": "../a",
        "data/folder": "b/c",
        "data/absolute": "b/x",
        "data/b/winding": "../z",
    }


def test_a_link_to_the_outside_is_followed(top: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "one").write_text("1")
    (outside / "deep" / "alias").symlink_to("one")
    (top / "file").symlink_to(outside / "deep" / "one")
    (top / "tree").symlink_to(outside)
    assert [path for path in found(top) if str(path).startswith(("file", "tree"))] == [
        "file",
        "tree/deep/alias",
        "tree/deep/one",
    ]


def test_a_link_in_a_circle_is_refused(top: Path, tmp_path: Path) -> None:
    (top / "b" / "above").symlink_to(tmp_path)
    with pytest.raises(InvalidPathError, match="leads back"):
        found(top)


def test_two_outside_folders_that_link_to_each_other_are_refused(top: Path, tmp_path: Path) -> None:
    for here, there in (("one", "two"), ("two", "one")):
        (tmp_path / here).mkdir(exist_ok=True)
        (tmp_path / there).mkdir(exist_ok=True)
        (tmp_path / here / "to").symlink_to(tmp_path / there)
    (top / "start").symlink_to(tmp_path / "one")
    with pytest.raises(InvalidPathError, match="leads back"):
        found(top)


def test_a_link_to_nothing_is_refused(top: Path) -> None:
    (top / "dangling").symlink_to("nowhere")
    with pytest.raises(SourceNotFoundError, match="dangling"):
        found(top)


def test_pipes_and_sockets_are_refused(top: Path) -> None:
    os.mkfifo(top / "pipe")
    with pytest.raises(InvalidPathError, match="pipe"):
        found(top)
    (top / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(top / "socket"))
        with pytest.raises(InvalidPathError, match="socket"):
            found(top)


def test_a_folder_that_vanishes_meanwhile_is_named(top: Path) -> None:
    items = walk(str(top))
    next(items)
    (top / "b" / "c" / "y").unlink()
    (top / "b" / "c").rmdir()
    (top / "b" / "x").unlink()
    (top / "b").rmdir()
    with pytest.raises(SourceChangedError, match="b"):
        list(items)


def test_a_folder_that_may_not_be_listed_is_named(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("empty"):
            raise PermissionError(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # the tests may run as root, who may list anything
    with pytest.raises(SourceNotReadableError, match="empty"):
        found(top)


def test_very_deep_folders_do_not_exhaust_file_descriptors(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    path = deep
    for _ in range(200):
        path = path / "d"
        path.mkdir()
    (path / "leaf").write_text("x")
    most = 0
    for _ in walk(str(deep)):
        most = max(most, len(os.listdir("/proc/self/fd")))
    assert most - before < 10
