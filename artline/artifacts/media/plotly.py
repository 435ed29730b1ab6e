"""Figures of Plotly."""

from __future__ import annotations

import json
import os
from typing import Any

from artline.artifacts.media.base import Content, FileMedia, read_source
from artline.errors import UsageError

__all__ = ["Plotly"]


class Plotly(FileMedia):
    """A figure of Plotly, kept as its JSON.

    Made of a figure, of its JSON as a dict, or of the path of a ``.plotly.json`` file. Raises UsageError.
    """

    kind = "plotly"
    record_type = "plotly-file"
    list_type = "plotly"
    items = "figures"
    folder = "plotly"
    suffixes = (".plotly.json",)

    def __init__(self, val: Any, caption: str | None = None) -> None:
        if hasattr(val, "to_json") and hasattr(val, "to_plotly_json"):
            content = Content(val.to_json().encode())
        elif isinstance(val, dict) and "data" in val:
            content = Content(json.dumps(val, separators=(",", ":")).encode())
        elif isinstance(val, str | os.PathLike):
            content, _ = read_source(val, "Plotly figure")
        else:
            raise UsageError(
                f"cannot make a Plotly figure of a {type(val).__name__}. Pass a figure of Plotly; use Image "
                "for one of matplotlib"
            )
        super().__init__(content, ".plotly.json", caption)

    @property
    def figure(self) -> dict[str, Any]:
        """The figure as Plotly's JSON: ``data``, ``layout``, ``frames``."""
        found: dict[str, Any] = json.loads(self.data)
        return found
