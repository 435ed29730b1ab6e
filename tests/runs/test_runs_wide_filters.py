"""A filter finds the same runs whether its conditions hold for few runs or for many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rundata import Writer

from artline.runs import listing
from artline.runs.api import Api
from artline.settings import Settings

FILTERS: list[dict[str, Any]] = [
    {"config.lr": {"$lt": 7}, "summary.acc": {"$gt": 2}},
    {"config.lr": 3},
    {"config.lr": {"$ne": 3}},
    {"config.lr": {"$in": [1, 2, 30]}, "config.name": {"$regex": "run"}},
    {"$or": [{"config.lr": {"$gte": 8}}, {"summary.acc": {"$exists": False}}]},
    {"$nor": [{"config.lr": {"$gte": 8}}, {"config.none": None}]},
    {"config.none": None},
    {"config.lr": {"$not": {"$gt": 4}}},
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("many", [1, 5])
def test_wide_conditions_find_what_narrow_ones_do(
    store_root: Path, filters: dict[str, Any], many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        writer = Writer(store_root, f"r{number}", at=1000.0 + number)
        writer.config(lr=number, name=f"run {number}")
        if number % 4:
            writer.summary(acc=number / 2, loss=float(number * 7 % 10))
    api = Api(Settings(root=store_root))
    found = [run.id for run in api.runs("p", filters, order="-summary.loss", per_page=3)]
    monkeypatch.setattr(listing, "_MANY", many)
    assert [run.id for run in api.runs("p", filters, order="-summary.loss", per_page=3)] == found
    assert len(api.runs("p", filters)) == len(found)
