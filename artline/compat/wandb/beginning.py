"""``wandb.init``: begin a run as a script written for wandb asks for it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from artline.compat.wandb.preferences import Settings, from_environment, translate
from artline.compat.wandb.spelling import nameable
from artline.runs.init import init as begin
from artline.runs.names import new_id
from artline.runs.notices import say, warn
from artline.runs.run import Run

__all__ = ["init"]


def init(
    entity: str | None = None,
    project: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    id: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    config: Mapping[str, Any] | str | Any = None,
    config_exclude_keys: Sequence[str] | None = None,
    config_include_keys: Sequence[str] | None = None,
    allow_val_change: bool | None = None,
    group: str | None = None,
    job_type: str | None = None,
    mode: Literal["online", "offline", "dryrun", "disabled", "shared"] | None = None,
    force: bool | None = None,
    reinit: bool | Literal["default", "return_previous", "finish_previous", "create_new"] | None = None,
    resume: bool | Literal["allow", "never", "must", "auto"] | None = None,
    resume_from: str | None = None,
    fork_from: str | None = None,
    save_code: bool | None = None,
    tensorboard: bool | None = None,
    sync_tensorboard: bool | None = None,
    monitor_gym: bool | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    anonymous: Any = None,
    magic: Any = None,
) -> Run:
    """Begin a run with wandb's arguments, ``wandb.Settings`` and ``WANDB_*`` variables; return it.

    An argument wins over a setting, a setting over a variable, and ``ART_*`` variables over wandb's. A
    project, entity or id that Artline's naming rule forbids is spelled with dashes, and with a short digest
    where that alone would merge names. With ``dir`` the run's
    files lie under ``<dir>/wandb/``, as wandb's do. ``force`` and ``anonymous`` have no effect (there is no
    login); ``monitor_gym`` and ``magic`` are not there and say so. Raises what ``artline.init`` raises.
    """
    given = {
        "project": project,
        "entity": entity,
        "id": id,
        "name": name,
        "notes": notes,
        "tags": tags,
        "group": group,
        "job_type": job_type,
        "dir": dir,
        "mode": mode,
        "resume": resume,
        "reinit": reinit,
        "save_code": save_code,
        "allow_val_change": allow_val_change,
        "resume_from": resume_from,
        "fork_from": fork_from,
        "sync_tensorboard": sync_tensorboard or tensorboard or None,
    }
    wanted, chosen = translate(settings)
    defaults, ambient = from_environment()
    arguments = {**defaults, **wanted, **{key: value for key, value in given.items() if value is not None}}
    for place in ("project", "entity", "id"):
        if arguments.get(place) is not None:
            arguments[place] = _nameable(place, str(arguments[place]))
    if arguments.get("mode") in ("dryrun", "run"):
        arguments["mode"] = "offline" if arguments["mode"] == "dryrun" else "online"
    if isinstance(arguments.get("tags"), str):
        arguments["tags"] = [arguments["tags"]]
    if arguments.get("dir") is not None:
        if arguments.get("mode") == "disabled":
            del arguments["dir"]
        else:
            arguments["dir"] = _folder(arguments["dir"], arguments.get("id"))
    if monitor_gym:
        warn("init: monitor_gym is not there. Log the videos with wandb.Video")
    if magic:
        warn("init: magic is not there. Log with wandb.log")
    return begin(
        config=config,
        config_exclude_keys=config_exclude_keys,
        config_include_keys=config_include_keys,
        settings={**ambient, **chosen},
        **arguments,
    )


def _nameable(what: str, text: str) -> str:
    """Return a name that keeps to Artline's rule, and say so when it is another one."""
    spelled = nameable(text)
    if spelled != text:
        say(f"init: {what} '{text}' is spelled '{spelled}' here")
    return spelled


def _folder(parent: str | os.PathLike[str], run_id: str | None) -> Path:
    """Return a fresh folder for a run's files below ``parent``, where wandb would put them, too."""
    stamp = time.strftime("%Y%m%d_%H%M%S")
    return Path(parent) / "wandb" / f"run-{stamp}-{run_id or new_id()}" / "files"
