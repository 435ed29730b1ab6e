"""The schema of a server's directory, as a chain of revisions like that of a store's catalog."""

from __future__ import annotations

import os

from artline.storage.migrations import Chain

__all__ = ["DIRECTORY"]

DIRECTORY = Chain(os.path.dirname(os.path.abspath(__file__)))
