"""A run as ``Api`` shows it: read, edited and saved, without being in it."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from artline.errors import ConflictError, EntryNotFoundError, RunNotFoundError, UsageError
from artline.runs.config import nest
from artline.runs.frames import FORMATS, Columns
from artline.runs.history import STEP, thin_records
from artline.runs.records import HISTORY, SYSTEM
from artline.runs.store import RunStore

if TYPE_CHECKING:
    import os

    from artline.artifacts.artifact import Artifact
    from artline.runs.alerts import RunAlert
    from artline.runs.charts import Curve
    from artline.runs.files import RunFile
    from artline.runs.listing import RunRecord
    from artline.runs.writers import RunWriter

__all__ = ["ApiFile", "ApiRun", "Document"]

_STREAMS = {
    "default": HISTORY,
    "history": HISTORY,
    "system": SYSTEM,
    "systemMetrics": SYSTEM,
    "events": SYSTEM,
}


class Document(dict[str, Any]):
    """Nested values that are read by dotted path as well: ``document["acc.max"]``."""

    def __missing__(self, key: str) -> Any:
        place: Any = self
        for part in key.split("."):
            if not isinstance(place, dict) or not dict.__contains__(place, part):
                raise KeyError(key)
            place = dict.__getitem__(place, part)
        return place

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value at a key or dotted path, ``default`` when there is none."""
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key: object) -> bool:
        if dict.__contains__(self, key):
            return True
        try:
            self.__missing__(str(key))
        except KeyError:
            return False
        return True


class ApiFile:
    """A file of a run."""

    def __init__(self, store: RunStore, file: RunFile) -> None:
        self._store = store
        self._file = file
        self.name = file.name
        self.size = file.size
        self.policy = file.policy
        self.updated_at = _iso(file.modified)

    def __repr__(self) -> str:
        return f"<ApiFile {self.name} ({self.size:,} bytes)>"

    @property
    def path_local(self) -> Path:
        """Where the file lies on this machine, or lay when the run wrote it."""
        return self._file.path

    def open(self) -> IO[bytes]:
        """Open the file for reading bytes."""
        return self._store.open_file(self._file)

    def download(
        self, root: str | os.PathLike[str] = ".", replace: bool = False, exist_ok: bool = False
    ) -> Path:
        """Copy the file under ``root``, keeping its name; return where it is.

        Raises ConflictError when it is there already, unless it may be replaced or kept (``exist_ok``).
        """
        target = Path(root) / self.name
        if target.exists() and not replace:
            if exist_ok:
                return target
            raise ConflictError(f"{target} is there already. Pass replace=True or another root")
        self._store.copy_file(self._file, target)
        return target


