from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from artline.artifacts.artifact import Artifact
from artline.artifacts.manifest import EntryKind
from artline.artifacts.store import ArtifactStore
from artline.errors import (
    ArtifactNotFoundError,
    ConflictError,
    EntryNotFoundError,
    IntegrityError,
    InvalidPathError,
    ProtectedError,
    SourceChangedError,
    SourceNotFoundError,
    UsageError,
)
from artline.settings import load_settings

RUN = "local/p/r1"


def draft(store: ArtifactStore, name: str = "peds", **files: str) -> Artifact:
    artifact = Artifact(name, "dataset", store=store)
    for path, text in files.items():
        artifact.add_stream(io.BytesIO(text.encode()), path)
    return artifact


def log(store: ArtifactStore, name: str = "peds", /, **files: str) -> Artifact:
    return store.log(draft(store, name, **files), project="p")


def contents(folder: Path) -> dict[str, bytes | str | None]:
    found: dict[str, bytes | str | None] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[name] = None
    return found


def test_a_folder_comes_back_as_it_was(store: ArtifactStore, tree: Path, tmp_path: Path) -> None:
    artifact = Artifact("peds", "dataset", "walkers", {"n": 3}, store=store)
    assert artifact.add_dir(tree) == 7
    logged = store.log(artifact, project="p", run=RUN, aliases=["best"], tags=["small"])
    assert logged is artifact
    found = store.use("peds:best", project="p", run="local/p/r2")
    assert (found.name, found.version, found.type) == ("peds:v0", "v0", "dataset")
    assert (found.description, found.metadata) == ("walkers", {"n": 3})
    assert (found.aliases, found.tags) == (["best", "latest"], ["small"])
    assert (found.file_count, found.size) == (
        6,
        sum(f.stat().st_size for f in tree.rglob("*") if f.is_file() and not f.is_symlink()),
    )
    assert found.qualified_name == "local/p/peds:v0"
    assert found.digest.startswith("blake3:")
    target = found.download(tmp_path / "out")
    assert contents(target) == contents(tree)
    assert (target / "sub" / "run.sh").stat().st_mode & 0o111
    assert not (target / "a.txt").stat().st_mode & 0o111
    found.verify(target)
    assert found.logged_by() == RUN
    assert found.used_by() == ["local/p/r2"]


def test_every_kind_of_entry_is_told_apart(store: ArtifactStore, tree: Path) -> None:
    artifact = Artifact("peds", "dataset", store=store)
    artifact.add_dir(tree, "data")
    assert [entry.path for entry in artifact.files()] == [entry.path for entry in store.log(artifact).files()]
    kinds = {entry.path: entry.kind for entry in artifact.files()}
    assert kinds == {
        "data/a.txt": EntryKind.FILE,
        "data/empty": EntryKind.FILE,
        "data/hollow": EntryKind.FOLDER,
        "data/sub/b.bin": EntryKind.FILE,
        "data/sub/deep/日本語.txt": EntryKind.FILE,
        "data/sub/link": EntryKind.LINK,
        "data/sub/run.sh": EntryKind.EXECUTABLE,
    }
    entry = artifact.get_entry("data/empty")
    assert (entry.size, entry.is_file, entry.ref) == (0, True, None)
    assert entry.digest == "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    with artifact.open("data/sub/link") as stream:
        assert stream.read().decode() == "ünï"
    with pytest.raises(UsageError, match="not a file"):
        artifact.open("data/hollow")
    with pytest.raises(EntryNotFoundError, match="'data/no'"):
        artifact.get_entry("data/no")
    assert "data/a.txt" in artifact
    assert [entry.path for entry in artifact.files("data/sub/deep")] == ["data/sub/deep/日本語.txt"]


def test_the_same_content_makes_no_second_version(store: ArtifactStore, tree: Path) -> None:
    for _ in range(2):
        artifact = Artifact("peds", "dataset", store=store)
        artifact.add_dir(tree)
        assert store.log(artifact, project="p").version == "v0"
    assert log(store, a="other").version == "v1"
    assert [record.number for record in store.versions("p", "peds")] == [1, 0]


