"""Checksums that object stores keep of their content."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from artline.storage.digest import Buffer

__all__ = ["Checksum", "new_checksum", "plain_md5"]

_MD5 = re.compile(r"[0-9a-f]{32}")


class Checksum(Protocol):
    """A checksum in the making."""

    def update(self, data: Buffer, /) -> None:
        """Take in more of the content."""
        ...

    def hexdigest(self) -> str:
        """Return the checksum of what was taken in, in hexadecimal."""
        ...


class _Crc32c:
    def __init__(self) -> None:
        from importlib import import_module  # comes with the extra gs

        self._checksum = import_module("google_crc32c").Checksum()

    def update(self, data: Buffer, /) -> None:
        self._checksum.update(bytes(data))

    def hexdigest(self) -> str:
        return str(self._checksum.digest().hex())


def new_checksum(algorithm: str) -> Checksum | None:
    """Begin a checksum; None for an algorithm that cannot be computed here."""
    if algorithm == "md5":
        return hashlib.md5(usedforsecurity=False)
    if algorithm == "crc32c":
        try:
            return _Crc32c()
        except ImportError:
            return None
    return None


def plain_md5(etag: str) -> bool:
    """Tell whether an S3 ETag looks like the MD5 of a content that was put in one piece."""
    return _MD5.fullmatch(etag) is not None
