"""Finishing a distributed draft: what runs contributed becomes one version."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from artline.artifacts.commit import (
    OUTPUT,
    LatestMovedError,
    Proposal,
    commit_version,
    edit_version,
    metadata_text,
    record_event,
    write_edge,
)
from artline.artifacts.contribution import DraftSettledError, contribute
from artline.artifacts.draft import ClashError, same_content
from artline.artifacts.drafts import (
    Contribution,
    DraftRecord,
    check_distributed_id,
    find_draft,
    load_draft,
    lock_draft,
    settle_draft,
)
from artline.artifacts.manifest import Manifest
from artline.artifacts.records import changing
from artline.artifacts.refs import LATEST, check_alias, check_tag
from artline.artifacts.shards import Row
from artline.artifacts.staging import Staging
from artline.artifacts.versions import VersionRecord, load_version
from artline.errors import ArtifactNotFoundError, ConflictError, IntegrityError, UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.manifest import Built
    from artline.artifacts.store import ArtifactStore

__all__ = ["finish", "finish_draft"]

# A contribution with this share of all entries is built upon unread; checking each entry of the others
# against it takes about three times as long as sorting it in.
_DOMINANT = 2 / 3
_SIDE_BY_SIDE = 32  # manifests, of each of which one shard is in memory
_BATCH = 2048


def finish(
    store: ArtifactStore,
    artifact: Artifact,
    distributed_id: str,
    *,
    run: str = "",
    project: str | None = None,
    entity: str | None = None,
    aliases: Sequence[str] = (),
    tags: Sequence[str] = (),
) -> Artifact:
    """Make everything contributed to a draft one version, and return it (the object that was given).

    What ``artifact`` holds is contributed first; its metadata and description count before those of others.
    Whatever was contributed until the version is there is in it, what comes later is for the next draft of
    that id. However many finish a draft, one version is made, and all are given it; finishing again returns
    it, too. Runs that contributed become its producers, beside the one that finishes. One transaction:
    before it nothing is to be seen, after it everything.

    Raises ConflictError naming path and runs where two runs sent different content (or metadata) for one
    path, and ArtifactNotFoundError when nothing was ever contributed; the draft stays open. Otherwise what
    logging raises.
    """
    check_distributed_id(distributed_id)
    aliases = tuple(dict.fromkeys(alias for alias in aliases if alias != LATEST))
    for alias in aliases:
        check_alias(alias)
    for tag in tags:
        check_tag(tag)
    entity, project = entity or store.settings.entity, project or store.settings.project
    name = artifact.collection
    assembly = _Assembly(store, run, artifact.given_metadata, artifact.description, aliases, tuple(tags))
    version = None
    if artifact.sent_to is not None or artifact.holds_files:
        try:
            _contribute(store, artifact, distributed_id, run, project, entity)
        except DraftSettledError:
            # Who finished it had all this from somebody else.
            record = find_draft(store, name, distributed_id, project=project, entity=entity)
            if record.version_id is None or not _is_part(artifact, store.by_id(record.version_id)):
                raise
            version = assembly.join(record)
    try:
        while version is None:
            record = find_draft(store, name, distributed_id, project=project, entity=entity)
            version = assembly.make(record) if record.contributions else assembly.join(record)
    finally:
        assembly.close()
    ttl = artifact.given_ttl
    artifact.become(version)
    if ttl is not None:
        artifact.ttl = ttl
        artifact.save()
    return artifact


def finish_draft(
    store: ArtifactStore,
    name: str,
    distributed_id: str | None = None,
    *,
    aliases: Sequence[str] = (),
    tags: Sequence[str] = (),
    metadata: dict[str, Any] | None = None,
    description: str | None = None,
    project: str | None = None,
    entity: str | None = None,
) -> Artifact:
    """Finish a draft of artifact ``[[entity/]project/]name`` without a run; see ``finish``.

    The only open one if no id is given; UsageError when several are open.
    """
    from artline.artifacts.artifact import Artifact

    record = find_draft(store, name, distributed_id, project=project, entity=entity)
    return finish(
        store,
        Artifact(record.name, record.type, description, metadata, store=store),
        record.distributed_id,
        aliases=aliases,
        tags=tags,
        project=record.project,
        entity=record.entity,
    )


def _contribute(
    store: ArtifactStore, artifact: Artifact, distributed_id: str, run: str, project: str, entity: str
) -> None:
    """Contribute the finisher's own files to the draft that is open now, or to a new one if none is."""
    if not run:
        raise UsageError(
            f"artifact '{artifact.name}' has files, which a run has to contribute: run.upsert_artifact, or "
            "run.finish_artifact. Without a run finish an Artifact that has none"
        )
    try:
        seen = find_draft(store, artifact.collection, distributed_id, project=project, entity=entity)
    except ArtifactNotFoundError:
        seen = None
    generation = seen.generation if seen is not None and seen.contributions else None
    contribute(
        store, artifact, distributed_id, run=run, project=project, entity=entity, generation=generation
    )


