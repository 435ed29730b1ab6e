"""The content store: bytes in, digests out, and bytes back, verified."""

from __future__ import annotations

import copy
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from artline.errors import ConflictError, IntegrityError
from artline.storage import index, schema
from artline.storage.bucket import Bucket, LocalBucket, open_bucket
from artline.storage.cache import Cache
from artline.storage.catalog import Catalog, sqlite_url
from artline.storage.chunker import ChunkerParameters
from artline.storage.digest import Algorithm
from artline.storage.identity import identify
from artline.storage.lease import Lease
from artline.storage.pack import Kind, damaged, object_name
from artline.storage.recipe import Blob, Recipe, decode_recipe
from artline.storage.retry import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from artline.settings import Settings
    from artline.storage.cached_blocks import BlockCache
    from artline.storage.export import Export, ExportStats
    from artline.storage.index import Location, SealedPack
    from artline.storage.stat_cache import StatCache
    from artline.storage.writer import ContentWriter

__all__ = ["Blob", "ContentStore", "Kind", "Usage"]


_open_stores: dict[tuple[int, str, str, str, str, str], ContentStore] = {}
_open_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Usage:
    """How much a store holds: packs, chunks, bytes in the bucket, bytes those chunks expand to."""

    packs: int
    chunks: int
    stored_bytes: int
    logical_bytes: int


