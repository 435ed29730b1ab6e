"""Artline under wandb's names: in the process, without replacing anything."""

from __future__ import annotations

from pathlib import Path

import pytest

import artline
from artline import errors
from artline.compat import wandb


def test_a_script_runs_with_artline_imported_as_wandb(store_root: Path) -> None:
    script = artline
    assert script.login(key="x") is True
    script.require("core")
    run = script.init(project="roads", config={"lr": 0.1}, settings={"quiet": True})
    assert isinstance(run, script.sdk.wandb_run.Run)
    script.log({"loss": 1.0})
    script.config.update({"depth": 3})
    assert len(script.util.generate_id()) == 8
    script.join()
    found = script.Api().run(f"roads/{run.id}")
    assert (found.summary["loss"], found.config) == (1.0, {"lr": 0.1, "depth": 3})
    assert issubclass(script.errors.CommError, script.Error)


@pytest.mark.parametrize(
    ("place", "name", "instead"),
    [
        (wandb, "sweep", "Optuna"),
        (wandb, "launch", "scheduler"),
        (artline, "agent", "Optuna"),
        (wandb.sdk, "launch", "scheduler"),
        (wandb.util, "docker_image_regex", "docs/coming-from-wandb.md"),
        (wandb.env, "AGENT_KILL_DELAY", "docs/coming-from-wandb.md"),
        (wandb, "nothing", "docs/coming-from-wandb.md"),
    ],
)
def test_a_name_that_is_not_there_says_what_to_use(place: object, name: str, instead: str) -> None:
    assert not hasattr(place, name)
    with pytest.raises(AttributeError, match=f"{name}.*{instead}"):
        getattr(place, name)


def test_every_name_that_it_lists_is_there() -> None:
    for name in dir(wandb):
        assert hasattr(wandb, name), name
        assert hasattr(artline, name) or name == "_attach", name


def test_arguments_of_wandb_reach_the_run(store_root: Path, clean_environment: Path) -> None:
    run = wandb.init(
        entity="team",
        project="My Roads / 2026",
        dir="out",
        name="one",
        tags=["a"],
        config={"lr": 1, "secret": 2, "deep": {"x": 3}},
        config_exclude_keys=["secret"],
        job_type="train",
        anonymous="allow",
        force=True,
        settings=wandb.Settings(silent=True, console="off", start_method="fork", disable_git=True),
    )
    assert (run.entity, run.project, run.name, run.tags) == ("team", "My-Roads-2026", "one", ("a",))
    assert run.config_static == {"lr": 1, "deep": {"x": 3}}
    assert not run.settings.console
    assert not run.settings.save_code
    assert Path(run.dir).relative_to(clean_environment).parts[:2] == ("out", "wandb")
    assert (run.project_name(), run.get_url(), run.sweep_id, run.offline) == (
        "My-Roads-2026",
        None,
        None,
        False,
    )
    assert wandb.attach(run._attach_id) is run
    wandb.teardown()
    assert run.state == "finished"
    assert wandb.run is None


def test_variables_of_wandb_count_below_artlines_own(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PROJECT": "theirs",
        "NAME": "named",
        "TAGS": "a, b",
        "RUN_GROUP": "folds",
        "RUN_ID": "run7",
        "SILENT": "true",
        "MODE": "dryrun",
    }.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("ART_PROJECT", "ours")
    with wandb.init() as run:
        assert (run.project, run.name, run.tags, run.group, run.id) == (
            "ours",
            "named",
            ("a", "b"),
            "folds",
            "run7",
        )
        assert run.offline
    with wandb.init(project="argument", id="run8") as run:
        assert (run.project, run.id) == ("argument", "run8")
    monkeypatch.setenv("WANDB_DISABLED", "true")
    with wandb.init() as run:
        assert run.disabled
        assert isinstance(run, wandb.sdk.lib.RunDisabled)


