"""Opening the store that the settings name, and finding in it what the command line was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artline.errors import ArtifactNotFoundError, RunNotFoundError, UsageError
from artline.settings import load_settings

if TYPE_CHECKING:
    from artline.artifacts.store import ArtifactStore
    from artline.runs.listing import RunRecord
    from artline.runs.store import RunStore

__all__ = ["find_run", "lineage_subject", "open_artifacts", "open_runs"]


def open_artifacts(project: str | None = None, *, adopt: bool = False) -> ArtifactStore:
    """Open the artifacts of the store, working in ``project`` or the one set.

    With ``adopt`` a new catalog takes over a bucket whose own catalog was lost.
    """
    from artline.artifacts.store import ArtifactStore

    settings = load_settings(project=project)
    if adopt:
        from artline.storage.content import ContentStore

        ContentStore.open(settings, adopt=True)
    return ArtifactStore.open(settings)


def open_runs(project: str | None = None) -> RunStore:
    """Open the runs of the store, working in ``project`` or the one set."""
    from artline.runs.store import RunStore

    return RunStore.open(load_settings(project=project))


def find_run(store: RunStore, text: str, *, deleted: bool = False) -> RunRecord:
    """Return the run named ``[[entity/]project/]id``, with what it has logged until now.

    Raises UsageError for text of another shape, RunNotFoundError.
    """
    entity, project, run_id = run_place(store, text)
    store.ingest(project, run_id)
    return store.get(project, run_id, entity=entity, deleted=deleted)


def run_place(store: RunStore, text: str) -> tuple[str, str, str]:
    """Return entity, project and id of a run from its name."""
    parts = text.split("/")
    if len(parts) > 3 or not all(parts) or any(part in (".", "..") for part in parts):
        raise UsageError(f"'{text}' does not name a run. Write ID, PROJECT/ID or ENTITY/PROJECT/ID")
    entity = parts[0] if len(parts) == 3 else store.settings.entity
    project = parts[-2] if len(parts) > 1 else store.settings.project
    return entity, project, parts[-1]


def lineage_subject(store: RunStore, text: str) -> str:
    """Return what ``text`` names as the lineage has it: a version's reference, or else a run's key."""
    try:
        return store.artifacts.get(text).qualified_name
    except (ArtifactNotFoundError, UsageError) as missing:
        if ":" in text or "@" in text:
            raise
        try:
            return find_run(store, text).path
        except (RunNotFoundError, UsageError):
            raise missing from None
