from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import pytest

import artline
from artline.artifacts.artifact import Artifact
from artline.artifacts.fsck import check
from artline.artifacts.protection import set_protection
from artline.artifacts.retention import collect
from artline.artifacts.store import ArtifactStore
from artline.errors import ArtifactNotFoundError, ProtectedError, UsageError
from artline.settings import load_settings


@pytest.fixture
def either(store_root: Path, catalog_url: str) -> ArtifactStore:
    """A store with a catalog of each kind."""
    return ArtifactStore.open(load_settings(root=store_root, catalog=catalog_url))


def log(store: ArtifactStore, name: str, content: str, **more: object) -> Artifact:
    draft = Artifact(name, "model", metadata={"content": content}, store=store)
    draft.add_stream(io.BytesIO(content.encode()), "file")
    return store.log(draft, project="p", **more)  # type: ignore[arg-type]


def test_a_linked_version_is_one_of_the_collection(either: ArtifactStore) -> None:
    store = either
    first, second = log(store, "mlp", "1", run="e/p/r1"), log(store, "cnn", "2", run="e/p/r2")
    linked = first.link("registry/digits", aliases=["production"])
    assert (linked.qualified_name, linked.aliases) == ("local/registry/digits:v0", ["latest", "production"])
    assert (linked.is_link, first.is_link) == (True, False)
    assert linked.metadata == {"content": "1"}
    assert (linked.source_name, linked.source_project, linked.source_version) == ("mlp:v0", "p", "v0")
    assert (first.source_name, first.source_entity) == ("mlp:v0", "local")
    other = second.link("local/registry/digits", aliases=["production"])
    assert other.version == "v1"
    assert store.get("registry/digits:production").source_name == "cnn:v0"
    assert second.link("registry/digits").version == "v1"
    assert [link.qualified_name for link in store.links(first.record.id)] == ["local/registry/digits:v0"]
    with store.get("registry/digits:v0").open("file") as stream:
        assert stream.read() == b"1"
    relinked = linked.link("elsewhere/best")
    assert relinked.source_name == "mlp:v0"
    assert check(store, full=True).ok


def test_lineage_knows_a_link_by_its_source(either: ArtifactStore) -> None:
    version = log(either, "mlp", "1", run="local/p/r1")
    linked = version.link("registry/digits")
    used = either.use("registry/digits", run="local/p/r2")
    assert used.qualified_name == linked.qualified_name
    assert version.used_by() == linked.used_by() == ["local/p/r2"]
    assert linked.logged_by() == "local/p/r1"
    graph = either.lineage("registry/digits")
    assert graph.subject == "local/p/mlp:v0"
    assert len(graph.edges) == 2


def test_what_cannot_be_linked(store: ArtifactStore) -> None:
    version = log(store, "mlp", "1")
    for target in ("digits", "registry/digits:v0", "a/b/c/d"):
        with pytest.raises(UsageError):
            version.link(target)
    with pytest.raises(UsageError, match="in that collection already"):
        version.link("p/mlp")
    data = Artifact("peds", "dataset", store=store)
    data.add_stream(io.BytesIO(b"1"), "a")
    store.log(data, project="registry")
    with pytest.raises(UsageError, match="of type 'dataset'"):
        version.link("registry/peds")
    with pytest.raises(UsageError, match="is no link"):
        version.unlink()


def test_a_linked_version_is_not_deleted_until_it_is_unlinked(store: ArtifactStore) -> None:
    version = log(store, "mlp", "1")
    linked = version.link("registry/digits", aliases=["production"])
    with pytest.raises(ProtectedError, match="is linked as local/registry/digits:v0"):
        version.delete()
    linked.unlink()
    assert linked.state == "DELETED"
    with pytest.raises(ArtifactNotFoundError):
        store.get("registry/digits")
    kinds = [event.kind for event in version.history]
    assert kinds[-2:] == ["linked", "unlinked"]
    version.delete()
    assert store.undelete("registry/digits:v0").source_id == version.record.id
    collect(store, grace=timedelta(0), dry_run=False)
    collect(store, grace=timedelta(0), dry_run=False)
    with store.get("registry/digits").open("file") as stream:
        assert stream.read() == b"1"  # the link keeps what it names


def test_a_protected_alias_moves_only_when_forced(either: ArtifactStore) -> None:
    store = either
    first = log(store, "mlp", "1")
    assert set_protection(store, "p/mlp", ["production"]) == ["production"]
    log(store, "mlp", "1", aliases=["production"])  # it is on no other version yet
    with pytest.raises(ProtectedError, match="'production' of 'local/p/mlp' is protected and names v0"):
        log(store, "mlp", "2", aliases=["production"])
    assert [record.version for record in store.versions("p", "mlp")] == ["v0"]
    second = log(store, "mlp", "2")
    with pytest.raises(ProtectedError):
        store.set_alias("p/mlp:v1", "production")
    with pytest.raises(ProtectedError):
        store.remove_alias("p/mlp:v0", "production")
    with pytest.raises(ProtectedError):
        store.delete("p/mlp:v0", delete_aliases=True)
    edited = store.get("p/mlp:v0")
    edited.aliases.remove("production")
    with pytest.raises(ProtectedError):
        edited.save()
    second.aliases.append("production")
    with pytest.raises(ProtectedError):
        second.save()
    assert store.get("p/mlp:production").version == first.version
    store.set_alias("p/mlp:v1", "production", force=True)
    assert store.get("p/mlp:production").version == "v1"
    assert set_protection(store, "mlp", ["production"], remove=True, project="p") == []
    store.remove_alias("p/mlp:v1", "production")
    with pytest.raises(UsageError, match="names a version"):
        set_protection(store, "p/mlp:v1", ["x"])


def test_a_link_under_a_protected_alias_is_refused_whole(store: ArtifactStore) -> None:
    first, second = log(store, "mlp", "1"), log(store, "mlp", "2")
    linked = first.link("registry/digits", aliases=["production"])
    set_protection(store, "registry/digits", ["production"])
    with pytest.raises(ProtectedError):
        second.link("registry/digits", aliases=["production"])
    assert [record.version for record in store.versions("registry", "digits")] == ["v0"]
    with pytest.raises(ProtectedError):
        linked.unlink()
    assert store.unlink(linked, force=True).deleted_at is not None


def test_a_run_links_what_it_logs(store_root: Path) -> None:
    with artline.init(project="p", settings={"quiet": True}) as run:
        model = artline.Artifact("mlp", type="model")
        with model.new_file("weights") as stream:
            stream.write("1")
        linked = run.link_artifact(model, "registry/digits", aliases=["candidate"])
    assert linked.logged_by() == run.path
    assert (linked.name, linked.aliases) == ("digits:v0", ["candidate", "latest"])
    with artline.init(project="p", mode="disabled") as run:
        assert run.link_artifact(model, "registry/digits") is model
