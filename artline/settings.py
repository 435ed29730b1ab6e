"""Settings: arguments, then ``ART_*`` environment, then ``art.toml``, then the user's file, then defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from artline.errors import UsageError

__all__ = ["ENVIRONMENT", "PROJECT_FILE", "Settings", "load_settings", "user_file"]

PROJECT_FILE = "art.toml"

ENVIRONMENT = {
    "root": "ART_HOME",
    "catalog": "ART_CATALOG",
    "bucket": "ART_BUCKET",
    "entity": "ART_ENTITY",
    "project": "ART_PROJECT",
    "mode": "ART_MODE",
    "digest": "ART_DIGEST",
    "flush_interval": "ART_FLUSH_INTERVAL",
    "heartbeat_interval": "ART_HEARTBEAT_INTERVAL",
    "stats_interval": "ART_STATS_INTERVAL",
    "console": "ART_CONSOLE",
    "save_code": "ART_SAVE_CODE",
    "quiet": "ART_QUIET",
    "lock_timeout": "ART_LOCK_TIMEOUT",
}

MODES = ("online", "offline", "disabled", "shared")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its effective value; ``sources`` tells where each came from.

    Times are in seconds. ``catalog`` and ``bucket`` are URLs; empty means the SQLite file and the
    folder under ``root``.
    """

    root: Path
    catalog: str = ""
    bucket: str = ""
    entity: str = "local"
    project: str = "uncategorized"
    mode: str = "online"
    digest: str = "blake3"
    flush_interval: float = 1.0
    heartbeat_interval: float = 30.0
    stats_interval: float = 15.0
    console: bool = True
    save_code: bool = True
    quiet: bool = False
    lock_timeout: float = 30.0
    sources: Mapping[str, str] = None  # type: ignore[assignment]


def load_settings(*, start: str | os.PathLike[str] | None = None, **overrides: Any) -> Settings:
    """Resolve every setting, looking for ``art.toml`` from ``start`` (the working folder) upwards.

    Overrides that are ``None`` do not count. Raises UsageError for an unknown name or a value of the
    wrong type, naming the place it was read from.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    known = {f.name: f for f in fields(Settings) if f.name != "sources"}
    project_file = find_project_file(Path(start) if start is not None else Path.cwd())
    for file in (user_file(), project_file):
        if file is None or not file.is_file():
            continue
        for name, value in _read_toml(file).items():
            if name not in known:
                raise UsageError(
                    f"{file}: unknown setting '{name}'. Known settings: {', '.join(sorted(known))}"
                )
            if name == "root":
                value = str((file.parent / Path(str(value)).expanduser()).resolve())
            values[name] = _convert(name, value, str(file))
            sources[name] = str(file)
    for name, variable in ENVIRONMENT.items():
        text = os.environ.get(variable)
        if text is not None and text != "":
            values[name] = _convert(name, text, f"environment variable {variable}")
            sources[name] = f"${variable}"
    for name, value in overrides.items():
        if name not in known:
            raise UsageError(f"unknown setting '{name}'. Known settings: {', '.join(sorted(known))}")
        if value is not None:
            values[name] = _convert(name, value, "argument")
            sources[name] = "argument"
    values.setdefault("root", Path.home() / ".artline")
    return Settings(**values, sources={name: sources.get(name, "default") for name in known})


def find_project_file(start: Path) -> Path | None:
    """Return the nearest ``art.toml`` at or above ``start``, or None."""
    for folder in (start, *start.parents):
        candidate = folder / PROJECT_FILE
        if candidate.is_file():
            return candidate
    return None


def user_file() -> Path:
    """Return where the user's own settings file lies (it may not exist)."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "artline" / "config.toml"


def _read_toml(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read settings from {file}: {error}. Fix or remove the file") from error


def _convert(name: str, value: Any, place: str) -> Any:
    try:
        result = _CONVERTERS.get(name, _text)(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"setting '{name}' from {place}: {error}") from None
    return result


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {value!r}")
    return value


def _path(value: Any) -> Path:
    return Path(os.fspath(value)).expanduser().absolute()


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"expected true or false, got {value!r}")


def _seconds(value: Any) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"expected a positive number of seconds, got {value!r}")
    return number


def _choice(*allowed: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}, got {value!r}")
        return str(value)

    return convert


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "root": _path,
    "mode": _choice(*MODES),
    "digest": _choice("blake3", "sha256"),
    "flush_interval": _seconds,
    "heartbeat_interval": _seconds,
    "stats_interval": _seconds,
    "lock_timeout": _seconds,
    "console": _flag,
    "save_code": _flag,
    "quiet": _flag,
}
