"""The commands about distributed drafts, on a real store."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from artline.artifacts.artifact import Artifact
from artline.artifacts.contribution import contribute
from artline.artifacts.drafts import EXPIRY
from artline.artifacts.schema import artifact_draft
from artline.artifacts.store import ArtifactStore
from artline.cli.group import art
from artline.settings import load_settings


def call(*args: str, code: int = 0) -> Result:
    done = CliRunner().invoke(art, [str(arg) for arg in args])
    assert done.exit_code == code, (args, done.output, done.exception)
    return done


def ask(*args: str, code: int = 0) -> Any:
    return json.loads(call(*args, "--json", code=code).stdout)


@pytest.fixture
def store(store_root: Path) -> ArtifactStore:
    """A store in which two runs contributed to a draft, with other content under one path."""
    store = ArtifactStore.open(load_settings(root=store_root, project="p"))
    for run in ("a", "b"):
        draft = Artifact("peds", "dataset", store=store)
        draft.add_stream(io.BytesIO(b"x"), f"{run}.txt")
        draft.add_stream(io.BytesIO(run.encode()), "both.txt")
        contribute(store, draft, "night", run=f"local/p/{run}", aliases=[f"by-{run}"])
    return store


def test_drafts_are_listed_shown_mended_and_finished(store: ArtifactStore) -> None:
    (listed,) = ask("drafts", "ls", "-p", "p")["drafts"]
    assert (listed["id"], listed["version"]) == ("night", None)
    assert [(c["run"], c["file_count"]) for c in listed["contributions"]] == [
        ("local/p/a", 2),
        ("local/p/b", 2),
    ]
    assert "in 30 days" in call("drafts", "ls", "p/peds").stdout
    assert "by-b" in call("drafts", "show", "p/peds").stdout
    refused = call("drafts", "finish", "p/peds", "night", code=6)
    assert "art drafts rm p/peds night --run RUN" in refused.stderr
    assert "took out what b contributed" in call("drafts", "rm", "p/peds", "--run", "b").stdout
    made = ask("drafts", "finish", "p/peds", "-a", "best", "--tag", "t", "-m", "k=1", "-d", "of a")["version"]
    assert (made["version"], made["aliases"], made["metadata"]) == (
        "v0",
        ["best", "by-a", "latest"],
        {"k": 1},
    )
    assert "peds:v0  2 files" in call("drafts", "finish", "p/peds", "night").stdout
    shown = ask("drafts", "show", "p/peds", "night")
    assert (shown["version"], shown["contributions"], shown["expires_at"]) == ("local/p/peds:v0", [], None)
    assert "finished" in call("drafts", "show", "p/peds", "night").stdout
    assert "no open drafts" in call("drafts", "ls", "-p", "p").output
    call("drafts", "finish", "p/peds", code=3)
    call("drafts", "rm", "p/peds", "night", code=3)
    call("drafts", "show", "p/peds:v0", code=2)


def test_gc_gives_up_expired_drafts_and_says_so(store: ArtifactStore) -> None:
    assert ask("gc")["drafts"] == []
    with store.catalog.write() as conn:
        conn.execute(
            artifact_draft.update().values(
                touched_at=artifact_draft.c.touched_at - EXPIRY.total_seconds() - 1
            )
        )
    assert "DRAFT GIVEN UP" in call("gc").stdout
    (gone,) = ask("gc", "--delete")["drafts"]
    assert (gone["name"], gone["id"]) == ("local/p/peds", "night")
    assert ask("drafts", "ls", "-p", "p")["drafts"] == []
    assert "given up" in call("drafts", "show", "p/peds", "night").stdout
