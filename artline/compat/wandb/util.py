"""The functions of ``wandb.util`` that libraries and scripts use."""

from __future__ import annotations

import json
import re
import secrets
import string
from importlib import import_module
from typing import Any

from artline.compat.wandb import layout
from artline.runs.values import plain_number, to_json

__all__ = [
    "generate_id",
    "get_module",
    "is_numpy_array",
    "is_pandas_data_frame",
    "json_dumps_safer",
    "json_friendly",
    "make_artifact_name_safe",
    "random_string",
    "to_forward_slash_path",
]

_LONGEST_NAME = 128


def generate_id(length: int = 8) -> str:
    """Make up an id of lower-case letters and digits."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(length))


def random_string(length: int = 12) -> str:
    """Make up a text of lower-case letters and digits."""
    return generate_id(length)


def make_artifact_name_safe(name: str) -> str:
    """Return a name with what an artifact's name may not hold replaced, and cut in the middle to 128."""
    safe = re.sub(r"[^a-zA-Z0-9_\-.]", "_", name)
    if len(safe) <= _LONGEST_NAME:
        return safe
    return f"{safe[:63]}..{safe[-63:]}"


def get_module(name: str, required: str | bool | None = None, lazy: bool = True) -> Any:
    """Import a module; None, or an ImportError that says ``required``, where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        if required:
            raise ImportError(required if isinstance(required, str) else f"{name} is not installed") from None
        return None


def is_numpy_array(obj: Any) -> bool:
    """Tell whether an object is an array of numpy, without importing it."""
    return _is(obj, "numpy", "ndarray")


def is_pandas_data_frame(obj: Any) -> bool:
    """Tell whether an object is a data frame of pandas, without importing it."""
    return _is(obj, "pandas", "DataFrame")


def json_friendly(obj: Any) -> tuple[Any, bool]:
    """Return an object in JSON's types where it has such a form, and whether it was converted."""
    plain = plain_number(obj)
    if plain is obj and (obj is None or isinstance(obj, (str, bool, int, float, list, dict))):
        return obj, False
    return to_json(plain, "value", lambda where, value: str(value)), True


def json_dumps_safer(obj: Any, **kwargs: Any) -> str:
    """Return JSON text; what has no form in JSON as its text."""
    return json.dumps(obj, default=lambda value: json_friendly(value)[0], **kwargs)


def to_forward_slash_path(path: str) -> str:
    """Return a path with forward slashes."""
    return path.replace("\\", "/") if "\\" in path and ":" in path[:2] else path


def _is(obj: Any, package: str, name: str) -> bool:
    return any(
        kind.__name__ == name and kind.__module__.partition(".")[0] == package for kind in type(obj).__mro__
    )


def __getattr__(name: str) -> Any:
    raise AttributeError(layout.missing(f"wandb.util.{name}"))
