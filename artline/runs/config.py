"""``run.config``: nested values, read by attribute, item or dotted path, and set once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from artline.errors import ConfigLockedError, UsageError
from artline.runs import notices
from artline.runs.values import is_like_a_mapping, to_json

__all__ = ["Config", "flatten", "nest", "plain_config", "replace_leaves"]

Changed = Callable[[dict[str, Any], list[str]], None]


@dataclass(slots=True)
class _Rules:
    """What may change: everything, or what is not set yet and was not locked from outside."""

    changeable: bool
    locked: dict[str, str] = field(default_factory=dict)  # dotted path to who locked it
    told: set[str] = field(default_factory=set)


class Config(Mapping[str, Any]):
    """The configuration of a run, or the part of it below one key.

    ``config.lr``, ``config["lr"]``, ``config["optimizer"]["lr"]`` and ``config["optimizer.lr"]`` all read
    and set. A key that is set already is set to something else only by ``update(…, allow_val_change=True)``;
    otherwise ConfigLockedError. A key that was set from outside of the program (environment, command line)
    keeps that value whatever the program says, with a warning. Values are kept as JSON: what has no JSON
    form is kept as its text.
    """

    __slots__ = ("_changed", "_leaves", "_prefix", "_rules")

    _leaves: dict[str, Any]
    _changed: Changed
    _prefix: str
    _rules: _Rules

    def __init__(
        self,
        leaves: dict[str, Any],
        changed: Changed,
        prefix: str = "",
        *,
        changeable: bool = False,
        rules: _Rules | None = None,
    ) -> None:
        for name, value in (("_leaves", leaves), ("_changed", changed), ("_prefix", prefix)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_rules", _Rules(changeable) if rules is None else rules)

    def __getitem__(self, key: str) -> Any:
        path = self._prefix + key
        if path in self._leaves:
            return self._leaves[path]
        inner = Config(self._leaves, self._changed, path + ".", rules=self._rules)
        if any(True for _ in inner):
            return inner
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        start = len(self._prefix)
        names = [path[start:] for path in list(self._leaves) if path.startswith(self._prefix)]
        return iter(dict.fromkeys(name.partition(".")[0] for name in names))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        try:
            self[key]  # type: ignore[index]  # any object may be asked for; a wrong kind is simply absent
        except (KeyError, TypeError):
            return False
        return True

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            known = ", ".join(sorted(self)[:20]) or "none"
            raise AttributeError(f"config has no key '{self._prefix}{name}'. Known keys: {known}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __repr__(self) -> str:
        return repr(self.as_dict())

    def __reduce__(self) -> tuple[Any, ...]:  # a copy or a pickle is a plain dict
        return (dict, (self.as_dict(),))

    def as_dict(self) -> dict[str, Any]:
        """Return a nested copy in plain dicts."""
        start = len(self._prefix)
        leaves = dict(self._leaves)
        return nest({path[start:]: leaves[path] for path in leaves if path.startswith(self._prefix)})

    def update(self, values: Any, allow_val_change: bool | None = None) -> None:
        """Set several keys, nested ones key by key; all of them or, on an error, none.

        ``values`` is a mapping, an argparse Namespace, or any object with ``__dict__``. Without
        ``allow_val_change`` what ``init`` was told about changing values holds. Raises ConfigLockedError.
        """
        changeable = self._rules.changeable if allow_val_change is None else allow_val_change
        self._set(self._unlocked(flatten(plain_config(values), self._prefix)), changeable)

    def update_locked(self, values: Any, user: str = "somebody") -> None:
        """Set several keys to stay: what the program says of them later is ignored, with a warning.

        ``user`` is who says so. Keys locked by others keep their values, too.
        """
        given = flatten(plain_config(values), self._prefix)
        mine = {path: value for path, value in given.items() if self._rules.locked.get(path) == user}
        given = {**self._unlocked({p: v for p, v in given.items() if p not in mine}), **mine}
        self._set(given, True)
        self._rules.locked.update(dict.fromkeys(given, user))

    def _unlocked(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return what is not locked; tell once of each key that is, and was to be something else."""
        locked = self._rules.locked
        if not locked:
            return given
        above = {parent: path for path in locked for parent in _parents(path)}
        free = {}
        for path, value in given.items():
            held = path if path in locked else above.get(path)
            held = held or next((parent for parent in _parents(path) if parent in locked), None)
            if held is None:
                free[path] = value
            elif not (held == path and _same(self._leaves.get(path), value)) and path not in self._rules.told:
                self._rules.told.add(path)
                notices.warn(
                    f"config key '{held}' is {self._leaves.get(held)!r} by {locked[held]}; {value!r} for "
                    f"'{path}' is ignored"
                )
        return free

    def _set(self, given: dict[str, Any], allow_val_change: bool) -> None:
        above = {parent for path in self._leaves for parent in _parents(path)}
        changes = {}
        for path, value in given.items():
            old = self._leaves.get(path, _ABSENT)
            clash = path if old is not _ABSENT else self._clash(path, above)
            if old is not _ABSENT and _same(old, value):
                continue
            if clash is not None and not allow_val_change:
                shown = old if old is not _ABSENT else "other keys"
                raise ConfigLockedError(
                    f"config key '{clash}' is set already (to {shown!r}; new value {value!r}). To change it: "
                    "config.update({…}, allow_val_change=True)"
                )
            changes[path] = value
        if changes:
            removed = _replaced(self._leaves, changes)
            for path in removed:
                del self._leaves[path]
            self._leaves.update(changes)
            self._changed(changes, removed)

    def setdefaults(self, values: Any) -> None:
        """Set the keys that are not set yet, and leave the others alone."""
        given = flatten(plain_config(values), self._prefix)
        above = {parent for path in self._leaves for parent in _parents(path)}
        start = len(self._prefix)
        self.update(
            {
                path[start:]: value
                for path, value in given.items()
                if path not in self._leaves and self._clash(path, above) is None
            }
        )

    def _clash(self, path: str, above: set[str]) -> str | None:
        """Return what cannot stand beside a new value at ``path``: a value above it, or keys below it."""
        if path in above:
            return path
        return next((parent for parent in _parents(path) if parent in self._leaves), None)


