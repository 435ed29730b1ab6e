"""Rewinding, forking, sharing and alerts on a store behind a server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from services.artline_server import Login

import artline as art

QUIET = {"quiet": True, "console": False, "save_code": False}


@pytest.fixture(autouse=True)
def signed_in(login: Login, as_user: Callable[[Login], None]) -> Login:
    as_user(login)
    return login


def test_runs_are_rewound_and_forked() -> None:
    with art.init("p", id="main", config={"lr": 1}, settings=QUIET) as run:
        for step in range(10):
            run.log({"loss": step})
        run.alert("title", "text")
    with art.init("p", resume_from="main?_step=4", settings=QUIET) as run:
        assert (run.step, run.summary["loss"]) == (5, 4)
        run.log({"loss": 50})
    with art.init("p", fork_from="main?_step=2", id="fork", settings=QUIET) as run:
        assert (run.step, run.summary["loss"], run.config["lr"]) == (3, 2, 1)
        run.log({"loss": 30})
    api = art.Api()
    assert [row["loss"] for row in api.run("p/main").history()] == [0, 1, 2, 3, 4, 50]
    assert [row["loss"] for row in api.run("p/fork").history()] == [0, 1, 2, 30]
    assert [alert.title for alert in api.run("p/main").alerts()] == ["title"]


def test_ranks_write_one_run() -> None:
    for rank in range(2):
        with art.init("p", id="shared", mode="shared", settings={**QUIET, "rank": rank}) as run:
            run.log({"loss": rank})
    found = art.Api().run("p/shared")
    assert [writer.label for writer in found.writers()] == ["rank_0", "rank_1"]
    assert sorted(row["loss"] for row in found.history()) == [0, 1]