def _is_part(artifact: Artifact, version: Artifact) -> bool:
    """Tell whether a version has everything that a draft has."""
    for rows in artifact.staging.draft.rows():
        for row in rows:
            present = version.manifest.row(row[0])
            if present is None or not same_content(present, row):
                return False
    return True


class _Assembly:
    """Contributions on their way to a version; entries are merged in a table on disk to bound memory."""

    def __init__(
        self,
        store: ArtifactStore,
        run: str,
        metadata: dict[str, Any] | None,
        description: str | None,
        aliases: tuple[str, ...],
        tags: tuple[str, ...],
    ) -> None:
        self._store = store
        self._run = run
        self._metadata = metadata
        self._description = description
        self._aliases = aliases
        self._tags = tags
        self._staging: Staging | None = None
        self._taken: dict[str, bytes] = {}  # the root that was merged, by run

    def close(self) -> None:
        """Let go of what was merged; idempotent."""
        staging, self._staging = self._staging, None
        self._taken = {}
        if staging is not None:
            if staging.stats is not None:
                staging.writer.lease.release()
            staging.close()

    def make(self, record: DraftRecord) -> VersionRecord | None:
        """Make the version and return it; None when the draft changed meanwhile, which is no harm."""
        store = self._store
        aliases, tags = _united(record, self._aliases, self._tags)
        metadata = _agreed(record, self._metadata)
        description = _described(record, self._description)
        try:
            staging, built = self._merge(record)
        except IntegrityError:
            with store.catalog.read() as conn:
                if load_draft(conn, record.id).revision == record.revision:
                    raise
            self.close()  # somebody else finished it, and a collector took what had been contributed
            return None
        proposal = Proposal(
            entity=record.entity,
            project=record.project,
            name=record.name,
            type=record.type,
            manifest=built,
            metadata=metadata_text(metadata) if metadata is not None else None,
            description=description,
            run=self._run,
            aliases=aliases,
            tags=tags,
            bases=staging.bases,
            on_latest=_incremental(record),
        )
        lease = staging.writer.lease
        try:
            with changing(store.content) as conn:
                lease.check(conn)
                lock_draft(conn, record.id)
                # As long as the contributions are there, so is everything that they need.
                if load_draft(conn, record.id).revision != record.revision:
                    return None
                version_id, _new = commit_version(conn, proposal)
                origin = load_version(conn, version_id).origin_id
                for contribution in record.contributions:
                    write_edge(conn, origin, contribution.run, OUTPUT)
                detail = {"distributed_id": record.distributed_id, "runs": len(record.contributions)}
                record_event(conn, version_id, "assembled", detail, self._run)
                settle_draft(conn, record, version_id)
                lease.release(conn)
                return load_version(conn, version_id)
        except LatestMovedError:
            return None

    def join(self, record: DraftRecord) -> VersionRecord:
        """Return the version that a draft became, as if this run had finished it with the others."""
        if record.version_id is None:
            raise ArtifactNotFoundError(
                f"nothing is contributed to draft '{record.distributed_id}' of '{record.qualified_name}': it "
                "was given up. Contribute again: run.upsert_artifact"
            )
        store = self._store
        version = store.by_id(record.version_id)
        if version.record.deleted_at is not None:
            raise ArtifactNotFoundError(
                f"draft '{record.distributed_id}' became '{version.qualified_name}', which was deleted. "
                f"Bring it back: art undelete {version.name}"
            )
        version = store.log(version, run=self._run, aliases=self._aliases, tags=self._tags)
        if self._metadata is not None or self._description is not None:
            text = metadata_text({**version.metadata, **(self._metadata or {})})
            with changing(store.content) as conn:
                edit_version(
                    conn, version.record.id, metadata=text, description=self._description, run=self._run
                )
                return load_version(conn, version.record.id)
        return version.record

    def _merge(self, record: DraftRecord) -> tuple[Staging, Built]:
        wanted = {contribution.run: contribution.root for contribution in record.contributions}
        incremental = _incremental(record)
        changed = any(wanted.get(run) != root for run, root in self._taken.items())
        if incremental or changed:
            self.close()
        if self._staging is None:
            self._staging = Staging(self._store.content)
        staging = self._staging
        new = [found for found in record.contributions if found.run not in self._taken]
        if not self._taken and not incremental:
            largest = max(new, key=lambda found: found.file_count)
            if largest.file_count >= _DOMINANT * record.file_count:
                staging.put_on(largest.root)
                self._taken[largest.run] = largest.root
                new.remove(largest)
        try:
            staging.draft.add_many(self._sorted(new))
        except ClashError as error:
            raise self._conflict(record, error) from None
        self._taken.update((found.run, found.root) for found in new)
        if incremental:
            self._put_latest_under(staging, record)
        return staging, staging.build()

    def _put_latest_under(self, staging: Staging, record: DraftRecord) -> None:
        try:
            latest = self._store.get(record.name, project=record.project, entity=record.entity).record
        except ArtifactNotFoundError:
            return
        staging.load(latest.root, latest.id, latest=True)

    def _sorted(self, contributions: Sequence[Contribution]) -> Iterator[list[Row]]:
        """Yield all entries, in order as far as that many manifests can be read side by side."""
        for start in range(0, len(contributions), _SIDE_BY_SIDE):
            part = contributions[start : start + _SIDE_BY_SIDE]
            rows = merge(*[chain.from_iterable(self._manifest(found).rows()) for found in part])
            while batch := list(islice(rows, _BATCH)):
                yield batch

    def _manifest(self, contribution: Contribution) -> Manifest:
        content = self._store.content
        return Manifest(content, content.algorithm, contribution.root, kept=1)

    def _conflict(self, record: DraftRecord, error: ClashError) -> ConflictError:
        runs = []
        for contribution in record.contributions:
            manifest = self._manifest(contribution)
            if any(manifest.row(path) or manifest.has_prefix(path + "/") for path in error.paths):
                runs.append(contribution.run)
        paths = sorted(error.paths)
        path = paths[0]
        if len(paths) == 1:
            what = f"path '{path}' has different content from"
        elif path == paths[1]:
            what = f"path '{path}' is a file from one and a folder from another of"
        else:
            what = (
                f"paths '{path}' and '{paths[1]}', which would be one on a file system that ignores "
                "case or normalises Unicode, are from"
            )
        return _conflict(record, f"{what} {', '.join(runs)}")


