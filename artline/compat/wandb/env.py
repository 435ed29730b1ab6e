"""``wandb.env``: the environment variables that the stand-in reads, and functions that set them."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from artline.compat.wandb import layout

__all__ = [
    "DIR",
    "ENTITY",
    "JOB_TYPE",
    "MODE",
    "NAME",
    "NOTES",
    "PROJECT",
    "RESUME",
    "RUN_GROUP",
    "RUN_ID",
    "SAVE_CODE",
    "SILENT",
    "TAGS",
    "get_dir",
    "get_entity",
    "get_project",
    "is_offline",
    "set_entity",
    "set_project",
]

CONSOLE = "WANDB_CONSOLE"
DIR = "WANDB_DIR"
DISABLE_CODE = "WANDB_DISABLE_CODE"
DISABLE_GIT = "WANDB_DISABLE_GIT"
DISABLED = "WANDB_DISABLED"
ENTITY = "WANDB_ENTITY"
JOB_TYPE = "WANDB_JOB_TYPE"
MODE = "WANDB_MODE"
NAME = "WANDB_NAME"
NOTES = "WANDB_NOTES"
PROJECT = "WANDB_PROJECT"
QUIET = "WANDB_QUIET"
RESUME = "WANDB_RESUME"
RUN_GROUP = "WANDB_RUN_GROUP"
RUN_ID = "WANDB_RUN_ID"
SAVE_CODE = "WANDB_SAVE_CODE"
SILENT = "WANDB_SILENT"
TAGS = "WANDB_TAGS"

_Environment = MutableMapping[str, str]


def get_project(default: str | None = None, env: _Environment | None = None) -> str | None:
    """Return the project set in the environment."""
    return (os.environ if env is None else env).get(PROJECT, default)


def get_entity(default: str | None = None, env: _Environment | None = None) -> str | None:
    """Return the entity set in the environment."""
    return (os.environ if env is None else env).get(ENTITY, default)


def get_dir(default: str | None = None, env: _Environment | None = None) -> str | None:
    """Return the folder set in the environment."""
    return (os.environ if env is None else env).get(DIR, default)


def set_project(value: str, env: _Environment | None = None) -> None:
    """Set the project in the environment."""
    (os.environ if env is None else env)[PROJECT] = value


def set_entity(value: str, env: _Environment | None = None) -> None:
    """Set the entity in the environment."""
    (os.environ if env is None else env)[ENTITY] = value


def is_offline(env: _Environment | None = None) -> bool:
    """Tell whether the environment asks for runs that wait for ``sync``."""
    return (os.environ if env is None else env).get(MODE) in ("offline", "dryrun")


def __getattr__(name: str) -> str:
    raise AttributeError(layout.missing(f"wandb.env.{name}"))
