from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artline.artifacts.artifact import Artifact
from artline.artifacts.pins import Lock, Pin, find_lock, pin_of, pinned_ref, read_lock, write_lock
from artline.artifacts.refs import parse_ref
from artline.artifacts.store import ArtifactStore
from artline.errors import IntegrityError, ProtectedError, UsageError

names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(lambda raw: "blake3:" + raw.hex())
versions = st.integers(0, 99).map("v{}".format)
pins = st.builds(Pin, names, names, names, names, versions, digests)


def log(store: ArtifactStore, text: str) -> Artifact:
    draft = Artifact("peds", "dataset", store=store)
    draft.add_stream(io.BytesIO(text.encode()), "a")
    return store.log(draft, project="p")


@given(st.lists(pins, max_size=5))
def test_a_lock_survives_being_written(tmp_path_factory: pytest.TempPathFactory, listed: list[Pin]) -> None:
    lock = Lock()
    for pin in listed:
        lock = lock.with_pin(pin)
    file = tmp_path_factory.mktemp("lock") / "art.lock"
    write_lock(file, lock)
    assert read_lock(file) == lock
    assert len(lock.pins) == len({pin.asked for pin in listed})


def test_a_lock_is_written_for_people_to_read(tmp_path: Path) -> None:
    file = tmp_path / "art.lock"
    write_lock(file, Lock((Pin("local", "p", "peds", "latest", "v3", "blake3:" + "ab" * 32),)))
    assert file.read_text() == (
        "# Versions of artifacts that this code works with. Written by 'art pin'; commit it with the code.\n"
        "version = 1\n"
        "\n"
        "[[pin]]\n"
        'entity = "local"\n'
        'project = "p"\n'
        'name = "peds"\n'
        'alias = "latest"\n'
        'version = "v3"\n'
        f'digest = "blake3:{"ab" * 32}"\n'
    )


def test_a_pin_answers_for_its_alias_until_it_is_moved(store: ArtifactStore, clean_environment: Path) -> None:
    first = log(store, "1")
    write_lock("art.lock", Lock().with_pin(pin_of(first)))
    second = log(store, "2")
    (clean_environment / "deep" / "er").mkdir(parents=True)
    assert find_lock(clean_environment / "deep" / "er") == clean_environment / "art.lock"
    for asked in ("peds", "peds:latest", "p/peds", "local/p/peds:latest"):
        ref, pin = pinned_ref(asked, project="p", entity="local")
        assert pin is not None
        assert store.use(ref).version == "v0"
    for asked in ("peds:v1", "peds:best", "other/peds", f"peds@{second.digest}"):
        assert pinned_ref(asked, project="p", entity="local") == (asked, None)
    lock = read_lock("art.lock")
    write_lock("art.lock", lock.with_pin(pin_of(second)))
    assert [pin.version for pin in read_lock("art.lock").pins] == ["v1"]
    assert lock.without(lock.pins[0]) == Lock()
    assert lock.find(parse_ref("peds"), project="p", entity="local") == lock.pins[0]


def test_a_pinned_version_with_another_digest_is_an_error(store: ArtifactStore) -> None:
    version = log(store, "1")
    pin = pin_of(version)
    forged = Pin(pin.entity, pin.project, pin.name, pin.alias, pin.version, "blake3:" + "00" * 32)
    write_lock("art.lock", Lock((forged,)))
    ref, _ = pinned_ref("peds", project="p", entity="local")
    with pytest.raises(IntegrityError, match="has not the digest"):
        store.use(ref)


def test_a_pinned_version_says_so_before_it_goes(store: ArtifactStore) -> None:
    version = log(store, "1")
    write_lock("art.lock", Lock((pin_of(version),)))
    with pytest.raises(ProtectedError, match=r"is pinned by .*art\.lock"):
        version.delete()
    store.delete("peds:v0", project="p", force=True)


@pytest.mark.parametrize(
    "text",
    ["nonsense", "version = 2", "version = 1\n[[pin]]\nname = 'x'", "version = 1\npin = [1]", "\udcff"],
)
def test_a_lock_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "art.lock"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=r"art\.lock"):
        read_lock(file)


def test_without_a_lock_nothing_is_pinned(tmp_path: Path) -> None:
    assert find_lock(tmp_path) is None
    assert read_lock(tmp_path / "art.lock") == Lock()
    assert pinned_ref("peds", project="p", entity="local", start=tmp_path) == ("peds", None)
