"""What an artifact is: its names, its state as draft or version, and what the catalog knows of it."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from weakref import finalize

from artline.artifacts.manifest import Manifest
from artline.artifacts.refs import check_name, check_type
from artline.artifacts.ttl import TTL, ArtifactTTL, read_ttl, ttl_of
from artline.errors import ConflictError

if TYPE_CHECKING:
    from artline.artifacts.staging import Staging
    from artline.artifacts.store import ArtifactStore
    from artline.artifacts.versions import EventRecord, VersionRecord
    from artline.storage.digest import Algorithm
    from artline.storage.writer import WriteStats

__all__ = ["ArtifactIdentity"]


class ArtifactIdentity:
    """The part of Artifact that neither puts it together nor reads its content."""

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: dict[str, Any] | None = None,
        incremental: bool = False,
        use_as: str | None = None,
        *,
        store: ArtifactStore | None = None,
    ) -> None:
        self._collection = check_name(name)
        self._type = check_type(type)
        self.description = description
        self._metadata = metadata
        self.incremental = incremental
        self.use_as = use_as
        self.aliases: list[str] = []
        self.tags: list[str] = []
        self._store = store
        self._staging: Staging | None = None
        self._record: VersionRecord | None = None
        self._manifest: Manifest | None = None
        self._final = False
        self._sent_to: str | None = None
        self._ttl: TTL | None = None

    def become(self, record: VersionRecord) -> None:
        """Turn into the version that a record describes, letting go of the draft."""
        if self._staging is not None:
            self._staging.close()
            self._staging = None
        self._record = record
        self.description = record.description
        self._metadata = deepcopy(record.metadata)
        self.aliases = list(record.aliases)
        self.tags = list(record.tags)
        self._ttl = None

    def send(self, distributed_id: str) -> None:
        """Note that a distributed draft has its content now, letting go of its own."""
        if self._staging is not None:
            self._staging.close()
            self._staging = None
        self._sent_to = distributed_id

    @property
    def sent_to(self) -> str | None:
        """The id of the distributed draft that has its content, None for any other."""
        return self._sent_to

    @property
    def holds_files(self) -> bool:
        """Tell whether a draft has entries of its own that are not logged or contributed yet."""
        return self._staging is not None and next(self._staging.draft.rows(), None) is not None

    def __repr__(self) -> str:
        state = self.qualified_name if self._record else f"draft of {self._collection}"
        return f"<Artifact {state} type={self._type}>"

    @property
    def store(self) -> ArtifactStore:
        """The store it is in, or will be in."""
        if self._store is None:
            from artline.artifacts.store import ArtifactStore

            self._store = ArtifactStore.open()
        return self._store

    @property
    def staging(self) -> Staging:
        """The draft's content; raises ConflictError once it is finalized or logged."""
        if self._record is None and self._sent_to is not None:
            raise ConflictError(
                f"artifact '{self.name}' was contributed to draft '{self._sent_to}' and cannot be changed. "
                "Put more files into another Artifact of that name and contribute that, too"
            )
        if self._record is not None or self._final:
            raise ConflictError(
                f"artifact '{self.name}' is finished and cannot be changed. Make a draft of it: new_draft()"
            )
        if self._staging is None:
            from artline.artifacts.staging import Staging

            self._staging = Staging(self.store.content)
            finalize(self, self._staging.close)
        return self._staging

    @property
    def record(self) -> VersionRecord:
        """The catalog's record; raises ConflictError while it is a draft."""
        if self._record is None:
            raise ConflictError(f"artifact '{self._collection}' is a draft. Log it first")
        return self._record

    @property
    def manifest(self) -> Manifest:
        """The version's manifest; raises ConflictError while it is a draft."""
        if self._manifest is None:
            content = self.store.content
            self._manifest = Manifest(content, content.algorithm, self.record.root)
        return self._manifest

    @property
    def algorithm(self) -> Algorithm:
        """The digest algorithm of its store."""
        return self.store.content.algorithm

    @property
    def is_draft(self) -> bool:
        """Tell whether it is not logged yet."""
        return self._record is None

    @property
    def state(self) -> str:
        """``PENDING`` for a draft, ``COMMITTED`` for a version, ``DELETED`` for a deleted one."""
        if self._record is None:
            return "PENDING"
        return "COMMITTED" if self._record.deleted_at is None else "DELETED"

    @property
    def id(self) -> str | None:
        """The version's number in the catalog, as text; None for a draft."""
        return str(self._record.id) if self._record else None

    @property
    def type(self) -> str:
        """The artifact's type."""
        return self._type

    @property
    def collection(self) -> str:
        """The artifact's name, without a version."""
        return self._collection

    @property
    def name(self) -> str:
        """``peds:v3`` of a version, ``peds`` of a draft."""
        return f"{self._collection}:{self._record.version}" if self._record else self._collection

    @property
    def qualified_name(self) -> str:
        """``entity/project/peds:v3``; raises ConflictError while it is a draft."""
        return self.record.qualified_name

    @property
    def version(self) -> str:
        """``v3``; raises ConflictError while it is a draft."""
        return self.record.version

    @property
    def entity(self) -> str:
        """The entity of the version's project."""
        return self.record.entity

    @property
    def project(self) -> str:
        """The version's project."""
        return self.record.project

    @property
    def digest(self) -> str:
        """``algorithm:hex`` over the logical entries; raises ConflictError while it is a draft."""
        from artline.storage.digest import format_digest

        return format_digest(self.algorithm, self.record.digest)

    @property
    def size(self) -> int:
        """Bytes of all entries together, referenced ones included."""
        return self.record.size

    @property
    def file_count(self) -> int:
        """How many entries there are, empty folders left out."""
        return self.record.file_count

    @property
    def created_at(self) -> str:
        """When the version was logged, in ISO 8601, UTC."""
        return _iso(self.record.created_at)

    @property
    def updated_at(self) -> str:
        """When its metadata or description last changed, in ISO 8601, UTC."""
        return _iso(self.record.updated_at)

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known about the version, as a dict that JSON can hold; ``save`` writes later changes."""
        if self._metadata is None:
            self._metadata = {}
        return self._metadata

    @metadata.setter
    def metadata(self, value: dict[str, Any]) -> None:
        self._metadata = value

    @property
    def ttl(self) -> timedelta | None:
        """How long the version is kept, from when it was first logged; None if it does not grow old.

        Set it to a time, to None or ``ArtifactTTL.DISABLED`` for a version that never goes by itself, or to
        ``ArtifactTTL.INHERIT`` for one that goes by its artifact's retention rule, as it does unless
        something is said; ``save`` writes later changes. Raises ConflictError for a draft that inherits,
        UsageError for what is no time above 0.
        """
        ttl = self._ttl if self._ttl is not None else ttl_of(self.record.ttl)
        if ttl is ArtifactTTL.INHERIT:
            from artline.artifacts.rules import inherited_ttl

            return inherited_ttl(self.store, self.record.artifact_id)
        return ttl if isinstance(ttl, timedelta) else None

    @ttl.setter
    def ttl(self, value: timedelta | ArtifactTTL | None) -> None:
        self._ttl = read_ttl(value)

    @property
    def given_ttl(self) -> TTL | None:
        """The ttl that was set and is not written yet, None if none was."""
        return self._ttl

    @property
    def given_metadata(self) -> dict[str, Any] | None:
        """The metadata if any was given, else None."""
        return self._metadata or None

    @property
    def stats(self) -> WriteStats | None:
        """What a draft has stored so far and what was there already; None without any bytes."""
        return self._staging.stats if self._staging is not None else None

    @property
    def history(self) -> list[EventRecord]:
        """What happened to the version: aliases, tags, metadata and description, oldest first."""
        return self.store.history(self.record.id)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
