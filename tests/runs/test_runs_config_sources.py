"""Where a configuration comes from, what wins, and what stays whatever the program says."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from livescript import QUIET, config_of, journal_of, run_script

import artline as art
from artline.errors import ConfigLockedError, SourceNotFoundError, UsageError
from artline.runs.config_sources import parse_config, read_overrides


class Shaped:
    """A mapping in all but name, as ml_collections.ConfigDict is one."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def keys(self) -> Iterator[str]:
        return iter(self._values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]


class Flags:
    """What absl.flags.FLAGS shows of itself."""

    def flags_by_module_dict(self) -> dict[str, list[SimpleNamespace]]:
        return {
            "absl.logging": [SimpleNamespace(name="verbosity", value=0)],
            "__main__": [SimpleNamespace(name="lr", value=0.1), SimpleNamespace(name="name", value=None)],
        }


def test_configs_of_many_kinds() -> None:
    module = ModuleType("flags")
    module.FLAGS = Flags()  # type: ignore[attr-defined]  # as in absl.flags
    Path("c.yml").write_text("lr: {value: 1, desc: null}\nwandb_version: 1\n")
    Path("empty.yaml").write_text("")
    assert parse_config(None) == parse_config("empty.yaml") == {}
    assert parse_config(argparse.Namespace(lr=1, deep=argparse.Namespace)) == {
        "lr": 1,
        "deep": str(argparse.Namespace),
    }
    assert parse_config(Flags()) == parse_config(module) == {"lr": 0.1, "name": None}
    assert parse_config(Shaped(lr=1, deep=Shaped(er=2))) == {"lr": 1, "deep": {"er": 2}}
    assert parse_config("c.yml") == {"lr": 1}
    values = {"a": 1, "b": {"c": 2}, "d": 3}
    assert parse_config(values, exclude=["a", "none"]) == {"b": {"c": 2}, "d": 3}
    assert parse_config(values, include=["b", "none"]) == {"b": {"c": 2}}
    with pytest.raises(UsageError, match="not both"):
        parse_config(values, ["a"], ["b"])
    for wrong in (3, "none.json", [1], b"x"):
        with pytest.raises((UsageError, SourceNotFoundError)):
            parse_config(wrong)


def test_files_beneath_the_program_and_words_above_it(
    store_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config-defaults.yaml").write_text("a: {value: 1}\nb: {value: 1}\ndeep: {value: {x: 1, y: 1}}\n")
    Path("one.json").write_text(json.dumps({"b": 2, "c": 2, "deep": {"y": 2}}))
    Path("two.yaml").write_text("c: 3\nd: 3\n")
    monkeypatch.setenv("ART_CONFIG_PATHS", "one.json, two.yaml,")
    monkeypatch.setenv("ART_CONFIG", "e=5 deep.x=5 f='two words' g=[1,2] h=null i=True j=")
    monkeypatch.setattr(
        sys, "argv", ["train.py", "--config.e=6", "-v", "--config.k", "0x10", "--", "--config.l=1"]
    )
    with art.init("p", config={"d": 4, "e": 4, "m": 4}, settings=QUIET) as run:
        run.config["m"] = 4
        run.config.setdefaults({"a": 9, "n": 9, "e": 9})
        expected = {
            "a": 1, "b": 2, "c": 3, "d": 4, "m": 4, "n": 9, "deep": {"x": 5, "y": 2},
            "e": 6, "f": "two words", "g": [1, 2], "h": None, "i": True, "j": "", "k": "0x10",
        }  # fmt: skip
        assert run.config.as_dict() == expected
        capsys.readouterr()
        run.config.e = 7
        run.config.update({"e": 8, "deep": {"x": 1, "z": 1}, "k": "0x10"}, allow_val_change=True)
        run.config.update({"deep": 3}, allow_val_change=True)
        said = capsys.readouterr().err.splitlines()
        assert [line.split("config key ")[1].split(" ")[0] for line in said] == [
            "'e'",
            "'deep.x'",
            "'deep.x'",
        ]
        assert "is 6 by the command line; 7 for 'e' is ignored" in said[0]
        assert run.config.as_dict() == {**expected, "deep": {"x": 5, "y": 2, "z": 1}}
        with pytest.raises(ConfigLockedError):
            run.config.d = 5
    assert config_of(journal_of(run)) == {
        "deep.x": 5,
        "deep.y": 2,
        "deep.z": 1,
        **{key: value for key, value in expected.items() if key != "deep"},
    }
    with art.init("p", id=run.id, resume="must", settings=QUIET) as again:
        assert again.config["e"] == 6
    monkeypatch.setenv("ART_CONFIG", '{"e": 1, "deep": {"x": 7}}')
    with art.init("p", mode="disabled", config={"deep": {"x": 1}}) as nothing:
        assert (nothing.config.e, nothing.config.deep.x) == (6, 7)


def test_words_that_make_no_config(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["--config.a"], ["--config.a", "--config.b=1"], ["--config.=1"], ["--config.a", "--x"]):
        with pytest.raises(UsageError, match=r"--config\."):
            read_overrides(arguments)
    assert read_overrides(["--config.a", "-1", "--config.b", "-"]) == [
        ("the command line", {"a": -1, "b": "-"})
    ]
    for text in ("a", "=1", "a='", '{"a"', "[1]"):
        monkeypatch.setenv("ART_CONFIG", text)
        with pytest.raises(UsageError, match="ART_CONFIG"):
            read_overrides([])


def test_keys_locked_by_somebody(store_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with art.init("p", config={"lr": 1, "opt": {"name": "sgd"}}, settings=QUIET) as run:
        run.config.update_locked({"lr": 2, "opt.momentum": 0.9}, "sweep")
        run.config.opt.update_locked({"momentum": 0.8}, "sweep")  # whoever locked it may change it
        run.config.update_locked({"lr": 3, "bs": 8}, "other")
        for _ in range(2):
            run.config.update({"lr": 4, "new": 1}, allow_val_change=True)
        assert run.config.as_dict() == {"lr": 2, "opt": {"name": "sgd", "momentum": 0.8}, "bs": 8, "new": 1}
    assert capsys.readouterr().err.count("config key 'lr' is 2 by sweep") == 1


def test_a_run_that_lets_values_change(store_root: Path) -> None:
    with art.init("p", config={"lr": 1}, allow_val_change=True, settings=QUIET) as run:
        run.config.lr = 2
        run.config.update({"lr": 3})
        with pytest.raises(ConfigLockedError):
            run.config.update({"lr": 4}, allow_val_change=False)
    assert art.Api().run(f"p/{run.id}").config == {"lr": 3}


def test_a_program_without_argparse_is_configured_from_outside(store_root: Path) -> None:
    run_script(
        """
        with art.init(project="p", config={"lr": 0.1, "epochs": 3}, settings={"quiet": True}) as run:
            assert (run.config.lr, run.config.epochs, run.config.model) == (0.5, 3, "small")
        """,
        "--config.lr=0.5",
        environment={"ART_CONFIG": "model=small lr=0.3"},
    )
