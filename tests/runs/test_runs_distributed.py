"""Runs of a group that put one artifact together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import artline as art
from artline.errors import ArtifactNotFoundError, UsageError

QUIET: dict[str, Any] = {"quiet": True, "console": False, "save_code": False}


def begin(run_id: str, **options: Any) -> art.Run:
    return art.init(project="p", id=run_id, settings=QUIET, **options)


def piece(name: str, text: str) -> art.Artifact:
    draft = art.Artifact("peds", type="dataset")
    with draft.new_file(name) as file:
        file.write(text)
    return draft


def test_runs_of_a_group_make_one_version(clean_environment: Path) -> None:
    for rank in range(2):
        with begin(f"r{rank}", group="night") as run:
            mine = piece(f"{rank}.txt", "x")
            assert run.upsert_artifact(mine, aliases=[f"by{rank}"], tags=["t"]) is mine
            assert mine.is_draft
    with begin("r2", group="night") as run:
        (clean_environment / "more").write_text("y")
        art.upsert_artifact("more", name="peds", type="dataset")
        version = art.finish_artifact(art.Artifact("peds", type="dataset"), aliases=["best"])
        assert art.finish_artifact(art.Artifact("peds", type="dataset")).id == version.id
    assert [entry.path for entry in version.files()] == ["0.txt", "1.txt", "more"]
    assert version.aliases == ["best", "by0", "by1", "latest"]
    assert version.tags == ["t"]
    api = art.Api(project="p")
    for rank in range(3):
        (made,) = api.run(f"r{rank}").logged_artifacts()
        assert made.qualified_name == "local/p/peds:v0"


def test_an_id_serves_instead_of_a_group_and_the_api_finishes(clean_environment: Path) -> None:
    with begin("r0") as run:
        with pytest.raises(UsageError, match="has no group"):
            run.upsert_artifact(piece("a", "1"))
        with pytest.raises(UsageError, match="say the name"):
            run.upsert_artifact("a", distributed_id="x")
        run.upsert_artifact(piece("a", "1"), distributed_id="x")
    with begin("r1", group="x") as run:  # an id is an id, whoever gave it
        run.upsert_artifact(piece("b", "2"))
        run.upsert_artifact(piece("c", "3"), distributed_id="y")
    api = art.Api(project="p")
    assert [(draft.distributed_id, draft.file_count) for draft in api.drafts()] == [("x", 2), ("y", 1)]
    with pytest.raises(UsageError, match="2 open drafts"):
        api.finish_artifact("peds")
    assert api.drop_draft("peds", "x", run="r1").file_count == 2
    version = api.finish_artifact("p/peds", "x", aliases=["best"])
    assert [entry.path for entry in version.files()] == ["a"]
    assert version.logged_by() == "local/p/r0"
    api.drop_draft("peds")
    with pytest.raises(ArtifactNotFoundError):
        api.finish_artifact("peds")
    assert api.drafts("p/peds") == []


def test_a_disabled_run_gives_back_what_it_was_given(clean_environment: Path) -> None:
    with art.init(mode="disabled") as run:
        draft = art.Artifact("peds", type="dataset")
        assert run.upsert_artifact(draft) is draft
        assert run.finish_artifact(draft, distributed_id="x") is draft


def test_no_run_no_contribution() -> None:
    with pytest.raises(UsageError, match="no run is in progress"):
        art.upsert_artifact("x", name="peds")
    with pytest.raises(UsageError, match="no run is in progress"):
        art.finish_artifact("x", name="peds")
