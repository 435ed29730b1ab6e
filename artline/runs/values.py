"""What may be logged, and what becomes of it: scalars as they are, the rest as JSON.

Numbers of numpy, torch and their like are recognised by their ``item`` and ``tolist`` methods, so none of
those libraries is imported here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from artline.errors import UsageError

__all__ = ["LONGEST_TEXT", "JsonText", "flatten_row", "is_like_a_mapping", "json_text", "to_json"]

LONGEST_TEXT = 1 << 20  # characters of one logged text, or of one list as JSON
MOST_ITEMS = 100_000  # items of one logged list or array
DEEPEST = 32
LARGEST_INTEGER = 14_000  # bits, about what Python turns into decimal text and back
RESERVED = frozenset(("_step", "_timestamp", "_runtime"))

Fallback = Callable[[str, Any], Any]


class JsonText(str):
    """A value that is JSON text already."""

    __slots__ = ()


def flatten_row(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with dotted keys whose values are float, int, bool, str, None, JsonText or Late.

    Raises UsageError that names the key of what cannot be logged.
    """
    row: dict[str, Any] = {}
    for key, value in data.items():
        if not isinstance(key, str):
            raise UsageError(f"log: the key {key!r} is not text. Use str keys")
        if not key:
            raise UsageError("log: a key is empty. Name every value")
        if key in RESERVED:
            raise UsageError(f"log: the key '{key}' is Artline's own. Choose another name, or pass step=")
        _flatten(row, key, value, DEEPEST)
    return row


def _flatten(row: dict[str, Any], key: str, value: Any, depth: int) -> None:
    if isinstance(value, Mapping):
        if depth == 0:
            raise UsageError(f"log: '{key}' is nested deeper than {DEEPEST} levels")
        for name, inner in value.items():
            _flatten(row, f"{key}.{name}", inner, depth - 1)
        if not value:
            row[key] = JsonText("{}")
        return
    value = value if type(value) is JsonText else plain_number(value)
    if value is None or type(value) in (float, int, bool, str, JsonText):
        row[key] = value
        return
    from artline.runs.media import loggable

    media = loggable(key, value)
    if media is not None:
        row[key] = media
    elif isinstance(value, (list, tuple)) or hasattr(value, "tolist"):
        row[key] = JsonText(json.dumps(to_json(value, f"log: '{key}'"), separators=(",", ":")))
        if len(row[key]) > LONGEST_TEXT:
            raise UsageError(
                f"log: '{key}' is {len(row[key]):,} characters of JSON, more than {LONGEST_TEXT:,}. "
                "Write it to a file under run.dir, or log it as an artifact"
            )
    else:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise UsageError(
            f"log: '{key}' is a {kind}, which cannot be logged. Log numbers, texts, booleans, None, or "
            "lists of them, or media (Image, Audio, Table, …); put files into an artifact (Artifact.add_file)"
        )


def plain_number(value: Any) -> Any:
    """Return the Python number in a numpy or torch scalar or one-element array; anything else as it is."""
    kind = type(value)
    if kind in (float, int, bool, str) or value is None:
        return value
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, str):
        return str.__str__(value)  # of an enumeration the text, not the member's name
    item = getattr(value, "item", None)
    if item is not None and callable(item) and not isinstance(value, Mapping) and _size(value) == 1:
        found = item()
        if type(found) in (float, int, bool, str):
            return found
        if hasattr(found, "isoformat"):  # numpy.datetime64
            return str(found.isoformat())
        if hasattr(found, "__float__") and not isinstance(found, complex):  # numpy.longdouble gives itself
            return float(found)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value)
    if hasattr(value, "__float__") and not hasattr(value, "tolist"):  # Decimal, Fraction, long double
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return value
    return value


def _size(value: Any) -> int:
    """Return how many numbers an array-like holds; 1 for scalars."""
    shape = getattr(value, "shape", ())
    try:
        return math.prod(shape)
    except TypeError:
        return 1


def json_text(value: Any) -> str:
    """Return the JSON text of one logged value; NaN and infinities as Python's json writes them."""
    if type(value) is JsonText:
        return value
    return json.dumps(value)


def to_json(value: Any, where: str, fallback: Fallback | None = None, depth: int = DEEPEST) -> Any:
    """Return a copy of a value in JSON's types, for config, summary and metadata.

    Mappings, sequences, sets, arrays, dataclasses, enumerations, paths and dates are converted; for
    anything else ``fallback(where, value)`` decides. Without one UsageError is raised, naming ``where``.
    Integers of more than about 4,200 digits become infinities.
    """
    value = plain_number(value)
    if type(value) is int and value.bit_length() > LARGEST_INTEGER:
        return math.inf if value > 0 else -math.inf
    if value is None or type(value) in (float, int, bool, str):
        return value
    if depth == 0:
        raise UsageError(f"{where} is nested deeper than {DEEPEST} levels")
    if isinstance(value, Mapping):
        return {
            str(key): to_json(inner, f"{where}.{key}", fallback, depth - 1) for key, inner in value.items()
        }
    items = _items(value, where)
    if items is not None:
        return [to_json(item, f"{where}[{n}]", fallback, depth - 1) for n, item in enumerate(items)]
    converted = _convert(value)
    if converted is not value:
        return to_json(converted, where, fallback, depth - 1)
    if fallback is not None:
        return fallback(where, value)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise UsageError(f"{where} is a {kind}, which has no JSON form. Convert it to numbers, texts or lists")


def _items(value: Any, where: str) -> Iterator[Any] | None:
    count = len(value) if isinstance(value, (list, tuple, set, frozenset, range)) else None
    if count is None and hasattr(value, "tolist"):
        count = _size(value)
        if count <= MOST_ITEMS:
            found = value.tolist()
            return iter(found) if isinstance(found, list) else iter((found,))
    if count is None:
        return None
    if count > MOST_ITEMS:
        raise UsageError(
            f"{where} holds {count:,} items, more than {MOST_ITEMS:,}. Put it into an artifact or a file"
        )
    return iter(sorted(value, key=repr)) if isinstance(value, (set, frozenset)) else iter(value)


def _convert(value: Any) -> Any:
    """Return the plainer form of dataclasses, enumerations, paths, dates and namespaces."""
    import dataclasses
    import enum

    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if hasattr(value, "__fspath__"):
        path = value.__fspath__()
        return path if isinstance(path, str) else path.decode("utf-8", "replace")
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if is_like_a_mapping(value):
        return {key: value[key] for key in value.keys()}  # noqa: SIM118  # it has no iterator
    return value


def is_like_a_mapping(value: Any) -> bool:
    """Tell whether something has keys and items without being a Mapping, as ml_collections.ConfigDict."""
    shaped = hasattr(value, "keys") and hasattr(value, "__getitem__")
    return shaped and not isinstance(value, (Mapping, type))
