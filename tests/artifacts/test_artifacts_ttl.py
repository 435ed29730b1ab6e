from __future__ import annotations

import io
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import artline
from artline.artifacts.artifact import Artifact
from artline.artifacts.fsck import check
from artline.artifacts.pinning import pin
from artline.artifacts.protection import set_protection
from artline.artifacts.retention import collect
from artline.artifacts.rules import Rule, ages_at, expire, set_rule
from artline.artifacts.schema import artifact_version
from artline.artifacts.store import ArtifactStore
from artline.artifacts.ttl import ArtifactTTL
from artline.errors import ArtifactNotFoundError, ConflictError, UsageError
from artline.settings import load_settings

NOW = timedelta(0)
WEEK = timedelta(days=7)
DAY = 86400.0


@pytest.fixture
def store(store_root: Path, catalog_url: str) -> ArtifactStore:
    """A store with a catalog of each kind, whose project is ``p``."""
    return ArtifactStore.open(load_settings(root=store_root, catalog=catalog_url, project="p"))


def log(store: ArtifactStore, *ttls: Any, name: str = "peds", start: int = 0) -> None:
    """Log a version for each ttl; ``...`` says none."""
    for index, ttl in enumerate(ttls, start):
        draft = Artifact(name, "dataset", store=store)
        draft.add_stream(io.BytesIO(f"{name} {index}".encode()), "file")
        if ttl is not ...:
            draft.ttl = ttl
        store.log(draft)


def age(store: ArtifactStore, days: float) -> None:
    """Make all versions older."""
    created = artifact_version.c.created_at
    with store.catalog.write() as conn:
        conn.execute(sa.update(artifact_version).values(created_at=created - days * DAY))


def left(store: ArtifactStore, name: str = "peds") -> list[str]:
    return [record.version for record in store.versions(None, name)]


def verdicts(store: ArtifactStore) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {v.name.partition(":")[2]: (v.reason, v.kept_by) for v in expire(store, dry_run=True)}


def set_ttl(store: ArtifactStore, ref: str, ttl: Any) -> Artifact:
    version = store.get(ref)
    version.ttl = ttl
    return version.save()


def test_a_version_goes_after_its_own_time(store: ArtifactStore) -> None:
    log(store, WEEK, 3 * WEEK, ..., None, WEEK)
    log(store, ..., ..., name="other")
    age(store, 8)
    (verdict,) = (v for v in collect(store, grace=NOW).expired if v.goes)
    assert (verdict.name, verdict.reason) == ("local/p/peds:v0", "older than its ttl of 7 days")
    assert left(store) == ["v4", "v3", "v2", "v1", "v0"]
    collect(store, grace=NOW, dry_run=False)
    assert left(store) == ["v4", "v3", "v2", "v1"]
    assert left(store, "other") == ["v1", "v0"]
    age(store, 400)
    collect(store, grace=NOW, dry_run=False)
    assert left(store) == ["v4", "v3", "v2"]
    assert check(store, full=True).ok


def test_it_counts_instead_of_the_time_of_the_rule(store: ArtifactStore) -> None:
    log(store, ..., timedelta(days=90), ArtifactTTL.DISABLED, timedelta(days=1), ArtifactTTL.INHERIT, ...)
    set_rule(store, "peds", Rule(ttl=timedelta(days=30)))
    age(store, 40)
    assert verdicts(store) == {
        "v0": ("older than 30 days", ()),
        "v3": ("older than its ttl of 1 day", ()),
        "v4": ("older than 30 days", ()),
        "v5": ("older than 30 days", ("alias latest",)),
    }
    assert [store.get(f"peds:v{n}").ttl for n in range(4)] == [
        timedelta(days=30), timedelta(days=90), None, timedelta(days=1)
    ]  # fmt: skip


def test_the_newest_stay_and_of_those_beyond_one_with_a_ttl_goes_when_it_is_old(store: ArtifactStore) -> None:
    log(store, ..., WEEK, None, 9 * WEEK, WEEK, ...)
    set_rule(store, "peds", Rule(keep_last=2))
    age(store, 8)
    assert verdicts(store) == {
        "v0": ("not among the last 2", ()),
        "v1": ("older than its ttl of 7 days, not among the last 2", ()),
    }
    set_rule(store, "peds", Rule(ttl=timedelta(days=1), keep_last=1))
    assert set(verdicts(store)) == {"v0", "v1", "v4"}


def test_aliases_keep_a_version_unless_the_rule_says_otherwise(store: ArtifactStore) -> None:
    log(store, WEEK, WEEK, WEEK, ...)
    store.set_alias("peds:v0", "best")
    store.set_alias("peds:v1", "production")
    set_protection(store, "peds", ["production"])
    age(store, 8)
    assert {name: kept for name, (_, kept) in verdicts(store).items()} == {
        "v0": ("alias best",), "v1": ("alias production",), "v2": ()
    }  # fmt: skip
    rule = Rule(keep_aliased=False)
    assert str(rule) == "versions go by a ttl of their own alone, with an alias or without"
    set_rule(store, "peds", rule)
    assert {name: kept for name, (_, kept) in verdicts(store).items()} == {
        "v0": (), "v1": ("alias production",), "v2": ()
    }  # fmt: skip
    collect(store, grace=NOW, dry_run=False)
    assert left(store) == ["v3", "v1"]


