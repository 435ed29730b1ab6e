"""Chunks and packs of a team: which are missing, where they lie, and their bytes."""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from starlette.responses import Response, StreamingResponse

from artline.errors import IntegrityError, NotFoundError, TooLargeError, UsageError
from artline.server.directory import Role
from artline.server.routing import Call, Reply, Route
from artline.server.uploads import check_pack
from artline.storage.bucket import storage_error
from artline.storage.content import Usage
from artline.storage.index import SealedPack
from artline.storage.lease import Lease
from artline.storage.pack import (
    TRAILER_SIZE,
    decode_entries,
    decode_trailer,
    object_name,
)
from artline.storage.remote_content import Found, NewPack, Storehouse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from artline.storage.bucket import Bucket
    from artline.storage.content import ContentStore

__all__ = ["ROUTES"]

_DIGEST = 32
_MOST_DIGESTS = 100_000
_MOST_PACKS = 1000
_PART = 1 << 20
_NAME = re.compile(r"[0-9a-f]{32}")
_LEASE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Claim:
    """Under which lease something is asked; ``held`` says that the lease was claimed under before."""

    lease: str = ""
    owner: str = ""
    held: bool = False


def storehouse(call: Call) -> Storehouse:
    content = call.team.content
    return Storehouse(
        call.path["team"],
        content.store_id,
        content.algorithm.value,
        content.chunker.to_json(),
        content.clock(),
    )


def missing(call: Call) -> Reply:
    content, claim = call.team.content, call.query
    digests = _digests(call.body)
    lease = None
    if claim.lease:
        call.state.check(call.account, call.path["team"], None, Role.WRITE)
        lease = _lease(content, claim)
    absent = content.missing(digests, lease)
    return Reply(b"".join(digest for digest in dict.fromkeys(digests) if digest in absent))


def locate(call: Call) -> Found:
    content = call.team.content
    found = content.locate(_digests(call.body))
    packs = {str(place.pack_id): _stem(content.pack_object(place.pack_id)) for place in found.values()}
    return Found([(place.digest.hex(), *place[1:]) for place in found.values()], packs)


def register(call: Call) -> None:
    content, claim = call.team.content, call.query
    if len(call.body) > _MOST_PACKS:
        raise UsageError(f"at most {_MOST_PACKS} packs are registered at once")
    lease = _lease(content, claim)
    content.register(lease, [_sealed(content, pack) for pack in call.body])


def renew_lease(call: Call) -> None:
    claim = Claim(call.path["lease"], call.query.owner, call.query.held)
    _lease(call.team.content, claim).renew()


def release_lease(call: Call) -> None:
    claim = Claim(call.path["lease"], call.query.owner, call.query.held)
    lease = _lease(call.team.content, claim)
    if lease.expires_at:
        lease.release()


def usage(call: Call) -> Usage:
    return call.team.content.usage()


async def put_pack(call: Call) -> None:
    """Take a pack in: written to a file while it arrives, every block hashed, then moved to the bucket."""
    name = _pack_name(call)
    content = await anyio.to_thread.run_sync(lambda: call.team.content)
    folder = content.staging()
    most = call.state.options.largest_upload
    await anyio.to_thread.run_sync(lambda: folder.mkdir(parents=True, exist_ok=True))
    place = folder / f"{uuid.uuid4().hex}.upload"
    try:
        size = 0
        async with await anyio.open_file(place, "xb", buffering=0) as file:
            waiting = bytearray()
            async for part in call.request.stream():
                size += len(part)
                if size > most:
                    raise TooLargeError(f"a pack may have {most:,} bytes here, and this one has more")
                waiting += part
                if len(waiting) >= _PART:
                    await file.write(waiting)
                    waiting = bytearray()
            await file.write(waiting)
        await anyio.to_thread.run_sync(_keep, content, place, name)
    except OSError as error:
        raise storage_error(error, "an upload", str(folder)) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            place.unlink()
    call.state.counts.add("pack_bytes_received", size)


def _keep(content: ContentStore, place: Path, name: str) -> None:
    check_pack(content, place, name)
    content.bucket.put_file(object_name(name), place, move=True)


