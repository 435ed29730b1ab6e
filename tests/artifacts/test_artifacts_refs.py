from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artline.artifacts.refs import (
    Ref,
    check_alias,
    check_name,
    check_tag,
    parse_ref,
    version_alias,
    version_number,
)
from artline.errors import InvalidNameError, UsageError

DIGEST = "blake3:" + "0f" * 32
names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("peds", Ref("peds")),
        ("peds:v3", Ref("peds", "v3")),
        ("peds:latest", Ref("peds", "latest")),
        ("detect/peds:best", Ref("peds", "best", project="detect")),
        ("team/detect/peds:v0", Ref("peds", "v0", project="detect", entity="team")),
        (f"peds@{DIGEST}", Ref("peds", digest=DIGEST)),
        (f"detect/peds:v1@{DIGEST}", Ref("peds", "v1", DIGEST, "detect")),
    ],
)
def test_references_name_a_version_in_every_documented_form(text: str, ref: Ref) -> None:
    assert parse_ref(text) == ref
    assert str(ref) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":v1",
        "a/b/c/d",
        "peds:",
        "peds@",
        "peds@blake3:12",
        "../peds",
        "a//b",
        "peds:a/b",
        "pe ds",
        "péds",
        "/p",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_ref(text)


@given(st.none() | names, st.none() | names, names, st.just("") | names, st.sampled_from(["", DIGEST]))
def test_a_reference_survives_being_written(
    entity: str | None, project: str | None, name: str, alias: str, digest: str
) -> None:
    ref = Ref(name, alias, digest, project, entity if project else None)
    assert parse_ref(str(ref)) == ref


@given(st.text(max_size=30))
def test_parsing_never_fails_in_any_other_way(text: str) -> None:
    with suppress(UsageError):
        parse_ref(text)


@pytest.mark.parametrize("alias", ["latest", "v0", "v12", "V3", "v007"])
def test_the_stores_own_aliases_cannot_be_given(alias: str) -> None:
    with pytest.raises(InvalidNameError):
        check_alias(alias)
    assert check_alias("v-next") == "v-next"


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-x", "a" * 129, "a/b", "a\n", "a:b"])
def test_names_that_would_not_make_a_path_are_refused(name: str) -> None:
    with pytest.raises(InvalidNameError):
        check_name(name)


def test_tags_may_have_spaces_inside() -> None:
    assert check_tag("needs review") == "needs review"
    for tag in ("", " x", "x ", "a/b", "a\n"):
        with pytest.raises(InvalidNameError):
            check_tag(tag)


@given(st.integers(0, 10**17))
def test_version_numbers_and_their_names_are_one_to_one(number: int) -> None:
    assert version_number(version_alias(number)) == number
    assert version_number("0" + version_alias(number)) is None
    assert version_number("v0" + str(number)) is None
