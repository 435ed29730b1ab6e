"""Artifacts that several runs put together: each contributes its part, one makes the version."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from artline.errors import UsageError
from artline.runs.records import Edge

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.store import ArtifactStore
    from artline.runs.recorder import Recorder

__all__ = ["DistributedArtifacts"]


class DistributedArtifacts:
    """The part of a run that works on drafts shared with other runs."""

    if TYPE_CHECKING:
        _recorder: Recorder

        @property
        def group(self) -> str: ...
        @property
        def entity(self) -> str: ...
        @property
        def project(self) -> str: ...
        @property
        def path(self) -> str: ...
        def _require_open(self, what: str) -> None: ...
        def _artifacts(self) -> ArtifactStore: ...
        def _draft_of(self, path: Path, name: str | None, kind: str | None) -> Artifact: ...

    def upsert_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
        *,
        tags: Sequence[str] | None = None,
    ) -> Artifact:
        """Contribute an artifact, or a file or folder as one, to a draft that several runs share; return it.

        Runs, on whatever machine, share the draft of an artifact's name and ``distributed_id``, which is
        the run's group if not given. When this returns the contribution is durable and stays when the run
        ends; ``finish_artifact`` makes the version of all of them. What the run sends again under the same
        path replaces what it sent before; sending the same twice changes nothing. The artifact cannot be
        changed afterwards. A path needs a ``name``.

        Raises UsageError without a group or ``distributed_id``, or for a draft made by ``new_draft``.
        """
        from artline.artifacts.contribution import contribute

        self._require_open("upsert_artifact")
        shared = self._shared_id("upsert_artifact", distributed_id)
        draft = self._contribution_of("upsert_artifact", artifact_or_path, name, type)
        if draft.given_ttl is not None:
            raise UsageError("a ttl is the whole version's. Set it on the Artifact given to finish_artifact")
        self._recorder.flush()
        contribute(
            self._artifacts(),
            draft,
            shared,
            run=self.path,
            project=self.project,
            entity=self.entity,
            aliases=tuple(aliases or ()),
            tags=tuple(tags or ()),
        )
        return draft

    def finish_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
        *,
        tags: Sequence[str] | None = None,
    ) -> Artifact:
        """Make what runs contributed to a shared draft one version, an output of each of them; return it.

        What the artifact given here holds (an empty one will do) is contributed first. All that was
        contributed until then is in the version; later contributions are for the next draft of that id.
        Several runs may finish at once, and a run again: one version is made, and every caller gets it.

        Raises ConflictError, and leaves the draft open, where two runs sent different content under one
        path or different metadata under one key (what is given here counts), ArtifactNotFoundError when
        nothing was ever contributed, UsageError without a group or ``distributed_id``.
        """
        from artline.artifacts.assembly import finish

        self._require_open("finish_artifact")
        shared = self._shared_id("finish_artifact", distributed_id)
        draft = self._contribution_of("finish_artifact", artifact_or_path, name, type)
        self._recorder.flush()
        logged = finish(
            self._artifacts(),
            draft,
            shared,
            run=self.path,
            project=self.project,
            entity=self.entity,
            aliases=tuple(aliases or ()),
            tags=tuple(tags or ()),
        )
        self._recorder.put(Edge("output", logged.qualified_name))
        return logged

    def _shared_id(self, what: str, given: str | None) -> str:
        shared = self.group if given is None else given
        if not shared:
            raise UsageError(
                f"{what}: run {self.path} has no group by which to find the runs it works with. Begin it "
                "with artline.init(group=…), or pass distributed_id"
            )
        return shared

    def _contribution_of(
        self,
        what: str,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None,
        kind: str | None,
    ) -> Artifact:
        if not isinstance(artifact_or_path, (str, os.PathLike)):
            return artifact_or_path
        if name is None:
            raise UsageError(f"{what}: say the name of the artifact that '{artifact_or_path}' is a part of")
        return self._draft_of(Path(artifact_or_path), name, kind)
