"""Runs of a team."""

from __future__ import annotations

from artline.server.routing import Route

__all__ = ["ROUTES"]

ROUTES: tuple[Route, ...] = ()