def _incremental(record: DraftRecord) -> bool:
    return any(contribution.incremental for contribution in record.contributions)


def _united(
    record: DraftRecord, aliases: tuple[str, ...], tags: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the aliases and tags that anybody asked for."""
    for contribution in record.contributions:
        aliases += contribution.aliases
        tags += contribution.tags
    return tuple(alias for alias in dict.fromkeys(aliases) if alias != LATEST), tuple(dict.fromkeys(tags))


def _agreed(record: DraftRecord, own: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return all metadata together; raise ConflictError for a key on which runs differ and the finisher
    says nothing.
    """
    merged: dict[str, Any] = {}
    given: dict[str, str] = {}
    for contribution in record.contributions:
        for key, value in (contribution.metadata or {}).items():
            if key in (own or {}):
                continue
            if key in merged and json.dumps(merged[key], sort_keys=True) != json.dumps(value, sort_keys=True):
                raise _conflict(
                    record,
                    f"metadata '{key}' differs between {given[key]} and {contribution.run}",
                    ", or give it when finishing",
                )
            merged[key] = value
            given.setdefault(key, contribution.run)
    return {**merged, **(own or {})} or None


def _described(record: DraftRecord, own: str | None) -> str | None:
    given = {c.description: c.run for c in record.contributions if c.description is not None}
    if own is None and len(given) > 1:
        first, second, *_ = given.values()
        raise _conflict(
            record, f"the description differs between {first} and {second}", ", or give it when finishing"
        )
    return own if own is not None else next(iter(given), None)


def _conflict(record: DraftRecord, what: str, otherwise: str = "") -> ConflictError:
    from shlex import quote

    command = f"art drafts rm {record.project}/{record.name} {quote(record.distributed_id)} --run RUN"
    return ConflictError(
        f"{what}: draft '{record.distributed_id}' of '{record.qualified_name}' stays open. Take out what one "
        f"of them contributed ({command}), let it send other content{otherwise}, and finish again"
    )
