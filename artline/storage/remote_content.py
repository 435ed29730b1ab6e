"""The content store of an Artline server: the same writer and readers, with the index behind HTTP."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from artline.errors import NotFoundError, StoreUnavailableError, UsageError
from artline.storage.bucket import check_name
from artline.storage.cache import Cache
from artline.storage.connection import connect, team_path
from artline.storage.content import ContentStore, Usage
from artline.storage.index import Location
from artline.storage.lease import Lease
from artline.storage.pack import object_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection as SQLConnection

    from artline.settings import Settings
    from artline.storage.connection import Connection
    from artline.storage.digest import Buffer
    from artline.storage.index import SealedPack
    from artline.storage.writer import ContentWriter

__all__ = ["Found", "NewPack", "NoCatalog", "RemoteContent", "Storehouse", "open_remote"]

_SIZE = 32  # bytes of a digest, whatever the algorithm


@dataclass(frozen=True, slots=True)
class Storehouse:
    """What a server says of a team's content store; ``now`` is by its clock, in seconds since 1970."""

    team: str
    id: str
    digest: str
    chunker: dict[str, Any]
    now: float


@dataclass(frozen=True, slots=True)
class Found:
    """Where chunks lie: rows as ``Location``, the digest in hexadecimal, and the names of their packs."""

    locations: list[tuple[str, int, int, int, int, int, int]]
    packs: dict[str, str]


@dataclass(frozen=True, slots=True)
class NewPack:
    """A pack whose object is in the bucket and that wants its rows."""

    name: str
    aged: bool


_stores: dict[tuple[int, str, str, str, str, str], RemoteContent] = {}
_lock = threading.Lock()


def open_remote(settings: Settings) -> RemoteContent:
    """Return the content store of the settings' team on their server; one instance serves a process.

    Raises StoreUnavailableError, AuthError.
    """
    connection = connect(settings)
    cache = Cache(settings.cache_folder, settings.cache_size)
    key = (
        os.getpid(),
        settings.server,
        settings.entity,
        str(id(connection)),
        str(cache.folder),
        settings.cache_size,
    )
    with _lock:
        store = _stores.get(key)
        if store is None:
            house = connection.get(team_path(settings.entity, "content"), Storehouse)
            store = _stores[key] = RemoteContent(connection, house, Path(settings.root), cache)
    return store


class RemoteContent(ContentStore):
    """Chunks by digest on a server. Packs are made here and sent; what is read is verified here."""

    def __init__(self, connection: Connection, house: Storehouse, root: Path, cache: Cache) -> None:
        self.connection = connection
        self.team = house.team
        super().__init__(
            NoCatalog(connection.server),  # type: ignore[arg-type]  # it stands in for one, to say where it is
            PackBucket(connection, house.team),
            root,
            {"id": house.id, "digest": house.digest, "chunker": house.chunker},
            cache,
        )

    def writer(self, *, owner: str = "") -> ContentWriter:
        from artline.storage.writer import ContentWriter

        return ContentWriter(self, owner=owner)

    def lease(self, owner: str = "") -> RemoteLease:
        return RemoteLease(self, owner)

    def clock(self) -> float:
        house: Storehouse = self.connection.get(team_path(self.team, "content"), Storehouse)
        return house.now

    def missing(self, digests: Sequence[bytes], lease: Lease | None = None) -> set[bytes]:
        if not digests:
            return set()
        claim: dict[str, Any] = {}
        if lease is not None:
            claim = {"lease": lease.id, "owner": lease.owner, "held": bool(lease.expires_at)}
        told: bytes = self.connection.send(
            "POST",
            team_path(self.team, "content", "missing"),
            bytes,
            params=claim,
            data=b"".join(digests),
        )
        missing = {told[at : at + _SIZE] for at in range(0, len(told), _SIZE)}
        if lease is not None and len(missing) < len(set(digests)):
            lease.expires_at = lease.expires_at or 1.0  # what is not missing is held by it from now on
        return missing

    def register(self, lease: Lease, packs: Sequence[SealedPack]) -> None:
        now = self.clock()
        self.connection.send(
            "POST",
            team_path(self.team, "content", "packs"),
            params={"lease": lease.id, "owner": lease.owner, "held": bool(lease.expires_at)},
            body=[NewPack(pack.name, pack.aged(now)) for pack in packs],
        )
        lease.expires_at = lease.expires_at or 1.0

    def locate(self, digests: Sequence[bytes]) -> dict[bytes, Location]:
        found: Found = self.connection.send(
            "POST", team_path(self.team, "content", "locate"), Found, data=b"".join(digests)
        )
        self._pack_names.update({int(number): name for number, name in found.packs.items()})
        return {(digest := bytes.fromhex(row[0])): Location(digest, *row[1:]) for row in found.locations}

    def usage(self) -> Usage:
        usage: Usage = self.connection.get(team_path(self.team, "content", "usage"), Usage)
        return usage

    def staging(self) -> Path:
        return self.root / "tmp" / "packs"