def _parents(path: str) -> Iterator[str]:
    """Yield the dotted paths above a path."""
    at = path.find(".")
    while at != -1:
        yield path[:at]
        at = path.find(".", at + 1)


_ABSENT = object()


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or (one != one and other != other)


def _text(where: str, value: Any) -> str:
    return str(value)


def plain_config(values: Any) -> dict[str, Any]:
    """Return a mapping, a namespace or an object with ``__dict__`` as plain JSON. Raises UsageError."""
    if is_like_a_mapping(values):
        values = {key: values[key] for key in values.keys()}  # noqa: SIM118  # it has no iterator
    if not isinstance(values, Mapping):
        if isinstance(values, (str, bytes, int, float, list, tuple)) or not hasattr(values, "__dict__"):
            raise UsageError(f"config takes a dict or an argparse Namespace, not {type(values).__qualname__}")
        values = vars(values)
    found: dict[str, Any] = to_json(values, "config", _text)
    for key in found:
        if not key:
            raise UsageError("config: a key is empty. Name every value")
    return found


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one level of dotted keys; an empty mapping stays a value."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            leaves.update(flatten(value, f"{prefix}{key}."))
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def nest(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted keys as nested dicts, the opposite of ``flatten``.

    Where a key is both a value and a prefix of others, the others stay dotted.
    """
    result: dict[str, Any] = {}
    for path, value in leaves.items():
        parts = path.split(".")
        node = result
        for n, part in enumerate(parts[:-1]):
            inner = node.get(part, _ABSENT)
            prefix = ".".join(parts[: n + 1])
            if (inner is not _ABSENT and not isinstance(inner, dict)) or prefix in leaves:
                node = result
                parts = [path]
                break
            node = node.setdefault(part, {})
        node[parts[-1]] = value
    return result


def replace_leaves(leaves: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted keys with some set anew; a value replaces the keys below it, and keys a value above."""
    gone = set(_replaced(leaves, changes))
    return {**{path: value for path, value in leaves.items() if path not in gone}, **changes}


def _replaced(leaves: Mapping[str, Any], changes: Mapping[str, Any]) -> list[str]:
    above = {parent for path in changes for parent in _parents(path)}
    return [path for path in leaves if path in above or any(parent in changes for parent in _parents(path))]
