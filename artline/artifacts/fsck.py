"""Checking that every version can be restored, and naming what cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artline.artifacts.draft import ClashError
from artline.artifacts.folding import check_folding, is_plain
from artline.artifacts.manifest import Manifest
from artline.artifacts.shards import EntryKind, Row
from artline.errors import ArtlineError, IntegrityError, InvalidPathError

if TYPE_CHECKING:
    from artline.artifacts.run_files import KeptFile
    from artline.artifacts.store import ArtifactStore
    from artline.storage.content import ContentStore
    from artline.storage.fsck import PackReport

__all__ = ["Loss", "Report", "check"]


@dataclass(frozen=True, slots=True)
class Loss:
    """A path of a version that cannot be restored, and why; ``path`` is empty when all of it cannot.

    ``version`` may also name what a run contributed to an open draft, or a run that kept a file or whose
    history is sealed in one.
    """

    version: str
    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found: the state of the packs, what versions lost by it, and that of the records.

    ``histories`` counts the files that histories of runs are sealed in, of ``history_bytes`` in all, and
    ``lost_histories`` those of them that are among the losses; ``strangers`` are such files in the bucket
    that the catalog does not know, and which nothing removes.
    """

    packs: PackReport
    versions: int
    losses: tuple[Loss, ...]
    records: int = 0
    problems: tuple[str, ...] = ()
    histories: int = 0
    history_bytes: int = 0
    lost_histories: int = 0
    strangers: tuple[str, ...] = ()

    @property
    def reparable(self) -> bool:
        """Tell whether something is damaged that a repair deals with: all but lost histories."""
        return not self.packs.clean or len(self.losses) > self.lost_histories or bool(self.problems)

    @property
    def ok(self) -> bool:
        """Tell whether every version can be restored, and every pack, record and row is sound."""
        return self.packs.clean and not self.losses and not self.problems


def check(
    store: ArtifactStore,
    *,
    full: bool = False,
    progress: Callable[[int, int], object] | None = None,
    records: bool = True,
) -> Report:
    """Check packs, versions, open drafts and records; with ``full`` every byte is read and hashed again.

    Without it, packs must be there with the right size and footer, every chunk that a version or a draft
    needs must be in the index, and files that histories are sealed in must be there with their size. With
    ``records`` those are read and compared with the catalog. Nothing is changed.
    """
    import sqlalchemy as sa

    from artline.artifacts.drafts import open_drafts
    from artline.artifacts.run_files import kept_files
    from artline.artifacts.schema import artifact_version
    from artline.artifacts.sealed_files import check_sealed
    from artline.artifacts.survey import survey_records
    from artline.artifacts.versions import load_versions
    from artline.storage.fsck import check_packs

    packs = check_packs(store.content, full=full, progress=progress)
    damaged = frozenset(chunk.digest for chunk in packs.damaged)
    version = artifact_version.c
    query = sa.select(version.id).where(version.deleted_at.is_(None)).order_by(version.id)
    with store.catalog.read() as conn:
        versions = list(load_versions(conn, list(conn.execute(query).scalars())))
        manifests: list[tuple[str, bytes, bytes | None]] = [
            (record.qualified_name, record.root, record.digest) for record in versions
        ]
        for draft in open_drafts(conn):
            name = f"{draft.qualified_name} (draft {draft.distributed_id})"
            manifests += [(f"{name} of {found.run}", found.root, None) for found in draft.contributions]
    sound: set[bytes] = set()
    plain: dict[bytes, bool] = {}
    losses = [
        loss for manifest in manifests for loss in _losses(store.content, *manifest, damaged, sound, plain)
    ]
    for files in kept_files(store.catalog):
        losses += _lost_files(store.content, files, damaged)
    sealed = check_sealed(store.content, full=full, progress=progress)
    losses += [Loss(f"run {run}", name, problem) for run, name, problem in sealed.losses]
    problems, counted = store.catalog.check(), 0
    if records:
        try:
            survey = survey_records(store.content)
        except IntegrityError as error:  # rows too damaged to be compared
            problems.append(error.message)
        else:
            counted, problems = survey.records, [*problems, *survey.problems]
    return Report(
        packs,
        len(versions),
        tuple(losses),
        counted,
        tuple(problems),
        sealed.files,
        sealed.bytes,
        len(sealed.losses),
        tuple(sealed.strangers),
    )


def _lost_files(
    content: ContentStore, files: Sequence[KeptFile], damaged: frozenset[bytes]
) -> Iterator[Loss]:
    """Yield what of the files of runs cannot be read any more; most often, by one question, nothing."""
    rows = [(f.path, EntryKind.FILE, f.blob.size, f.blob.digest, f.blob.recipe or b"", "") for f in files]
    if any(_lost_rows(content, rows, damaged)):
        for file, row in zip(files, rows, strict=True):
            for path, problem in _lost_rows(content, [row], damaged):
                yield Loss(f"run {file.run}", path, problem)


def _losses(
    content: ContentStore,
    name: str,
    root: bytes,
    digest: bytes | None,
    damaged: frozenset[bytes],
    sound: set[bytes],
    plain: dict[bytes, bool],
) -> Iterator[Loss]:
    """Yield what a version, or a run's part of a draft, lost.

    Shards found sound once, or found to have plain names, need no second look in another version.
    """
    whole = True
    try:
        if root in damaged:
            raise content.absent(root)
        manifest = Manifest(content, content.algorithm, root)
        if digest is not None and manifest.digest != digest:
            yield Loss(name, "", "its manifest has another digest than the catalog says")
            return
    except ArtlineError as error:
        yield Loss(name, "", f"its manifest cannot be read: {error}")
        return
    for shard in manifest.root.shards:
        if shard.digest in sound:
            continue
        try:
            if shard.digest in damaged:
                raise content.absent(shard.digest)
            rows = manifest.load_shard(shard)
        except ArtlineError as error:
            whole = False
            yield Loss(name, shard.first, f"{shard.rows} paths, to '{shard.last}', cannot be read: {error}")
            continue
        lost = list(_lost_rows(content, rows, damaged))
        if not lost:
            sound.add(shard.digest)
        for path, problem in lost:
            yield Loss(name, path, problem)
    if whole and not is_plain(manifest, plain):
        try:
            check_folding(manifest)
        except InvalidPathError as error:
            yield Loss(name, error.paths[0] if isinstance(error, ClashError) else "", error.message)


def _lost_rows(
    content: ContentStore, rows: Sequence[Row], damaged: frozenset[bytes]
) -> Iterator[tuple[str, str]]:
    from artline.storage.recipe import Blob

    files = [row for row in rows if row[1] <= EntryKind.EXECUTABLE]
    plain = [row[3] for row in files if not row[4]]
    missing = content.missing(plain) if plain else set()
    for row in files:
        if not row[4]:
            bad = [row[3]] if row[3] in damaged or row[3] in missing else []
        else:
            try:
                chunks = content.chunks(Blob(row[3], row[2], row[4]))
            except ArtlineError as error:
                yield row[0], str(error)
                continue
            absent = content.missing(chunks)
            bad = [chunk for chunk in chunks if chunk in damaged or chunk in absent]
        if bad:
            state = "damaged" if bad[0] in damaged else "missing"
            yield row[0], f"chunk {content.format(bad[0])} is {state}"
