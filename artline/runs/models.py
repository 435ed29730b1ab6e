"""Models of a run: artifacts of type ``model``, logged, used and linked into a registry by one call each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact

__all__ = ["REGISTRY", "RunModels"]

MODEL = "model"
REGISTRY = "model-registry"  # the project that models are linked into


class RunModels:
    """The part of a run that logs, uses and links models."""

    if TYPE_CHECKING:

        def log_artifact(
            self,
            artifact_or_path: Artifact | str | os.PathLike[str],
            name: str | None = None,
            type: str | None = None,
            aliases: Sequence[str] | None = None,
            tags: Sequence[str] | None = None,
        ) -> Artifact: ...
        def use_artifact(
            self, artifact_or_name: Artifact | str, type: str | None = None, use_as: str | None = None
        ) -> Artifact: ...
        def link_artifact(
            self, artifact: Artifact, target_path: str, aliases: Sequence[str] | None = None
        ) -> Artifact: ...

    def log_model(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> Artifact:
        """Commit a model, a file or a folder, as an output of this run; return the version.

        Without ``name`` it is called ``run-<id>-<file name>``. Raises SourceNotFoundError, UsageError when
        there is an artifact of that name that is no model, and what the store raises.
        """
        return self.log_artifact(path, name=name, type=MODEL, aliases=aliases)

    def use_model(self, name: str) -> str:
        """Record a model (``name:version-or-alias``) as an input of this run, fetch it, return where it is.

        That is the file if the model is one file, else the folder. Raises ArtifactNotFoundError, UsageError
        when it is no model, IntegrityError when what was stored is damaged.
        """
        model = self.use_artifact(name)
        if MODEL not in model.type.lower():
            raise UsageError(
                f"use_model: '{model.qualified_name}' is a {model.type}, no model. Use use_artifact('{name}')"
            )
        folder = model.download()
        files = [entry.path for entry in islice(model.files(), 2)]
        return str(folder / files[0]) if len(files) == 1 else str(folder)

    def link_model(
        self,
        path: str | os.PathLike[str],
        registered_model_name: str,
        name: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> Artifact:
        """Log a model and make it the next version of a registered one; return it as that.

        Registered models are the collections of project ``model-registry``; one that is new is made. Aliases
        are given there. Raises UsageError for a registered name with a project or version in it, and what
        ``log_model`` and ``link_artifact`` raise.
        """
        if "/" in registered_model_name or ":" in registered_model_name:
            raise UsageError(
                f"link_model: '{registered_model_name}' is no plain name. Give only the registered "
                "model's name; link_artifact takes project/name"
            )
        model = self.log_model(Path(path), name=name)
        return self.link_artifact(model, f"{REGISTRY}/{registered_model_name}", aliases)
