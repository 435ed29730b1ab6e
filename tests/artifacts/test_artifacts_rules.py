from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from artline.artifacts.artifact import Artifact
from artline.artifacts.fsck import check
from artline.artifacts.pinning import pin
from artline.artifacts.protection import set_protection
from artline.artifacts.retention import collect
from artline.artifacts.rules import Rule, expire, get_rule, set_rule
from artline.artifacts.schema import artifact_version
from artline.artifacts.store import ArtifactStore
from artline.errors import ArtifactNotFoundError, IntegrityError, UsageError
from artline.settings import load_settings

NOW = timedelta(0)
DAY = 86400.0


@pytest.fixture
def store(store_root: Path, catalog_url: str) -> ArtifactStore:
    """A store with a catalog of each kind, whose project is ``p``."""
    return ArtifactStore.open(load_settings(root=store_root, catalog=catalog_url, project="p"))


def log(store: ArtifactStore, count: int, name: str = "peds") -> None:
    for index in range(count):
        draft = Artifact(name, "dataset", store=store)
        draft.add_stream(io.BytesIO(f"{name} {index}".encode()), "file")
        store.log(draft)


def age(store: ArtifactStore, **days: float) -> None:
    """Make versions of peds older."""
    version = artifact_version.c
    with store.catalog.write() as conn:
        for name, amount in days.items():
            record = store.get(f"peds:{name}").record
            conn.execute(
                sa.update(artifact_version)
                .where(version.id == record.id)
                .values(created_at=record.created_at - amount * DAY)
            )


def left(store: ArtifactStore, name: str = "peds") -> list[str]:
    return [record.version for record in store.versions(None, name)]


def test_only_the_newest_versions_stay(store: ArtifactStore) -> None:
    log(store, 5)
    log(store, 3, "other")
    set_rule(store, "peds", Rule(keep_last=2))
    collect(store, grace=NOW, dry_run=False)
    assert left(store) == ["v4", "v3"]
    assert left(store, "other") == ["v2", "v1", "v0"]
    assert store.get("peds").version == "v4"
    assert collect(store, grace=NOW, dry_run=False).expired == ()


def test_versions_grow_old(store: ArtifactStore) -> None:
    log(store, 4)
    age(store, v0=40, v1=31, v2=29)
    set_rule(store, "peds", Rule(ttl=timedelta(days=30)))
    (first, second) = expire(store, dry_run=True)
    assert (first.name, first.goes, first.reason) == ("local/p/peds:v0", True, "older than 30 days")
    assert second.name == "local/p/peds:v1"
    set_rule(store, "peds", Rule(ttl=timedelta(days=30), keep_last=3))
    assert [v.name for v in expire(store, dry_run=False)] == ["local/p/peds:v0"]
    assert left(store) == ["v3", "v2", "v1"]


def test_a_dry_run_says_what_would_go_and_what_it_frees(store: ArtifactStore) -> None:
    log(store, 3)
    set_rule(store, "peds", Rule(keep_last=1))
    before = collect(store, grace=NOW)
    assert [(v.name, v.goes) for v in before.expired] == [
        ("local/p/peds:v0", True), ("local/p/peds:v1", True)
    ]  # fmt: skip
    assert before.collection.dead_chunks > 0
    assert left(store) == ["v2", "v1", "v0"]
    set_rule(store, "peds", None)
    assert collect(store, grace=NOW).collection.dead_chunks == 0


def test_what_is_needed_says_so_and_stays(store: ArtifactStore, clean_environment: Path) -> None:
    log(store, 8)
    store.use("peds:v0", run="local/p/r1")
    store.set_alias("peds:v1", "best")
    store.get("peds:v2").link("registry/peds")
    pin(store, ["peds:v3"], clean_environment / "art.lock")
    store.delete("peds:v4")
    store.undelete("peds:v4")
    set_rule(store, "peds", Rule(keep_last=1))
    verdicts = {v.name.partition(":")[2]: v.kept_by for v in collect(store, grace=NOW, dry_run=False).expired}
    assert verdicts == {
        "v0": ("used by 1 run",),
        "v1": ("alias best",),
        "v2": ("linked into a collection",),
        "v3": (f"pinned by {clean_environment / 'art.lock'}",),
        "v4": ("brought back by undelete",),
        "v5": (),
        "v6": (),
    }
    assert left(store) == ["v7", "v4", "v3", "v2", "v1", "v0"]
    assert left(store, "peds") == left(store)


def test_only_a_protected_alias_keeps_a_version_where_aliases_do_not(store: ArtifactStore) -> None:
    log(store, 3)
    age(store, v0=2, v1=2, v2=2)
    for name, alias in (("v0", "best"), ("v1", "production")):
        store.set_alias(f"peds:{name}", alias)
    set_protection(store, "peds", ["production"])
    set_rule(store, "peds", Rule(ttl=timedelta(days=1), keep_aliased=False))
    verdicts = {v.name.partition(":")[2]: v.kept_by for v in expire(store, dry_run=False)}
    assert verdicts == {"v0": (), "v1": ("alias production",), "v2": ()}
    assert left(store) == ["v1"]
    assert store.get("peds").version == "v1"


def test_an_expired_version_comes_back_until_it_is_collected(store: ArtifactStore) -> None:
    log(store, 4)
    set_rule(store, "peds", Rule(keep_last=1))
    collect(store, grace=timedelta(days=1), dry_run=False)
    assert left(store) == ["v3"]
    assert store.undelete("peds:v0").version == "v0"
    assert [event.kind for event in store.get("peds:v0").history][-2:] == ["expired", "undeleted"]
    for _ in range(3):
        collect(store, grace=NOW, dry_run=False)
    assert left(store) == ["v3", "v0"]
    with pytest.raises(IntegrityError, match="has been collected"):
        store.undelete("peds:v1")
    assert check(store, full=True).ok


def test_a_rule_is_set_read_and_lifted(store: ArtifactStore) -> None:
    log(store, 1)
    assert get_rule(store, "peds") is None
    for rule in (Rule(ttl=timedelta(hours=12)), Rule(timedelta(days=1), 3, keep_aliased=False)):
        set_rule(store, "p/peds", rule)
        assert get_rule(store, "peds") == rule
    assert str(rule) == "versions go that are older than 1 day, not among the last 3"
    assert "older than 12 hours, and have no alias" in str(Rule(ttl=timedelta(hours=12)))
    assert "older than 90 seconds" in str(Rule(ttl=timedelta(seconds=90)))
    set_rule(store, "peds", None)
    assert get_rule(store, "peds") is None
    for wrong in ({}, {"ttl": NOW}, {"keep_last": 0}):
        with pytest.raises(UsageError):
            Rule(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="names a version"):
        set_rule(store, "peds:v0", rule)
    with pytest.raises(ArtifactNotFoundError):
        set_rule(store, "nothing", rule)
