"""What a run logged and used is found from the run, through ``Api``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rundata import Writer

from artline.artifacts.artifact import Artifact
from artline.errors import ArtifactNotFoundError
from artline.runs.api import Api
from artline.runs.push import push
from artline.settings import Settings, load_settings


@pytest.fixture
def api(store_root: Path) -> Iterator[Api]:
    opened = Api(Settings(root=store_root, project="p"))
    yield opened
    opened.store.close()
    opened.store.artifacts.catalog.close()


def log(api: Api, name: str, text: str, run: str | None) -> Artifact:
    draft = Artifact(name, "model", store=api.store.artifacts)
    with draft.new_file("weights.txt") as file:
        file.write(text)
    return api.store.artifacts.log(draft, project="p", entity="local", run=run)


def test_artifacts_of_a_run(api: Api, store_root: Path) -> None:
    Writer(store_root, "maker").finish()
    Writer(store_root, "user").finish()
    maker, user = api.run("maker"), api.run("user")
    for text in ("one", "two"):
        log(api, "net", text, maker.path)
    api.store.artifacts.use("net:v0", project="p", entity="local", run=user.path)
    assert [found.name for found in maker.logged_artifacts()] == ["net:v0", "net:v1"]
    assert maker.used_artifacts() == []
    assert [found.name for found in user.used_artifacts()] == ["net:v0"]


def test_artifacts_of_a_project(api: Api) -> None:
    log(api, "net", "one", None)
    log(api, "net", "two", None)
    log(api, "other", "three", None)
    assert [found.name for found in api.artifacts()] == ["net:v1", "other:v0"]
    assert [found.name for found in api.artifacts(type="data")] == []
    for name in ("net", "p/net", "local/p/net"):
        assert [found.name for found in api.artifacts(name=name)] == ["net:v1", "net:v0"]
    assert api.artifact("net").name == "net:v1"
    assert api.artifact("local/p/net:v0").digest == api.artifact("net:v0").digest
    with pytest.raises(ArtifactNotFoundError):
        api.artifact("net:v7")


def test_the_credentials_of_a_pushed_url_are_not_kept(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Artifact, "add_reference", lambda draft, url, **options: None)
    pushed = push(
        load_settings(project="p", quiet=True), "https://me:secret@host/data.csv", "data", "dataset"
    )
    assert Api().run(pushed.run).config == {"source": "https://***@host/data.csv"}
