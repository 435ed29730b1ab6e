"""Settings: arguments, then ``ART_*`` environment, then ``art.toml``, then the user's file, then defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from artline.errors import AuthError, ConflictError, SourceNotReadableError, UsageError

__all__ = [
    "ENVIRONMENT",
    "PROJECT_FILE",
    "Settings",
    "create_project_file",
    "credentials_file",
    "find_project_file",
    "load_settings",
    "parse_size",
    "read_logins",
    "redacted_url",
    "user_file",
]

PROJECT_FILE = "art.toml"

ENVIRONMENT = {
    "root": "ART_HOME",
    "server": "ART_SERVER",
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
    "strict_steps": "ART_STRICT_STEPS",
    "label": "ART_LABEL",
    "primary": "ART_PRIMARY",
    "update_finish_state": "ART_UPDATE_FINISH_STATE",
    "lock_timeout": "ART_LOCK_TIMEOUT",
    "bucket_timeout": "ART_BUCKET_TIMEOUT",
    "bucket_retry": "ART_BUCKET_RETRY",
    "cache": "ART_CACHE",
    "cache_size": "ART_CACHE_SIZE",
}

_PLACES = ("root", "cache")  # relative ones count from the file they stand in

MODES = ("online", "offline", "disabled", "shared")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its effective value; ``sources`` tells where each came from.

    Times are in seconds. ``server`` is the URL of an Artline server; empty means that this process opens
    the store itself. ``catalog`` and ``bucket`` are URLs; empty means the SQLite file and the folder under
    ``root``.
    """

    root: Path
    server: str = ""
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
    strict_steps: bool = False
    label: str = ""
    primary: bool = True
    update_finish_state: bool = True
    lock_timeout: float = 30.0
    bucket_timeout: float = 30.0
    bucket_retry: float = 60.0
    cache: str = ""
    cache_size: str = "auto"
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def catalog_url(self) -> str:
        """The URL of the catalog, or the path of the SQLite file under ``root``."""
        return self.catalog or str(self.root / "catalog.db")

    @property
    def bucket_url(self) -> str:
        """The URL of the bucket, or the path of the folder under ``root``."""
        return self.bucket or str(self.root / "bucket")

    @property
    def cache_folder(self) -> Path:
        """The folder of what was fetched from a remote bucket and of files that checkouts are linked to."""
        return Path(self.cache) if self.cache else self.root / "cache"


def load_settings(*, start: str | os.PathLike[str] | None = None, **overrides: Any) -> Settings:
    """Resolve every setting, looking for ``art.toml`` from ``start`` (the working folder) upwards.

    Overrides that are ``None`` do not count. A relative ``root`` is relative to the file it stands in.
    Raises UsageError for an unknown name or a value of the wrong type, naming the place it was read from.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    known = [f.name for f in fields(Settings) if f.name != "sources"]
    for file in (user_file(), find_project_file(_working_folder() if start is None else Path(start))):
        if file is None or not _is_file(file):
            continue
        for name, value in _read_toml(file).items():
            if name not in known:
                raise UsageError(
                    f"{file}: unknown setting '{name}'. Known settings: {', '.join(sorted(known))}"
                )
            converted = _convert(name, value, str(file))
            if name in _PLACES and value:
                converted = _convert(name, _beside(file, value), str(file))
            values[name] = converted
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
    if values.get("server") and "entity" not in values:
        team = read_logins(credentials_file()).get(values["server"], {}).get("entity")
        if team:
            values["entity"], sources["entity"] = team, "login"
    if "root" not in values:
        values["root"] = Path(os.path.expanduser("~")).absolute() / ".artline"
    return Settings(**values, sources={name: sources.get(name, "default") for name in known})


def parse_size(text: str) -> int:
    """Read a number of bytes such as ``0``, ``500MB`` or ``20 GiB``; raises ValueError."""
    import re
    from fractions import Fraction

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?", text.strip(), re.IGNORECASE | re.ASCII)
    if found is None or (found[3] and not found[2]):
        raise ValueError(f"expected a size such as 500MB or 20GiB, got {text!r}")
    power = " kmgtp".index(found[2].lower() or " ")
    base = 1024 if found[3] or not text.strip().lower().endswith("b") else 1000
    return int(Fraction(found[1]) * base**power)


def find_project_file(start: Path | None) -> Path | None:
    """Return the nearest ``art.toml`` at or above ``start``, or None."""
    if start is None:
        return None
    start = start.absolute()
    for folder in (start, *start.parents):
        candidate = folder / PROJECT_FILE
        if _is_file(candidate):
            return candidate
    return None


def create_project_file(folder: Path, project: str, root: str | None = None) -> Path:
    """Write ``art.toml`` into ``folder`` with the project's name and, if given, its own root.

    Raises ConflictError where the file exists already: it is never overwritten.
    """
    lines = ["# Settings of this project. `art status` shows each value and where it comes from.\n"]
    lines.append(f"project = {_toml_text(project)}\n")
    if root is not None:
        lines.append(f"root = {_toml_text(root)}\n")
    file = folder / PROJECT_FILE
    try:
        with open(file, "x", encoding="utf-8") as stream:
            stream.writelines(lines)
    except FileExistsError:
        raise ConflictError(f"'{file}' exists already and was left as it is. Edit it by hand") from None
    except OSError as error:
        raise SourceNotReadableError(
            f"cannot write '{file}': {error.strerror}. Choose a folder that you may write to"
        ) from error
    return file


def redacted_url(url: str) -> str:
    """Return ``url`` with its password, if it has one, replaced by stars."""
    scheme, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    account, at, host = authority.rpartition("@")
    user, colon, _ = account.partition(":")
    return f"{scheme}{mark}{user}:***@{host}{slash}{path}" if mark and at and colon else url


def user_file() -> Path:
    """Return where the user's own settings file lies (it may not exist)."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "artline" / "config.toml"


