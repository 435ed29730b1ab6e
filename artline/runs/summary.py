"""``run.summary``: the one value that stands for each metric, live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from artline.runs.config import flatten, nest
from artline.runs.values import to_json

__all__ = ["Summary"]


class Summary(Mapping[str, Any]):
    """The summary of a run, or the part of it below one key, with everything logged so far.

    Nested values are reached, and set, by item, attribute or dotted path: ``summary["acc"]["max"]``,
    ``summary["acc.max"]``. An explicit assignment wins over logged values until it is deleted. Setting
    raises UsageError for what has no JSON form.
    """

    __slots__ = ("_assign", "_prefix", "_values")

    _values: Callable[[], dict[str, Any]]
    _assign: Callable[[dict[str, Any], list[str]], None]
    _prefix: str

    def __init__(
        self,
        values: Callable[[], dict[str, Any]],
        assign: Callable[[dict[str, Any], list[str]], None],
        prefix: str = "",
    ) -> None:
        for name, value in (("_values", values), ("_assign", assign), ("_prefix", prefix)):
            object.__setattr__(self, name, value)

    def __getitem__(self, key: str) -> Any:
        values = self._values()
        path = self._prefix + key
        if path in values:
            return values[path]
        if any(name.startswith(f"{path}.") for name in values):
            return Summary(self._values, self._assign, f"{path}.")
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __len__(self) -> int:
        return len(self.as_dict())

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        path = self._prefix + key
        gone = [name for name in self._values() if name == path or name.startswith(f"{path}.")]
        if not gone:
            raise KeyError(key)
        self._assign({}, gone)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"summary has no key '{self._prefix}{name}'") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"summary has no key '{self._prefix}{name}'") from None

    def __repr__(self) -> str:
        return repr(self.as_dict())

    def __reduce__(self) -> tuple[Any, ...]:  # a copy or a pickle is a plain dict
        return (dict, (self.as_dict(),))

    def as_dict(self) -> dict[str, Any]:
        """Return a nested copy in plain dicts."""
        start = len(self._prefix)
        values = self._values()
        return nest({name[start:]: values[name] for name in values if name.startswith(self._prefix)})

    def update(self, values: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), **named: Any) -> None:
        """Assign several values; nested mappings key by key. A value replaces what was nested below it."""
        self._assign(flatten(to_json({**dict(values), **named}, "summary"), self._prefix), [])
