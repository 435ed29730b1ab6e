"""What lies at an address, and whether it is still what a reference was made to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from artline.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from artline.artifacts.manifest import Entry, Reference

__all__ = ["Found", "GoneError", "changed", "check_found", "gone", "reference_of"]


class GoneError(IntegrityError):
    """What a reference points to is not there."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object as its server describes it; what the server does not tell is left empty.

    ``size`` is bytes, None where the server does not say. ``checksum`` is ``md5:<hex>`` or
    ``crc32c:<hex>`` over the content; ``mtime_ns`` nanoseconds since 1970. ``ranges`` says that the server
    serves parts of it.
    """

    uri: str
    size: int | None
    etag: str = ""
    version: str = ""
    checksum: str = ""
    mtime_ns: int = 0
    ranges: bool = False


def check_found(entry: Entry, found: Found) -> None:
    """Raise IntegrityError, naming both sides, unless what was found is what the entry was made to.

    A checksum on both sides decides, since it is of the content; else the ETag does, else the version. An
    object that was written again with the same content, under another version, is therefore right.
    """
    reference = reference_of(entry)
    if found.size is not None and found.size != entry.size:
        raise changed(entry, "size", f"{entry.size} bytes", f"{found.size} bytes")
    algorithm = reference.checksum.partition(":")[0]
    if algorithm and found.checksum.partition(":")[0] == algorithm:
        if found.checksum != reference.checksum:
            raise changed(entry, "checksum", reference.checksum, found.checksum)
    elif reference.etag:
        if found.etag != reference.etag:
            raise changed(entry, "ETag", reference.etag, found.etag)
    elif reference.version and found.version != reference.version:
        raise changed(entry, "version", reference.version, found.version)
    if reference.mtime_ns and found.mtime_ns != reference.mtime_ns:
        raise changed(entry, "modification time", _time(reference.mtime_ns), _time(found.mtime_ns))


def changed(entry: Entry, what: str, recorded: str, found: str) -> IntegrityError:
    """Return the error for a target that is not what it was."""
    return IntegrityError(
        f"'{reference_of(entry).uri}', which entry '{entry.path}' refers to, has changed: its {what} differs "
        f"(recorded {recorded or 'none'}, found {found or 'none'}). Restore it, or log a new version that "
        "refers to what is there now"
    )


def gone(entry: Entry) -> GoneError:
    """Return the error for a target that is not there."""
    reference = reference_of(entry)
    known = [f"{entry.size} bytes"]
    known += [
        f"{name} {value}"
        for name, value in (("ETag", reference.etag), ("version", reference.version))
        if value
    ]
    return GoneError(
        f"'{reference.uri}', which entry '{entry.path}' refers to, is gone (recorded {', '.join(known)}, "
        "found nothing). Put it back, or pass allow_missing_references=True to do without"
    )


def reference_of(entry: Entry) -> Reference:
    """Return the reference of an entry; raise UsageError when it is none."""
    if entry.reference is None:
        raise UsageError(f"entry '{entry.path}' is not a reference")
    return entry.reference


def _time(nanoseconds: int) -> str:
    if not nanoseconds:
        return ""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="milliseconds")
