from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artline.artifacts.paths import (
    check_link_target,
    check_path,
    check_paths,
    check_prefix,
    fold,
    parents,
    path_argument,
)
from artline.errors import InvalidPathError

GOOD = [
    "a",
    "a/b.txt",
    "ä/ö",
    "日本/語.png",
    "a b/c",
    "..a",
    "a..",
    "...",
    "~",
    "cc:d",
    "a/C:/b",
    "x" * 255,
    "-",
]
BAD = {
    "": "empty",
    "/a": "absolute",
    "C:/a": "absolute",
    "c:": "absolute",
    "a\\b": "backslash",
    "..": "leave",
    "a/../b": "leave",
    "../a": "leave",
    "a/..": "leave",
    ".": "shortest",
    "./a": "shortest",
    "a//b": "shortest",
    "a/": "shortest",
    "a/./b": "shortest",
    "a\0b": "NUL",
    "a\nb": "control",
    "a\x7f": "control",
    "x" * 256: "longer than 255",
    "é" * 128: "longer than 255",
    "/".join(["x" * 200] * 21): "longer than 4096",
    "caf\udce9": "UTF-8",
}


@pytest.mark.parametrize("path", GOOD)
def test_plain_relative_paths_are_taken(path: str) -> None:
    assert check_path(path) == path
    check_paths(["z", path, "y/z"])


@pytest.mark.parametrize("path", BAD)
def test_every_other_path_is_refused_with_its_reason(path: str) -> None:
    with pytest.raises(InvalidPathError, match=BAD[path]):
        check_path(path)
    with pytest.raises(InvalidPathError, match=BAD[path]):
        check_paths(["fine/too", path, "z"])


@given(st.lists(st.text(st.sampled_from("aB./\\:\n\0é~C"), max_size=8), max_size=6))
def test_checking_many_at_once_agrees_with_one_by_one(paths: list[str]) -> None:
    def refused(path: str) -> bool:
        try:
            check_path(path)
        except InvalidPathError:
            return True
        return False

    try:
        check_paths(paths)
    except InvalidPathError:
        assert any(map(refused, paths))
    else:
        assert not any(map(refused, paths))


def test_arguments_are_brought_into_their_plain_form() -> None:
    assert path_argument("./a//b/") == "a/b"
    assert check_prefix("a/b/") == "a/b"
    assert check_prefix("") == ""
    for path in ("a/../b", "/a", b"a"):
        with pytest.raises(InvalidPathError):
            path_argument(path)  # type: ignore[arg-type]


@given(st.text(max_size=20))
def test_folding_is_stable_and_blind_to_case_and_composition(text: str) -> None:
    folded = fold(text)
    assert fold(unicodedata.normalize("NFC", text)) == folded
    assert fold(unicodedata.normalize("NFD", text)) == folded


def test_paths_that_file_systems_mix_up_fold_alike() -> None:
    assert fold("A/Ä.PNG") == fold("a/A\u0308.png")
    assert fold("straße") == fold("STRASSE")
    assert fold("a/b") != fold("a-b")


def test_parents_are_all_folders_above() -> None:
    assert parents(["a/b/c", "a/d", "e"]) == {"a", "a/b"}


@pytest.mark.parametrize("target", ["b", "../x", "../a/b", "c/d", ".."])
def test_links_may_point_inside(target: str) -> None:
    assert check_link_target("a/link", target) == target


@pytest.mark.parametrize(
    "target", ["", "/etc/passwd", "../..", "../../x", "b/../../../x", "b/..", "../x/../y", "./b"]
)
def test_links_may_not_point_outside_or_turn_back(target: str) -> None:
    with pytest.raises(InvalidPathError):
        check_link_target("a/link", target)
