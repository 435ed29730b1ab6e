"""Artifacts of a disabled run: the same face, nothing stored, nothing read, nothing raised."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from artline.artifacts.artifact import Artifact
from artline.artifacts.refs import MAX_NAME

__all__ = ["InertArtifact"]

_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_.-]+")


class InertArtifact(Artifact):
    """What a disabled run gives for an artifact: version ``v0``, without files and without a store.

    Adding has no effect, there is nothing to find, and what is downloaded is an empty folder (a temporary
    one of the run's unless another is named).
    """

    _place: tuple[str, str] = ("", "")
    _folder: Callable[[], str] | None = None

    @classmethod
    def of(cls, given: Any, type: Any, place: tuple[str, str], folder: Callable[[], str]) -> InertArtifact:
        """Return a draft as one of these, itself, or a new one named after a path or an artifact's name."""
        if isinstance(given, Artifact):
            given.__class__ = cls  # the caller's own variable is what is waited for later
            found = given
        else:
            name = os.path.basename(str(given).rstrip("/")).partition(":")[0]
            found = cls(_named(name), _named(str(type or "unknown")))
        assert isinstance(found, cls)
        found._place, found._folder = place, folder
        return found

    # What it is

    @property
    def is_draft(self) -> bool:
        """False."""
        return False

    @property
    def state(self) -> str:
        """``COMMITTED``."""
        return "COMMITTED"

    @property
    def version(self) -> str:
        """``v0``."""
        return "v0"

    @property
    def name(self) -> str:
        """The artifact's name and ``v0``."""
        return f"{self._collection}:v0"

    @property
    def entity(self) -> str:
        """The run's entity."""
        return self._place[0]

    @property
    def project(self) -> str:
        """The run's project."""
        return self._place[1]

    @property
    def qualified_name(self) -> str:
        """``entity/project/name:v0``."""
        return "/".join((*self._place, self.name))

    def __repr__(self) -> str:
        return f"<InertArtifact {self.qualified_name} type={self._type}>"

    @property
    def digest(self) -> str:
        """Empty."""
        return ""

    @property
    def size(self) -> int:
        """0."""
        return 0

    @property
    def file_count(self) -> int:
        """0."""
        return 0

    @property
    def created_at(self) -> str:
        """Now."""
        return datetime.now(UTC).isoformat(timespec="milliseconds")

    @property
    def updated_at(self) -> str:
        """Now."""
        return self.created_at

    @property
    def ttl(self) -> Any:
        """None."""
        return None

    @ttl.setter
    def ttl(self, value: Any) -> None:
        pass

    @property
    def history(self) -> list[Any]:
        """Empty."""
        return []

    @property
    def is_link(self) -> bool:
        """False."""
        return False

    @property
    def source_artifact(self) -> Artifact:
        """Itself."""
        return self

    # Putting it together

    def _nothing(self, *arguments: Any, **named: Any) -> Any:
        """Do nothing."""

    add_file = add_reference = add = add_stream = remove = delete = unlink = get = get_entry = _nothing
    compare = verify = diff = logged_by = _nothing

    def add_dir(self, *arguments: Any, **named: Any) -> int:
        """Do nothing."""
        return 0

    @contextmanager
    def new_file(
        self, name: str, mode: str = "w", encoding: str | None = None, *, overwrite: bool = False
    ) -> Iterator[IO[Any]]:
        """Take what is written, and forget it."""
        yield io.BytesIO() if "b" in mode else io.StringIO()

    def _itself(self, *arguments: Any, **named: Any) -> Any:
        """Return the same artifact."""
        return self

    save = wait = link = new_draft = _itself

    # Using it

    def files(self, prefix: str = "") -> Iterator[Any]:
        """Yield nothing."""
        return iter(())

    def __contains__(self, name: str) -> bool:
        return False

    def used_by(self) -> list[str]:
        """Return an empty list."""
        return []

    def open(self, name: Any) -> IO[bytes]:  # type: ignore[override]  # an empty stream, in memory
        """Return an empty stream."""
        return io.BytesIO()

    def download(self, root: Any = None, *arguments: Any, **named: Any) -> Path:
        """Return a folder, made if it is not there."""
        if root is None and self._folder is not None:
            root = os.path.join(self._folder(), "artifacts", self._collection)
        folder = Path(root or ".").absolute()
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    checkout = download

    def file(self, root: Any = None) -> Path:
        """Return where the file would be."""
        return self.download(root) / self._collection


def _named(text: str) -> str:
    return _UNNAMEABLE.sub("-", text).lstrip("-.")[:MAX_NAME] or "unnamed"
