"""What crosses the network between a client and a server: frozen dataclasses as JSON, and back.

Bytes travel as base64, tuples as arrays, enumerations as their values, and numbers that JSON lacks (NaN and
the infinities) as ``{"$float": "nan"}``, so that what was logged comes back as it was.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from artline.errors import IntegrityError

__all__ = ["decode", "encode", "from_wire", "to_wire"]

T = TypeVar("T")
_FLOAT = "$float"


def encode(value: Any) -> bytes:
    """Return a value as JSON text in UTF-8."""
    return json.dumps(to_wire(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def decode(kind: Any, data: bytes | str, place: str) -> Any:
    """Read JSON text as a value of the type ``kind``. Raises IntegrityError naming ``place``."""
    try:
        return from_wire(kind, json.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise IntegrityError(
            f"{place} answered something that this Artline does not understand ({error}). Are both of the "
            "same version? See: art status"
        ) from error


def to_wire(value: Any) -> Any:
    """Return plain JSON values for a value made of dataclasses, containers, bytes and numbers."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_FLOAT: repr(value)}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(key): to_wire(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_wire(item) for item in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    if dataclasses.is_dataclass(value):
        return {field.name: to_wire(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} does not travel")


def from_wire(kind: Any, value: Any) -> Any:
    """Return plain JSON values as a value of the type ``kind``; raise ValueError, TypeError or KeyError."""
    if kind is Any or kind is object:
        return _free(value)
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        members = typing.get_args(kind)
        if value is None and type(None) in members:
            return None
        (member,) = (one for one in members if one is not type(None))
        return from_wire(member, value)
    if origin is typing.Literal:
        if value not in typing.get_args(kind):
            raise ValueError(f"{value!r} is none of {typing.get_args(kind)}")
        return value
    if origin in (list, tuple, set, frozenset, Sequence):
        return _sequence(list if origin is Sequence else origin, typing.get_args(kind), value)
    if origin in (dict, Mapping):
        _, inner = typing.get_args(kind)
        return {str(key): from_wire(inner, item) for key, item in _checked(dict, value).items()}
    return _plain(kind, value)


def _plain(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        given = _checked(dict, value)
        hints = _hints(kind)
        return kind(**{name: from_wire(hint, given[name]) for name, hint in hints.items() if name in given})
    if kind is bytes:
        return base64.b64decode(_checked(str, value), validate=True)
    if kind is float:
        if isinstance(value, dict):
            return float(value[_FLOAT])
        return float(_checked((int, float), value))
    if kind is timedelta:
        return timedelta(seconds=float(_checked((int, float), value)))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if kind is type(None):
        return None
    if kind is int and isinstance(value, bool):
        raise TypeError("true and false are no numbers")
    return _checked(kind, value)


def _sequence(origin: Any, arguments: tuple[Any, ...], value: Any) -> Any:
    items = _checked(list, value)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return tuple(from_wire(kind, item) for kind, item in zip(arguments, items, strict=True))
    return origin(from_wire(arguments[0], item) for item in items)


def _free(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get(_FLOAT), str):
            return float(value[_FLOAT])
        return {key: _free(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_free(item) for item in value]
    return value


def _checked(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {getattr(kind, '__name__', kind)}, got {type(value).__name__}")
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
