"""``import artline as wandb``: the names of wandb that the module ``artline`` itself does not have."""

from __future__ import annotations

from typing import Any

from artline.compat import wandb
from artline.compat.wandb import layout

__all__ = ["borrow"]


def borrow(name: str) -> Any:
    """Return what a script written for wandb expects under a name. Raises AttributeError."""
    known = name in layout.FACE or name in layout.MODULES or name in layout.MOVED
    if known or name in ("data_types", "env", "integration", "util"):
        return getattr(wandb, name)
    raise AttributeError(f"module 'artline' has no attribute '{name}'{layout.hint(name)}")
