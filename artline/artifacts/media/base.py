"""What all media have in common: bytes, a place to keep them, and a record that says what they are."""

from __future__ import annotations

import io
import json
import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol, TypeVar, cast, runtime_checkable

from artline.errors import SourceNotFoundError, UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.manifest import Entry

__all__ = [
    "FOLDER",
    "ArtifactSink",
    "Content",
    "FileMedia",
    "Kept",
    "Media",
    "Sink",
    "Source",
    "read_source",
    "sink_of",
]

FOLDER = "media"
NOTE_SUFFIX = ".media.json"  # beside a file: what the file itself does not hold
IN_MEMORY = 16 << 20  # bytes up to which a file is read at once; larger ones are copied piece by piece

M = TypeVar("M", bound="Media")


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that is kept: its POSIX path, its digest (``blake3:…``) and its size in bytes."""

    path: str
    digest: str
    size: int


@runtime_checkable
class Sink(Protocol):
    """Where the files of media go, each under its digest: the same content is kept once."""

    def keep(self, content: Content, folder: str, suffix: str) -> Kept:
        """Keep content as ``media/<folder>/<digest><suffix>``; return where it is."""


class Source(Protocol):
    """Where the files of media come from: an artifact, or the files of a run."""

    def open(self, path: str, /) -> BinaryIO:
        """Open a file for reading."""


class Content:
    """Bytes that are at hand, that are still to be made, or that lie in a large file or an open one."""

    __slots__ = ("_data", "_file", "_make", "_path", "_stream", "held")

    def __init__(
        self,
        data: bytes | None = None,
        *,
        make: Callable[[], bytes] | None = None,
        held: int = 0,
        path: Path | None = None,
        stream: BinaryIO | None = None,
    ) -> None:
        self._data = data
        self._stream = stream
        self._make = make
        self._path = path
        self._file: BinaryIO | None = None
        self.held = len(data) if data is not None else held

    @property
    def is_large(self) -> bool:
        """Whether the bytes lie in a file and are best read piece by piece."""
        return self._path is not None or self._stream is not None

    def read(self) -> bytes:
        """Return the bytes, making them the first time."""
        if self._data is None:
            if self._make is None:
                with self.open() as stream:
                    return stream.read()
            self._data = self._make()
            self._make = None
            self.held = len(self._data)
        return self._data

    def open(self) -> BinaryIO:
        """Open the bytes for reading."""
        if self._file is not None:
            stream = os.fdopen(os.dup(self._file.fileno()), "rb")
            stream.seek(0)
            return stream
        if self._path is not None:
            return open(self._path, "rb")
        if self._stream is not None:
            self._stream.seek(0)
            return cast("BinaryIO", _Unclosed(self._stream))
        return io.BytesIO(self.read())

    def hold(self) -> None:
        """Open a large file now, so that it may be deleted or replaced before it is read."""
        if self._path is not None and self._file is None:
            try:
                self._file = open(self._path, "rb")  # noqa: SIM115 (closed by release)
            except OSError as error:
                raise SourceNotFoundError(
                    f"'{self._path}' cannot be opened any more: {error.strerror}. Log it before it goes"
                ) from None

    def release(self) -> None:
        """Close what ``hold`` opened."""
        if self._file is not None:
            self._file.close()
            self._file = None


class _Unclosed:
    """An open file that closing leaves open."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read = stream.read

    def __enter__(self) -> _Unclosed:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Media:
    """Something to look at or listen to, logged with a run or kept in an artifact or a table's cell."""

    kind: ClassVar[str]  # its name in tables
    record_type: ClassVar[str]  # its name in the history of a run
    list_type: ClassVar[str] = ""  # the name of several, where they have one

    caption: str = ""

    @property
    def held(self) -> int:
        """The bytes of memory that it takes."""
        return 0

    def hold(self) -> None:
        """Make sure that later changes of what it was made of do not change it."""

    def release(self) -> None:
        """Give back what ``hold`` took."""

    def to_record(self, sink: Sink) -> dict[str, Any]:
        """Keep its files and return what a history says of it."""
        raise NotImplementedError

    @classmethod
    def from_record(cls: type[M], record: Mapping[str, Any], source: Source) -> M:
        """Return what ``to_record`` described."""
        raise NotImplementedError

    @classmethod
    def join_records(cls, records: Sequence[dict[str, Any]]) -> Any:
        """Return what a history says of several."""
        return list(records)

    @classmethod
    def split_record(cls, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what ``join_records`` joined."""
        raise NotImplementedError


class FileMedia(Media):
    """Media that is one file, of one of several formats."""

    folder: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    shared_suffixes: ClassVar[tuple[str, ...]] = ()  # those that another kind has, too, and before this one
    items: ClassVar[str] = ""  # the name under which the record of several has them

    def __init__(self, content: Content, suffix: str, caption: str | None = None) -> None:
        self._content = content
        self._suffix = suffix
        self.caption = "" if caption is None else str(caption)

    def __repr__(self) -> str:
        size = f"{len(self.data)} bytes" + (f" {self.caption}" if self.caption else "")
        return f"<{type(self).__name__} {self.suffix[1:]} {size}>"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.data == self.data and other.suffix == self.suffix

    def __hash__(self) -> int:
        return hash(self.data)

    @property
    def data(self) -> bytes:
        """The bytes of the file."""
        return self._content.read()

    @property
    def suffix(self) -> str:
        """The end of the file's name, with the dot."""
        return self._suffix

    @property
    def held(self) -> int:
        """The bytes of memory that it takes."""
        return self._content.held

    def hold(self) -> None:
        """Make sure that later changes of what it was made of do not change it."""
        self._content.hold()

    def release(self) -> None:
        """Give back what ``hold`` took."""
        self._content.release()

    def open(self) -> BinaryIO:
        """Open the file for reading."""
        return self._content.open()

    def details(self) -> dict[str, Any]:
        """Return what a record says beyond path, digest, size and caption."""
        return {}

    def layers(self, sink: Sink) -> dict[str, Any]:
        """Keep what lies over the file in files of its own, and return what a record says of it."""
        return {}

    def to_record(self, sink: Sink) -> dict[str, Any]:
        """Keep the file and return what a history says of it."""
        kept = sink.keep(self._content, self.folder, self.suffix)
        record: dict[str, Any] = {
            "_type": self.record_type,
            "path": kept.path,
            "digest": kept.digest,
            "size": kept.size,
        }
        if self.caption:
            record["caption"] = self.caption
        return record | self.details() | self.layers(sink)

    @classmethod
    def from_record(cls: type[M], record: Mapping[str, Any], source: Source) -> M:
        """Return what ``to_record`` described."""
        media = cls.__new__(cls)
        path = str(record["path"])
        with source.open(path) as stream:
            content = Content(stream.read())
        assert isinstance(media, FileMedia)
        FileMedia.__init__(media, content, media.suffix_of(path), record.get("caption"))
        media.restore(record, source)
        return media

    def restore(self, record: Mapping[str, Any], source: Source) -> None:
        """Take up what ``details`` told."""

    @classmethod
    def suffix_of(cls, name: str) -> str:
        """Return the suffix of a file name, one that this kind has. Raises UsageError."""
        lower = name.lower()
        for suffix in sorted(cls.suffixes, key=len, reverse=True):
            if lower.endswith(suffix):
                return suffix
        raise UsageError(
            f"'{posixpath.basename(name)}' is no {cls.__name__}: its name does not end in one of "
            f"{', '.join(cls.suffixes)}"
        )

    @classmethod
    def join_records(cls, records: Sequence[dict[str, Any]]) -> Any:
        """Return what a history says of several."""
        captions = [record.get("caption", "") for record in records]
        joined: dict[str, Any] = {"_type": cls.list_type, "count": len(records), cls.items: list(records)}
        if any(captions):
            joined["captions"] = captions
        return joined

    @classmethod
    def split_record(cls, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what ``join_records`` joined."""
        return list(record[cls.items])

    def add_to_artifact(self, artifact: Artifact, name: str, *, overwrite: bool = False) -> Entry:
        """Store the file under ``name``, with the suffix of its format if it has none of them.

        What the file itself does not hold (a caption, boxes, masks) is in a small JSON file beside it.
        """
        path = name if name.lower().endswith(self.suffixes) else name + self.suffix
        with self.open() as stream:
            entry = artifact.add_stream(stream, path, overwrite=overwrite)
        more = self.layers(ArtifactSink(artifact, posixpath.dirname(path)))
        if self.caption:
            more["caption"] = self.caption
        if more or self.suffix in self.shared_suffixes:
            note = json.dumps({"_type": self.record_type, **more}).encode()
            artifact.add_stream(io.BytesIO(note), path + NOTE_SUFFIX, overwrite=overwrite)
        return entry

    @classmethod
    def from_artifact(cls: type[M], artifact: Artifact, name: str) -> M | None:
        """Return what is stored under ``name``, with or without its suffix; None without one."""
        assert issubclass(cls, FileMedia)
        for path in (name, *(name + suffix for suffix in cls.suffixes)):
            if not path.lower().endswith(cls.suffixes) or path not in artifact:
                continue
            record = {"_type": cls.record_type}
            if path + NOTE_SUFFIX in artifact:
                with artifact.open(path + NOTE_SUFFIX) as stream:
                    record = json.load(stream)
            if record.get("_type") == cls.record_type:
                return cls.from_record({**record, "path": path}, artifact)
        return None


class ArtifactSink:
    """Keeps the files of media in an artifact, in ``media`` below a folder of it."""

    def __init__(self, artifact: Artifact, folder: str) -> None:
        self._artifact = artifact
        self._folder = folder

    def keep(self, content: Content, folder: str, suffix: str) -> Kept:
        """Keep content under its digest, once."""
        hasher = self._artifact.algorithm.hasher()
        size = 0
        with content.open() as stream:
            while piece := stream.read(1 << 20):
                hasher.update(piece)
                size += len(piece)
        digest = hasher.digest().hex()
        path = posixpath.join(self._folder, FOLDER, folder, digest + suffix)
        if path not in self._artifact:
            with content.open() as stream:
                self._artifact.add_stream(stream, path)
        return Kept(path, f"{self._artifact.algorithm.value}:{digest}", size)


def sink_of(target: Artifact | Sink, folder: str) -> Sink:
    """Return where media beside a table go that is written to an artifact or to a sink."""
    return target if isinstance(target, Sink) else ArtifactSink(target, folder)


def read_source(source: str | os.PathLike[str] | Any, what: str) -> tuple[Content, str]:
    """Return the content of a file, given by path or open for reading, and its name ('' if it has none).

    Raises SourceNotFoundError, UsageError for anything else.
    """
    if hasattr(source, "read"):
        data, name = source.read(), getattr(source, "name", "")
        content = Content(data.encode() if isinstance(data, str) else bytes(data))
        return content, name if isinstance(name, str) else ""
    path = Path(source)
    try:
        if path.stat().st_size > IN_MEMORY:
            path.open("rb").close()
            return Content(path=path.absolute()), path.name
        return Content(path.read_bytes()), path.name
    except FileNotFoundError:
        raise SourceNotFoundError(f"{what} '{path}' does not exist. Check the path") from None
    except IsADirectoryError:
        raise UsageError(f"{what} '{path}' is a folder. Pass a file") from None
