"""Callbacks, loggers and plots for machine-learning frameworks; each needs only the framework it is for.

``artline.integrations.torch``, ``lightning``, ``keras``, ``transformers``, ``sklearn``, ``xgboost`` and
``lightgbm``; and ``autolog``, which adds the callbacks by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artline.integrations.automatic import autolog

__all__ = ["autolog"]


def __getattr__(name: str) -> Any:
    if name == "autolog":
        from artline.integrations.automatic import autolog

        return autolog
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
