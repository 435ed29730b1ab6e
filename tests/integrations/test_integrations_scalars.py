"""Scalars and small tensors of torch are numbers to ``log``, ``config`` and ``summary``."""

from __future__ import annotations

import math
from pathlib import Path

import torch

import artline as art

QUIET = {"quiet": True, "console": False, "save_code": False, "stats_interval": 600.0}


def test_tensors_are_numbers(store_root: Path) -> None:
    weight = torch.tensor([2.0], requires_grad=True)
    loss = (weight * 1.5).sum()
    with art.init("p", config={"rate": torch.tensor(0.5)}, settings=QUIET) as run:
        run.log(
            {
                "loss": loss,
                "parameter": torch.nn.Parameter(torch.tensor(0.25)),
                "half": torch.tensor(0.5, dtype=torch.bfloat16),
                "double": torch.tensor(0.1, dtype=torch.float64),
                "long": torch.tensor(2**62),
                "small": torch.tensor(7, dtype=torch.uint8),
                "flag": torch.tensor(True),
                "one": torch.ones(1, 1),
                "nan": torch.tensor(math.nan),
                "inf": torch.tensor(-math.inf, dtype=torch.float16),
                "many": torch.tensor([[1, 2], [3, 4]]),
                "traced": torch.stack([loss, loss]),
                "deep": {"er": torch.tensor(3)},
            }
        )
        run.summary["best"] = loss
        loss.backward()
    found = art.Api().run(f"p/{run.id}")
    [row] = found.history()
    assert math.isnan(row.pop("nan"))
    assert {key: value for key, value in row.items() if not key.startswith("_")} == {
        "loss": 3.0, "parameter": 0.25, "half": 0.5, "double": 0.1, "long": 2**62, "small": 7, "flag": True,
        "one": 1.0, "inf": -math.inf, "many": [[1, 2], [3, 4]], "traced": [3.0, 3.0], "deep.er": 3,
    }  # fmt: skip
    assert found.config["rate"] == 0.5
    assert found.summary["best"] == 3.0
