"""Storing a file or folder as a version without a run of one's own: what ``art push`` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from artline.artifacts.artifact import Artifact
from artline.artifacts.refs import LATEST, check_alias, check_tag
from artline.artifacts.store import ArtifactStore
from artline.errors import SourceNotFoundError, UsageError
from artline.runs.host import redact
from artline.settings import Settings

if TYPE_CHECKING:
    from artline.storage.writer import WriteStats

__all__ = ["JOB_TYPE", "Pushed", "push"]

JOB_TYPE = "push"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push came to: the version, whether it is new, the run that recorded it, what was stored.

    ``stored`` is None where nothing had to be read or written, as for references.
    """

    version: Artifact
    is_new: bool
    run: str
    stored: WriteStats | None


def push(
    settings: Settings,
    source: str,
    name: str,
    type: str,
    *,
    aliases: Sequence[str] = (),
    tags: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    description: str | None = None,
    ttl: timedelta | None = None,
    checksum: bool = True,
    max_objects: int | None = None,
    watch: Callable[[Artifact], Callable[[int, int], object]] | None = None,
) -> Pushed:
    """Log ``source`` (a file, a folder, or the URL of what is to be referred to) as a version of ``name``.

    A run of job type ``push`` records it; it begins when everything is stored, so that a source that cannot
    be read leaves none behind. ``watch`` is given the draft and returns what to call with progress. The
    version goes by itself after ``ttl``, if that is given; see ``Artifact.ttl``. ``checksum`` and
    ``max_objects`` are about references; see ``Artifact.add_reference``.
    Content that the artifact has already makes no new version. Raises SourceNotFoundError and what storing
    and logging raise; UsageError when runs are disabled.
    """
    from artline.runs.init import init

    if settings.mode == "disabled":
        raise UsageError("nothing can be pushed while runs are disabled. Unset ART_MODE, or set it to online")
    for alias in aliases:
        if alias != LATEST:
            check_alias(alias)
    for tag in tags:
        check_tag(tag)
    draft = Artifact(
        name, type, description, dict(metadata) if metadata else None, store=ArtifactStore.open(settings)
    )
    if ttl is not None:
        draft.ttl = ttl
    progress = watch(draft) if watch is not None else None
    if "://" not in source and (not checksum or max_objects is not None):
        raise UsageError(
            f"'{source}' is stored, not referred to: whether references have checksums, and how many objects "
            "they may be, is nothing to it. Give a URL, such as file://…"
        )
    if "://" in source:
        draft.add_reference(source, checksum=checksum, max_objects=max_objects)
    elif os.path.isdir(source):
        draft.add_dir(source, progress=progress)
    elif os.path.lexists(source):
        draft.add_file(source, progress=progress)
    else:
        raise SourceNotFoundError(f"'{source}' does not exist. Give a file, a folder or a URL")
    stored = draft.stats
    place = redact(source) if "://" in source else os.path.abspath(source)
    with init(
        job_type=JOB_TYPE,
        name=f"push {name}",
        config={"source": place},
        settings=settings,
        reinit="create_new",
    ) as run:
        version = run.log_artifact(draft, aliases=aliases, tags=tags)
    return Pushed(version, version.logged_by() == run.path, run.path, stored)
