"""``run.summary``: the one value that stands for each metric, live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from artline.runs.config import flatten, nest
from artline.runs.values import to_json

__all__ = ["Summary"]


class Summary(Mapping[str, Any]):
    """The summary of a run, with everything logged so far; an explicit assignment wins over logged values.

    Nested values are reached by item, attribute or dotted path: ``summary["acc"]["max"]``,
    ``summary["acc.max"]``. Setting raises UsageError for what has no JSON form.
    """

    __slots__ = ("_assign", "_values")

    _values: Callable[[], dict[str, Any]]
    _assign: Callable[[dict[str, Any], list[str]], None]

    def __init__(
        self, values: Callable[[], dict[str, Any]], assign: Callable[[dict[str, Any], list[str]], None]
    ) -> None:
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_assign", assign)

    def __getitem__(self, key: str) -> Any:
        values = self._values()
        if key in values:
            return values[key]
        below = {path[len(key) + 1 :]: value for path, value in values.items() if path.startswith(f"{key}.")}
        if below:
            return nest(below)
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(nest(self._values()))

    def __len__(self) -> int:
        return len(nest(self._values()))

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        values = self._values()
        gone = [path for path in values if path == key or path.startswith(f"{key}.")]
        if not gone:
            raise KeyError(key)
        self._assign({}, gone)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"summary has no key '{name}'") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __repr__(self) -> str:
        return repr(self.as_dict())

    def __reduce__(self) -> tuple[Any, ...]:  # a copy or a pickle is a plain dict
        return (dict, (self.as_dict(),))

    def as_dict(self) -> dict[str, Any]:
        """Return a nested copy in plain dicts."""
        return nest(self._values())

    def update(self, values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Assign several values; nested mappings key by key."""
        self._assign(flatten(to_json(dict(values), "summary")), [])
