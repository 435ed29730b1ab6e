"""Where a configuration comes from: objects, files, flags, the environment and the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from artline.errors import SourceNotFoundError, UsageError
from artline.runs.config import flatten, nest, plain_config, replace_leaves

__all__ = ["parse_config", "read_defaults", "read_overrides"]

DEFAULTS = ("config-defaults.yaml", "config-defaults.yml", "config-defaults.json")
OPTION = "--config."


def parse_config(
    source: Any, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return what ``init(config=…)`` was given, without the keys to exclude or with those to include only.

    A mapping, a namespace, absl flags, or the path of a JSON or YAML file. In a YAML file of the form that
    wandb writes (``key: {value: …, desc: …}``) the values are taken. Raises UsageError, SourceNotFoundError.
    """
    if exclude and include:
        raise UsageError("init: give config_exclude_keys or config_include_keys, not both")
    if source is None:
        found = {}
    elif isinstance(source, (str, Path)):
        found = plain_config(_read(Path(source)))
    else:
        found = plain_config(_flags(source))
    if include:
        wanted = set(include)
        return {key: value for key, value in found.items() if key in wanted}
    unwanted = set(exclude or ())
    return {key: value for key, value in found.items() if key not in unwanted}


def read_defaults() -> dict[str, Any]:
    """Return what files say beneath ``init(config=…)``, a later one over an earlier one, nested.

    They are ``config-defaults.yaml`` (or ``.json``) in the working folder and those that the variable
    ``ART_CONFIG_PATHS`` lists, with commas between them. Raises UsageError, SourceNotFoundError.
    """
    files = [Path(name) for name in DEFAULTS if os.path.isfile(name)][:1]
    paths = os.environ.get("ART_CONFIG_PATHS", "").split(",")
    files += [Path(path.strip()) for path in paths if path.strip()]
    leaves: dict[str, Any] = {}
    for file in files:
        leaves = replace_leaves(leaves, flatten(plain_config(_read(file))))
    return nest(leaves)


def read_overrides(arguments: Sequence[str] | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Return what is said from outside of the program, each with its place; the command line wins.

    ``ART_CONFIG`` holds ``key=value`` words as a shell would split them, or a JSON object; the command line
    has ``--config.key=value`` or ``--config.key value``. Keys are dotted; a value is JSON, or else a text.
    Raises UsageError.
    """
    text = os.environ.get("ART_CONFIG", "").strip()
    options = _options(sys.argv[1:] if arguments is None else arguments)
    words = {key: value for key, value in (_words(text) if text else {}).items() if key not in options}
    return [pair for pair in (("ART_CONFIG", words), ("the command line", options)) if pair[1]]


def _words(text: str) -> dict[str, Any]:
    if text.startswith("{"):
        import json

        try:
            values = json.loads(text)
        except ValueError as error:
            raise UsageError(f"ART_CONFIG is not valid JSON: {error}") from error
        return flatten(plain_config(values))
    import shlex

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"ART_CONFIG cannot be split into words: {error}") from error
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"ART_CONFIG: '{word}' is not of the form key=value")
        found[key] = _value(value)
    return found


def _options(arguments: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for at, argument in enumerate(arguments):
        if argument == "--":
            break
        if not argument.startswith(OPTION):
            continue
        key, equals, value = argument[len(OPTION) :].partition("=")
        if not key:
            raise UsageError(f"'{argument}': say which key, as in {OPTION}lr=0.1")
        if not equals:
            following = arguments[at + 1 : at + 2]
            if not following or (following[0].startswith("--") and len(following[0]) > 2):
                raise UsageError(f"'{argument}' needs a value: {argument}=VALUE")
            value = following[0]
        found[key] = _value(value)
    return found


def _value(text: str) -> Any:
    import json

    words = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _flags(source: Any) -> Any:
    """Return absl's flags (the module, or ``FLAGS``) as a dict, without absl's own; all else as it is."""
    flags = getattr(source, "FLAGS", source) if type(source).__name__ == "module" else source
    by_module = getattr(flags, "flags_by_module_dict", None)
    if not callable(by_module) or isinstance(source, Mapping):
        return source
    return {
        flag.name: flag.value
        for module, members in by_module().items()
        if not module.startswith("absl.")
        for flag in members
    }


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
    if found is None and not text.strip():
        return {}
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
