"""References: entries whose bytes stay where they are, known by size, ETag, version, checksum or time."""

from artline.artifacts.references.download import fetch_reference, is_fetched, open_reference
from artline.artifacts.references.fetching import Fetching
from artline.artifacts.references.found import GoneError
from artline.artifacts.references.listing import MAX_OBJECTS, find_references

__all__ = [
    "MAX_OBJECTS",
    "Fetching",
    "GoneError",
    "fetch_reference",
    "find_references",
    "is_fetched",
    "open_reference",
]