def test_logging_is_finished_when_it_returns(store: ArtifactStore) -> None:
    artifact = draft(store, a="1")
    assert (artifact.state, artifact.is_draft, artifact.id) == ("PENDING", True, None)
    with pytest.raises(ConflictError, match="draft"):
        artifact.wait()
    store.log(artifact, project="p")
    assert (artifact.wait().state, artifact.is_draft) == ("COMMITTED", False)
    with pytest.raises(ConflictError, match="cannot be changed"):
        artifact.add_stream(io.BytesIO(b"2"), "b")
    with pytest.raises(ConflictError, match="cannot be changed"):
        artifact.remove("a")


def test_a_finalized_draft_takes_nothing_more(store: ArtifactStore) -> None:
    artifact = draft(store, a="1")
    artifact.finalize()
    with pytest.raises(ConflictError, match="finished"):
        artifact.add_stream(io.BytesIO(b"2"), "b")
    assert store.log(artifact, project="p").version == "v0"


def test_logging_a_version_again_gives_it_aliases_and_an_edge(store: ArtifactStore) -> None:
    version = log(store, a="1")
    store.log(version, run=RUN, aliases=["best"], tags=["t"])
    assert store.get("peds:best", project="p").version == "v0"
    assert version.logged_by() == RUN


def test_drafts_are_built_from_files_streams_and_removals(store: ArtifactStore, tree: Path) -> None:
    artifact = Artifact("peds", "dataset", store=store)
    entry = artifact.add_file(tree / "a.txt")
    assert (entry.path, entry.size) == ("a.txt", 5)
    artifact.add_file(tree / "a.txt", name="./copies/b.txt")
    with artifact.new_file("notes/läs mig.txt") as stream:
        stream.write("hej")
    with artifact.new_file("raw", mode="wb") as stream:
        stream.write(b"\0")
    unfinished = artifact.new_file("never")
    unfinished.__enter__().write("x")
    assert not unfinished.__exit__(RuntimeError, RuntimeError(), None)
    artifact.remove("copies")
    with pytest.raises(EntryNotFoundError):
        artifact.remove("copies")
    assert [e.path for e in store.log(artifact, project="p").files()] == ["a.txt", "notes/läs mig.txt", "raw"]
    with artifact.open("notes/läs mig.txt") as stored:
        assert stored.read() == b"hej"


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\b", "C:/x", "", "a\0b"])
def test_names_that_would_escape_are_refused(store: ArtifactStore, tree: Path, name: str) -> None:
    artifact = Artifact("peds", "dataset", store=store)
    with pytest.raises(InvalidPathError):
        artifact.add_file(tree / "a.txt", name=name)
    with pytest.raises(InvalidPathError), artifact.new_file(name):
        pass


