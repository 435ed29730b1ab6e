"""Notebooks: where the one that runs is kept, and what its session has run so far.

What a notebook's file says and what its session ran differ as soon as a cell is edited; so both are kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from artline.runs.run import Companion

__all__ = ["HISTORY_FILE", "NotebookCapture", "notebook_file", "session_cells"]

HISTORY_FILE = "code/_session_history.ipynb"
INTERVAL = 10.0  # seconds between two writes while cells run
LARGEST = 100 << 20  # bytes of a notebook's file


def shell() -> Any:
    """Return the session's IPython shell; None in a plain interpreter. Imports nothing."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def notebook_file() -> Path | None:
    """Return the file of the notebook that runs; None where there is none, or nobody says.

    ``ART_NOTEBOOK`` names it where neither Jupyter nor VS Code does.
    """
    found = shell()
    if found is None:
        return None
    for given in (
        os.environ.get("ART_NOTEBOOK"),
        found.user_ns.get("__vsc_ipynb_file__"),
        os.environ.get("JPY_SESSION_NAME"),
    ):
        if given:
            for folder in (Path.cwd(), Path(os.environ.get("PWD", "/"))):
                path = folder / str(given)
                for place in (path, folder / path.name):
                    if place.suffix == ".ipynb" and place.is_file():
                        return place
    return None


def session_cells(found: Any) -> list[dict[str, Any]]:
    """Return the cells that a session has run, with the texts of their results, as notebooks have them."""
    history = found.history_manager
    results = getattr(history, "output_hist_reprs", {})
    cells = []
    for number, source in enumerate(list(history.input_hist_raw)):
        if number == 0 or not source:
            continue
        outputs = []
        if number in results:
            data = {"text/plain": results[number]}
            outputs.append(
                {"output_type": "execute_result", "data": data, "execution_count": number, "metadata": {}}
            )
        cells.append(
            {
                "cell_type": "code",
                "execution_count": number,
                "metadata": {},
                "outputs": outputs,
                "source": source,
            }
        )
    return cells


class NotebookCapture(Companion):
    """Keep what the session ran, while it runs and at the end, and at the end the notebook's file."""

    def __init__(self, folder: Path, keep: Callable[[str], None]) -> None:
        self._folder = folder
        self._keep = keep
        self._kept: set[str] = set()
        self._written = 0.0
        self._shell = shell()
        if self._shell is not None:
            self._shell.events.register("post_run_cell", self._after_cell)

    def stop(self, timeout: float) -> None:
        """Write the session and copy the notebook as they are now."""
        if self._shell is None:
            return
        with contextlib.suppress(ValueError):  # somebody took it out
            self._shell.events.unregister("post_run_cell", self._after_cell)
        self._write_session()
        file = notebook_file()
        with contextlib.suppress(OSError):
            if file is not None and file.stat().st_size <= LARGEST:
                name = f"code/{file.name}"
                (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, self._folder / name)
                self._tell(name)

    def _after_cell(self, *_: Any) -> None:
        if time.monotonic() - self._written > INTERVAL:
            self._write_session()

    def _write_session(self) -> None:
        self._written = time.monotonic()
        place = self._folder / HISTORY_FILE
        language = {"name": "python", "version": sys.version.split()[0]}
        document = {
            "cells": session_cells(self._shell),
            "metadata": {"language_info": language},
            "nbformat": 4,
            "nbformat_minor": 4,
        }
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            partial = place.with_suffix(".partial")
            partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
            partial.replace(place)
            self._tell(HISTORY_FILE)

    def _tell(self, name: str) -> None:
        if name not in self._kept:
            self._kept.add(name)
            self._keep(name)