class RemoteLease(Lease):
    """A lease that the server keeps. ``expires_at`` tells only whether it was claimed under."""

    def __init__(self, store: RemoteContent, owner: str = "") -> None:
        super().__init__(store.catalog, owner)
        self._store = store

    @contextlib.contextmanager
    def hold(self) -> Iterator[SQLConnection]:
        with self._store.catalog.write() as connection:
            yield connection

    def renew(self) -> None:
        self._act("PUT")
        self.expires_at = 1.0

    def release(self, connection: SQLConnection | None = None) -> None:
        if self.expires_at:
            self._act("DELETE")

    def _act(self, method: str) -> None:
        self._store.connection.send(
            method,
            team_path(self._store.team, "content", "leases", self.id),
            params={"owner": self.owner, "held": bool(self.expires_at)},
        )


class PackBucket:
    """The packs of a team on a server, as objects that are put and read and never changed."""

    def __init__(self, connection: Connection, team: str) -> None:
        self.url = f"{connection.server} ({team})"
        self._connection = connection
        self._team = team

    def put(self, name: str, data: Buffer) -> None:
        self._connection.send("PUT", self._path(name), data=bytes(data))

    def put_file(self, name: str, path: Path, *, move: bool = False) -> None:
        self._connection.send("PUT", self._path(name), data=lambda: path.open("rb"))
        if move:
            path.unlink()

    def create(self, name: str, data: Buffer) -> bool:
        raise _elsewhere(self.url)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        wanted = self.size(name) - start if length is None else length
        buffer = bytearray(max(0, wanted))
        return bytes(buffer[: self.read_into(name, start, memoryview(buffer))])

    def read_into(self, name: str, start: int, buffer: memoryview) -> int:
        import requests

        done = 0
        failures = 0
        while done < len(buffer):
            headers = {"Range": f"bytes={start + done}-{start + len(buffer) - 1}"}
            with self._connection.request(
                "GET", self._path(name), headers=headers, stream=True, accept=(416,)
            ) as answer:
                if answer.status_code == 416:
                    break
                before = done
                try:
                    for part in answer.iter_content(1 << 20):
                        if done + len(part) > len(buffer):
                            raise StoreUnavailableError(f"the server {self.url} sent more than was asked for")
                        buffer[done : done + len(part)] = part
                        done += len(part)
                except (requests.exceptions.RequestException, OSError) as error:
                    failures = 0 if done > before else failures + 1
                    if failures > 5:
                        raise StoreUnavailableError(
                            f"the connection to {self.url} breaks again and again: {error}. Try again later"
                        ) from error
                    continue
                if done == before:
                    break
                total = answer.headers.get("Content-Range", "").rpartition("/")[2]
                if total.isdecimal() and start + done >= int(total):
                    break
        return done

    def size(self, name: str) -> int:
        answer = self._connection.request("HEAD", self._path(name), accept=(404,))
        if answer.status_code == 404:
            raise NotFoundError(f"there is no object '{name}' in {self.url}")
        return int(answer.headers["Content-Length"])

    def exists(self, name: str) -> bool:
        try:
            self.size(name)
        except NotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        raise _elsewhere(self.url)

    def delete(self, name: str) -> None:
        """Do nothing: what no version needs the server's collector removes."""

    def sweep_staging(self) -> int:
        return 0

    def _path(self, name: str) -> str:
        stem = check_name(name).rpartition("/")[2].removesuffix(".pack")
        if object_name(stem) != name:
            raise _elsewhere(self.url)
        return team_path(self._team, "content", "packs", stem)


class NoCatalog:
    """What stands where a catalog would: using it tells where the catalog is."""

    read_only = False
    dialect = "remote"
    revision = ""

    def __init__(self, server: str) -> None:
        self.place = server

    def read(self) -> NoReturn:
        raise _elsewhere(self.place)

    write = scratch = read

    def check_writable(self) -> None:
        """Do nothing: the server says what may be written."""

    def close(self) -> None:
        """Do nothing."""


def _elsewhere(place: str) -> UsageError:
    return UsageError(
        f"this works on the store itself, and the store is on the server {place}. Run it there, without "
        "ART_SERVER"
    )
