"""A disabled run raises nothing, whatever a script does with artifacts."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import artline as art
from artline.artifacts.artifact import Artifact
from artline.compat import wandb

DRAFTS = {"claim_staging", "become", "send", "from_record"}  # of the machinery, not for scripts
PROPERTIES = {"record", "manifest", "store", "staging", "algorithm", "stats"}


def test_a_script_with_artifacts_runs_when_disabled(store_root: Path) -> None:
    run = wandb.init(mode="disabled", project="p", entity="e")
    draft = wandb.Artifact("n", "t", metadata={"a": 1})
    logged = wandb.log_artifact(draft, aliases=["best"])
    assert logged.wait() is draft.wait() is draft
    assert (draft.name, draft.version, draft.qualified_name) == ("n:v0", "v0", "e/p/n:v0")
    assert (draft.type, draft.metadata, isinstance(draft, wandb.Artifact)) == ("t", {"a": 1}, True)
    used = wandb.use_artifact("e/p/data:latest", type="dataset")
    assert (used.collection, used.type) == ("data", "dataset")
    folder = used.download()
    assert os.listdir(folder) == []
    assert os.listdir(used.download("here")) == []
    assert list(used.files()) == []
    with used.new_file("f", "wb") as file:
        file.write(b"x")
    assert os.path.isdir(wandb.use_model("model:latest"))
    assert wandb.log_model("some/model.pt", name="m").wait().type == "model"
    assert wandb.link_model("some/model.pt", "registered").wait().name == "registered:v0"
    assert wandb.log_artifact("some/folder", "d", "t").name == "d:v0"
    assert run.upsert_artifact("x y").wait().collection == "x-y"
    assert run.link_artifact(wandb.Artifact("o", "t"), "registry/o").wait().version == "v0"
    assert wandb.log_code() is None
    wandb.finish(timeout=0)
    draft.wait()
    assert not store_root.exists()


def test_nothing_of_a_disabled_artifact_raises(store_root: Path) -> None:
    given: dict[str, Any] = {"obj": 1, "other": None, "item": "f"}
    with art.init("p", mode="disabled") as run:
        found = run.use_artifact("x:latest")
        assert run.use_artifact(found) is found
        for name, kind in inspect.getmembers_static(Artifact):
            if name.startswith("_") or name in DRAFTS | PROPERTIES:
                continue
            value = getattr(found, name)
            if not callable(value):
                continue
            if name == "new_file":
                with value("f") as file:
                    file.write("x")
                continue
            needed = [
                given.get(parameter.name, "f")
                for parameter in list(inspect.signature(getattr(Artifact, name)).parameters.values())[1:]
                if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            ]
            value(*needed)
            assert kind is not None
        found.ttl = None
        assert "x" not in found
        assert "x:v0" in repr(found)
    assert not store_root.exists()
