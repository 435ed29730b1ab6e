"""What is measured about media: steps of many images, and what copying them costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

__all__ = ["ACTS"]

SIDE = 224


def images(count: str, steps: str) -> dict[str, Any]:
    """Log steps of images of noise; tell the seconds of the first in the caller, and of all with finish."""
    import artline

    arrays = _arrays(int(count))
    run = artline.init(project="bench", id="images", settings={"quiet": True})
    artline.Image(arrays[0])  # load what it needs
    took = []
    begun = time.perf_counter()
    for step in range(int(steps)):
        arrays[:, 0, 0, 0] = step
        start = time.perf_counter()
        run.log({"images": [artline.Image(array) for array in arrays], "loss": 1.0})
        took.append(time.perf_counter() - start)
    run.finish()
    return {"first_seconds": took[0], "seconds": time.perf_counter() - begun}


def images_floor(count: str) -> dict[str, Any]:
    """Copy as many arrays."""
    arrays = _arrays(int(count))
    start = time.perf_counter()
    copies = [array.copy() for array in arrays]
    return {"seconds": time.perf_counter() - start, "copies": len(copies)}


def _arrays(count: int) -> Any:
    import numpy as np

    noise = np.random.default_rng(0)
    return noise.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


ACTS: dict[str, Callable[..., dict[str, Any]]] = {act.__name__: act for act in (images, images_floor)}
