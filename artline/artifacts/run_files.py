"""The content that runs keep as files, for the collector and for checks.

The rows are the runs' (``artline.runs.files`` writes them); here it is known that their content is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from artline.storage.recipe import Blob

if TYPE_CHECKING:
    from artline.storage.catalog import Catalog

__all__ = ["KeptFile", "kept_files"]

_BATCH = 1024


class KeptFile(NamedTuple):
    """A file of a run: the run's path (``entity/project/run_id``), its own below that, its content."""

    run: str
    path: str
    blob: Blob


def kept_files(catalog: Catalog) -> Iterator[list[KeptFile]]:
    """Yield, in batches, every file with stored content of every run that is not deleted."""
    import sqlalchemy as sa

    from artline.artifacts.schema import project

    # Not imported: the runs room lies above this one, and a collector must know their files without it.
    file = sa.table("run_file", *map(sa.column, ("run_id", "path", "digest", "size", "recipe")))
    run = sa.table("run", *map(sa.column, ("id", "project_id", "run_id", "deleted_at")))
    query = (
        sa.select(project.c.entity, project.c.name, run.c.run_id, file.c.path)
        .add_columns(file.c.digest, file.c.size, file.c.recipe)
        .select_from(file)
        .join(run, run.c.id == file.c.run_id)
        .join(project, project.c.id == run.c.project_id)
        .where(file.c.digest.is_not(None), run.c.deleted_at.is_(None))
        .execution_options(yield_per=_BATCH)
    )
    with catalog.read() as conn:
        for rows in conn.execute(query).partitions(_BATCH):
            yield [
                KeptFile(
                    f"{entity}/{name}/{run_id}",
                    path,
                    Blob(bytes(digest), int(size), None if recipe is None else bytes(recipe)),
                )
                for entity, name, run_id, path, digest, size, recipe in rows
            ]
