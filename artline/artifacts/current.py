"""The store that artifacts belong to when they are made without naming one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artline.settings import Settings

__all__ = ["current_settings", "set_current_settings"]

_settings: Settings | None = None


def current_settings() -> Settings:
    """Return the settings of the run in progress, or those that ``load_settings`` finds."""
    from artline.settings import load_settings

    return _settings if _settings is not None else load_settings()


def set_current_settings(settings: Settings | None) -> None:
    """Make artifacts belong to the store of these settings until further notice; None undoes that."""
    global _settings
    _settings = settings
