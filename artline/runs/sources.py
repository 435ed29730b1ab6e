"""The code of a run as an artifact: which files of a folder are code, and ``log_code``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from artline.errors import SourceNotFoundError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.settings import Settings

__all__ = ["RunSources", "is_code", "walk_code"]

CODE = "code"
PATTERNS = ("*.py", "Dockerfile*", "requirements*", "pyproject.toml")
CACHES = frozenset({"__pycache__", "node_modules", "site-packages"})

Chooses = Callable[..., bool]


class RunSources:
    """The part of a run that logs code."""

    if TYPE_CHECKING:
        settings: Settings
        _files: Path

        @property
        def project(self) -> str: ...
        @property
        def program(self) -> str: ...
        def log_artifact(
            self,
            artifact_or_path: Artifact | str | os.PathLike[str],
            name: str | None = None,
            type: str | None = None,
            aliases: Sequence[str] | None = None,
            tags: Sequence[str] | None = None,
        ) -> Artifact: ...
        def _require_open(self, what: str) -> None: ...

    def log_code(
        self,
        root: str | os.PathLike[str] | None = ".",
        name: str | None = None,
        include_fn: Chooses | None = None,
        exclude_fn: Chooses | None = None,
    ) -> Artifact | None:
        """Commit the code below ``root`` as an artifact of type ``code``; return it, None without any.

        ``include_fn`` and ``exclude_fn`` are called with the path of each file, and with ``root`` where they
        take two arguments; by default Python files, requirements and Dockerfiles count. Hidden folders,
        virtual environments, caches and the store are left out. Without ``name`` it is called
        ``source-<project>-<program>``, so equal code makes no new version. Raises SourceNotFoundError and
        what the store raises.
        """
        self._require_open("log_code")
        top = Path("." if root is None else root).absolute()
        if not top.is_dir():
            raise SourceNotFoundError(f"log_code: {top} is no folder. Pass the folder that the code is in")
        includes = _of_path(include_fn or is_code, top)
        excludes = _of_path(exclude_fn, top) if exclude_fn is not None else None
        found = [
            path
            for path in walk_code(top, self.settings.root)
            if includes(str(path)) and not (excludes is not None and excludes(str(path)))
        ]
        if not found:
            return None
        from artline.artifacts.artifact import Artifact

        draft = Artifact(name or f"source-{self.project}-{_plain(self.program)}"[:128], type=CODE)
        for path in found:
            draft.add_file(str(path), name=path.relative_to(top).as_posix())
        return self.log_artifact(draft)


def is_code(path: str) -> bool:
    """Tell whether a file's name is that of code or of what code needs to run."""
    return any(fnmatch(os.path.basename(path), pattern) for pattern in PATTERNS)


def walk_code(top: Path, store: Path) -> Iterator[Path]:
    """Yield the regular files below a folder, in order, but for what is no code of anybody's here."""
    for parent, folders, names in os.walk(top):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in CACHES
            and not os.path.exists(os.path.join(parent, name, "pyvenv.cfg"))
            and not _same(os.path.join(parent, name), store)
        )
        yield from (place for name in sorted(names) if (place := Path(parent, name)).is_file())


def _of_path(function: Chooses, top: Path) -> Callable[[str], bool]:
    """Return a function of a path, whether ``function`` is one of a path or of a path and the root."""
    import inspect

    try:
        count = len(
            [
                parameter
                for parameter in inspect.signature(function).parameters.values()
                if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
                and parameter.default is parameter.empty
            ]
        )
    except (TypeError, ValueError):  # some builtins tell nothing of theirs
        count = 1
    return (lambda path: function(path, str(top))) if count > 1 else function


def _plain(program: str) -> str:
    """Return a program's name as part of an artifact's: letters, digits, dots and dashes."""
    text = re.sub(r"[^A-Za-z0-9_.]+", "-", os.path.basename(program.removeprefix("-m "))).strip("-.")
    return text or "session"


def _same(path: str, store: Path) -> bool:
    return os.path.abspath(path) == os.path.abspath(store)
