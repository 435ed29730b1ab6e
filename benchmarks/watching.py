"""``python -m benchmarks.watching``: what ``run.watch`` adds to the training step of a small network.

Needs PyTorch: run it with ``.venv-integrations/bin/python`` (``make test-integrations`` makes that).
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from typing import Any

BLOCKS = 15
STEPS = 1000  # of a block: one observation at the default frequency


def main() -> None:
    """Train the same network unwatched and watched by turns, and print microseconds a step."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ART_HOME"] = folder
        times = measure()
    plain = min(times["unwatched"])
    for name, found in times.items():
        print(
            f"{name:28} median {statistics.median(found):6.1f} µs, "
            f"least {min(found):6.1f} µs, {100 * (min(found) / plain - 1):+5.1f} %"
        )


def measure() -> dict[str, list[float]]:
    """Return the microseconds a step of each block, by kind of watching."""
    import torch

    import artline as art

    torch.set_num_threads(1)
    data, labels = torch.randn(32, 64), torch.randint(0, 10, (32,))
    loss_of = torch.nn.CrossEntropyLoss()
    settings = {"quiet": True, "console": False, "save_code": False}
    kinds: dict[str, dict[str, Any] | None] = {
        "unwatched": None,
        "gradients": {"log": "gradients"},
        "all": {"log": "all"},
        "all, every 10 batches": {"log": "all", "log_freq": 10},
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    with art.init(project="bench", settings=settings) as run:
        trained = {}
        for name, watched in kinds.items():
            model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
            if watched is not None:
                run.watch(model, **watched)
            trained[name] = model, torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(BLOCKS):
            for name, (model, optimizer) in trained.items():
                begun = time.perf_counter()
                for _ in range(STEPS):
                    optimizer.zero_grad()
                    loss = loss_of(model(data), labels)
                    loss.backward()
                    optimizer.step()
                    run.log({"step": 1})
                times[name].append((time.perf_counter() - begun) / STEPS * 1e6)
    return times


if __name__ == "__main__":
    main()