def credentials_file() -> Path:
    """Return where ``art login`` keeps keys, readable by its owner alone; the file may not exist."""
    return user_file().with_name("credentials.json")


def read_logins(file: Path) -> dict[str, dict[str, str]]:
    """Return what ``art login`` kept, by server: ``key`` (unless a keyring has it) and ``entity``.

    Raises AuthError when the file is open to others, SourceNotReadableError when it cannot be read.
    """
    import json

    try:
        with open(file, encoding="utf-8") as stream:
            if os.name == "posix" and os.fstat(stream.fileno()).st_mode & 0o077:
                raise AuthError(f"{file} holds keys and can be read by others. Run: chmod 600 '{file}'")
            found = json.load(stream)
        return {str(name): {str(k): str(v) for k, v in login.items()} for name, login in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise SourceNotReadableError(
            f"cannot read the keys in '{file}': {error}. Remove the file and run: art login"
        ) from error


def _read_toml(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read settings from {file}: {error}. Fix or remove the file") from error


def _working_folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was removed under this process
        return None


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except PermissionError:  # a folder this process may not look into
        return False


def _beside(file: Path, value: str) -> Path:
    return Path(os.path.normpath(file.parent / Path(value).expanduser()))


def _toml_text(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _convert(name: str, value: Any, place: str) -> Any:
    convert: Callable[[Any], Any] = _CONVERTERS.get(name, _text)
    try:
        return convert(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"setting '{name}' from {place}: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {value!r}")
    return value


def _name(value: Any) -> str:
    if not _text(value).strip():
        raise ValueError("expected a name, got empty text")
    return str(value)


def _label(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 64 or not value.isprintable() or "/" in value:
        raise ValueError(f"expected a text of at most 64 printable characters without '/', got {value!r}")
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError(f"expected a path, got {value!r}")
    try:
        return Path(os.path.abspath(Path(os.fspath(value)).expanduser()))
    except FileNotFoundError:
        raise ValueError(f"{str(value)!r} is relative to a working folder that is gone") from None


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"expected true or false, got {value!r}")


def _server(value: Any) -> str:
    text = _text(value).strip().rstrip("/")
    if text and not text.startswith(("http://", "https://")):
        raise ValueError(f"expected an address that begins with https:// or http://, got {value!r}")
    return text


def _folder(value: Any) -> str:
    return str(_path(value)) if value != "" else ""


def _cache_size(value: Any) -> str:
    text = str(value).strip().lower() if not isinstance(value, bool) else ""
    if text == "auto":
        return text
    if text.endswith("%"):
        share = text[:-1].strip()
        if share.replace(".", "", 1).isdecimal() and share.isascii() and 0 < float(share) <= 100:
            return f"{share}%"
    else:
        try:
            return str(parse_size(text))
        except ValueError:
            pass
    raise ValueError(
        f"expected 'auto', a share of the disk (5%), or a size (20GiB, 0 for none), got {value!r}"
    )


def _seconds(value: Any) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else 0.0
    except (TypeError, ValueError):
        number = 0.0
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
    "server": _server,
    "entity": _name,
    "project": _name,
    "mode": _choice(*MODES),
    "digest": _choice("blake3", "sha256"),
    "flush_interval": _seconds,
    "heartbeat_interval": _seconds,
    "stats_interval": _seconds,
    "lock_timeout": _seconds,
    "bucket_timeout": _seconds,
    "bucket_retry": _seconds,
    "cache": _folder,
    "cache_size": _cache_size,
    "console": _flag,
    "save_code": _flag,
    "quiet": _flag,
    "strict_steps": _flag,
    "label": _label,
    "primary": _flag,
    "update_finish_state": _flag,
}
