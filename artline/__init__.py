"""Artline: versions of artifacts and datasets, and the runs that made and used them.

Names resolve on first use (PEP 562), so that ``import artline`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.media import (
        Audio,
        Classes,
        Histogram,
        Html,
        Image,
        Molecule,
        Object3D,
        Plotly,
        Video,
    )
    from artline.artifacts.table import Table, TableWriter
    from artline.artifacts.table_groups import JoinedTable, PartitionedTable
    from artline.artifacts.ttl import ArtifactTTL
    from artline.runs.api import Api
    from artline.runs.current import (
        alert,
        define_metric,
        finish,
        finish_artifact,
        link_model,
        log,
        log_artifact,
        log_model,
        mark_preempting,
        restore,
        save,
        unwatch,
        upsert_artifact,
        use_artifact,
        use_model,
        watch,
    )
    from artline.runs.init import init
    from artline.runs.run import Run
    from artline.runs.run_alerts import AlertLevel
    from artline.settings import Settings

_HOMES = {
    "Api": "artline.runs.api",
    "Artifact": "artline.artifacts.artifact",
    "ArtifactTTL": "artline.artifacts.ttl",
    "Audio": "artline.artifacts.media",
    "Classes": "artline.artifacts.media",
    "Histogram": "artline.artifacts.media",
    "Html": "artline.artifacts.media",
    "Image": "artline.artifacts.media",
    "JoinedTable": "artline.artifacts.table_groups",
    "Molecule": "artline.artifacts.media",
    "Object3D": "artline.artifacts.media",
    "PartitionedTable": "artline.artifacts.table_groups",
    "Plotly": "artline.artifacts.media",
    "Run": "artline.runs.run",
    "Settings": "artline.settings",
    "Table": "artline.artifacts.table",
    "TableWriter": "artline.artifacts.table",
    "Video": "artline.artifacts.media",
    "AlertLevel": "artline.runs.run_alerts",
    "alert": "artline.runs.current",
    "define_metric": "artline.runs.current",
    "finish": "artline.runs.current",
    "finish_artifact": "artline.runs.current",
    "init": "artline.runs.init",
    "log": "artline.runs.current",
    "link_model": "artline.runs.current",
    "log_artifact": "artline.runs.current",
    "log_model": "artline.runs.current",
    "use_model": "artline.runs.current",
    "mark_preempting": "artline.runs.current",
    "unwatch": "artline.runs.current",
    "restore": "artline.runs.current",
    "save": "artline.runs.current",
    "upsert_artifact": "artline.runs.current",
    "use_artifact": "artline.runs.current",
    "watch": "artline.runs.current",
}

_MODULES = {"errors": "artline.errors", "plot": "artline.plot", "tensorboard": "artline.runs.tensorboard"}

# These three name state of the run in progress, so they are looked up anew each time.
_CURRENT = ("config", "run", "summary")

__all__ = [
    "AlertLevel",
    "Api",
    "Artifact",
    "ArtifactTTL",
    "Audio",
    "Classes",
    "Histogram",
    "Html",
    "Image",
    "JoinedTable",
    "Molecule",
    "Object3D",
    "PartitionedTable",
    "Plotly",
    "Run",
    "Settings",
    "Table",
    "TableWriter",
    "Video",
    "__version__",
    "alert",
    "config",
    "define_metric",
    "errors",
    "finish",
    "finish_artifact",
    "init",
    "link_model",
    "log",
    "log_artifact",
    "log_model",
    "mark_preempting",
    "plot",
    "restore",
    "run",
    "save",
    "summary",
    "tensorboard",
    "unwatch",
    "upsert_artifact",
    "use_artifact",
    "use_model",
    "watch",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _CURRENT:
        return getattr(import_module("artline.runs.current"), name)
    if name in _MODULES:
        return import_module(_MODULES[name])
    home = _HOMES.get(name)
    if home is None:
        if name.startswith("_"):
            raise AttributeError(f"module 'artline' has no attribute {name!r}")
        # import artline as wandb: what scripts written for wandb call besides, or what to use instead
        return import_module("artline.compat.wandb.borrowed").borrow(name)
    import gc

    collecting = gc.isenabled()
    gc.disable()  # modules that load make tens of thousands of objects, and next to no garbage
    try:
        value = getattr(import_module(home), name)
    finally:
        if collecting:
            gc.enable()
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
