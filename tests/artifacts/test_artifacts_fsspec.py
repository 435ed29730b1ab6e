"""fsspec's own abstract tests for file systems, those of them that apply to one that only reads."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from artline.artifacts.artifact import Artifact
from artline.artifacts.filesystem import ArtifactFileSystem
from artline.artifacts.store import ArtifactStore

PLACE = "p/scenario:v0"


class ReadOnlyFixtures(AbstractFixtures):  # type: ignore[misc]  # fsspec is not typed
    """The suite's scenarios, made on disk and logged; what it does to targets is done to the local disk."""

    @pytest.fixture
    def fs(self, store: ArtifactStore) -> ArtifactFileSystem:
        return ArtifactFileSystem()

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return posixpath.join

    @pytest.fixture
    def fs_path(self) -> str:
        return PLACE

    @pytest.fixture
    def log(self, store: ArtifactStore, tmp_path: Path) -> Callable[..., str]:
        """Return what makes a scenario on disk, logs it and returns where it is."""

        def scenario(make: Callable[..., str], *more: Any) -> str:
            top = tmp_path / "scenario"
            made = make(LocalFileSystem(auto_mkdir=True), os.path.join, str(top), *more)
            version = Artifact("scenario", "dataset", store=store)
            version.add_dir(top)
            store.log(version, project="p")
            return posixpath.join(PLACE, os.path.relpath(made, top))

        return scenario

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, log: Callable[..., str]) -> str:
        return log(self._bulk_operations_scenario_0)

    @pytest.fixture
    def fs_glob_edge_cases_files(self, log: Callable[..., str]) -> str:
        return log(self._glob_edge_cases_files)

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, log: Callable[..., str]) -> str:
        return log(self._dir_and_file_with_same_name_prefix)

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, log: Callable[..., str]) -> str:
        return log(self._10_files_with_hashed_names)


class TestGet(ReadOnlyFixtures, AbstractGetTests):  # type: ignore[misc]  # fsspec is not typed
    def test_get_directory_recursive(
        self,
        fs: ArtifactFileSystem,
        fs_join: Callable[..., str],
        fs_path: str,
        local_fs: LocalFileSystem,
        local_join: Callable[..., str],
        local_target: str,
        log: Callable[..., str],
    ) -> None:
        """As the suite has it, but for the two calls that make the source."""

        def make(disk: LocalFileSystem, join: Callable[..., str], top: str) -> str:
            disk.touch(join(top, "src", "file"))
            return join(top, "src")

        source = log(make)
        for slash in ("", "/"):
            for again in range(2):
                fs.get(source + slash, local_target, recursive=True)
                assert local_fs.isfile(local_join(local_target, "file"))
                nested = local_join(local_target, "src", "file")
                assert local_fs.exists(nested) is bool(again and not slash)
            local_fs.rm(local_target, recursive=True)
