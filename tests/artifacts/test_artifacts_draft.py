from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artline.artifacts.draft import Draft
from artline.artifacts.paths import fold, parents
from artline.artifacts.shards import EntryKind, Row
from artline.errors import InvalidPathError, StoreFullError


def file(path: str, content: bytes = b"x") -> Row:
    return (path, 0, len(content), hashlib.sha256(content).digest(), b"", "")


def folder(path: str) -> Row:
    return (path, EntryKind.FOLDER, 0, b"", b"", "")


def link(path: str, target: str) -> Row:
    return (path, EntryKind.LINK, 0, b"", b"", target)


def all_paths(draft: Draft) -> list[str]:
    return [row[0] for rows in draft.rows() for row in rows]


@pytest.fixture
def draft() -> Iterator[Draft]:
    draft = Draft()
    yield draft
    draft.close()


def test_rows_come_back_sorted_by_utf8_bytes(draft: Draft) -> None:
    paths = ["b", "ä", "a/b", "a-b", "Y", "😀", "z"]
    for path in paths:
        draft.add(file(path))
    assert all_paths(draft) == sorted(paths, key=str.encode)
    assert draft.count == len(paths)


def test_the_same_content_twice_changes_nothing(draft: Draft) -> None:
    draft.add(file("a"))
    draft.add_many([[file("a"), file("b")]])
    assert draft.count == 2


def test_other_content_under_the_same_path_is_refused_unless_wanted(draft: Draft) -> None:
    draft.add(file("a", b"1"))
    with pytest.raises(InvalidPathError, match="'a' is in the artifact already"):
        draft.add(file("a", b"2"))
    assert draft.get("a") == file("a", b"1")
    draft.add(file("a", b"2"), overwrite=True)
    assert draft.get("a") == file("a", b"2")
    assert draft.count == 1


CLASHES = [
    (["Readme", "README"], "ignores case"),
    (["readme", "README"], "ignores case"),
    (["a/X/1", "a/x/2"], "ignores case"),
    (["é", "e\u0301"], "ignores case"),
    (["straße", "STRASSE"], "ignores case"),
    (["a", "a/b"], "both a file and a folder"),
    (["a/b/c", "a"], "both a file and a folder"),
    (["A", "a/b"], "ignores case"),
    (["A/b", "a"], "ignores case"),
    (["a", "a-", "a/b"], "both a file and a folder"),
]


@pytest.mark.parametrize(("paths", "why"), CLASHES)
@pytest.mark.parametrize("others", [0, 300])
def test_paths_that_cannot_all_be_restored_are_refused(
    draft: Draft, paths: list[str], why: str, others: int
) -> None:
    draft.add_many([[file(f"other/{index}") for index in range(others)]])
    with pytest.raises(InvalidPathError, match=why):
        draft.add_many([[file(path) for path in paths]])
    assert draft.count == others
    for path in paths[:-1]:
        draft.add(file(path))
    with pytest.raises(InvalidPathError, match=why):
        draft.add(file(paths[-1]))
    assert draft.count == others + len(paths) - 1
    assert draft.get(paths[-1]) is None


def test_a_call_that_fails_leaves_nothing_behind(draft: Draft) -> None:
    draft.add(file("keep"))

    def batches() -> Iterator[list[Row]]:
        yield [file(f"deep/er/{index}") for index in range(100)]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        draft.add_many(batches())
    assert all_paths(draft) == ["keep"]
    draft.add(file("deep"))
    assert draft.count == 2


def test_a_full_temporary_folder_is_named_and_leaves_the_draft_as_it_was(draft: Draft) -> None:
    draft.add(file("keep"))
    draft._db.execute("PRAGMA max_page_count = 20")
    with pytest.raises(StoreFullError, match="SQLITE_TMPDIR"):
        draft.add_many(
            [[file(f"f/{index}") for index in range(start, start + 500)] for start in range(0, 5000, 500)]
        )
    assert all_paths(draft) == ["keep"]
    assert draft.count == 1
    draft._db.execute("PRAGMA max_page_count = 1000000")
    draft.add(file("f"))
    assert draft.count == 2


def test_an_empty_folder_is_kept_until_something_is_in_it(draft: Draft) -> None:
    draft.add_many([[folder("a/Empty"), folder("b")]])
    assert all_paths(draft) == ["a/Empty", "b"]
    draft.add(file("a/Empty/file"))
    assert all_paths(draft) == ["a/Empty/file", "b"]
    draft.add(folder("a/Empty"))
    draft.add(folder("b"))
    assert all_paths(draft) == ["a/Empty/file", "b"]
    assert draft.count == 2


def test_nothing_may_lie_below_a_link(draft: Draft) -> None:
    draft.add(link("a", "b"))
    with pytest.raises(InvalidPathError, match="both a file and a folder"):
        draft.add(file("a/x"))
    with pytest.raises(InvalidPathError, match="points out"):
        draft.add(link("c", "../x"))


def test_removing_a_folder_takes_what_is_below_it_and_frees_its_name(draft: Draft) -> None:
    draft.add_many([[file("A/b/c"), file("A/b/D"), file("A/bc"), file("A-b")]])
    assert draft.remove("A/b") == 2
    assert draft.remove("A/b") == 0
    assert all_paths(draft) == ["A-b", "A/bc"]
    draft.add(file("A/B"))
    assert draft.remove("A") == 2
    draft.add(file("a"))
    assert all_paths(draft) == ["A-b", "a"]
    assert draft.count == 2


def test_a_prefix_selects_a_path_and_what_is_below(draft: Draft) -> None:
    draft.add_many([[file("a/b"), file("a/c/d"), file("a-b"), file("ab")]])
    assert [row[0] for rows in draft.rows("a") for row in rows] == ["a/b", "a/c/d"]
    assert [row[0] for rows in draft.rows("ab") for row in rows] == ["ab"]


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "folder", "remove"]),
        st.lists(st.sampled_from(["a", "A", "b", "é", "e\u0301"]), min_size=1, max_size=3).map("/".join),
    ),
    max_size=12,
)


@given(steps)
def test_a_draft_behaves_like_a_dict_that_refuses_clashes(steps: list[tuple[str, str]]) -> None:
    draft = Draft()
    model: dict[str, Row] = {}
    for step, path in steps:
        if step == "remove":
            gone = [known for known in model if known == path or known.startswith(path + "/")]
            assert draft.remove(path) == len(gone)
            for known in gone:
                del model[known]
            continue
        row = file(path) if step == "add" else folder(path)
        wanted = dict(model)
        above = parents([*wanted, path])
        if not (step == "folder" and path in above):
            wanted.setdefault(path, row)
        wanted = {p: r for p, r in wanted.items() if r[1] != EntryKind.FOLDER or p not in above}
        names = set(wanted) | above
        fits = (
            len({fold(name) for name in names}) == len(names)
            and not above & set(wanted)
            and wanted.get(path, row) == row
        )
        if fits:
            draft.add(row)
            model = wanted
        else:
            with pytest.raises(InvalidPathError):
                draft.add(row)
        assert all_paths(draft) == sorted(model)
        assert draft.count == len(model)
    draft.close()
