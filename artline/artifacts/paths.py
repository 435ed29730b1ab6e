"""Rules for paths inside an artifact.

A path is relative, written with ``/``, in Unicode NFC or any other form, but never such that two paths of
one artifact would meet in a file system that folds case or normalises Unicode. What breaks a rule is
refused when it is added, again when a manifest is read, and again when files are written out.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence

from artline.errors import InvalidPathError

__all__ = [
    "IGNORED",
    "MAX_NAME_BYTES",
    "MAX_PATH_BYTES",
    "check_link_target",
    "check_path",
    "check_paths",
    "check_prefix",
    "check_spellings",
    "fold",
    "fold_letters",
    "is_folded",
    "parents",
    "path_argument",
]

MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")
# What HFS+ leaves out when it compares names, and Windows at the end of them.
IGNORED = "\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u206a\u206b\u206c\u206d\u206e\u206f\ufeff"
_IGNORED = re.compile(f"[{IGNORED}]")
_DROPPED = (".", " ")
_ENDS = ("./", " /", ".\0", " \0")
# What paths that are surely good do not have between slashes, or anywhere.
_SUSPECTS = ("//", "/./", "/../", "\\", ":")


def check_path(path: str) -> str:
    """Return ``path`` when it may name an entry; raise InvalidPathError saying which rule it breaks."""
    problem = _problem(path)
    if problem:
        raise InvalidPathError(f"path {path!r} {problem}")
    return path


def check_paths(paths: Sequence[str]) -> None:
    """Check many paths at once; as ``check_path``, but much cheaper for each of them."""
    joined = "/\n/".join(paths)
    text = f"/{joined}/"
    if (
        text.isascii()
        and text.count("\n") == len(paths) - 1
        and text.replace("\n", "").isprintable()
        and not any(suspect in text for suspect in _SUSPECTS)
        and max(map(len, paths), default=0) <= MAX_NAME_BYTES
    ):
        return
    for path in paths:
        check_path(path)


def check_prefix(prefix: str) -> str:
    """Return a folder or file prefix without its closing slash; the empty one selects everything."""
    prefix = prefix[:-1] if prefix.endswith("/") else prefix
    return check_path(prefix) if prefix else prefix


def path_argument(name: str | os.PathLike[str]) -> str:
    """Turn what a caller gave as a path inside an artifact into its plain form and check it.

    ``./a//b/`` becomes ``a/b``; ``..`` is refused, not resolved.
    """
    text = os.fspath(name)
    if not isinstance(text, str):
        raise InvalidPathError(f"path {text!r} is made of bytes. Pass text")
    if not text.startswith("/"):
        text = "/".join(part for part in text.split("/") if part not in ("", "."))
    return check_path(text)


def fold(path: str) -> str:
    """Return the form in which two paths are equal when some file system would mix them up.

    Case folding and canonical composition (Unicode NFC), as macOS and Windows file systems do it, without the
    zero-width characters that HFS+ ignores and the dots and spaces at the end of names that Windows drops.
    """
    if path.isascii():
        return _without_ends(path.lower())
    if _IGNORED.search(path):
        path = _IGNORED.sub("", path)
    return _without_ends(fold_letters(path))


def fold_letters(text: str) -> str:
    """Return text in one case and one composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def is_folded(text: str) -> bool:
    """Tell whether paths, each ended by NUL, surely fold to themselves."""
    return text.isascii() and text == text.lower() and not any(end in text for end in _ENDS)


def check_spellings(paths: Sequence[str]) -> None:
    """Raise InvalidPathError when two of different paths fold to the same."""
    if is_folded("\0".join([*paths, ""])):
        return
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(fold(path), path)
        if other != path:
            raise InvalidPathError(
                f"paths '{other}' and '{path}' of one manifest would be one on a file system that ignores "
                "case, normalises Unicode, or drops a dot or space at the end: it was not made by Artline"
            )


def _without_ends(path: str) -> str:
    if not any(end in path for end in _ENDS[:2]) and not path.endswith(_DROPPED):
        return path
    return "/".join(name.rstrip(". ") for name in path.split("/"))


def parents(paths: Iterable[str]) -> set[str]:
    """Return every folder above ``paths``."""
    direct = {path.rpartition("/")[0] for path in paths}
    result: set[str] = set()
    for folder in direct:
        while folder and folder not in result:
            result.add(folder)
            folder = folder.rpartition("/")[0]
    return result


def check_link_target(path: str, target: str) -> str:
    """Return ``target`` when the symbolic link ``path`` may point to it.

    A target is relative and climbs only at its beginning and no higher than the artifact's root, so that
    no chain of links leads out of it. Raises InvalidPathError.
    """
    climb, rest = _split_target(target)
    if not target or climb > path.count("/"):
        raise InvalidPathError(f"symbolic link '{path}' points out of the artifact, to {target!r}")
    if rest:
        problem = _problem(rest)
        if problem:
            raise InvalidPathError(f"target {target!r} of symbolic link '{path}' {problem}")
    return target


def _split_target(target: str) -> tuple[int, str]:
    climb = 0
    while target == ".." or target.startswith("../"):
        climb += 1
        target = target[3:]
    return climb, target


def _problem(path: str) -> str:
    """Return what is wrong with a path, as the end of a sentence; empty when nothing is."""
    if not path:
        return "is empty. Name a file inside the artifact"
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "is not UTF-8 on disk, so other systems could not restore it. Rename the file"
    if _DRIVE.match(path):
        return "is absolute on Windows, which takes a letter and a colon for a drive. Rename the file"
    if path.startswith("/"):
        return "is absolute. Use a path relative to the artifact's root"
    if "\\" in path:
        return "has a backslash, which some systems take for a separator. Use '/' or rename the file"
    if _CONTROL.search(path):
        return "has a control character (or NUL). Rename the file"
    parts = path.split("/")
    if ".." in parts:
        return "would leave the artifact ('..'). Use a path relative to the artifact's root"
    if "." in parts or "" in parts:
        return "is not in its shortest form ('.', '//' or a closing '/'). Normalise it"
    if len(encoded) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes. Shorten it"
    if max(len(part.encode()) for part in parts) > MAX_NAME_BYTES:
        return f"has a name longer than {MAX_NAME_BYTES} bytes. Shorten it"
    return ""