def test_what_is_needed_stays_whatever_its_ttl(store: ArtifactStore, clean_environment: Path) -> None:
    log(store, *[WEEK] * 4, ...)
    store.use("peds:v0", run="local/p/r1")
    linked = store.get("peds:v1").link("registry/peds")
    pin(store, ["peds:v2"], clean_environment / "art.lock")
    age(store, 8)
    assert {name: kept for name, (_, kept) in verdicts(store).items()} == {
        "v0": ("used by 1 run",),
        "v1": ("linked into a collection",),
        "v2": (f"pinned by {clean_environment / 'art.lock'}",),
        "v3": (),
    }
    assert linked.record.ttl is None


def test_what_undelete_brought_back_stays_until_it_is_given_a_ttl_again(store: ArtifactStore) -> None:
    log(store, WEEK, WEEK, ...)
    age(store, 8)
    collect(store, grace=WEEK, dry_run=False)
    with pytest.raises(
        ArtifactNotFoundError,
        match=r"v0' in .* went by itself \(older than its ttl of 7 days\).*art undelete",
    ):
        store.get("peds:v0")
    store.undelete("peds:v0")
    assert verdicts(store)["v0"][1] == ("brought back by undelete",)
    set_ttl(store, "peds:v0", WEEK)
    assert verdicts(store)["v0"][1] == ()
    kinds = [event.kind for event in store.get("peds:v0").history]
    assert kinds[-3:] == ["expired", "undeleted", "ttl_changed"]
    store.delete("peds:v0")
    with pytest.raises(ArtifactNotFoundError, match=r"peds:v0.* was deleted"):
        store.get("peds:v0")


def test_it_is_set_before_and_after_logging_and_kept_in_the_history(store: ArtifactStore) -> None:
    draft = Artifact("peds", "dataset", store=store)
    with pytest.raises(ConflictError, match="is a draft"):
        _ = draft.ttl
    draft.ttl = WEEK
    assert draft.ttl == WEEK
    store.log(draft)
    assert (draft.ttl, draft.given_ttl, draft.record.ttl) == (WEEK, None, 7 * DAY)
    assert ages_at(draft.record, None) == draft.record.created_at + 7 * DAY
    draft.ttl = None
    assert store.get("peds").ttl == WEEK
    draft.save()
    draft.save()
    assert store.get("peds").record.ttl == 0
    assert set_ttl(store, "peds", ArtifactTTL.INHERIT).record.ttl is None
    assert [(e.kind, e.detail) for e in draft.history if e.kind == "ttl_changed"] == [
        ("ttl_changed", {"before": "7 days", "after": "disabled"}),
        ("ttl_changed", {"before": "disabled", "after": "inherited"}),
    ]
    assert draft.new_draft().given_ttl is None
    assert artline.ArtifactTTL is ArtifactTTL


def test_logging_the_same_again_changes_it_only_if_one_is_said(store: ArtifactStore) -> None:
    log(store, WEEK)
    log(store, ...)
    assert store.get("peds").record.ttl == 7 * DAY
    log(store, timedelta(hours=36))
    assert (store.get("peds").version, store.get("peds").ttl) == ("v0", timedelta(hours=36))


@pytest.mark.parametrize("wrong", [NOW, timedelta(seconds=-1), timedelta.max, 30, "30d", 2.5])
def test_what_is_no_time_is_refused(store: ArtifactStore, wrong: Any) -> None:
    draft = Artifact("peds", "dataset", store=store)
    with pytest.raises(UsageError, match="ttl must be"):
        draft.ttl = wrong


def test_somebody_elses_change_is_left_alone(store: ArtifactStore) -> None:
    log(store, WEEK)
    mine = store.get("peds")
    set_ttl(store, "peds", None)
    mine.description = "roads"
    mine.save()
    assert (store.get("peds").record.ttl, store.get("peds").description) == (0, "roads")


def test_runs_push_and_drafts_of_many_set_it(store_root: Path) -> None:
    script = """
import artline as art
from datetime import timedelta
with art.init(project="p", settings={"quiet": True}) as run:
    part = art.Artifact("parts", "dataset")
    with part.new_file("a") as file:
        file.write("a")
    run.upsert_artifact(part, distributed_id="d")
    whole = art.Artifact("parts", "dataset")
    whole.ttl = timedelta(days=2)
    run.finish_artifact(whole, distributed_id="d")
    one = art.Artifact("one", "dataset")
    one.ttl = timedelta(days=3)
    run.log_artifact(one)
api = art.Api()
print(api.artifact("p/parts:latest").ttl, api.artifact("p/one:latest").ttl, sep="; ")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "2 days, 0:00:00; 3 days, 0:00:00\n"
