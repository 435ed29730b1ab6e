"""Names of projects, artifacts and runs as candidates for completion.

Asked for at each press of the key, so a store that does not exist is not made, nothing is taken in from
journals, and errors are left to ``artline.cli.shells``, which is silent about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

    from artline.settings import Settings

__all__ = ["complete_artifact", "complete_project", "complete_run"]

_MOST = 200


def complete_project(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete the name of a project."""
    from click.shell_completion import CompletionItem

    settings = _settings(ctx)
    if settings is None:
        return []
    from artline.artifacts.store import ArtifactStore

    names = [p.name for p in ArtifactStore.open(settings).projects() if p.entity == settings.entity]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_artifact(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete ``name``, then behind the colon its aliases and versions; ``project/`` may stand before."""
    from click.shell_completion import CompletionItem

    settings = _settings(ctx)
    if settings is None:
        return []
    from artline.artifacts.store import ArtifactStore

    store = ArtifactStore.open(settings)
    place, slash, rest = incomplete.rpartition("/")
    entity, _, project = place.rpartition("/")
    where = {"project": project or None, "entity": entity or None}
    name, colon, alias = rest.partition(":")
    if not colon:
        found = [c for c in store.collections(**where) if c.name.startswith(name)]
        return [CompletionItem(f"{place}{slash}{c.name}", help=c.type) for c in found]
    items = []
    for version in store.versions(where["project"], name, entity=where["entity"])[:_MOST]:
        about = f"{version.version}, {version.file_count} files"
        items += [(word, about) for word in (*version.aliases, version.version) if word.startswith(alias)]
    return [CompletionItem(f"{place}{slash}{name}:{word}", help=about) for word, about in items]


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the id of a run, the newest first; ``project/`` may stand before."""
    from click.shell_completion import CompletionItem

    settings = _settings(ctx)
    if settings is None:
        return []
    from artline.runs.store import RunStore

    place, slash, start = incomplete.rpartition("/")
    entity, _, project = place.rpartition("/")
    page = RunStore.open(settings).find(project or settings.project, entity=entity or None, limit=_MOST)
    return [
        CompletionItem(f"{place}{slash}{run.run_id}", help=f"{run.name}, {run.state}")
        for run in page.runs
        if run.run_id.startswith(start)
    ]


def _settings(ctx: click.Context) -> Settings | None:
    """Return the settings, with the project that the line names; None where there is no store."""
    from artline.runs.survey import store_exists
    from artline.settings import load_settings

    settings = load_settings(project=ctx.params.get("project"))
    return settings if store_exists(settings) else None