class ApiRun:
    """A run of the store, as it was when it was looked up; ``load`` looks again.

    ``name``, ``notes``, ``tags``, ``group``, ``job_type``, ``config`` and ``summary`` may be changed and
    are written by ``update``. ``config`` and ``summary`` are nested dicts that dotted paths reach into.
    Times are ISO 8601 in UTC, durations seconds.
    """

    def __init__(self, store: RunStore, record: RunRecord, refresh: Callable[[], None]) -> None:
        self._store = store
        self._refresh = refresh
        self._become(record)

    def __repr__(self) -> str:
        return f"<ApiRun {self.path} ({self.state})>"

    def _become(self, record: RunRecord) -> None:
        self.record = record
        self.id = record.run_id
        self.entity = record.entity
        self.project = record.project
        self.state = record.state
        self.name = record.name
        self.notes = record.notes
        self.group = record.group
        self.job_type = record.job_type
        self.tags: list[str] = list(record.tags)
        self.config = Document(nest(record.config))
        self.summary = Document(nest(record.summary))
        self.metadata: dict[str, Any] = dict(record.info)
        self._before = self._editable()

    def _editable(self) -> dict[str, Any]:
        names = ("name", "notes", "group", "job_type", "tags", "config", "summary")
        return {name: deepcopy(getattr(self, name)) for name in names}

    @property
    def path(self) -> str:
        """``entity/project/run_id``."""
        return self.record.path

    @property
    def display_name(self) -> str:
        """The name, as wandb calls it."""
        return self.name

    @property
    def created_at(self) -> str:
        """When its first attempt started."""
        return _iso(self.record.created_at)

    @property
    def started_at(self) -> str:
        """When its latest attempt started."""
        return _iso(self.record.started_at)

    @property
    def ended_at(self) -> str | None:
        """When it ended; None while it runs."""
        return None if self.record.ended_at is None else _iso(self.record.ended_at)

    @property
    def heartbeat_at(self) -> str:
        """When it last gave a sign of life."""
        return _iso(self.record.heartbeat_at)

    @property
    def runtime(self) -> float:
        """How long its latest attempt ran, in seconds."""
        return self.record.runtime

    @property
    def exit_code(self) -> int | None:
        """The exit status of its process; None while it runs or when it crashed."""
        return self.record.exit_code

    @property
    def forked_from(self) -> dict[str, Any] | None:
        """The run it was forked from, as ``run`` (its path) and ``step``; None where it was not."""
        found = self.metadata.get("forked_from")
        return None if found is None else {"run": found["run"], "step": found["step"]}

    @property
    def preempting(self) -> bool:
        """Whether its latest attempt was marked as about to be preempted."""
        return bool(self.metadata.get("preempting"))

    @property
    def last_step(self) -> int:
        """The highest step logged, -1 before any."""
        return -1 if self.record.last_step is None else self.record.last_step

    @property
    def summary_metrics(self) -> Document:
        """The summary, as wandb calls it."""
        return self.summary

    def load(self) -> ApiRun:
        """Look again: take in what was logged since and drop unsaved edits. Raises RunNotFoundError."""
        self._refresh()
        self._become(self._store.get(self.project, self.id, entity=self.entity))
        return self

    # Reading

    def metrics(self, stream: str = "default") -> list[str]:
        """Return the keys of its history."""
        return [metric.key for metric in self._store.metrics(self.record, _stream(stream))]

    def history(
        self,
        samples: int | None = None,
        keys: Iterable[str] | None = None,
        x_axis: str = STEP,
        pandas: bool | None = None,
        stream: str = "default",
        format: str = "rows",
    ) -> Any:
        """Return the history: exactly, or at most ``samples`` rows that keep every key's extremes.

        A list of dicts with ``_step``, ``_timestamp``, ``_runtime`` and the keys logged at that step,
        sorted by ``x_axis``. ``keys`` reads only these. ``format`` is ``rows``, ``pandas``, ``polars`` or
        ``arrow``; ``pandas=True`` is the same as the second. However long the history is, ``samples`` reads
        a part of it only. Raises MissingExtraError for a format that is not installed.
        """
        self._refresh()
        shown = "pandas" if pandas else format
        if shown not in FORMATS:
            raise UsageError(f"unknown format '{format}'. Known: {', '.join(FORMATS)}")
        wanted = _names(keys)
        if wanted is not None and not x_axis.startswith("_") and x_axis not in wanted:
            wanted.append(x_axis)
        place = _stream(stream)
        if shown != "rows" and x_axis == STEP and samples is None:
            return Columns.gather(self._store.scan_columns(self.record, wanted, stream=place)).shown(shown)
        records = None
        if samples is not None:
            records = self._store.samples(self.record, samples, wanted, stream=place, x_axis=x_axis)
        if records is None:
            records = self._store.history(self.record, wanted, stream=place)
            if x_axis != STEP:
                records = sorted((r for r in records if x_axis in r), key=lambda r: r[x_axis])
            if samples is not None:
                records = thin_records(records, samples)
        return records if shown == "rows" else Columns.gather([records]).shown(shown)

    def chart(
        self,
        keys: Iterable[str] | str,
        x_axis: str = STEP,
        buckets: int = 1000,
        low: float | None = None,
        high: float | None = None,
        stream: str = "default",
    ) -> dict[str, Curve]:
        """Return metrics as charts draw them: each in at most ``buckets`` buckets from ``low`` to ``high``.

        A bucket tells its first, smallest, largest, last and mean value, so no spike is lost; it takes
        milliseconds however long the run is. ``x_axis`` is ``_step``, ``_timestamp``, ``_runtime`` or a
        metric that was logged together with the keys. Raises UsageError.
        """
        self._refresh()
        found = self._store.curves(
            self.record,
            _names(keys) or [],
            x_axis=x_axis,
            buckets=buckets,
            low=low,
            high=high,
            stream=_stream(stream),
        )
        return {curve.key: curve for curve in found}

    def scan_history(
        self,
        keys: Iterable[str] | None = None,
        page_size: int = 1000,
        min_step: int | None = None,
        max_step: int | None = None,
        stream: str = "default",
    ) -> Iterator[dict[str, Any]]:
        """Yield the exact records in bounded memory; ``max_step`` is not included."""
        self._refresh()
        return self._store.scan_history(
            self.record,
            _names(keys),
            stream=_stream(stream),
            page_size=page_size,
            min_step=min_step,
            max_step=None if max_step is None else max_step - 1,
        )

    def logs(
        self, tail: int | None = None, stream: str | None = None, label: str | None = None
    ) -> Iterator[str]:
        """Yield the console output line by line, without line ends, otherwise as it was written.

        ``tail`` gives the last lines only, ``stream`` is ``stdout`` or ``stderr``, ``label`` names one of
        the processes of a shared run. Raises NotFoundError when there is none of that label.
        """
        self._refresh()
        lines = self._lines(stream, tail if label is None else None, label)
        yield from lines if tail is None else deque(lines, max(0, tail))

    def _lines(self, stream: str | None, tail: int | None, label: str | None) -> Iterator[str]:
        rest: dict[int, bytes] = {}  # of each process the line that it has not ended
        for piece in self._store.console(self.record, stream=stream, lines=tail, label=label):
            *lines, last = (rest.pop(piece.writer, b"") + piece.data).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "replace")
            if last:
                rest[piece.writer] = last
        for last in rest.values():
            yield last.decode("utf-8", "replace")

    def writers(self) -> list[RunWriter]:
        """Return the processes that wrote it, each with its label, host, state and times."""
        self._refresh()
        return self._store.writers(self.record)

    def alerts(self) -> list[RunAlert]:
        """Return the alerts that it sent, oldest first."""
        self._refresh()
        return self._store.alerts(self.record)

    def system_metrics(self, label: str | None = None) -> list[dict[str, Any]]:
        """Return the system metrics: of every process, or of one of a shared run, by their plain names."""
        self._refresh()
        if label is None:
            return self._store.system(self.record)
        end = f"/l:{label}"
        keys = [metric.key for metric in self._store.metrics(self.record, SYSTEM)]
        rows = self._store.system(self.record, [key for key in keys if key.endswith(end)])
        return [{key.removesuffix(end): value for key, value in row.items()} for row in rows]

    def files(self, names: Iterable[str] | None = None) -> list[ApiFile]:
        """Return the files kept with the run, or those of them that are named."""
        self._refresh()
        wanted = None if names is None else set(names)
        return [
            ApiFile(self._store, file)
            for file in self._store.files(self.record)
            if wanted is None or file.name in wanted
        ]

    def file(self, name: str) -> ApiFile:
        """Return one file. Raises EntryNotFoundError."""
        for found in self.files([name]):
            return found
        raise EntryNotFoundError(f"run '{self.id}' has no file '{name}'. List them: art files {self.id}")

    def media(self, key: str, step: int | None = None) -> Any:
        """Return the media logged under a key, at a step or last: an Image, a Table, …, or a list of them.

        Raises EntryNotFoundError when there are none, or their file is not there any more; IntegrityError
        when its content is not what was logged.
        """
        from artline.runs.media_reading import read_media

        self._refresh()
        rows = self._store.history(self.record, [key], min_step=step, max_step=step)
        place = f"run '{self.id}'" + ("" if step is None else f" at step {step}")
        files: dict[str, ApiFile] = {}

        def find(path: str) -> IO[bytes]:
            if not files:  # all at once: a list may be of thousands
                for run in self._lineage():
                    files.update((file.name, file) for file in run.files())
            return files[path].open() if path in files else self.file(path).open()

        return read_media(rows, key, place, find)

    def _lineage(self) -> Iterator[ApiRun]:
        """Yield the runs whose history this one goes on from, and itself."""
        origin = self.forked_from
        if origin is not None:
            entity, project, run_id = str(origin["run"]).split("/")
            with contextlib.suppress(RunNotFoundError):
                record = self._store.get(project, run_id, entity=entity, deleted=True)
                yield from ApiRun(self._store, record, self._refresh)._lineage()
        yield self

    def upload_file(self, path: str | os.PathLike[str], root: str | os.PathLike[str] = ".") -> ApiFile:
        """Keep a file with the run, named by its path below ``root``; replaces one of that name. Return it.

        Raises SourceNotFoundError, UsageError when it is not below ``root``.
        """
        return ApiFile(self._store, self._store.add_file(self.record, Path(path), Path(root)))

    def logged_artifacts(self) -> list[Artifact]:
        """Return the artifact versions it logged, oldest first."""
        return self._store.artifacts.run_artifacts(self.path, "output")

    def used_artifacts(self) -> list[Artifact]:
        """Return the artifact versions it used, oldest first."""
        return self._store.artifacts.run_artifacts(self.path, "input")

    # Editing

    def update(self) -> None:
        """Write the edits of this object; what was not edited stays as it is in the store. Idempotent."""
        now = self._editable()
        changed: dict[str, Any] = {
            name: value
            for name, value in now.items()
            if name not in ("config", "summary") and value != self._before[name]
        }
        for name in ("config", "summary"):
            before = self._before[name]
            edits = {
                key: value
                for key, value in now[name].items()
                if not dict.__contains__(before, key) or not _same(before[key], value)
            }
            if edits:
                changed[name] = edits
        if changed:
            self._become(self._store.update(self.project, self.id, entity=self.entity, **changed))

    save = update

    def delete(self) -> None:
        """Delete the run. ``undelete`` brings it back; artifacts it logged stay."""
        self._store.delete(self.project, self.id, entity=self.entity)

    def undelete(self) -> None:
        """Bring the run back after ``delete``."""
        self._store.undelete(self.project, self.id, entity=self.entity)


def _stream(name: str) -> str:
    if name not in _STREAMS:
        raise UsageError(f"unknown stream '{name}'. Known: default, system")
    return _STREAMS[name]


def _names(keys: Iterable[str] | None) -> list[str] | None:
    return [keys] if isinstance(keys, str) else None if keys is None else list(keys)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other) or (one != one and other != other)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
