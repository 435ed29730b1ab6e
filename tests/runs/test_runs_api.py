"""``Api`` finds, filters, orders, edits and deletes runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rundata import DEAD, Writer

from artline.errors import ConflictError, EntryNotFoundError, RunNotFoundError, UsageError
from artline.runs.api import Api
from artline.settings import Settings


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, store_root: Path) -> Iterator[Api]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    opened = Api(Settings(root=store_root, catalog=url, project="p"))
    yield opened
    opened.store.close()


@pytest.fixture
def zoo(api: Api, store_root: Path) -> Api:
    """Eight runs that differ in every way one filters by."""
    rows: list[dict[str, Any]] = [
        {"lr": 0.1, "opt": "adam", "seed": 1, "deep.width": 64},
        {"lr": 0.01, "opt": "sgd", "seed": 2, "deep.width": 128},
        {"lr": 0.001, "opt": "adamw", "seed": 2**60, "flag": True},
        {"lr": 1, "opt": "adam", "seed": 2**60 + 1, "flag": False},
        {"lr": None, "opt": "rms'prop", "layers": [1, 2]},
        {"opt": "SGD"},
        {"lr": "0.1", "opt": "a_b%c"},
        {},
    ]
    for at, config in enumerate(rows):
        writer = Writer(
            store_root,
            f"run{at}",
            at=1_000_000.0 + at,
            process=DEAD if at == 5 else None,
            name=f"name {at}",
            group="even" if at % 2 == 0 else "odd",
            job_type="train" if at < 4 else "eval" if at < 7 else "",
            tags=[f"t{at % 3}", "all"],
        )
        writer.config(**config)
        if at < 6:
            writer.rows({"acc": [at / 10], "epoch": [at]}, "dq")
        if at not in (5, 7):
            writer.finish("failed" if at == 3 else "finished", after=float(at))
    return api


def ids(api: Api, filters: Any = None, order: str = "+created_at") -> str:
    return "".join(run.id[3:] for run in api.runs("p", filters, order=order, per_page=3))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (None, "01234567"),
        ({}, "01234567"),
        ({"state": "failed"}, "3"),
        ({"state": "crashed"}, "5"),
        ({"state": {"$in": ["running", "failed"]}}, "37"),
        ({"state": {"$ne": "finished"}}, "357"),
        ({"config.lr": 0.1}, "0"),
        ({"config.lr": 1.0}, "3"),
        ({"config.lr": {"$lt": 0.1}}, "12"),
        ({"config.lr": {"$gte": 0.01, "$lte": 0.1}}, "01"),
        ({"config.lr": {"$ne": 0.1}}, "1234567"),
        ({"config.lr": None}, "457"),
        ({"config.lr": {"$exists": True}}, "012346"),
        ({"config.lr": {"$exists": False}}, "57"),
        ({"config.lr": "0.1"}, "6"),
        ({"config.lr": {"$not": {"$gt": 0.005}}}, "24567"),
        ({"config.deep": {"$exists": True}}, "01"),
        ({"config.deep.width": {"$gt": 64}}, "1"),
        ({"config.seed": 2**60}, "2"),
        ({"config.seed": 2**60 + 1}, "3"),
        ({"config.flag": True}, "2"),
        ({"config.flag": {"$in": [True, False]}}, "23"),
        ({"config.layers": [1, 2]}, "4"),
        ({"config.opt": {"$regex": "^ada"}}, "023"),
        ({"config.opt": {"$in": ["sgd", "a_b%c", "rms'prop"]}}, "146"),
        ({"config.opt": {"$nin": ["adam", "sgd"]}}, "24567"),
        ({"summary.acc": {"$gte": 0.3}}, "345"),
        ({"summary_metrics.acc": {"$gte": 0.3}}, "345"),
        ({"summary.epoch": {"$in": [1, 2]}}, "12"),
        ({"tags": "t1"}, "147"),
        ({"tags": {"$in": ["t0", "t2"]}}, "02356"),
        ({"tags": {"$nin": ["t0", "t2"]}}, "147"),
        ({"tags": {"$regex": "^t[01]$"}}, "013467"),
        ({"tags": {"$ne": "all"}}, ""),
        ({"display_name": "name 3"}, "3"),
        ({"display_name": {"$regex": "[56]$"}}, "56"),
        ({"id": {"$in": ["run1", "run2"]}}, "12"),
        ({"group": "odd", "job_type": "train"}, "13"),
        ({"created_at": {"$gt": 1_000_005.0}}, "67"),
        ({"created_at": {"$gte": "1970-01-12T13:46:46+00:00"}}, "67"),
        ({"ended_at": {"$exists": False}}, "7"),
        ({"exit_code": None}, "57"),
        ({"jobType": None}, "7"),
        ({"jobType": {"$ne": None}}, "0123456"),
        ({"job_type": {"$exists": False}}, "7"),
        ({"job_type": {"$in": [None, "train"]}}, "01237"),
        ({"$or": [{"group": "odd", "job_type": "train"}, {"config.opt": "SGD"}]}, "135"),
        ({"$and": [{"tags": "t0"}, {"$not": {"state": "failed"}}]}, "06"),
        ({"$nor": [{"tags": "t0"}, {"tags": "t1"}]}, "25"),
    ],
)
def test_filters(zoo: Api, filters: Any, expected: str) -> None:
    assert ids(zoo, filters) == expected
    assert len(zoo.runs("p", filters)) == len(expected)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("-created_at", "76543210"),
        ("created_at", "01234567"),
        ("+summary.acc", "01234576"),
        ("-summary.acc", "54321076"),
        ("-summary_metrics.acc", "54321076"),
        ("+config.lr", "21036754"),
        ("-config.lr", "30126754"),
        ("+display_name", "01234567"),
        ("-config.nothing", "76543210"),
    ],
)
@pytest.mark.parametrize("per_page", [1, 3, 100])
def test_orders_page_by_key(zoo: Api, order: str, expected: str, per_page: int) -> None:
    found = zoo.runs("p", order=order, per_page=per_page)
    assert "".join(run.id[3:] for run in found) == expected


def test_filters_and_orders_on_the_same_kind_of_key_go_together(zoo: Api) -> None:
    filters = {"config.lr": {"$gt": 0.005}, "summary.acc": {"$exists": True}, "config.opt": {"$ne": "sgd"}}
    assert ids(zoo, filters, "-summary.acc") == "30"
    assert ids(zoo, filters, "+config.lr") == "03"
    assert ids(zoo, {"config.opt": {"$regex": "a"}}, "+config.lr") == "2036"


def test_runs_are_fetched_as_they_are_asked_for(zoo: Api) -> None:
    runs = zoo.runs("p", order="+created_at", per_page=2)
    assert runs[0].id == "run0"
    assert [run.id for run in runs[2:4]] == ["run2", "run3"]
    assert runs[-1].id == "run7"
    assert len(runs) == 8
    with pytest.raises(IndexError):
        runs[8]
    assert [run.id for run in zoo.runs("local/p", {"id": "run3"})] == ["run3"]
    assert len(zoo.runs()) == 8


def test_runs_that_come_while_paging_push_nobody_out(zoo: Api, store_root: Path) -> None:
    runs = iter(zoo.runs("p", order="-created_at", per_page=3))
    seen = [next(runs).id for _ in range(3)]
    Writer(store_root, "newest", at=2_000_000.0).finish()
    zoo.refresh()
    seen += [run.id for run in runs]
    assert seen == [f"run{at}" for at in range(7, -1, -1)]


@pytest.mark.parametrize(
    "filters",
    [
        {"config.lr": {"$near": 1}},
        {"$xor": [{}]},
        {"colour": "red"},
        {"state": 3},
        {"runtime": {"$gt": "long"}},
        {"created_at": {"$gt": "yesterday"}},
        {"name": {"$regex": "("}},
        {"config.lr": {"$gt": [1]}},
        {"config.lr": {"$in": "abc"}},
        {"tags": {"$gt": "a"}},
        {"$or": []},
        ["state"],
    ],
)
def test_a_wrong_filter_says_what_is_known(zoo: Api, filters: Any) -> None:
    with pytest.raises(UsageError):
        list(zoo.runs("p", filters))


def test_a_wrong_order_says_what_is_known(zoo: Api) -> None:
    with pytest.raises(UsageError, match="created_at"):
        list(zoo.runs("p", order="-colour"))


def test_a_run_shows_what_it_is(api: Api, store_root: Path) -> None:
    writer = Writer(
        store_root,
        "abc",
        at=1_000_000.0,
        name="n",
        notes="why",
        group="g",
        job_type="train",
        tags=["x"],
        host="h",
    )
    writer.config(**{"opt.lr": 0.1, "opt.name": "adam", "seed": 1})
    writer.define(name="acc", summary=["max"])
    writer.rows({"acc": [0.5, 0.25], "loss": [2.0, 1.0]}, "dd")
    writer.finish(after=5.0)
    for path in ("abc", "p/abc", "local/p/abc"):
        run = api.run(path)
        assert (run.id, run.name, run.display_name, run.path) == ("abc", "n", "n", "local/p/abc")
    assert run.config == {"opt": {"lr": 0.1, "name": "adam"}, "seed": 1}
    assert run.config["opt.lr"] == 0.1
    assert run.summary == {"acc": {"max": 0.5}, "loss": 1.0}
    assert run.summary["acc.max"] == run.summary["acc"]["max"] == 0.5
    assert "acc.max" in run.summary
    assert run.summary.get("acc.min") is None
    assert (run.state, run.notes, run.group, run.job_type, run.tags) == (
        "finished",
        "why",
        "g",
        "train",
        ["x"],
    )
    assert run.metadata == {"host": "h"}
    assert run.created_at == "1970-01-12T13:46:40.000Z"
    assert run.ended_at == "1970-01-12T13:46:45.000Z"
    assert (run.runtime, run.exit_code, run.last_step) == (5.0, 0, 1)
    assert "abc" in repr(run)


def test_unknown_runs_are_named_with_close_matches(zoo: Api) -> None:
    with pytest.raises(RunNotFoundError, match=r"'run33' does not exist in project 'p'.*run3.*art runs ls"):
        zoo.run("p/run33")
    with pytest.raises(RunNotFoundError, match=r"'pp'"):
        zoo.run("pp/run3")
    with pytest.raises(RunNotFoundError, match=r"project 'q' does not exist.*Known projects: p"):
        list(zoo.runs("q"))
    with pytest.raises(UsageError):
        zoo.run("a/b/c/d")
    with pytest.raises(UsageError):
        zoo.runs("p", per_page=0)


def test_edits_are_saved_and_the_rest_left_alone(api: Api, store_root: Path) -> None:
    writer = Writer(store_root, name="old", tags=["a"])
    writer.config(**{"lr": 0.1, "opt.name": "adam"})
    writer.rows({"loss": [1.0]}, "d")
    run, other = api.run("r1"), api.run("r1")
    run.name, run.notes, run.group = "new", "note", "g"
    run.tags.append("b")
    run.config["lr"] = 0.2
    run.config["opt"]["name"] = "sgd"
    run.summary["judged"] = {"good": True}
    run.update()
    other.job_type = "eval"
    other.save()
    found = api.run("r1")
    assert (found.name, found.notes, found.group, found.job_type) == ("new", "note", "g", "eval")
    assert found.tags == ["a", "b"]
    assert found.config == {"lr": 0.2, "opt": {"name": "sgd"}}
    assert found.summary == {"loss": 1.0, "judged": {"good": True}}
    assert [r.id for r in api.runs("p", {"config.lr": 0.2, "summary.judged.good": True, "tags": "b"})] == [
        "r1"
    ]
    assert [r.id for r in api.runs("p", {"config.lr": 0.1})] == []
    writer.rows({"loss": [0.5]}, "d")
    assert run.load().summary == {"loss": 0.5, "judged": {"good": True}}
    writer.summary("judged.good")
    assert "judged" not in api.run("r1").summary


def test_a_value_replaces_what_was_nested_below_it(api: Api, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.config(**{"a": 1, "opt.lr": 0.1, "opt.momentum": 0.9, "rest": 2})
    run = api.run("p/r1")
    run.config["a"] = {"b": 2}
    run.config["opt"] = "none"
    run.update()
    assert api.run("p/r1").config == {"a": {"b": 2}, "opt": "none", "rest": 2}


def test_integers_beyond_floats_can_be_thinned(api: Api, store_root: Path) -> None:
    Writer(store_root).rows({"big": [str(10**400 + n) for n in range(50)]}, "j")
    thin = api.run("p/r1").history(samples=10)
    assert [thin[0]["big"], thin[-1]["big"]] == [10**400, 10**400 + 49]


def test_a_deleted_run_is_hidden_and_can_come_back(api: Api, store_root: Path) -> None:
    writer = Writer(store_root)
    writer.rows({"loss": [1.0]}, "d")
    run = api.run("r1")
    run.delete()
    run.delete()
    assert list(api.runs("p")) == []
    with pytest.raises(RunNotFoundError, match="deleted"):
        api.run("r1")
    assert [record.run_id for record in api.store.find("p", deleted=True).runs] == ["r1"]
    run.undelete()
    writer.rows({"loss": [2.0]}, "d")
    assert [row["loss"] for row in api.run("r1").history()] == [1.0, 2.0]


def test_files_of_a_run(api: Api, store_root: Path, tmp_path: Path) -> None:
    Writer(store_root)
    run = api.run("r1")
    assert run.files() == []
    folder = api.store.files_folder(run.record)
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("hello")
    (folder / "b.bin").write_bytes(b"\x00")
    assert [(file.name, file.size) for file in run.files()] == [("b.bin", 1), ("sub/a.txt", 5)]
    assert [file.name for file in run.files(["b.bin"])] == ["b.bin"]
    target = run.file("sub/a.txt").download(tmp_path / "out")
    assert target == tmp_path / "out" / "sub" / "a.txt"
    assert target.read_text() == "hello"
    with pytest.raises(ConflictError):
        run.file("sub/a.txt").download(tmp_path / "out")
    assert run.file("sub/a.txt").download(tmp_path / "out", exist_ok=True) == target
    with run.file("b.bin").open() as handle:
        assert handle.read() == b"\x00"
    with pytest.raises(EntryNotFoundError, match=r"c\.bin"):
        run.file("c.bin")


def test_projects_are_listed(api: Api, store_root: Path) -> None:
    assert api.projects() == []
    Writer(store_root, project="b").finish()
    Writer(store_root, project="a").finish()
    Writer(store_root, project="c", entity="other").finish()
    assert [project.name for project in api.projects()] == ["a", "b"]
    assert [project.name for project in api.projects("other")] == ["c"]
    assert api.run("other/c/r1").entity == "other"


def test_while_the_catalog_is_locked_reads_show_what_was_there(
    store_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api(Settings(root=store_root, project="p", lock_timeout=0.2))
    writer = Writer(store_root)
    writer.rows({"loss": [1.0]}, "d")
    run = api.run("r1")
    writer.rows({"loss": [2.0]}, "d")
    other = sqlite3.connect(store_root / "catalog.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert [row["loss"] for row in run.history()] == [1.0]
    assert "locked" in capsys.readouterr().err
    other.execute("ROLLBACK")
    other.close()
    assert [row["loss"] for row in run.history()] == [1.0, 2.0]
    api.store.close()


def test_a_damaged_journal_is_told_once(store_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = Api(root=store_root, project="p")
    writer = Writer(store_root, process=DEAD)
    offset = writer.path.stat().st_size
    writer.rows({"loss": [1.0]}, "d")
    writer.rows({"loss": [2.0]}, "d")
    data = bytearray(writer.path.read_bytes())
    data[offset + 30] ^= 1
    writer.path.write_bytes(bytes(data))
    api.run("r1")
    told = capsys.readouterr().err
    assert str(writer.path) in told
    assert f"offset {offset}" in told
    api.run("r1")
    assert capsys.readouterr().err == ""
    api.store.close()


def test_settings_come_whole_or_one_by_one(store_root: Path) -> None:
    with pytest.raises(UsageError):
        Api(Settings(root=store_root), root=store_root)
