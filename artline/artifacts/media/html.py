"""Pages."""

from __future__ import annotations

import os
from typing import Any

from artline.artifacts.media.base import Content, FileMedia, read_source

__all__ = ["Html"]


class Html(FileMedia):
    """A page.

    Made of the path of a file whose name ends in ``.html``, an open file, or the text of the page itself
    (any text that does not end so; every text with ``data_is_not_path``). Kept byte by byte: ``inject`` is
    taken for wandb's sake and changes nothing. A page is never trusted: who shows it does so apart from
    everything else. Raises SourceNotFoundError.
    """

    kind = "html"
    record_type = "html-file"
    list_type = "html"
    items = "html"
    folder = "html"
    suffixes = (".html", ".htm")

    def __init__(
        self,
        data: Any,
        inject: bool = True,
        data_is_not_path: bool = False,
        caption: str | None = None,
    ) -> None:
        if hasattr(data, "read") or (
            not data_is_not_path
            and (isinstance(data, os.PathLike) or (isinstance(data, str) and data.endswith(self.suffixes)))
        ):
            content, _ = read_source(data, "page")
        else:
            content = Content(str(data).encode())
        super().__init__(content, ".html", caption)

    @property
    def html(self) -> str:
        """The text of the page."""
        return self.data.decode("utf-8", "replace")

    def _repr_html_(self) -> str:
        """Show the page in a notebook, in a frame of its own where no script of it runs."""
        text = self.html.replace("&", "&amp;").replace('"', "&quot;")
        return f'<iframe sandbox="" srcdoc="{text}" style="width: 100%; height: 24em; border: 0"></iframe>'
