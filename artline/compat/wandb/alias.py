"""Make ``import wandb`` resolve to Artline, in this process and in the children it starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from artline.compat.wandb import layout

__all__ = ["SITE", "install"]

NAME = "wandb"
REAL = "artline.compat.wandb"
SITE = Path(__file__).parents[1] / "site"
"""A folder for ``sys.path``: the module and the distribution ``wandb``, for whoever looks for either."""


class _Standin(Loader):
    """Hand out a module of Artline's under wandb's name."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has just put wandb's name there


class _Finder(MetaPathFinder):
    """Find ``wandb`` and all below it, before anything on the path."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != NAME and not fullname.startswith(f"{NAME}."):
            return None
        module = _find(fullname[len(NAME) + 1 :])
        package = hasattr(module, "__path__")
        return spec_from_loader(fullname, _Standin(module), origin="artline", is_package=package)


def _find(below: str) -> ModuleType:
    """Return the module that stands for ``wandb.<below>``. Raises ModuleNotFoundError, naming what to use."""
    if not below:
        return import_module(REAL)
    module = layout.module(below)
    if module is not None:
        return module
    if below in layout.WHOLE:
        return import_module(layout.WHOLE[below])
    head, dot, tail = below.partition(".")
    real = f"{REAL}.{layout.MOVED.get(head, head)}{dot}{tail}"
    try:
        if layout.is_public(below) and find_spec(real) is not None:
            return import_module(real)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(REAL):
            raise  # the library that an integration is for is not installed
    raise ModuleNotFoundError(layout.missing(f"{NAME}.{below}"), name=f"{NAME}.{below}")


def install() -> None:
    """Let ``import wandb``, and look-ups of the distribution, find Artline from now on. Idempotent.

    Child processes find it as well, through ``PYTHONPATH``. An installed wandb is left alone and not used.
    Raises RuntimeError when the real wandb has been imported already.
    """
    known = sys.modules.get(NAME)
    face = import_module(REAL)
    if known not in (None, face) and os.path.dirname(getattr(known, "__file__", None) or "") != str(
        SITE / NAME
    ):
        raise RuntimeError("wandb has been imported already. Let Artline stand in for it before that")
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    sys.modules[NAME] = face
    site = str(SITE)
    if site not in sys.path:
        sys.path.insert(1, site)
    inherited = os.environ.get("PYTHONPATH", "")
    if site not in inherited.split(os.pathsep):
        os.environ["PYTHONPATH"] = f"{site}{os.pathsep}{inherited}" if inherited else site