def test_sources_that_are_not_there_are_named(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = Artifact("peds", "dataset", store=store)
    with pytest.raises(SourceNotFoundError, match="nowhere"):
        artifact.add_file(tmp_path / "nowhere")
    with pytest.raises(SourceNotFoundError, match="nowhere"):
        artifact.add_dir(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="add_dir"):
        artifact.add_file(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="add_file"):
        artifact.add_dir(tmp_path / "file")


def test_a_file_name_that_is_not_utf8_is_refused_and_nothing_is_added(
    store: ArtifactStore, tree: Path
) -> None:
    (Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9"))).touch()
    artifact = Artifact("peds", "dataset", store=store)
    with pytest.raises(InvalidPathError, match="not UTF-8"):
        artifact.add_dir(tree)
    assert list(artifact.files()) == []


def test_a_file_that_vanishes_while_its_folder_is_added_is_named(
    store: ArtifactStore, tmp_path: Path
) -> None:
    top = tmp_path / "top"
    top.mkdir()
    for index in range(2500):
        (top / f"{index:04d}").write_text(str(index))

    def progress(files: int, size: int) -> None:
        (top / "2400").unlink(missing_ok=True)

    artifact = Artifact("peds", "dataset", store=store)
    with pytest.raises((SourceNotFoundError, SourceChangedError), match="2400"):
        artifact.add_dir(top, progress=progress)
    assert list(artifact.files()) == []
    assert artifact.add_dir(top) == 2499


def test_a_draft_of_a_version_changes_only_what_is_changed(store: ArtifactStore, tree: Path) -> None:
    first = Artifact("peds", "dataset", metadata={"k": 1}, store=store)
    first.add_dir(tree)
    store.log(first, project="p")
    second = first.new_draft()
    second.remove("sub/deep")
    second.remove("sub/link")
    second.add_stream(io.BytesIO(b"beta"), "a.txt", overwrite=True)
    store.log(second, project="p")
    assert (second.version, second.metadata) == ("v1", {"k": 1})
    assert second.stats is None
    changes = first.diff(second)
    assert [entry.path for entry in changes.removed] == ["sub/deep/日本語.txt", "sub/link"]
    assert [entry.path for _, entry in changes.changed] == ["a.txt"]
    assert not first.diff(first)


def test_an_incremental_draft_adds_to_the_latest_version(store: ArtifactStore) -> None:
    log(store, a="1", b="1")
    more = Artifact("peds", "dataset", incremental=True, store=store)
    more.add_stream(io.BytesIO(b"2"), "b")
    more.add_stream(io.BytesIO(b"2"), "c")
    store.log(more, project="p")
    assert {entry.path: entry.size for entry in more.files()} == {"a": 1, "b": 1, "c": 1}
    with more.open("b") as stream:
        assert stream.read() == b"2"


def test_a_draft_whose_base_is_deleted_meanwhile_is_refused(store: ArtifactStore) -> None:
    base = log(store, a="1")
    edited = base.new_draft()
    edited.add_stream(io.BytesIO(b"2"), "b")
    base.delete()
    with pytest.raises(ConflictError, match="has been deleted since"):
        store.log(edited, project="p")


def test_a_draft_of_another_store_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    other = ArtifactStore.open(load_settings(root=tmp_path / "other"))
    with pytest.raises(UsageError, match="another store"):
        other.log(draft(store, a="1"), project="p")


def test_edits_of_a_version_are_written_by_save(store: ArtifactStore) -> None:
    version = log(store, a="1")
    version.aliases.append("best")
    version.tags.append("reviewed")
    version.description = "mine"
    version.metadata["score"] = 2
    version.save()
    found = store.get("peds:best", project="p")
    assert (found.tags, found.description, found.metadata) == (["reviewed"], "mine", {"score": 2})
    found.aliases.remove("best")
    found.tags.clear()
    found.save()
    assert (found.aliases, found.tags) == (["latest"], [])
    assert {event.kind for event in found.history} >= {"alias_added", "alias_removed", "tag_removed"}


def test_save_writes_only_what_was_changed_on_this_very_object(store: ArtifactStore) -> None:
    draft = Artifact("peds", "dataset", metadata={"a": {"b": 1}}, store=store)
    draft.add_stream(io.BytesIO(b"1"), "f")
    store.log(draft, project="p")
    one, two = store.get("peds", project="p"), store.get("peds", project="p")
    one.metadata["a"]["b"] = 2
    one.save()
    two.description = "checked by hand"
    two.save()
    assert (two.metadata, two.description) == ({"a": {"b": 2}}, "checked by hand")
    one.tags.append("t")
    one.save()
    assert (one.metadata, one.description) == ({"a": {"b": 2}}, "checked by hand")


def test_aliases_and_tags_are_set_by_reference(store: ArtifactStore) -> None:
    log(store, a="1")
    log(store, a="2")
    assert store.set_alias("peds:v0", "best", project="p").aliases == ("best",)
    assert store.set_alias("peds:v1", "best", project="p").aliases == ("best", "latest")
    with pytest.raises(ConflictError, match="'best' is not on"):
        store.remove_alias("peds:v0", "best", project="p")
    assert store.remove_alias("peds:best", "best", project="p").aliases == ("latest",)
    assert store.set_tags("peds:v0", ["b", "a"], project="p").tags == ("a", "b")
    assert store.set_tags("peds:v0", [], project="p").tags == ()
    assert store.names("p") == ["peds"]
    assert store.count() == (1, 2, 2)


def test_a_version_in_use_says_so_before_it_goes(store: ArtifactStore) -> None:
    log(store, a="1")
    log(store, a="2")
    store.set_alias("peds:v1", "best", project="p")
    with pytest.raises(ProtectedError, match="has aliases: best"):
        store.delete("peds:v1", project="p")
    store.use("peds:v1", project="p", run=RUN)
    with pytest.raises(ProtectedError, match="was used by local/p/r1"):
        store.delete("peds:v1", project="p", delete_aliases=True)
    gone = store.delete("peds:v1", project="p", delete_aliases=True, force=True)
    assert gone.deleted_at is not None
    assert store.get("peds", project="p").version == "v0"
    with pytest.raises(ArtifactNotFoundError, match=r"was deleted.*undelete"):
        store.get("peds:v1", project="p")
    assert log(store, a="3").version == "v2"


def test_a_deleted_version_comes_back(store: ArtifactStore, tmp_path: Path) -> None:
    version = log(store, a="1")
    version.delete()
    assert version.state == "DELETED"
    assert log(store, a="1").version == "v1"
    assert store.undelete("peds:v0", project="p").aliases == ()
    back = store.get("peds:v0", project="p")
    assert (back.download(tmp_path / "out") / "a").read_text() == "1"
    assert store.undelete("peds:v0", project="p").number == 0
    with pytest.raises(UsageError, match="does not name a version"):
        store.undelete("peds", project="p")


def test_the_only_version_deleted_and_brought_back_is_latest_again(store: ArtifactStore) -> None:
    log(store, a="1").delete()
    with pytest.raises(ArtifactNotFoundError):
        store.get("peds", project="p")
    assert store.undelete("peds:v0", project="p").aliases == ("latest",)


def test_lineage_tells_versions_from_runs(store: ArtifactStore) -> None:
    store.log(draft(store, a="1"), project="p", run=RUN)
    store.use("peds", project="p", run="local/p/r2", use_as="training")
    store.log(draft(store, "model", m="1"), project="p", run="local/p/r2")
    graph = store.lineage("model:v0", project="p")
    assert [node.key for node in graph.nodes] == [
        "local/p/model:v0",
        "local/p/peds:v0",
        "local/p/r1",
        "local/p/r2",
    ]
    assert graph.node("local/p/peds:v0").digest == store.get("peds", project="p").digest
    assert [(e.source, e.target, e.use_as) for e in graph.edges] == [
        ("local/p/peds:v0", "local/p/r2", "training"),
        ("local/p/r1", "local/p/peds:v0", ""),
        ("local/p/r2", "local/p/model:v0", ""),
    ]
    assert store.lineage("local/p/r2", "down").subject == "local/p/r2"
    assert [node.key for node in store.lineage("local/p/r2", "down").nodes] == [
        "local/p/model:v0",
        "local/p/r2",
    ]
    assert [a.name for a in store.run_artifacts("local/p/r2", "input")] == ["peds:v0"]
    with pytest.raises(UsageError, match="direction"):
        store.lineage("model", "sideways", project="p")  # type: ignore[arg-type]
    alone = store.lineage(log(store, "alone", a="9").qualified_name)
    assert [node.label for node in alone.nodes] == ["alone:v0"]


def test_a_single_file_is_downloaded_by_itself(store: ArtifactStore, clean_environment: Path) -> None:
    version = log(store, a="1")
    assert version.file() == clean_environment / "artifacts" / "peds-v0" / "a"
    with pytest.raises(UsageError, match="not exactly one"):
        log(store, a="1", b="2").file()


def test_content_is_read_in_place(store: ArtifactStore) -> None:
    version = log(store, a="0123456789")
    with version.open("a") as stream:
        stream.seek(4)
        assert stream.read(3) == b"456"
        assert stream.seek(-1, io.SEEK_END) == 9
        assert stream.read() == b"9"


def test_references_resolve_by_digest(store: ArtifactStore) -> None:
    first, second = log(store, a="1"), log(store, a="2")
    assert store.get(f"peds@{first.digest}", project="p").version == "v0"
    with pytest.raises(IntegrityError):
        store.get(f"peds:v0@{second.digest}", project="p")


def test_an_artifact_works_in_the_store_of_the_settings() -> None:
    artifact = Artifact("peds", "dataset")
    with artifact.new_file("a") as stream:
        stream.write("1")
    artifact.aliases.append("best")
    assert artifact.save(project="p").qualified_name == "local/p/peds:v0"
    assert ArtifactStore.open().get("p/peds:best").version == "v0"
