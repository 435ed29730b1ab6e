"""Versions that clients propose: what they claim is compared with what they stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artline.artifacts.manifest import Built, Manifest
from artline.artifacts.retention import row_chunks
from artline.artifacts.shards import decode_root, records
from artline.artifacts.versions import load_version
from artline.errors import ArtifactNotFoundError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artline.artifacts.commit import Proposal
    from artline.artifacts.store import ArtifactStore
    from artline.storage.lease import Lease

__all__ = ["check_proposal"]

_AT_ONCE = 4096


def check_proposal(store: ArtifactStore, proposal: Proposal, lease: Lease) -> None:
    """Make sure that a proposed manifest is one, and that what it needs is in the store for the lease.

    Shards that it shares with the versions it is based on were looked at when those came in. Raises
    IntegrityError for a manifest that is none, says other things than its proposal, or names what was never
    stored; InvalidPathError for paths that would escape.
    """
    content, claimed = store.content, proposal.manifest
    _present(store, [claimed.root], lease)
    manifest = Manifest(content, content.algorithm, claimed.root)
    manifest.check_root()
    root = manifest.root
    if claimed != Built(root.digest, claimed.root, root.rows, root.files, root.size):
        raise IntegrityError("the manifest says other totals than the version. Log it again")
    known: set[bytes] = set()
    for base in proposal.bases:
        with store.catalog.read() as conn:
            found = load_version(conn, base)
        if (found.entity, found.name) != (proposal.entity, proposal.name):
            raise ArtifactNotFoundError(
                f"version {base} is none of '{proposal.name}'. Make the draft from one of its versions"
            )
        known.update(shard.digest for shard in decode_root(content.read(found.root)).shards)
    _present(store, [shard.digest for shard in root.shards], lease)
    waiting: list[bytes] = []
    for shard in root.shards:
        if shard.digest in known:
            continue
        rows = manifest.load_shard(shard)
        if (
            content.algorithm.hash(records(rows)) != shard.logical
            or sum(row[2] for row in rows) != shard.size
        ):
            raise IntegrityError(f"the manifest shard from '{shard.first}' is not what its root says")
        for digests in row_chunks(content, rows):
            waiting += digests
        if len(waiting) >= _AT_ONCE:
            _present(store, waiting, lease)
            waiting = []
    _present(store, waiting, lease)


def _present(store: ArtifactStore, digests: Sequence[bytes], lease: Lease) -> None:
    missing = store.content.missing(digests, lease) if digests else set()
    if missing:
        first = store.content.format(next(iter(missing)))
        raise IntegrityError(
            f"the version names {len(missing):,} chunks that were never stored here, {first} among them. "
            "Add the files again in a new draft"
        )
