"""What a collection says that it would free of the versions that a rule lets go."""

from __future__ import annotations

import io
from datetime import timedelta

from artline.artifacts.artifact import Artifact
from artline.artifacts.retention import collect
from artline.artifacts.rules import Rule, set_rule
from artline.artifacts.store import ArtifactStore


def log(store: ArtifactStore, number: int) -> None:
    draft = Artifact("peds", "dataset", store=store)
    draft.add_stream(io.BytesIO(b"%d" % number * 1000), "own")
    draft.add_stream(io.BytesIO(b"shared" * 1000), "shared")
    store.log(draft, project="p", aliases=["raw"] if number == 1 else [])


def test_what_a_rule_lets_go_says_what_only_it_has(store: ArtifactStore) -> None:
    for number in range(4):
        log(store, number)
    set_rule(store, "p/peds", Rule(keep_last=1))
    expected = {
        "local/p/peds:v0": (1000, True),
        "local/p/peds:v1": (0, False),
        "local/p/peds:v2": (1000, True),
    }
    for dry_run in (True, False):
        found = collect(store, grace=timedelta(days=1), dry_run=dry_run).expired
        assert {v.name: (v.unshared, v.goes) for v in found} == expected
        assert {v.size for v in found} == {7000}
