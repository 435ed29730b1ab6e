"""Arguments of tables that scripts written for wandb pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import artline as art
from artline.compat import wandb
from artline.errors import UsageError

QUIET = {"quiet": True, "console": False}


def test_mixed_cells_are_stored_as_json(store_root: Path) -> None:
    cells = [1, "x", None, 2.5, [1], {"a": "é"}, np.float32(0.5)]
    table = wandb.Table(columns=["a", "n"], data=[[cell, 1] for cell in cells], allow_mixed_types=True)
    assert table.get_column("a")[:2] == [1, "x"]
    assert [str(kind) for kind in table.to_arrow().schema.types] == ["string", "int64"]
    artifact = art.Artifact("t", "table")
    artifact.add(table, "t")
    with art.init("p", settings=QUIET) as run:
        stored = run.log_artifact(artifact).get("t")
        run.log({"t": table})
        table.add_data(b"later", 2)
    found = [None if cell is None else json.loads(cell) for cell in stored.get_column("a")]
    assert found == [1, "x", None, 2.5, [1], {"a": "é"}, 0.5]
    assert stored.get_column("n") == [1] * len(cells)
    assert art.Api().run(f"p/{run.id}").summary["t"]["nrows"] == len(cells)
    with pytest.raises(UsageError, match="'a' are not of one type"):
        wandb.Table(columns=["a"], data=[[1], ["x"]]).to_arrow()
    images = wandb.Table(columns=["i"], data=[[wandb.Image([[0]])]], allow_mixed_types=True)
    art.Artifact("i", "table").add(images, "i")


def test_types_are_settled_by_dtype() -> None:
    rows = [[1, 2, "x", 1]]
    names = ["a", "b", "c", "d"]
    for dtype in (
        {"a": float, "b": np.float32, "c": str, "d": object},
        [float, np.dtype("float32"), str, None],
    ):
        table = wandb.Table(columns=names, rows=rows, dtype=dtype)
        assert [str(kind) for kind in table.schema.types] == ["double", "float", "string", "int64"]
    assert str(wandb.Table(columns=["a"], data=[[1]], dtype=float).schema.field("a").type) == "double"


def test_none_is_refused_where_it_is_not_optional() -> None:
    assert len(wandb.Table(columns=["a"], data=[[None]], optional=True, log_mode="MUTABLE")) == 1
    with pytest.raises(UsageError, match="'a' is not optional"):
        wandb.Table(columns=["a"], data=[[None]], optional=False)
    table = wandb.Table(columns=["a", "b"], data=[[None, 1]], optional=[True, False])
    with pytest.raises(UsageError, match="'b' is not optional"):
        table.add_data(1, None)
    assert len(table) == 1
    with pytest.raises(UsageError, match="optional has 1 values"):
        wandb.Table(columns=["a", "b"], optional=[True])
