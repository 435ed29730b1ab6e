"""Names and functions that scripts written for wandb use, and that Artline spells otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import artline
from artline.artifacts.refs import check_name
from artline.compat import wandb
from artline.compat.wandb.spelling import nameable

QUIET = {"quiet": True, "console": False}


@given(st.text(min_size=1))
def test_every_name_is_spelled_so_that_it_is_allowed(text: str) -> None:
    spelled = nameable(text)
    assert check_name(spelled) == spelled
    assert nameable(spelled) == spelled


def test_projects_of_other_scripts_stay_apart_and_are_found(store_root: Path) -> None:
    names = ["実験", "тест", "My Proj", "c++", "c#", "*", "a" * 200, "a" * 201]
    assert nameable("My Proj") == "My-Proj"
    runs = {}
    for name in names:
        with wandb.init(project=name, entity="équipe", settings=QUIET) as run:
            run.log({"a": 1})
            artifact = wandb.Artifact("data", "set")
            with artifact.new_file("f") as file:
                file.write(name)
            run.log_artifact(artifact)
        runs[name] = run
    assert len({run.project for run in runs.values()}) == len(names)
    api = wandb.Api(overrides={"entity": "équipe"})
    for name in names:
        assert [found.id for found in api.runs(name)] == [runs[name].id]
        assert [found.id for found in api.runs(f"équipe/{name}")] == [runs[name].id]
        assert api.run(f"équipe/{name}/{runs[name].id}").id == runs[name].id
        assert api.project(name, "équipe").name == runs[name].project
        with api.artifact(f"{name}/data:latest").open("f") as stream:
            assert stream.read().decode() == name
    assert len(wandb.Api(overrides={"entity": "équipe", "project": "実験"}).artifacts(name="data")) == 1


def test_wandbs_own_charts_are_drawn(store_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = wandb.Table(columns=["class", "y", "x"], data=[("a", 0.5, 0.1), ("b", 0.4, 0.2)])
    fields = {"x": "x", "y": "y", "class": "class"}
    texts = {"title": "Precision", "x-axis-title": "Recall", "y-axis-title": "P"}
    plot = wandb.plot_table("wandb/area-under-curve/v0", table, fields=fields, string_fields=texts)
    drawn = plot.to_vega_lite()
    assert drawn["title"] == "Precision"
    assert drawn["encoding"]["x"]["title"] == "Recall"
    assert drawn["encoding"]["color"]["field"] == "class"
    assert wandb.plot.plot_table is wandb.plot_table
    assert wandb.plot_table("me/own/v0", table, fields) is table
    assert "me/own/v0" in capsys.readouterr().err
    with wandb.init(project="p", settings=QUIET) as run:
        wandb.log({"curve": plot})
    assert artline.Api().run(f"p/{run.id}").summary["curve"]["_type"] == "plot-file"


def test_code_and_links_are_logged_by_the_run_in_progress(store_root: Path) -> None:
    Path("train.py").write_text("print()")
    with wandb.init(project="p", settings=QUIET):
        code = wandb.log_code(".")
        linked = wandb.link_artifact(code, "registry/code", aliases=["prod"])
    assert linked.qualified_name.endswith("/registry/code:v0")
    assert "prod" in linked.aliases
