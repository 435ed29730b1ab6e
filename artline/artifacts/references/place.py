"""Where referenced objects lie: one kind of place for each scheme."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from artline.artifacts.references.found import Found
from artline.errors import UsageError

if TYPE_CHECKING:
    from artline.artifacts.manifest import Reference

__all__ = ["BLOCK", "Place", "Reading", "place_of", "scheme_of"]

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Reading:
    """An object's bytes on their way, from ``start``, and the object as the server describes it meanwhile.

    ``bound``: every byte is of the object that ``found`` describes, whoever writes it at the same time.
    """

    found: Found
    start: int
    blocks: Iterator[bytes]
    close: Callable[[], object]
    bound: bool = False


class Place(Protocol):
    """Objects by address. What goes wrong is raised as the client library raises it; see ``faults``."""

    keeps_time: bool
    """Whether an object without a checksum is known by its modification time as well as by its size."""

    def find(self, uri: str) -> Iterator[tuple[str, Found]]:
        """Yield the object at an address with the path ``""``, or those below it with theirs."""
        ...

    def look(self, reference: Reference) -> Found:
        """Describe what a reference points to now: the version it names, the latest if that is gone."""
        ...

    def read(self, reference: Reference, offset: int) -> Reading:
        """Begin to read what a reference points to; ``start`` may be 0 where ranges are not served."""
        ...

    def open(self, reference: Reference, found: Found) -> BinaryIO:
        """Open what was found for reading, seekable."""
        ...


def scheme_of(uri: str) -> str:
    """Return the scheme of an address, ``file`` for a path."""
    head, separator, _ = uri.partition("://")
    return head.lower() if separator else "file"


def place_of(uri: str) -> Place:
    """Return the place of an address; raise UsageError for one that says a password."""
    scheme = scheme_of(uri)
    if scheme == "file" and "::" not in uri:
        from artline.artifacts.references.files import Files

        return Files()
    authority = uri.partition("://")[2].partition("/")[0]
    user, at, _ = authority.rpartition("@")
    if at and ":" in user:
        raise UsageError(
            f"an address at '{authority.rpartition('@')[2]}' says a password, which everybody who may read "
            "the artifact would learn. Leave it out, and keep it where the client looks (for http: ~/.netrc)"
        )
    if scheme in ("http", "https"):
        from artline.artifacts.references.web import Web

        return Web()
    if scheme in ("s3", "s3a"):
        from artline.artifacts.references.s3 import S3

        return S3()
    if scheme in ("gs", "gcs"):
        from artline.artifacts.references.google import Google

        return Google()
    if scheme in ("az", "abfs", "abfss"):
        from artline.artifacts.references.azure import Azure

        return Azure()
    from artline.artifacts.references.objects import Objects

    return Objects()
