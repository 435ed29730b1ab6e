"""Every route of the API, one file a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artline.server.routes import admin, artifacts, content, runs, viewer

if TYPE_CHECKING:
    from artline.server.routing import Route

__all__ = ["ROUTES"]

# A fixed word comes before a name in the same place: the first route that fits answers.
ROUTES: tuple[Route, ...] = (
    *viewer.ROUTES,
    *admin.ROUTES,
    *content.ROUTES,
    *artifacts.ROUTES,
    *runs.ROUTES,
)
