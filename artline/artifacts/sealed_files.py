"""The Parquet files that long histories of runs are sealed in, for the collector and for checks.

The rows are the runs' (``artline.runs.sealed`` writes them); here it is known that the files are needed. A
file has a row before it enters the bucket, and keeps it when its run goes. So what may be removed is known
from rows alone, and a file that has none is left alone: another catalog's, or one that was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from artline.artifacts.schema import project
from artline.errors import NotFoundError
from artline.storage.lease import LEASE_SECONDS

if TYPE_CHECKING:
    from datetime import timedelta

    from artline.storage.catalog import Catalog
    from artline.storage.content import ContentStore

__all__ = ["FOLDER", "FileState", "SealedReport", "SealedSweep", "check_sealed", "name_run", "sweep_sealed"]

FOLDER = "metrics/"
_BATCH = 200
_REMEDY = "Restore it from a backup of the bucket"
_NAMED = 8  # keys that are named of a file; of more, their number is


class FileState:
    """The states of a sealed file: being written, in use, being removed. Names are never used again."""

    WRITING = 0
    KEPT = 1
    GOING = 2


@dataclass(slots=True)
class SealedReport:
    """What a check found: files looked at, their bytes, and what is lost, as run, file and why.

    ``strangers`` are files that the catalog does not know: those of a lost catalog, or of another store.
    """

    files: int = 0
    bytes: int = 0
    losses: list[tuple[str, str, str]] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SealedSweep:
    """What a sweep of sealed files did, or would do: files found unneeded, and files deleted; in bytes.

    ``interrupted`` of those deleted were left by a process that died while it wrote them.
    """

    condemned: int = 0
    deleted: int = 0
    interrupted: int = 0
    freed_bytes: int = 0


# Not imported: the runs room lies above this one, and a collector must know their files without it.
_columns = ("name", "metric_group_id", "size", "state", "created_at", "condemned_at")
_file = sa.table("metric_file", *map(sa.column, _columns))
_group = sa.table("metric_group", *map(sa.column, ("id", "run_id")))
_key = sa.table("metric_key", *map(sa.column, ("metric_group_id", "ordinal", "key")))
_run = sa.table("run", *map(sa.column, ("id", "project_id", "run_id")))


def name_run(catalog: Catalog, name: str) -> str:
    """Return the path (``entity/project/run_id``) of the run whose history a sealed file holds, else ''."""
    query = (
        sa.select(project.c.entity, project.c.name, _run.c.run_id)
        .select_from(_file)
        .join(_group, _group.c.id == _file.c.metric_group_id)
        .join(_run, _run.c.id == _group.c.run_id)
        .join(project, project.c.id == _run.c.project_id)
        .where(_file.c.name == name)
    )
    with catalog.read() as conn:
        row = conn.execute(query).one_or_none()
    return "" if row is None else "/".join(row)


def check_sealed(
    content: ContentStore, *, full: bool = False, progress: Callable[[int, int], object] | None = None
) -> SealedReport:
    """Compare the sealed files that the catalog names with the bucket; nothing is changed.

    By default each is there with its size; with ``full`` it is read and compared with the checksum in its
    name. Writers and collectors may work meanwhile.
    """
    report = SealedReport()
    objects = dict(content.bucket.list(FOLDER))
    last = ""
    while rows := _next_rows(content.catalog, last):
        for row in rows:
            last = row.name
            size = objects.pop(row.name, None)
            if row.state != FileState.KEPT or row.metric_group_id is None:
                continue  # nothing can be read from it, yet or any more
            problem = _find_problem(content, row.name, row.size, size, full)
            report.files += 1
            report.bytes += row.size or size or 0
            if progress is not None:
                progress(0, row.size or 0)
            if problem:
                run = name_run(content.catalog, row.name)
                if run:  # else it was removed meanwhile
                    keys = _name_keys(content.catalog, row.metric_group_id)
                    told = f"{problem}: rows of {keys} cannot be read. {_REMEDY}"
                    report.losses.append((run, row.name, told))
    report.strangers = sorted(filter(content.bucket.exists, objects))  # lists of some buckets are late
    return report


def _next_rows(catalog: Catalog, last: str) -> Sequence[Any]:
    query = (
        sa.select(_file.c.name, _file.c.metric_group_id, _file.c.size, _file.c.state)
        .where(_file.c.name > last)
        .order_by(_file.c.name)
        .limit(_BATCH)
    )
    with catalog.read() as conn:
        return conn.execute(query).all()


def _find_problem(
    content: ContentStore, name: str, expected: int | None, size: int | None, full: bool
) -> str:
    from xxhash import xxh3_64_hexdigest

    bucket = content.bucket
    try:
        data = bucket.read(name) if full else None
        size = len(data) if data is not None else bucket.size(name) if size is None else size
    except NotFoundError:
        return f"the sealed history is missing from {bucket.url}"
    if expected is not None and size != expected:
        return f"the sealed history has {size} bytes instead of {expected}"
    if data is not None and xxh3_64_hexdigest(data) != name.rpartition("-")[2].removesuffix(".parquet"):
        return "the sealed history is damaged, its content does not match the checksum in its name"
    return ""


def _name_keys(catalog: Catalog, group: int) -> str:
    query = sa.select(_key.c.key).where(_key.c.metric_group_id == group).order_by(_key.c.ordinal)
    with catalog.read() as conn:
        keys = list(conn.execute(query).scalars())
    more = f" and {len(keys) - _NAMED} more keys" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more


def sweep_sealed(content: ContentStore, *, grace: timedelta, dry_run: bool = True) -> SealedSweep:
    """Delete sealed files that no run needs, once they have been found so for ``grace``; dry by default.

    Those are files of runs that were removed, and what a process left that died between putting a file and
    naming it, after a day at least. Safe beside writers: whoever still writes such a file is told, as its
    row is taken from it. One that dies half-way is finished by the next.
    """
    catalog = content.catalog
    with catalog.read() if dry_run else catalog.write() as conn:
        now = catalog.now(conn)
        span = grace.total_seconds()
        c = _file.c
        died = sa.and_(c.state == FileState.WRITING, c.created_at + max(span, LEASE_SECONDS) <= now)
        unneeded = sa.and_(c.state == FileState.KEPT, c.metric_group_id.is_(None))
        old = sa.and_(unneeded, sa.func.coalesce(c.condemned_at, now) + span <= now)
        fresh = sa.and_(unneeded, c.condemned_at.is_(None), sa.not_(old))
        count = sa.select(sa.func.count()).select_from(_file)
        going = sa.or_(died, old)
        swept = SealedSweep(
            condemned=conn.execute(count.where(fresh)).scalar_one(),
            deleted=conn.execute(count.where(going)).scalar_one(),
            interrupted=conn.execute(count.where(died)).scalar_one(),
            freed_bytes=int(
                conn.execute(sa.select(sa.func.coalesce(sa.func.sum(c.size), 0)).where(going)).scalar_one()
            ),
        )
        if dry_run:
            return swept
        conn.execute(_file.update().where(going).values(state=FileState.GOING))
        conn.execute(_file.update().where(fresh).values(condemned_at=now))
    _delete_files(content)
    return swept


def _delete_files(content: ContentStore) -> None:
    """Delete the files that are to go, then their rows; also what an interrupted sweep left."""
    query = sa.select(_file.c.name).where(_file.c.state == FileState.GOING)
    with content.catalog.read() as conn:
        names = list(conn.execute(query).scalars())
    for at in range(0, len(names), _BATCH):
        part = names[at : at + _BATCH]
        for name in part:
            content.bucket.delete(name)
        with content.catalog.write() as conn:
            conn.execute(_file.delete().where(_file.c.name.in_(part)))
