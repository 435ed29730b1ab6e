"""Act on modules that may be imported already, or only later."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

__all__ = ["ImportNotice"]

Action = Callable[[Any], None]


class ImportNotice(MetaPathFinder):
    """Calls an action with each named module: at once when it is imported, else when it will be."""

    def __init__(self, actions: Mapping[str, Action]) -> None:
        self._actions = dict(actions)
        sys.meta_path.insert(0, self)
        for name, action in self._actions.items():
            module = sys.modules.get(name)
            if module is not None:
                action(module)

    def end(self) -> None:
        """Act on no further module. Idempotent."""
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Find a named module as Python does, and act once it has been executed; None for any other."""
        action = self._actions.get(fullname)
        if action is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_act(module: Any) -> None:
                execute(module)
                action(module)

            spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]  # of this one loader
        return spec
