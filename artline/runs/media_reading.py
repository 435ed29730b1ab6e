"""Media as they were logged, made anew from what a history says and the files of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from artline.artifacts.media import FILE_KINDS, Histogram, Media
from artline.artifacts.table import Table
from artline.errors import EntryNotFoundError
from artline.runs.media_files import MediaFiles

__all__ = ["read_media"]

_KINDS: tuple[type[Media], ...] = (*FILE_KINDS, Histogram, Table)
_ONE = {kind.record_type: kind for kind in _KINDS}
_SEVERAL = {kind.list_type: kind for kind in _KINDS if kind.list_type}


def read_media(
    rows: Sequence[Mapping[str, Any]], key: str, place: str, find: Callable[[str], IO[bytes]]
) -> Any:
    """Return the media of the last row that has some under a key.

    Raises EntryNotFoundError, naming ``place``, when none has; and what ``find`` raises.
    """
    files = MediaFiles(find, place)
    for row in reversed(rows):
        found = row.get(key)
        if isinstance(found, Mapping) and found.get("_type") in _ONE:
            return _ONE[found["_type"]].from_record(found, files)
        if isinstance(found, Mapping) and found.get("_type") in _SEVERAL:
            kind = _SEVERAL[found["_type"]]
            return [kind.from_record(record, files) for record in kind.split_record(found)]
        if isinstance(found, list) and found and all(map(_is_one, found)):
            return [_ONE[record["_type"]].from_record(record, files) for record in found]
    raise EntryNotFoundError(f"no media were logged as '{key}' in {place}. List its keys: run.metrics()")


def _is_one(record: Any) -> bool:
    return isinstance(record, Mapping) and record.get("_type") in _ONE
