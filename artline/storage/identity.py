"""Who a store is: ``store.json`` in the bucket and its copy in the catalog, which must agree."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from artline.errors import IntegrityError, NotFoundError, StoreTooNewError, StoreUnavailableError, UsageError
from artline.storage import schema
from artline.storage.bucket import Bucket, LocalBucket
from artline.storage.chunker import ChunkerParameters
from artline.storage.digest import Algorithm

if TYPE_CHECKING:
    from artline.storage.catalog import Catalog
    from artline.storage.content import ContentStore

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "STORE_FILE",
    "identify",
    "parse_identity",
    "read_identity",
    "restore_identity",
]

FORMAT = "artline-store"
FORMAT_VERSION = 1
STORE_FILE = "store.json"


def identify(catalog: Catalog, bucket: Bucket, algorithm: Algorithm, adopt: bool = False) -> dict[str, Any]:
    """Return the store's identity, agreed between catalog and bucket; write it where it is new.

    The catalog decides between creators at once, as not every bucket can. With ``adopt`` a new catalog takes
    over a bucket that has packs, and a file that is damaged or lost is written anew from the catalog or from
    what the packs say of themselves. Raises IntegrityError, StoreUnavailableError, UsageError (the bucket is
    another store's).
    """
    known = _known(catalog)
    if known is not None and not adopt and not isinstance(bucket, LocalBucket):
        return parse_identity(known, catalog.place)  # fsck compares a remote bucket's, not every opening
    if adopt:
        stored = _mended(catalog, bucket, known)
        known = _known(catalog)
    else:
        stored = read_identity(bucket) if bucket.exists(STORE_FILE) else None
    if not adopt and known is None and next(bucket.list("packs/"), None) is not None:
        known = _known(catalog)  # somebody else may have made the store since it was asked about
        if known is None:
            raise IntegrityError(
                f"the catalog {catalog.place} is new, but the bucket {bucket.url} holds the packs of a "
                "store: was the catalog lost or moved? Restore it from a backup, or check ART_CATALOG and "
                "ART_BUCKET. Without a backup, 'art fsck --repair' rebuilds it from the bucket: artifacts "
                "with their versions, aliases and files come back; runs and their metrics stay lost"
            )
    if known is None:
        mine = adopt or isinstance(bucket, LocalBucket)
        text = (stored if mine else None) or _intended(catalog, algorithm)
        parse_identity(text, bucket.url)
        with catalog.write() as connection:
            insert = catalog.upsert(schema.store_meta).values(key="store", value=text)
            connection.execute(insert.on_conflict_do_nothing())
            known = str(connection.scalar(_KNOWN))
            return _agree(catalog, bucket, known, stored)  # a catalog never knows a store that has no file
    if stored is None and _lost(catalog, bucket):
        raise StoreUnavailableError(
            f"the bucket {bucket.url} is not there, or empty, though the catalog {catalog.place} knows of "
            "packs in it: is its disk mounted? Bring it back, or check ART_BUCKET"
        )
    return _agree(catalog, bucket, known, stored)


def read_identity(bucket: Bucket) -> str:
    """Return the text of a bucket's ``store.json``. Raises NotFoundError, IntegrityError for other bytes."""
    try:
        return bucket.read(STORE_FILE).decode()
    except UnicodeDecodeError as error:
        raise _damaged(bucket.url, error) from error


def restore_identity(content: ContentStore) -> None:
    """Write the store's file anew, from the catalog, where it is damaged or gone from the bucket.

    Where the catalog's copy is damaged that is written anew, from the file. What packs say decides.
    """
    known = _known(content.catalog)
    if known is not None:
        _mended(content.catalog, content.bucket, known)


def parse_identity(text: str, place: str) -> dict[str, Any]:
    """Read ``store.json``. Raises IntegrityError, or StoreTooNewError for a later format."""
    try:
        identity = json.loads(text)
        version = identity["version"]
        if identity["format"] != FORMAT or type(version) is not int:
            raise ValueError(identity["format"], version)
        if version > FORMAT_VERSION:
            raise _too_new(place, f"has format {version}, newer than this Artline reads ({FORMAT_VERSION})")
        if len(bytes.fromhex(identity["id"])) != 16 or len(identity["id"]) != 32:
            raise ValueError(identity["id"])
        try:
            ChunkerParameters.from_json(identity["chunker"])
        except StoreTooNewError as error:
            raise _too_new(place, f"is of a newer one: {error.message}") from None
        Algorithm(identity["digest"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(place, error) from error
    return dict(identity)


def _damaged(place: str, error: Exception) -> IntegrityError:
    return IntegrityError(
        f"{STORE_FILE} of the store at {place} is damaged ({error!r}). Write it anew: art fsck --repair"
    )


def _too_new(place: str, why: str) -> StoreTooNewError:
    return StoreTooNewError(
        f"the store at {place} {why}. Upgrade: pip install --upgrade artline. If no newer one made it, its "
        f"{STORE_FILE} is damaged. Write it anew: art fsck --repair"
    )


_KNOWN = sa.select(schema.store_meta.c.value).where(schema.store_meta.c.key == "store")


def _known(catalog: Catalog) -> str | None:
    with catalog.read() as connection:
        known: str | None = connection.scalar(_KNOWN)
    return known


def _agree(catalog: Catalog, bucket: Bucket, known: str, stored: str | None) -> dict[str, Any]:
    """Write the store's file into a bucket that has none, and compare it with what the catalog knows."""
    identity = parse_identity(known, catalog.place)
    if stored is None and not bucket.create(STORE_FILE, known.encode()):
        stored = read_identity(bucket)
    if stored is not None and parse_identity(stored, bucket.url)["id"] != identity["id"]:
        raise UsageError(
            f"the bucket {bucket.url} belongs to another store than the catalog {catalog.place}. "
            "Check ART_CATALOG and ART_BUCKET. If the bucket's own catalog is lost, or one of the two is "
            "damaged: art fsck --repair"
        )
    return identity


def _intended(catalog: Catalog, algorithm: Algorithm) -> str:
    """Return the identity that the store of a new catalog is to have; the same one whenever it is asked.

    It is on record before the bucket is touched: a file that is found there, without packs yet, is that of an
    earlier attempt of ours, or another catalog's, and that one may be at work.
    """
    intended = sa.select(schema.store_meta.c.value).where(schema.store_meta.c.key == "intended")
    text = json.dumps(_new_identity(algorithm), indent=2) + "\n"
    with catalog.write() as connection:
        insert = catalog.upsert(schema.store_meta).values(key="intended", value=text)
        connection.execute(insert.on_conflict_do_nothing())
        return str(connection.scalar(intended))


def _mended(catalog: Catalog, bucket: Bucket, known: str | None) -> str | None:
    """Return the store's file as it is, or as it is written anew where it is damaged or gone.

    A catalog that opened knows the store's format: a file beside it that says it is newer is damaged.
    """
    ours = _sound(known, catalog.place) if known is not None else None
    stored = None
    try:
        stored = read_identity(bucket)
        parse_identity(stored, bucket.url)
    except (NotFoundError, IntegrityError):
        stored = None
    except StoreTooNewError:
        if ours is None:
            raise
        stored = None
    if stored is None:
        if known is not None and _lost(catalog, bucket):
            return None  # there is nothing that it could belong to
        text = ours or _from_packs(bucket)
        if text is not None:
            bucket.put(STORE_FILE, text.encode())
        return text
    if known is None or (ours is not None and _id(ours) == _id(stored)):
        return stored
    told = _from_packs(bucket)
    if told is not None and _id(told) == _id(stored):
        with catalog.write() as connection:  # it is the catalog's copy that is damaged
            row = schema.store_meta
            connection.execute(row.update().where(row.c.key == "store").values(value=stored))
    elif told is not None and ours is not None and _id(told) == _id(ours):
        bucket.put(STORE_FILE, ours.encode())
        return ours
    return stored


def _sound(text: str, place: str) -> str | None:
    try:
        parse_identity(text, place)
    except (IntegrityError, StoreTooNewError):
        return None
    return text


def _id(text: str) -> str:
    return str(json.loads(text)["id"])


def _from_packs(bucket: Bucket) -> str | None:
    """Return the identity of the store that the packs in a bucket belong to, None without packs.

    What they do not say, how content is cut, is the same for every store that Artline made.
    """
    from artline.storage.pack import HEADER_SIZE, decode_header

    found = False
    for name, _ in bucket.list("packs/"):
        found = True
        try:
            header = decode_header(bucket.read(name, 0, HEADER_SIZE), name)
            algorithm = next(one for one in Algorithm if one.code == header.algorithm)
        except (IntegrityError, StopIteration):
            continue
        identity = _new_identity(algorithm) | {"id": header.store_id}
        return json.dumps(identity, indent=2) + "\n"
    if found:
        raise IntegrityError(
            f"{STORE_FILE} of the store at {bucket.url} is lost, and no pack there is sound enough to "
            "say whose it is"
        )
    return None


def _lost(catalog: Catalog, bucket: Bucket) -> bool:
    """Tell whether the catalog has packs and the bucket nothing of them."""
    with catalog.read() as connection:
        pack = connection.scalar(sa.select(schema.pack.c.id).limit(1))
    return pack is not None and next(bucket.list("packs/"), None) is None


def _new_identity(algorithm: Algorithm) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "id": uuid.uuid4().hex,
        "digest": algorithm.value,
        "chunker": ChunkerParameters().to_json(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
