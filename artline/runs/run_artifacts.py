"""The artifacts of a run: what it makes, what it uses, and the store it finds them in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from artline.errors import SourceNotFoundError
from artline.runs import notices
from artline.runs.distributed import DistributedArtifacts
from artline.runs.records import Edge

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.store import ArtifactStore
    from artline.settings import Settings

__all__ = ["RunArtifacts"]


class RunArtifacts(DistributedArtifacts):
    """The part of a run that logs, uses and links versions."""

    _store: ArtifactStore | None = None

    if TYPE_CHECKING:
        settings: Settings

        @property
        def id(self) -> str: ...

    def log_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
    ) -> Artifact:
        """Commit an artifact, or a file or folder as one, as an output of this run; return the version.

        A path needs no ``name`` (default ``run-<id>-<file name>``) and no ``type`` (default ``unspecified``).
        When this returns the version is durable and visible. Raises SourceNotFoundError and what the
        store raises.
        """
        self._require_open("log_artifact")
        if isinstance(artifact_or_path, (str, os.PathLike)):
            draft = self._draft_of(Path(artifact_or_path), name, type)
        else:
            draft = artifact_or_path
        self._recorder.flush()
        logged = self._artifacts().log(
            draft,
            project=self.project,
            entity=self.entity,
            run=self.path,
            aliases=tuple(aliases or ()),
            tags=tuple(tags or ()),
        )
        self._recorder.put(Edge("output", logged.qualified_name))
        return logged

    def use_artifact(
        self,
        artifact_or_name: Artifact | str,
        type: str | None = None,
        use_as: str | None = None,
    ) -> Artifact:
        """Resolve an artifact (``name:version-or-alias``) and record it as an input of this run.

        A draft is logged first, and is an output of this run instead.
        Where an ``art.lock`` pins the name, the pinned version is used, and a line says so. Raises
        ArtifactNotFoundError, UsageError when it is of another type, and IntegrityError when the pinned
        version has another digest.
        """
        self._require_open("use_artifact")
        if isinstance(artifact_or_name, str):
            wanted = self._pinned(artifact_or_name)
        else:
            if artifact_or_name.is_draft:
                self.log_artifact(artifact_or_name)
            wanted = artifact_or_name.qualified_name
        found = self._artifacts().use(
            wanted, project=self.project, entity=self.entity, run=self.path, type=type, use_as=use_as
        )
        self._recorder.put(Edge("input", found.qualified_name))
        return found

    def link_artifact(
        self, artifact: Artifact, target_path: str, aliases: Sequence[str] | None = None
    ) -> Artifact:
        """Make a version one of a collection's, too (``project/name``), logging a draft first; return it.

        The version that is returned is the collection's, with its own number and aliases. Raises UsageError
        when the collection is of another type, ProtectedError for a protected alias that is elsewhere.
        """
        self._require_open("link_artifact")
        if artifact.is_draft:
            self.log_artifact(artifact)
        return self._artifacts().link(
            artifact, target_path, aliases=tuple(aliases or ()), run=self.path, entity=self.entity
        )

    def _artifacts(self) -> ArtifactStore:
        if self._store is None:
            from artline.artifacts.store import ArtifactStore

            self._store = ArtifactStore.open(self.settings)
        return self._store

    def _pinned(self, name: str) -> str:
        from artline.artifacts.pins import LOCK_FILE, pinned_ref

        wanted, pin = pinned_ref(name, project=self.project, entity=self.entity)
        if pin is not None and not self.settings.quiet:
            notices.say(f"{name} is {pin.name}:{pin.version}, pinned by {LOCK_FILE}")
        return wanted

    def _draft_of(self, path: Path, name: str | None, kind: str | None) -> Artifact:
        from artline.artifacts.artifact import Artifact

        if not path.exists():
            raise SourceNotFoundError(f"log_artifact: {path} does not exist. Pass an existing file or folder")
        draft = Artifact(name or f"run-{self.id}-{path.name}", type=kind or "unspecified")
        if path.is_dir():
            draft.add_dir(str(path))
        else:
            draft.add_file(str(path))
        return draft
