"""What must work alike on every catalog and every bucket."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest

from artline.artifacts.artifact import Artifact
from artline.artifacts.store import ArtifactStore
from artline.errors import ArtifactNotFoundError, ConflictError
from artline.settings import Settings, load_settings

WRITERS, EACH = 6, 3


class Backend:
    def settings(self, request: pytest.FixtureRequest, root: Path) -> Settings:
        raise NotImplementedError

    @pytest.fixture
    def configured(self, request: pytest.FixtureRequest, store_root: Path) -> Settings:
        return self.settings(request, store_root)

    @pytest.fixture
    def store(self, configured: Settings) -> ArtifactStore:
        return ArtifactStore.open(configured)

    def test_a_folder_is_logged_used_traced_and_restored(
        self, store: ArtifactStore, tree: Path, tmp_path: Path
    ) -> None:
        draft = Artifact("peds", "dataset", metadata={"a": [1, None, "ü"]}, store=store)
        draft.add_dir(tree)
        store.log(draft, project="p", run="local/p/r1", aliases=["best"], tags=["t"])
        version = store.use("peds:best", project="p", run="local/p/r2")
        version.verify(version.download(tmp_path / "out"))
        assert (version.version, version.metadata) == ("v0", {"a": [1, None, "ü"]})
        assert (version.logged_by(), version.used_by()) == ("local/p/r1", ["local/p/r2"])
        graph = store.lineage("peds", project="p")
        assert [node.key for node in graph.nodes] == ["local/p/peds:v0", "local/p/r1", "local/p/r2"]
        with version.open("sub/b.bin") as stream:
            stream.seek(-256, io.SEEK_END)
            assert stream.read() == bytes(range(256))

    def test_the_same_content_makes_no_second_version(self, store: ArtifactStore, tree: Path) -> None:
        for metadata in (None, {"k": 1}, None):
            draft = Artifact("peds", "dataset", metadata=metadata, store=store)
            draft.add_dir(tree)
            assert store.log(draft, project="p").version == "v0"
        assert draft.metadata == {"k": 1}
        assert [event.kind for event in draft.history] == ["alias_added", "metadata_changed"]

    def test_versions_are_edited_deleted_and_brought_back(self, store: ArtifactStore) -> None:
        for text in ("1", "2"):
            draft = Artifact("peds", "dataset", store=store)
            draft.add_stream(io.BytesIO(text.encode()), "a")
            store.log(draft, project="p")
        edited = draft.new_draft()
        edited.add_stream(io.BytesIO(b"3"), "b")
        store.set_alias("peds:v0", "best", project="p")
        store.set_tags("peds:v0", ["x", "y"], project="p")
        assert store.delete("peds:v1", project="p").deleted_at is not None
        assert store.get("peds", project="p").tags == ["x", "y"]
        with pytest.raises(ConflictError):
            store.log(edited, project="p")
        store.undelete("peds:v1", project="p")
        assert store.log(edited, project="p").version == "v2"
        assert [record.number for record in store.versions("p", "peds")] == [2, 1, 0]
        assert store.count() == (1, 3, 4)
        assert {digest for batch in store.live_chunks() for digest in batch} >= {
            store.get(f"peds:v{number}", project="p").record.root for number in range(3)
        }
        with pytest.raises(ArtifactNotFoundError):
            store.get("peds:v3", project="p")

    def test_many_processes_log_one_name(self, configured: Settings) -> None:
        with get_context("spawn").Pool(WRITERS) as pool:
            jobs = [(str(configured.root), configured.catalog, configured.bucket, w) for w in range(WRITERS)]
            given = [name for names in pool.starmap(log_some, jobs) for name in names]
        records = ArtifactStore.open(configured).versions("p", "peds")
        assert [record.number for record in reversed(records)] == list(range(WRITERS * EACH))
        assert sorted(given) == sorted(record.version for record in records)

    def test_a_deleted_version_keeps_no_alias_whoever_else_logs(self, configured: Settings) -> None:
        def log() -> None:
            store = ArtifactStore.open(configured)
            for _ in range(15):
                draft = Artifact("peds", "dataset", store=store)
                draft.add_stream(io.BytesIO(b"1"), "a")
                store.log(draft, project="p", aliases=["best"], run="local/p/r")

        def delete() -> None:
            store = ArtifactStore.open(configured)
            for _ in range(15):
                with suppress(ArtifactNotFoundError, ConflictError):
                    store.delete("peds", project="p", delete_aliases=True, force=True)

        with ThreadPoolExecutor(4) as pool:
            for job in [pool.submit(work) for work in (log, delete, log, delete)]:
                job.result()
        records = ArtifactStore.open(configured).versions("p", "peds", deleted=True)
        assert [record.number for record in reversed(records)] == list(range(len(records)))
        assert all(not record.aliases for record in records if record.deleted_at is not None)
        live = [record for record in records if record.deleted_at is None]
        assert sum("latest" in record.aliases for record in records) == min(len(live), 1)


class TestSQLiteAndFolder(Backend):
    def settings(self, request: pytest.FixtureRequest, root: Path) -> Settings:
        return load_settings(root=root)


class TestSHA256(Backend):
    def settings(self, request: pytest.FixtureRequest, root: Path) -> Settings:
        return load_settings(root=root, digest="sha256")


class TestPostgreSQLAndFolder(Backend):
    def settings(self, request: pytest.FixtureRequest, root: Path) -> Settings:
        return load_settings(root=root, catalog=request.getfixturevalue("postgres_url"))


class TestPostgreSQLAndS3(Backend):
    def settings(self, request: pytest.FixtureRequest, root: Path) -> Settings:
        catalog, bucket = request.getfixturevalue("postgres_url"), request.getfixturevalue("s3_url")
        return load_settings(root=root, catalog=catalog, bucket=bucket)


def log_some(root: str, catalog: str, bucket: str, worker: int) -> list[str]:
    """Log versions with a file of their own and one that every worker has."""
    settings = load_settings(root=root, catalog=catalog or None, bucket=bucket or None)
    store = ArtifactStore.open(settings)
    names = []
    for index in range(EACH):
        draft = Artifact("peds", "dataset", store=store)
        draft.add_stream(io.BytesIO(b"common" * 1000), "common")
        draft.add_stream(io.BytesIO(f"{worker} {index}".encode()), "own")
        names.append(store.log(draft, project="p", aliases=["best"]).version)
    return names
