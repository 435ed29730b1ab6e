"""Mirror what TensorBoard writers write: their event files are read as they grow, and logged to the run.

``patch`` notices the writers of ``torch.utils.tensorboard`` and tensorboardX when they are made. A thread
reads the new event files of their folders once a second, and at the end of the run what is left, after
the writers were flushed. Rows keep the step and the time of their events; the run's own steps go on as if
nothing had been logged.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artline.errors import ArtlineError, UsageError
from artline.runs import current, notices
from artline.runs.config import flatten
from artline.runs.imports import ImportNotice
from artline.runs.records import Config
from artline.runs.run import Companion
from artline.runs.values import JsonText

if TYPE_CHECKING:
    from artline.runs.run import Run
    from artline.runs.tensorboard_events import EventFile, Step

__all__ = ["Mirror", "patch", "unpatch"]

INTERVAL = 1.0  # seconds between two looks at the event files
LAST_WAIT = 5.0  # seconds that the end of a run waits for what writers were given
LARGEST = 1 << 62
PARTS = ("train", "training", "valid", "validation", "val", "eval", "evaluation", "test")

_WRITERS = {
    "tensorboard.summary.writer.event_file_writer": "pytorch",
    "tensorboardX.event_file_writer": "tensorboard_x",
}
_CLASS = "EventFileWriter"
_STAMP = re.compile(r"\d{9,}(\.\d+)?")

_mirrored: weakref.WeakKeyDictionary[Any, Mirror] = weakref.WeakKeyDictionary()
_mirrors: weakref.WeakKeyDictionary[Run, Mirror] = weakref.WeakKeyDictionary()
_patched: list[tuple[Any, str, Any]] = []
_imports: ImportNotice | None = None
_save = False


def patch(
    root_logdir: str | os.PathLike[str] | None = None,
    pytorch: bool | None = None,
    tensorboard_x: bool | None = None,
    save: bool = False,
) -> None:
    """Mirror to the run in progress what TensorBoard writers made from now on write.

    ``root_logdir`` is the folder that the writers' folders lie in: what lies deeper has its path as a prefix
    (``train/loss``). With it, all event files that come to lie there are read, whoever writes them; without
    it the first writer's folder is the root. ``pytorch`` and ``tensorboard_x`` False leave those writers
    alone. ``save`` keeps the event files with the run, too, as they are when it ends. Idempotent. Raises
    UsageError when ``root_logdir`` is given and no run is in progress.
    """
    global _imports, _save
    _save = save
    if root_logdir is not None:
        run = current.get_run()
        if run is None:
            raise UsageError("tensorboard.patch: no run is in progress. Call artline.init(project=…) first")
        if not run.disabled:
            mirror_of(run).add_root(Path(root_logdir).absolute())
            if save:
                _keep(run, Path(root_logdir).absolute(), "**/*tfevents*")
    wanted = {"pytorch": pytorch is not False, "tensorboard_x": tensorboard_x is not False}
    names = {name for name, kind in _WRITERS.items() if wanted[kind]}
    if _imports is not None:
        _imports.end()
    _imports = ImportNotice(dict.fromkeys(names, _notice))


def unpatch() -> None:
    """Notice no further writers; those noticed are mirrored until their run ends. Idempotent."""
    global _imports
    while _patched:
        kind, name, original = _patched.pop()
        setattr(kind, name, original)
    if _imports is not None:
        _imports.end()
        _imports = None


def _notice(module: Any) -> None:
    """Have the writers of a module tell the run in progress where they write."""
    kind = getattr(module, _CLASS, None)
    if not isinstance(kind, type) or any(kind is known for known, _, _ in _patched):
        return
    original: Callable[..., None] = kind.__init__  # type: ignore[misc]  # wrapped, and put back by unpatch
    add: Callable[..., None] = kind.add_event  # type: ignore[attr-defined]  # it is an EventFileWriter

    @functools.wraps(original)
    def begin(self: Any, logdir: Any, *arguments: Any, **named: Any) -> None:
        run = current.get_run()
        mirror = None if run is None or run.disabled else mirror_of(run)
        if run is not None and mirror is not None:
            folder = Path(os.fspath(logdir)).absolute()
            mirror.add_folder(folder, self)
            if _save:
                _keep(run, folder, "*tfevents*")
        original(self, logdir, *arguments, **named)
        if mirror is not None:
            _mirrored[self] = mirror

    @functools.wraps(add)
    def add_event(self: Any, *arguments: Any, **named: Any) -> None:
        add(self, *arguments, **named)
        mirror = _mirrored.get(self)
        if mirror is not None:
            mirror.expect(self)

    for name, known, wrapped in (("__init__", original, begin), ("add_event", add, add_event)):
        _patched.append((kind, name, known))
        setattr(kind, name, wrapped)


def _keep(run: Run, folder: Path, pattern: str) -> None:
    with contextlib.suppress(ArtlineError):  # it ends at this moment
        run.save(f"{folder}/{pattern}", base_path=folder.parent, policy="end")


def mirror_of(run: Run) -> Mirror:
    """Return the mirror of a run, made when first asked for."""
    found = _mirrors.get(run)
    if found is None:
        found = _mirrors[run] = Mirror(run)
        run.attach(found, first=True)
    return found


class _Folder:
    """A folder whose new event files are read."""

    def __init__(self, path: Path, deep: bool) -> None:
        self.path = path
        self.deep = deep
        self.old = frozenset(self.files())

    def files(self) -> Iterator[Path]:
        pattern = "**/*tfevents*" if self.deep else "*tfevents*"
        with contextlib.suppress(OSError):
            yield from self.path.glob(pattern)


class Mirror(Companion):
    """Reads the event files of one run's writers in a thread, and logs what they say."""

    def __init__(self, run: Run) -> None:
        self._run = weakref.ref(run)
        self._queue = run.queue
        self._folders: dict[tuple[Path, bool], _Folder] = {}
        self._roots: list[tuple[Path, str]] = []
        self._files: dict[Path, tuple[str, EventFile]] = {}
        self._writers: weakref.WeakKeyDictionary[Any, Path] = weakref.WeakKeyDictionary()
        self._expected: dict[Path, int] = {}
        self._said: set[str] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._until = float("inf")
        self._thread: threading.Thread | None = None

    def add_root(self, root: Path) -> None:
        """Read all event files that come to lie under a folder."""
        with self._lock:
            self._roots.insert(0, (root, ""))
            self._folders.setdefault((root, True), _Folder(root, deep=True))
        self._begin()

    def add_folder(self, folder: Path, writer: Any) -> None:
        """Read the event files that come to lie in a folder, which a writer is about to write to."""
        with self._lock:
            self._writers[writer] = folder
            self._expected[folder] = self._expected.get(folder, 0) + 1  # the version, which begins a file
            if self._prefix(folder) is None:
                named = folder.name if self._roots or folder.name.lower() in PARTS else ""
                self._roots.append((folder, named))
            covered = any(one.deep and folder.is_relative_to(one.path) for one in self._folders.values())
            if not covered:
                self._folders.setdefault((folder, False), _Folder(folder, deep=False))
        self._begin()

    def expect(self, writer: Any) -> None:
        """Know that an event was handed to a writer."""
        folder = self._writers.get(writer)
        if folder is not None:
            self._expected[folder] += 1

    def stop(self, timeout: float) -> None:
        """Log all that the writers were given, and end."""
        self._until = time.monotonic() + timeout
        self._ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                notices.warn(
                    "tensorboard: reading the event files takes too long; the run ends without the rest"
                )

    def abandon(self) -> None:
        """In a forked child: the parent reads on."""
        self._ending = True
        self._folders = {}
        self._lock = threading.Lock()

    def _begin(self) -> None:
        if self._thread is None and not self._ending:
            self._thread = threading.Thread(target=self._loop, name="artline-tensorboard", daemon=True)
            self._thread.start()

    def _loop(self) -> None:
        last = False
        while not last:
            last = self._wake.wait(INTERVAL)
            try:
                self._look()
                if last:
                    self._wait_for_writers()
            except Exception as error:  # noqa: BLE001  # whatever it is, the training goes on
                self._say("", f"tensorboard: {type(error).__name__}: {error}; some events are not mirrored")

    def _wait_for_writers(self) -> None:
        """Read until all that was handed to the writers is there; their threads may lag behind a flush."""
        patience = min(self._until, time.monotonic() + LAST_WAIT)
        while self._behind() and time.monotonic() < patience:
            time.sleep(0.02)
            self._look()

    def _behind(self) -> bool:
        """Tell whether writers were given more than their files held when they were last read."""
        read = dict.fromkeys(self._expected, 0)
        for path, (_, file) in list(self._files.items()):
            if path.parent in read:
                read[path.parent] += LARGEST if file.broken else file.frames
        return any(read[folder] < count for folder, count in list(self._expected.items()))

    def _look(self) -> None:
        """Have writers write what they were given, find new event files, log what is new in all of them."""
        if self._behind():
            for writer in list(self._writers):
                with contextlib.suppress(Exception):  # a closed writer may refuse
                    writer.flush()
        with self._lock:
            for folder in self._folders.values():
                for path in folder.files():
                    if path not in self._files and path not in folder.old:
                        from artline.runs.tensorboard_events import EventFile

                        self._files[path] = (self._prefix(path.parent) or "", EventFile(path))
        for prefix, file in list(self._files.values()):
            with contextlib.suppress(OSError):
                self._read(prefix, file)
            if file.broken:
                self._say(file.broken, f"tensorboard: {file.broken}; the rest is not mirrored")

    def _read(self, prefix: str, file: EventFile) -> None:
        row: dict[str, Any] = {}
        step, at = 0, 0.0
        for event in file.read():
            values = self._values(prefix, event)
            if row and (event.step != step or row.keys() & values.keys()):
                self._log(row, step, at)
                row = {}
            step, at = event.step, event.time
            row.update(values)
            if event.config:
                self._configure(event.config)
            for tag, kind in event.skipped.items():
                self._say(kind, f"tensorboard: '{tag}' is of the kind {kind}, which is not mirrored")
            if time.monotonic() > self._until:
                break
        if row:
            self._log(row, step, at)

    def _log(self, row: dict[str, Any], step: int, at: float) -> None:
        while self._queue.crowded and time.monotonic() < self._until:
            self._queue.wake()
            time.sleep(0.01)
        try:
            self._queue.log_at(row, step, at)
        except ArtlineError as error:
            self._say(str(error), f"tensorboard: {error}")

    def _values(self, prefix: str, event: Step) -> dict[str, Any]:
        from artline.runs.tensorboard_events import Spread

        found: dict[str, Any] = {}
        for tag, value in event.values.items():
            if isinstance(value, Spread):
                record = {"_type": "histogram", "values": value.counts, "bins": value.edges}
                value = JsonText(json.dumps(record, separators=(",", ":")))
            elif isinstance(value, bytes) or (isinstance(value, list) and isinstance(value[0], bytes)):
                value = _images(value)
            found[f"{prefix}/{tag}" if prefix else tag] = value
        return found

    def _configure(self, values: dict[str, Any]) -> None:
        run = self._run()
        if run is not None:
            try:
                if run.state == "running":
                    run.config.update(values, allow_val_change=True)
                else:
                    self._queue.put(Config(flatten(values)))
            except ArtlineError as error:
                self._say(str(error), f"tensorboard: {error}")

    def _prefix(self, folder: Path) -> str | None:
        """Return what the tags of a folder's files begin with; None where no root is known for it."""
        for root, named in self._roots:
            if folder.is_relative_to(root):
                parts = [part for part in folder.relative_to(root).parts if not _STAMP.fullmatch(part)]
                return "/".join(([named] if named else []) + parts)
        return None

    def _say(self, what: str, line: str) -> None:
        if what not in self._said:
            self._said.add(what)
            notices.warn(line)


def _images(value: Any) -> Any:
    from artline.artifacts.media import Image

    return [Image(item) for item in value] if isinstance(value, list) else Image(value)
