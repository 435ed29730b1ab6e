"""Where wandb keeps its names, and where Artline has them.

Modules of wandb that hold nothing but names known elsewhere are made from the table here; the others are
files beside this one.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["FACE", "MODULES", "MOVED", "WHOLE", "hint", "is_public", "missing", "module", "resolve"]

_HERE = "artline.compat.wandb"
_ERRORS = {
    "AuthenticationError": "artline.errors:AuthError",
    "CommError": "artline.errors:StoreUnavailableError",
    "Error": "artline.errors:ArtlineError",
    "UnsupportedError": "artline.errors:UsageError",
    "UsageError": "artline.errors:UsageError",
}
_TERMINAL = {name: f"{_HERE}.terminal:{name}" for name in ("termerror", "termlog", "termwarn")}
_RUN = {"Run": "artline.runs.run:Run"}
_DISABLED = {"RunDisabled": "artline.runs.disabled:DisabledRun"}
_READING = {"Api": f"{_HERE}.reading:Api", "Run": f"{_HERE}.reading:ReadRun"}

FACE: dict[str, str] = {
    **_TERMINAL,
    **{name: _ERRORS[name] for name in ("CommError", "Error", "UsageError")},
    "Api": f"{_HERE}.reading:Api",
    "Config": "artline.runs.config:Config",
    "Settings": f"{_HERE}.preferences:Settings",
    "attach": f"{_HERE}.session:attach",
    "_attach": f"{_HERE}.session:attach",
    "ensure_configured": f"{_HERE}.session:ensure_configured",
    "init": f"{_HERE}.beginning:init",
    "join": "artline.runs.current:finish",
    "link_artifact": "artline.runs.current:link_artifact",
    "log_code": "artline.runs.current:log_code",
    "login": f"{_HERE}.session:login",
    "plot_table": "artline.plot:plot_table",
    "require": f"{_HERE}.session:require",
    "setup": f"{_HERE}.session:setup",
    "teardown": f"{_HERE}.session:teardown",
}
"""The names of ``wandb`` itself that Artline does not have under the same name, or has otherwise."""

MODULES: dict[str, dict[str, str]] = {
    "apis": {**_ERRORS, "PublicApi": _READING["Api"]},
    "apis.public": {**_READING, "Runs": "artline.runs.api:Runs", "File": "artline.runs.apirun:ApiFile"},
    "data_types": {},
    "errors": _ERRORS,
    "errors.errors": _ERRORS,
    "errors.term": _TERMINAL,
    "sdk": {},
    "sdk.artifacts": {},
    "sdk.artifacts.artifact": {},
    "sdk.artifacts.artifact_ttl": {},
    "sdk.data_types": {},
    "sdk.data_types.table": {},
    "sdk.lib": {**_DISABLED},
    "sdk.lib.config_util": {"ConfigError": "artline.errors:ConfigLockedError"},
    "sdk.lib.disabled": {**_DISABLED},
    "sdk.lib.paths": {"FilePathStr": "builtins:str", "StrPath": "artline.artifacts.artifact:StrPath"},
    "sdk.lib.runid": {"generate_id": f"{_HERE}.util:generate_id"},
    "sdk.lib.telemetry": {"context": f"{_HERE}.session:telemetry"},
    "sdk.wandb_alerts": {},
    "sdk.wandb_config": {"Config": FACE["Config"]},
    "sdk.wandb_init": {"init": FACE["init"]},
    "sdk.wandb_login": {"login": FACE["login"]},
    "sdk.wandb_require": {"require": FACE["require"]},
    "sdk.wandb_run": _RUN,
    "sdk.wandb_settings": {"Settings": FACE["Settings"]},
    "sdk.wandb_setup": {"setup": FACE["setup"]},
    "sdk.wandb_summary": {"Summary": "artline.runs.summary:Summary"},
    "sdk.wandb_watch": {},
    "wandb_run": _RUN,
    "wandb_sdk": {},
}
"""Modules of wandb and the names in them; every name of ``wandb`` itself is found in each of them as well."""

MOVED = {name: f"integration.{name}" for name in ("catboost", "keras", "lightgbm", "sklearn", "xgboost")}
"""Modules that are known under two names."""

WHOLE = {
    "integration.tensorboard": "artline.runs.tensorboard",
    "plot": "artline.plot",
    "tensorboard": "artline.runs.tensorboard",
}
"""Modules that Artline has under another name."""

_INTERNAL = (
    "alias",
    "beginning",
    "borrowed",
    "layout",
    "preferences",
    "reading",
    "session",
    "spelling",
    "terminal",
)

_INSTEAD = {
    "agent": "Artline runs no sweeps: run the search yourself (Optuna, a loop) and give its runs one group=",
    "automations": "act on a new version where it is made, or poll Api().artifact(name)",
    "docker": "start containers yourself; set ART_HOME in them",
    "EvalTable": "use wandb.Table",
    "Graph": "log str(model) as a file or an artifact",
    "jupyter": "use wandb.init and wandb.finish in the cells",
    "launch": "start jobs with your own scheduler; set ART_HOME in them",
    "magic": "log with wandb.log",
    "profiler": "use torch.profiler and log its trace with run.log_artifact",
    "sacred": "log with wandb.log",
    "sandbox": "start jobs with your own scheduler",
    "visualize": "use wandb.plot",
    "weave": "log with wandb.log and wandb.Table",
}
_INSTEAD["controller"] = _INSTEAD["sweep"] = _INSTEAD["sweeps"] = _INSTEAD["agent"]
_INSTEAD["beta"] = _INSTEAD["agents"] = _INSTEAD["launch"]

_made: dict[str, ModuleType] = {}


class _Listed(ModuleType):
    """A module whose names stand in the table."""

    def __getattr__(self, name: str) -> Any:
        below = self.__name__[len(_HERE) + 1 :]
        if name.startswith("__"):
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        target = MODULES[below].get(name)
        if target is not None:
            return resolve(target)
        inner = module(f"{below}.{name}")
        if inner is not None:
            return inner
        try:
            return getattr(import_module(_HERE), name)
        except AttributeError:
            raise AttributeError(missing(f"wandb.{below}.{name}")) from None


def module(below: str) -> ModuleType | None:
    """Return the module ``wandb.<below>`` if the table has it; the same one every time."""
    if below not in MODULES:
        return None
    made = _made.get(below)
    if made is None:
        made = _made[below] = _Listed(f"{_HERE}.{below}", f"Names of wandb.{below}, kept by Artline.")
        made.__path__ = []
    return made


def resolve(target: str) -> Any:
    """Return what ``module:name`` names."""
    place, _, name = target.partition(":")
    return getattr(import_module(place), name)


def is_public(below: str) -> bool:
    """Tell whether a file beside this one stands for a module of wandb."""
    return below.partition(".")[0] not in _INTERNAL


def missing(path: str) -> str:
    """Return what to say of a name that Artline does not have: the name, and what to use instead."""
    words = path.split(".")
    for word in (words[-1], *words):
        if hint(word):
            return f"Artline's stand-in for wandb has no {path}{hint(word)}"
    return f"Artline's stand-in for wandb has no {path}. docs/coming-from-wandb.md lists what is there"


def hint(word: str) -> str:
    """Return what to use instead of a name of wandb's, as the end of a sentence; empty when unknown."""
    return f": {_INSTEAD[word]}" if word in _INSTEAD else ""
