"""``run.config``: nested values, read by attribute, item or dotted path, and set once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from artline.errors import ConfigLockedError, SourceNotFoundError, UsageError
from artline.runs.values import to_json

__all__ = ["Config", "flatten", "nest", "parse_config", "replace_leaves"]

Changed = Callable[[dict[str, Any], list[str]], None]


class Config(Mapping[str, Any]):
    """The configuration of a run, or the part of it below one key.

    ``config.lr``, ``config["lr"]``, ``config["optimizer"]["lr"]`` and ``config["optimizer.lr"]`` all read
    and set. A key that is set already is set to something else only by ``update(…, allow_val_change=True)``;
    otherwise ConfigLockedError. Values are kept as JSON: what has no JSON form is kept as its text.
    """

    __slots__ = ("_changed", "_leaves", "_prefix")

    _leaves: dict[str, Any]
    _changed: Changed
    _prefix: str

    def __init__(self, leaves: dict[str, Any], changed: Changed, prefix: str = "") -> None:
        for name, value in (("_leaves", leaves), ("_changed", changed), ("_prefix", prefix)):
            object.__setattr__(self, name, value)

    def __getitem__(self, key: str) -> Any:
        path = self._prefix + key
        if path in self._leaves:
            return self._leaves[path]
        inner = Config(self._leaves, self._changed, path + ".")
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

    def update(self, values: Any, allow_val_change: bool = False) -> None:
        """Set several keys, nested ones key by key; all of them or, on an error, none.

        ``values`` is a mapping, an argparse Namespace, or any object with ``__dict__``. Raises
        ConfigLockedError.
        """
        given = flatten(_plain(values), self._prefix)
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
        given = flatten(_plain(values), self._prefix)
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


def _plain(values: Any) -> dict[str, Any]:
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


def parse_config(source: Any) -> dict[str, Any]:
    """Return what ``init(config=…)`` was given: a mapping, a namespace, or the path of a JSON or YAML file.

    In a YAML file of the form that wandb writes (``key: {value: …, desc: …}``) the values are taken.
    Raises UsageError, SourceNotFoundError.
    """
    if source is None:
        return {}
    if isinstance(source, (str, Path)):
        return _plain(_read(Path(source)))
    return _plain(source)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SourceNotFoundError(
            f"config file {path} does not exist. Pass a dict, or an existing file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"config file {path} cannot be read: {error}") from error
    found: Any
    if path.suffix.lower() in (".yaml", ".yml"):
        found = _yaml(text, path)
    else:
        import json

        try:
            found = json.loads(text)
        except ValueError as error:
            raise UsageError(f"config file {path} is not valid JSON: {error}") from error
    if not isinstance(found, Mapping):
        raise UsageError(f"config file {path} holds no mapping of names to values at its top")
    return found


def _yaml(text: str, path: Path) -> Any:
    from importlib import import_module

    try:
        yaml = import_module("yaml")
    except ImportError:
        raise UsageError(f"reading {path} needs PyYAML (pip install pyyaml). Or use a JSON file") from None
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"config file {path} is not valid YAML: {error}") from error
    if isinstance(found, Mapping):
        found = {key: value for key, value in found.items() if key not in ("wandb_version", "_wandb")}
        if found and all(
            isinstance(v, Mapping) and set(v) in ({"value"}, {"value", "desc"}) for v in found.values()
        ):
            return {key: value["value"] for key, value in found.items()}
    return found
