"""``autolog``: the callbacks of the integrations, added by themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from artline.errors import UsageError
from artline.runs import current
from artline.runs.imports import ImportNotice

__all__ = ["FRAMEWORKS", "autolog"]

_notices: list[ImportNotice] = []
_patched: list[tuple[Any, str, Any]] = []


def autolog(
    frameworks: Sequence[str] | None = None, *, log_models: bool = False, disable: bool = False
) -> None:
    """Log every fit of the named frameworks (default: all of them) to the run that is then in progress.

    lightning (``Trainer``), keras (``fit``), transformers (``Trainer``), xgboost and lightgbm (``train``,
    ``cv`` and the estimators). Frameworks may be imported before or after. A fit without a run in progress,
    or with a callback of Artline's already, is left alone. ``log_models`` keeps the models of the first four
    when a fit has ended. Calling it again replaces what was asked for before; ``disable`` ends it. Raises
    UsageError for an unknown framework.
    """
    wanted = tuple(FRAMEWORKS) if frameworks is None else tuple(frameworks)
    for name in wanted:
        if name not in FRAMEWORKS:
            raise UsageError(f"autolog: '{name}' is not known. Known: {', '.join(sorted(FRAMEWORKS))}")
    while _notices:
        _notices.pop().end()
    while _patched:
        owner, name, original = _patched.pop()
        setattr(owner, name, original)
    if not disable:
        actions = {
            module: functools.partial(action, log_models=log_models)
            for framework in wanted
            for module, action in FRAMEWORKS[framework].items()
        }
        _notices.append(ImportNotice(actions))


def _replace(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    original = getattr(owner, name, None)
    if original is not None:
        _patched.append((owner, name, original))
        setattr(owner, name, functools.wraps(original)(wrap(original)))


def _callback(framework: str, name: str = "ArtlineCallback") -> Any:
    return getattr(import_module(f"artline.integrations.{framework}"), name)


def _lightning(module: Any, *, log_models: bool) -> None:
    def wrap(original: Any) -> Any:
        def begin(self: Any, *arguments: Any, **named: Any) -> None:
            original(self, *arguments, **named)
            kind = _callback("lightning", "ArtlineLogger")
            if current.get_run() is not None and not any(isinstance(one, kind) for one in self.loggers):
                self.loggers = [*self.loggers, kind(log_model=log_models)]

        return begin

    _replace(module.Trainer, "__init__", wrap)


def _keras(module: Any, *, log_models: bool) -> None:
    def wrap(original: Any) -> Any:
        def begin(self: Any, callbacks: Any = None, *arguments: Any, **named: Any) -> None:
            kind = _callback("keras")
            known = [*callbacks] if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
            if current.get_run() is not None and not any(isinstance(one, kind) for one in known):
                known.append(kind(log_model="end" if log_models else None))
            original(self, known, *arguments, **named)

        return begin

    _replace(module.CallbackList, "__init__", wrap)


def _transformers(module: Any, *, log_models: bool) -> None:
    def wrap(original: Any) -> Any:
        def begin(self: Any, *arguments: Any, **named: Any) -> None:
            original(self, *arguments, **named)
            kind = _callback("transformers")
            known = self.callback_handler.callbacks
            if current.get_run() is not None and not any(isinstance(one, kind) for one in known):
                self.add_callback(kind(log_model="end" if log_models else None))

        return begin

    _replace(module.Trainer, "__init__", wrap)


def _xgboost(module: Any, *, log_models: bool) -> None:
    def wrap(original: Any) -> Any:
        def begin(self: Any, callbacks: Any, *arguments: Any, **named: Any) -> None:
            kind = _callback("xgboost")
            known = list(callbacks or ())
            if current.get_run() is not None and not any(isinstance(one, kind) for one in known):
                known.append(kind(log_model=log_models))
            original(self, known, *arguments, **named)

        return begin

    _replace(module.CallbackContainer, "__init__", wrap)


def _lightgbm(module: Any, *, log_models: bool) -> None:
    def wrap(original: Any) -> Any:
        def train(*arguments: Any, callbacks: Any = None, **named: Any) -> Any:
            kind = _callback("lightgbm")
            known = list(callbacks or ())
            if current.get_run() is not None and not any(isinstance(one, kind) for one in known):
                known.append(kind())
            return original(*arguments, callbacks=known, **named)

        return train

    for owner, name in (
        (module, "train"),
        (module, "cv"),
        (module.engine, "train"),
        (module.engine, "cv"),
        (module.sklearn, "train"),
    ):
        _replace(owner, name, wrap)


FRAMEWORKS: dict[str, dict[str, Any]] = {
    "keras": {"keras.src.callbacks.callback_list": _keras},
    "lightgbm": {"lightgbm": _lightgbm},
    "lightning": {
        "lightning.pytorch.trainer.trainer": _lightning,
        "pytorch_lightning.trainer.trainer": _lightning,
    },
    "transformers": {"transformers.trainer": _transformers},
    "xgboost": {"xgboost.callback": _xgboost},
}
