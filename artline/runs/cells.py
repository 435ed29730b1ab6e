"""What a logged value is in a typed column, by one rule for Arrow, polars and Parquet.

Whole numbers are int64, decimals of 38 digits where one is beyond 64 bits, and text where one is longer
still: no digit is lost. Where floats are among them all are floats. Anything else together is JSON text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

__all__ = ["arrow_type", "column_kind", "kind_of", "typed", "unicode_text"]

_WHOLE = ("int", "decimal", "digits")  # from the narrowest to the widest
_DECIMAL_DIGITS = 38
_LARGEST_DECIMAL = 10**_DECIMAL_DIGITS


def kind_of(value: Any) -> str:
    """Return what a value is: none, bool, float, text (also lists and dicts), or a size of whole number."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return "int"
        return "decimal" if -_LARGEST_DECIMAL < value < _LARGEST_DECIMAL else "digits"
    return "float" if isinstance(value, float) else "text"


def column_kind(kinds: Iterable[str]) -> str:
    """Return the kind of a column whose values are of these kinds."""
    found = set(kinds) - {"none"}
    if found and found <= {*_WHOLE, "float"}:
        return "float" if "float" in found else max(found, key=_WHOLE.index)
    return found.pop() if len(found) == 1 else "text"


def typed(value: Any, kind: str) -> Any:
    """Return a value as a column of a kind holds it: an infinity for a whole number beyond all floats."""
    if value is None:
        return None
    if kind == "float":
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if kind in ("text", "digits"):
        return unicode_text(value if isinstance(value, str) else json.dumps(value))
    return value


def unicode_text(text: str) -> str:
    """Return text that a table can hold: a lone surrogate becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def arrow_type(kind: str) -> Any:
    """Return the Arrow type of a column."""
    import pyarrow as pa

    if kind == "decimal":
        return pa.decimal128(_DECIMAL_DIGITS, 0)
    return {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64()}.get(kind, pa.string())