async def get_pack(call: Call) -> Response:
    """Send a pack, or the stretch of it that ``Range`` names."""
    name = object_name(_pack_name(call))
    bucket = await anyio.to_thread.run_sync(lambda: call.team.content.bucket)
    total = await anyio.to_thread.run_sync(_size, bucket, name)
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{_stem(name)}"', "Cache-Control": "private, immutable"}
    if call.request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(total)})
    start, end = _range(call.request.headers.get("range", ""), total)
    if start >= end and total:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{total}"})
    whole = (start, end) == (0, total)
    if not whole:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{total}"
    headers["Content-Length"] = str(end - start)
    return StreamingResponse(
        _parts(bucket, name, start, end),
        200 if whole else 206,
        headers,
        "application/octet-stream",
    )


async def _parts(bucket: Bucket, name: str, start: int, end: int) -> AsyncIterator[bytes]:
    step = 4 << 20
    while start < end:
        part = await anyio.to_thread.run_sync(bucket.read, name, start, min(step, end - start))
        if not part:
            raise IntegrityError(f"{name} ends early. Run on the server: art fsck")
        start += len(part)
        yield part


def _size(bucket: Bucket, name: str) -> int:
    try:
        return bucket.size(name)
    except NotFoundError:
        raise NotFoundError(f"there is no pack {_stem(name)} here") from None


def _range(text: str, total: int) -> tuple[int, int]:
    found = re.fullmatch(r"bytes=(\d{1,18})-(\d{0,18})", text)
    if found is None:
        return 0, total
    start = int(found[1])
    end = int(found[2]) + 1 if found[2] else total
    return start, min(end, total)


def _sealed(content: ContentStore, pack: NewPack) -> SealedPack:
    """Return a pack that lies in the bucket, with what its own index says."""
    if not _NAME.fullmatch(pack.name):
        raise UsageError(f"'{pack.name}' is no name of a pack")
    name = object_name(pack.name)
    try:
        size = content.bucket.size(name)
    except NotFoundError:
        raise UsageError(f"pack {pack.name} was never sent. Send it, then register it") from None
    trailer = decode_trailer(content.bucket.read(name, size - TRAILER_SIZE, TRAILER_SIZE), size, name)
    entries = content.bucket.read(name, trailer.position, size - TRAILER_SIZE - trailer.position)
    for _ in decode_entries(entries, trailer, name):
        pass
    now = content.clock()
    return SealedPack(pack.name, size, entries, time.monotonic(), 0.0 if pack.aged else now)


def _lease(content: ContentStore, claim: Claim) -> Lease:
    if not _LEASE.fullmatch(claim.lease):
        raise UsageError(f"'{claim.lease}' is no id of a lease")
    return Lease.again(content.catalog, claim.lease, claim.owner[:200], held=claim.held)


def _digests(data: bytes) -> list[bytes]:
    if len(data) % _DIGEST:
        raise UsageError(f"digests have {_DIGEST} bytes each, and {len(data):,} is no multiple of that")
    if len(data) > _MOST_DIGESTS * _DIGEST:
        raise UsageError(f"at most {_MOST_DIGESTS:,} digests are asked for at once")
    return [data[at : at + _DIGEST] for at in range(0, len(data), _DIGEST)]


def _pack_name(call: Call) -> str:
    name = call.path["pack"]
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' is no name of a pack")
    return name


def _stem(name: str) -> str:
    return os.path.basename(name).removesuffix(".pack")


_BASE = "/stores/{team}/content"
ROUTES = (
    Route("GET", _BASE, storehouse, "Tell how a team's content is kept.", answer=Storehouse),
    Route("GET", f"{_BASE}/usage", usage, "Tell how much there is.", answer=Usage),
    Route(
        "POST",
        f"{_BASE}/missing",
        missing,
        "Return which digests the store lacks; with a lease, keep the others.",
        query=Claim,
        body=bytes,
        answer=bytes,
    ),
    Route("POST", f"{_BASE}/locate", locate, "Return where chunks lie.", body=bytes, answer=Found),
    Route(
        "POST",
        f"{_BASE}/packs",
        register,
        "Make the chunks of packs that were sent part of the store.",
        Role.WRITE,
        query=Claim,
        body=list[NewPack],
    ),
    Route("PUT", f"{_BASE}/packs/{{pack}}", put_pack, "Send a pack.", Role.WRITE, streamed=True, body=bytes),
    Route("GET", f"{_BASE}/packs/{{pack}}", get_pack, "Read a pack.", streamed=True, answer=bytes),
    Route("PUT", f"{_BASE}/leases/{{lease}}", renew_lease, "Prolong a lease.", Role.WRITE, query=Claim),
    Route("DELETE", f"{_BASE}/leases/{{lease}}", release_lease, "End a lease.", Role.WRITE, query=Claim),
)
