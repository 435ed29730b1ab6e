"""``wandb.Settings`` and the ``WANDB_*`` variables, said in Artline's terms."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from artline.compat.wandb import env
from artline.runs.notices import warn

__all__ = ["Settings", "from_environment", "translate"]

_ARGUMENTS = {
    "allow_val_change": "allow_val_change",
    "entity": "entity",
    "fork_from": "fork_from",
    "mode": "mode",
    "project": "project",
    "reinit": "reinit",
    "resume": "resume",
    "resume_from": "resume_from",
    "root_dir": "dir",
    "run_group": "group",
    "run_id": "id",
    "run_job_type": "job_type",
    "run_name": "name",
    "run_notes": "notes",
    "run_tags": "tags",
    "save_code": "save_code",
    "sync_tensorboard": "sync_tensorboard",
}
"""Settings of wandb that are arguments of ``init``."""

_INTERVALS = ("_stats_sample_rate_seconds", "_stats_sampling_interval", "x_stats_sampling_interval")
_NO_STATS = ("_disable_stats", "x_disable_stats")
_SHARED = {"x_label": "label", "x_primary": "primary", "x_update_finish_state": "update_finish_state"}
_NEVER = 1e9  # seconds between two samples of the system where none are wanted

_WORDS = (
    "anonymous api_key base_url host login_timeout init_timeout finish_timeout finish_timeout_raises "
    "start_method silent quiet console console_multipart strict symlink summary_timeout summary_warnings "
    "show_colors show_emoji show_errors show_info show_warnings disable_code disable_git force http_proxy "
    "https_proxy program program_relpath program_abspath git_root git_remote git_commit username email "
    "notebook_name table_raise_on_max_row_limit_exceeded max_end_of_run_history_metrics "
    "max_end_of_run_summary_metrics disable_job_creation job_name job_source heartbeat_seconds "
    "allow_offline_artifacts capture_loggers stop_on_fatal_error"
)
_TECHNICAL = frozenset(_WORDS.split())
"""Settings that steer how wandb works, not what is recorded; what of them has a counterpart is taken."""

_VARIABLES = {
    "entity": (env.ENTITY, "ART_ENTITY"),
    "group": (env.RUN_GROUP, "ART_RUN_GROUP"),
    "id": (env.RUN_ID, "ART_RUN_ID"),
    "job_type": (env.JOB_TYPE, "ART_JOB_TYPE"),
    "mode": (env.MODE, "ART_MODE"),
    "name": (env.NAME, "ART_NAME"),
    "notes": (env.NOTES, "ART_NOTES"),
    "project": (env.PROJECT, "ART_PROJECT"),
    "resume": (env.RESUME, "ART_RESUME"),
    "tags": (env.TAGS, "ART_TAGS"),
    "dir": (env.DIR, ""),
}


class Settings:
    """wandb's settings by wandb's names. Those without a counterpart are kept and have no effect."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None  # as wandb's: every setting is there, unset

    def update(self, values: Mapping[str, Any] | None = None, **named: Any) -> None:
        """Set several settings."""
        self.__dict__.update(values or {}, **named)


def translate(given: Settings | Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return arguments of ``artline.init`` and settings of Artline for settings by either's names."""
    import artline.settings

    values = dict(given) if isinstance(given, Mapping) else {} if given is None else dict(vars(given))
    own = {name for name in artline.settings.ENVIRONMENT if name not in _ARGUMENTS} - {"console", "quiet"}
    arguments: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    unknown = []
    for name, value in values.items():
        if value is None:
            continue
        if name in _ARGUMENTS:
            arguments[_ARGUMENTS[name]] = value
        elif name in ("silent", "quiet"):
            settings["quiet"] = bool(value) or settings.get("quiet", False)
        elif name == "console":
            settings["console"] = value if isinstance(value, bool) else value != "off"
        elif name in ("disable_code", "disable_git"):
            if value:
                arguments["save_code"] = False
        elif name in _SHARED:
            settings[_SHARED[name]] = value
        elif name in _INTERVALS:
            settings.setdefault("stats_interval", float(value))
        elif name in _NO_STATS:
            if value:
                settings["stats_interval"] = _NEVER
        elif name in own:
            settings[name] = value
        elif name not in _TECHNICAL and not name.startswith(("_", "x_")):
            unknown.append(name)
    if unknown and not settings.get("quiet"):
        warn(f"settings without a counterpart in Artline have no effect: {', '.join(sorted(unknown))}")
    return arguments, settings


def from_environment() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what ``WANDB_*`` variables ask for, where no variable of Artline's own says otherwise."""
    arguments: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for name, (variable, own) in _VARIABLES.items():
        text = os.environ.get(variable)
        if text and not os.environ.get(own):
            arguments[name] = text
    if "tags" in arguments:
        arguments["tags"] = [word.strip() for word in arguments["tags"].split(",") if word.strip()]
    if _is_on(env.DISABLED) and not os.environ.get("ART_MODE"):
        arguments["mode"] = "disabled"
    if (_is_on(env.SILENT) or _is_on(env.QUIET)) and not os.environ.get("ART_QUIET"):
        settings["quiet"] = True
    if os.environ.get(env.CONSOLE) == "off" and not os.environ.get("ART_CONSOLE"):
        settings["console"] = False
    if not os.environ.get("ART_SAVE_CODE"):
        if _is_on(env.DISABLE_CODE) or _is_on(env.DISABLE_GIT):
            arguments["save_code"] = False
        elif _is_on(env.SAVE_CODE):
            arguments["save_code"] = True
    return arguments, settings


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on", "t", "y")
