"""Settings: who wins over whom, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artline.errors import ConflictError, UsageError
from artline.settings import (
    ENVIRONMENT,
    PROJECT_FILE,
    Settings,
    create_project_file,
    load_settings,
    redacted_url,
    user_file,
)


def write_user_file(text: str) -> None:
    user_file().parent.mkdir(parents=True, exist_ok=True)
    user_file().write_text(text, encoding="utf-8")


def test_defaults_come_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ART_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings = load_settings(start=tmp_path)
    assert settings.root == tmp_path / "home" / ".artline"
    assert settings.project == "uncategorized"
    assert set(settings.sources.values()) == {"default"}
    assert set(settings.sources) == set(ENVIRONMENT)


def test_each_layer_overrides_the_one_below(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_settings(start=tmp_path).project == "uncategorized"
    write_user_file('project = "of-the-user"\nstats_interval = 5\n')
    assert load_settings(start=tmp_path).project == "of-the-user"
    create_project_file(tmp_path, "of-the-folder")
    assert load_settings(start=tmp_path).project == "of-the-folder"
    monkeypatch.setenv("ART_PROJECT", "of-the-environment")
    assert load_settings(start=tmp_path).project == "of-the-environment"
    settings = load_settings(start=tmp_path, project="of-the-caller", mode=None)
    assert settings.project == "of-the-caller"
    assert settings.stats_interval == 5.0
    assert settings.sources["project"] == "argument"
    assert settings.sources["mode"] == "default"
    assert settings.sources["stats_interval"] == str(user_file())


def test_the_environment_is_named_as_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ART_QUIET", "yes")
    monkeypatch.setenv("ART_MODE", "")
    settings = load_settings(start=tmp_path)
    assert settings.quiet is True
    assert settings.sources["quiet"] == "$ART_QUIET"
    assert settings.sources["mode"] == "default"


def test_the_project_file_is_found_from_below(tmp_path: Path) -> None:
    create_project_file(tmp_path, "outer")
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert load_settings(start=deep).project == "outer"
    create_project_file(tmp_path / "a", "inner")
    assert load_settings(start=deep).project == "inner"


def test_a_relative_root_lies_beside_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ART_HOME", raising=False)
    create_project_file(tmp_path, "here", root=".artline")
    deep = tmp_path / "a"
    deep.mkdir()
    assert load_settings(start=deep).root == tmp_path / ".artline"


def test_a_relative_root_of_the_environment_is_relative_to_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ART_HOME", "here/../store")
    assert load_settings().root == tmp_path / "store"


def test_a_removed_working_folder_does_not_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load_settings().project == "uncategorized"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour = 1", "unknown setting 'colour'"),
        ("project = 3", "expected text, got 3"),
        ('project = " "', "expected a name"),
        ("root = 3", "expected a path, got 3"),
        ('root = ""', "expected a path"),
        ('mode = "sometimes"', "expected one of online, offline, disabled, shared"),
        ("quiet = 2", "expected true or false, got 2"),
        ("stats_interval = true", "expected a positive number of seconds, got True"),
        ("stats_interval = -1", "expected a positive number of seconds"),
        ("stats_interval = nan", "expected a positive number of seconds"),
        ('stats_interval = "soon"', "expected a positive number of seconds, got 'soon'"),
        ("project = ", "cannot read settings"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / PROJECT_FILE
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_settings(start=tmp_path)
    assert complaint in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ART_STATS_INTERVAL", "often")
    with pytest.raises(UsageError, match="ART_STATS_INTERVAL"):
        load_settings(start=tmp_path)


def test_a_wrong_argument_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown setting 'colour'"):
        load_settings(start=tmp_path, colour="red")
    with pytest.raises(UsageError, match="'digest' from argument"):
        load_settings(start=tmp_path, digest="md5")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / PROJECT_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot read settings"):
        load_settings(start=tmp_path)


def test_the_project_file_is_never_overwritten(tmp_path: Path) -> None:
    file = create_project_file(tmp_path, "first")
    before = file.read_bytes()
    with pytest.raises(ConflictError, match="exists already"):
        create_project_file(tmp_path, "second")
    assert file.read_bytes() == before


@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_any_project_name_survives_its_file(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("project")
    create_project_file(folder, name, root="stores/" + name.replace("\0", ""))
    assert load_settings(start=folder).project == name


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:secret@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("postgresql://me:s@cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("/a/folder", "/a/folder"),
        ("", ""),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert redacted_url(url) == shown


def test_settings_are_values(tmp_path: Path) -> None:
    assert Settings(root=tmp_path) == Settings(root=tmp_path, sources={"root": "argument"})
    assert len({Settings(root=tmp_path), Settings(root=tmp_path)}) == 1
    assert os.fspath(Settings(root=tmp_path).root) == str(tmp_path)