def test_settings_without_a_counterpart_are_named(
    store_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb.init(project="roads", settings=wandb.Settings(frobnicate=1, x_internal=2)).finish()
    said = capsys.readouterr().err
    assert "no effect: frobnicate" in said
    assert "x_internal" not in said
    assert wandb.Settings(mode="offline").run_id is None


def test_values_that_clash_with_the_config_raise_wandbs_error(store_root: Path) -> None:
    with wandb.init(project="roads", config={"lr": 1}, settings={"silent": True}):
        with pytest.raises(wandb.sdk.lib.config_util.ConfigError, match="lr"):
            wandb.config.lr = 2
        wandb.config.update({"lr": 2}, allow_val_change=True)
        assert wandb.config["lr"] == 2


def test_runs_are_read_with_wandbs_defaults(store_root: Path) -> None:
    ids = []
    for n in range(3):
        with wandb.init(project="roads", config={"n": n}, settings={"silent": True}) as run:
            for step in range(1000):
                wandb.log({"loss": 1 / (step + 1), **({"acc": step} if step % 10 == 0 else {})})
        ids.append(run.id)
    api = wandb.Api(overrides={"project": "roads"}, timeout=30)
    runs = api.runs("roads", filters={"config.n": {"$gte": 1}})
    assert [run.id for run in runs] == ids[1:]
    assert len(runs) == 2
    assert (runs[-1].id, [run.id for run in runs[:1]]) == (ids[2], [ids[1]])
    run = api.run(ids[0])
    frame = run.history()
    assert len(frame) <= 500
    assert frame["loss"].max() == 1.0
    assert list(run.history(keys=["loss", "acc"])["acc"]) == list(range(0, 1000, 10))
    assert list(run.scan_history(keys=["acc"])) == [{"acc": step} for step in range(0, 1000, 10)]
    assert isinstance(run.history(samples=10, pandas=False), list)
    assert (run.lastHistoryStep, run.rawconfig) == (999, {"n": 0})
    run.wait_until_finished()
    with pytest.raises(AttributeError, match=r"no wandb.*stop"):
        _ = run.stop


def test_artifacts_are_found_with_wandbs_arguments(store_root: Path) -> None:
    with wandb.init(project="roads", settings={"silent": True}) as run:
        for text in ("one", "two"):
            artifact = wandb.Artifact("words", type="dataset")
            with artifact.new_file("words.txt") as file:
                file.write(text)
            run.log_artifact(artifact, aliases=["best"], tags=["short"] if text == "two" else [])
    api = wandb.Api({"project": "roads"})
    assert [found.version for found in api.artifacts("dataset", "words")] == ["v1", "v0"]
    assert [found.version for found in api.artifacts("dataset", "roads/words", tags="short")] == ["v1"]
    assert api.artifact_exists("words:best")
    assert not api.artifact_exists("words:v9")
    assert api.artifact_collection_exists("words", "dataset")
    assert not api.artifact_collection_exists("words", "model")
    assert not api.artifact_collection_exists("verbs", "model")
    assert api.project("roads").name == "roads"
    with pytest.raises(errors.NotFoundError, match="rivers"):
        api.project("rivers")


def test_a_draft_that_is_used_is_logged(store_root: Path) -> None:
    with wandb.init(project="roads", settings={"silent": True}) as run:
        draft = wandb.Artifact("words", type="dataset")
        with draft.new_file("words.txt") as file:
            file.write("one")
        assert run.use_artifact(draft).version == "v0"
    assert [found.name for found in wandb.Api().run(run.path).logged_artifacts()] == ["words:v0"]


def test_small_functions(capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    wandb.termlog("hello")
    wandb.termwarn("once", repeat=False)
    wandb.termwarn("once", repeat=False)
    wandb.termerror("bad")
    assert capsys.readouterr().err.splitlines() == [
        "artline: hello",
        "artline: warning: once",
        "artline: error: bad",
    ]
    util = wandb.util
    assert util.make_artifact_name_safe("a b/c:d") == "a_b_c_d"
    assert len(util.make_artifact_name_safe("x" * 400)) <= 128
    assert util.get_module("no_such_module_here") is None
    with pytest.raises(ImportError, match="install it"):
        util.get_module("no_such_module_here", required="install it")
    assert util.json_friendly(np.float32(1.5)) == (1.5, True)
    assert util.json_dumps_safer({"a": np.arange(2), "b": {1}}) == '{"a": [0, 1], "b": [1]}'
    assert util.is_numpy_array(np.zeros(1))
    assert not util.is_pandas_data_frame(np.zeros(1))
    with wandb.sdk.lib.telemetry.context(run=None) as tel:
        tel.feature.keras = True
