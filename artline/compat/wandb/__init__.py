"""Artline under wandb's names: ``from artline.compat import wandb``, or a script left as it is.

``python -m artline.compat.wandb train.py`` runs a script in which ``import wandb`` is this module. What
Artline has under the same name is Artline's own; what differs is in the files beside this one, and a name
that is not there says what to use instead. docs/coming-from-wandb.md has the whole comparison.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import artline
from artline.compat.wandb import layout

__version__ = "0.31.0"
"""The version of wandb whose public names this follows; libraries compare it with what they need."""

_STATE = ("config", "run", "summary")  # of the run in progress: looked up anew each time

_FILES = ("env", "integration", "util")


def __getattr__(name: str) -> Any:
    if name in _STATE:
        return getattr(artline, name)
    if name.startswith("__"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    target = layout.FACE.get(name)
    if target is not None:
        value: Any = layout.resolve(target)
    elif name in artline.__all__:
        value = getattr(artline, name) if name != "errors" else layout.module(name)
    elif (listed := layout.module(name)) is not None:
        value = listed
    elif name in layout.MOVED or name in _FILES:
        try:
            value = import_module(f"{__name__}.{layout.MOVED.get(name, name)}")
        except ModuleNotFoundError as error:
            raise AttributeError(f"wandb.{name} needs a library that is not installed: {error}") from error
    else:
        raise AttributeError(layout.missing(f"wandb.{name}"))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*artline.__all__, *layout.FACE, *_FILES})