class ContentStore:
    """Chunks by digest, in packs in a bucket, found through the catalog. Safe to share between threads."""

    def __init__(
        self,
        catalog: Catalog,
        bucket: Bucket,
        root: Path,
        identity: dict[str, Any],
        cache: Cache | None = None,
    ) -> None:
        self.catalog = catalog
        self.bucket = bucket
        self.root = root
        self.store_id = str(identity["id"])
        self.algorithm = Algorithm(identity["digest"])
        self.chunker = ChunkerParameters.from_json(identity["chunker"])
        self._pack_names: dict[int, str] = {}
        self._stat_cache: StatCache | None = None
        self._lock = threading.Lock()
        self.cache = cache or Cache(root / "cache")
        # Blocks of a remote bucket that were fetched before; those of a local one are as near as a cache.
        self.blocks: BlockCache | None = None
        if self.cache.enabled and not isinstance(bucket, LocalBucket):
            from artline.storage.cached_blocks import BlockCache

            self.blocks = BlockCache(self.cache)

    @classmethod
    def open(cls, settings: Settings | None = None, *, adopt: bool = False) -> ContentStore:
        """Open the store that the settings name, creating it at first use.

        One instance serves all callers in a process. Raises what Catalog.open and the bucket raise,
        UsageError when the bucket belongs to another catalog, StoreUnavailableError when a local bucket that
        should have packs is not there, and IntegrityError when the catalog is new though the bucket has
        packs: with ``adopt`` such a catalog takes the bucket over.
        """
        if settings is None:
            from artline.settings import load_settings

            settings = load_settings()
        if settings.server:
            from artline.storage.remote_content import open_remote

            return open_remote(settings)
        root = Path(settings.root)
        catalog_url = settings.catalog or sqlite_url(root / "catalog.db")
        bucket_url = settings.bucket or str(root / "bucket")
        cache = Cache(settings.cache_folder, settings.cache_size)
        key = (os.getpid(), str(root), catalog_url, bucket_url, str(cache.folder), settings.cache_size)
        with _open_lock:
            store = _open_stores.get(key)
            if store is None or not store._still_there():
                _open_stores.pop(key, None)
                catalog = Catalog.open(catalog_url, lock_timeout=settings.lock_timeout)
                bucket = open_bucket(bucket_url, Patience(settings.bucket_timeout, settings.bucket_retry))
                identity = identify(catalog, bucket, Algorithm(settings.digest), adopt)
                store = _open_stores[key] = cls(catalog, bucket, root, identity, cache)
        return store

    def writer(self, *, owner: str = "") -> ContentWriter:
        """Start storing content under a lease of its own. Use the writer in one thread.

        Raises AuthError where the store may only be read.
        """
        from artline.storage.writer import ContentWriter

        self.catalog.check_writable()
        return ContentWriter(self, owner=owner)

    def lease(self, owner: str = "") -> Lease:
        """Return a new lease, which is written when something is first claimed under it."""
        return Lease(self.catalog, owner)

    def clock(self) -> float:
        """Return the time in seconds since 1970 by the clock that every client of the store shares."""
        return self.catalog.read_clock()

    def register(self, lease: Lease, packs: Sequence[SealedPack]) -> None:
        """Write the rows of packs whose objects are in the bucket, and pin what holds their chunks.

        Raises ConflictError when the lease ended or a pack was collected meanwhile.
        """
        with lease.hold() as connection:
            for pack in packs:
                if pack.aged(self.catalog.now(connection)) and not self.bucket.exists(object_name(pack.name)):
                    raise ConflictError(
                        "what this draft stored was collected. Add the files again in a new draft"
                    )
            rows = index.insert_packs(connection, packs, self.catalog.now(connection))
            others = index.insert_chunks_kept(connection, rows)
            lease.pin(connection, {int(row[1]) for row in rows} | others)

    def missing(self, digests: Sequence[bytes], lease: Lease | None = None) -> set[bytes]:
        """Return which of ``digests`` the store lacks.

        With a lease, the packs of those it has are pinned: they stay until the lease ends.
        """
        with self.catalog.read() as connection:
            owners = index.owners(connection, digests)
        if lease is not None and not lease.pinned.issuperset(owners.values()):
            with lease.hold() as connection:
                owners = index.owners(connection, digests)
                packs = index.lock_packs(connection, owners.values())
                lease.pin(connection, packs)
            owners = {digest: pack for digest, pack in owners.items() if pack in packs}
        return set(digests).difference(owners)

    def read(self, digest: bytes) -> bytes:
        """Return one chunk, verified. Raises IntegrityError when it is absent or damaged, naming it."""
        for _, content in self.read_many([digest]):
            return content
        raise self.absent(digest)

    def read_many(self, digests: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield ``(digest, content)`` of each chunk once, verified, in the order they lie in the packs.

        Neighbours are fetched together. Raises IntegrityError for one that is absent or damaged.
        """
        from artline.storage.reader import read_chunks

        for location, content in read_chunks(self, digests):
            yield location.digest, bytes(content)

    def open_blob(self, blob: Blob) -> BinaryIO:
        """Open a blob for reading at any position; each chunk is verified as it is fetched."""
        from artline.storage.reader import open_blob

        return open_blob(self, blob)

    def export(
        self, items: Iterable[Export], progress: Callable[[int, int], object] | None = None
    ) -> ExportStats:
        """Write blobs to files: verified, then renamed into place. See ``artline.storage.export``."""
        from artline.storage.export import export

        return export(self, items, progress)

    def uncached(self) -> ContentStore:
        """Return the same store without its cache: what is read from it comes from the bucket."""
        other = copy.copy(self)
        other.blocks = None
        return other

    def make_room(self, destination: Path, size: int) -> bool:
        """Have a cache on the same full disk give way for so many bytes; tell whether there is room now."""
        try:
            if os.stat(destination.absolute().parent).st_dev != os.stat(self.cache.folder).st_dev:
                return False
            return self.cache.give_way(size)
        except OSError:
            return False

    def recipe(self, blob: Blob) -> Recipe:
        """Return a blob's chunks, whether it has a recipe or is a single chunk."""
        if blob.recipe is None:
            return Recipe(blob.digest, blob.size, ((blob.digest, blob.size),))
        recipe = decode_recipe(self.read(blob.recipe), f"recipe {self.format(blob.recipe)}")
        if recipe.digest != blob.digest or recipe.size != blob.size:
            raise IntegrityError(
                f"recipe {self.format(blob.recipe)} describes other content than {self.format(blob.digest)}"
            )
        return recipe

    def chunks(self, blob: Blob) -> list[bytes]:
        """Return the digest of every chunk a blob needs, its recipe's included."""
        if blob.recipe is None:
            return [blob.digest]
        return [blob.recipe, *dict.fromkeys(digest for digest, _ in self.recipe(blob).chunks)]

    def usage(self) -> Usage:
        """Count what the store holds."""
        chunk, pack = schema.chunk.c, schema.pack.c
        with self.catalog.read() as connection:
            chunks = connection.execute(sa.select(sa.func.count(), sa.func.sum(chunk.raw_size))).one()
            packs = connection.execute(sa.select(sa.func.count(pack.id), sa.func.sum(pack.size))).one()
        return Usage(int(packs[0]), int(chunks[0]), int(packs[1] or 0), int(chunks[1] or 0))

    def locate(self, digests: Sequence[bytes]) -> dict[bytes, Location]:
        """Return where each of ``digests`` that the store has lies; learn the names of their packs."""
        with self.catalog.read() as connection:
            found = {location.digest: location for location in index.locate(connection, digests)}
            unknown = {location.pack_id for location in found.values()}.difference(self._pack_names)
            if unknown:
                pack = schema.pack.c
                rows = connection.execute(sa.select(pack.id, pack.name).where(pack.id.in_(sorted(unknown))))
                self._pack_names.update((pack_id, name) for pack_id, name in rows)
        return found

    def pack_object(self, pack_id: int) -> str:
        """Return the object name of a pack that ``locate`` has met."""
        return object_name(self._pack_names[pack_id])

    def format(self, digest: bytes) -> str:
        """Write a digest with the store's algorithm."""
        return f"{self.algorithm.value}:{digest.hex()}"

    def absent(self, digest: bytes) -> IntegrityError:
        """Return the error for a chunk that the store does not have."""
        return IntegrityError(
            f"chunk {self.format(digest)} is not in the store at {self.bucket.url}. Run: art fsck"
        )

    def damaged(self, location: Location, why: str) -> IntegrityError:
        """Return the error for a chunk that is not what it should be."""
        return damaged(location.digest, self.algorithm, self.pack_object(location.pack_id), why)

    @property
    def stat_cache(self) -> StatCache:
        """The record of files whose content is stored already."""
        with self._lock:
            if self._stat_cache is None:
                from artline.storage.stat_cache import StatCache

                self._stat_cache = StatCache(self.root / "cache" / "stat.db", self.store_id)
            return self._stat_cache

    def staging(self) -> Path:
        """Return the folder where packs grow before they enter the bucket."""
        if isinstance(self.bucket, LocalBucket):
            return self.bucket.staging
        return self.root / "tmp" / "packs"

    def _still_there(self) -> bool:
        return self.catalog.dialect != "sqlite" or os.path.exists(self.catalog.place)
