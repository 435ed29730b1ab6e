"""``Run``: what a training script holds in its hand."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from operator import index
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from artline.errors import UsageError
from artline.runs import current, endings, notices
from artline.runs.config import Config
from artline.runs.definitions import Definition
from artline.runs.elsewhere import RunPickling
from artline.runs.models import RunModels
from artline.runs.records import Config as ConfigRecord
from artline.runs.records import Console, Define, Finish, Update
from artline.runs.records import Summary as SummaryRecord
from artline.runs.run_alerts import RunAlerts
from artline.runs.run_artifacts import RunArtifacts
from artline.runs.run_names import RunNames
from artline.runs.saving import RunSaving
from artline.runs.sources import RunSources
from artline.runs.summary import Summary
from artline.runs.watch import RunWatch
from artline.settings import Settings

if TYPE_CHECKING:
    from artline.runs.recorder import Recorder
    from artline.runs.rows import RowQueue

__all__ = ["Companion", "Run", "check_tags"]

FINISH_TIMEOUT = 60.0  # seconds finish may take at the very most


class Companion:
    """Something that works beside a run in the background and is stopped, in order, when the run ends."""

    patience = 10.0  # seconds that it may take to stop

    def stop(self, timeout: float) -> None:
        """Stop within about ``timeout`` seconds. Idempotent; never raises."""

    def abandon(self) -> None:
        """In a forked child: forget the parent's work without touching what it shares with the parent."""


class Run(RunAlerts, RunArtifacts, RunModels, RunNames, RunPickling, RunSaving, RunSources, RunWatch):
    """One run in progress. Made by ``artline.init``; also a context manager that finishes it.

    All methods may be called from any thread. In a forked child the run only accepts and ignores what is
    logged, with one warning: the journal belongs to the process that called ``init``.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        run_id: str,
        info: Mapping[str, Any],
        config: Mapping[str, Any],
        files: Path,
        recorder: Recorder,
        resumed: bool = False,
        changeable: bool = False,
    ) -> None:
        self.settings = settings
        self._id = run_id
        self._info = dict(info)
        self._files = files
        self._recorder = recorder
        self._resumed = resumed
        self._started = time.time()
        self._clock = time.monotonic()
        self._state = "running"
        self._exit_code: int | None = None
        self._pid = os.getpid()
        self._warned_fork = False
        self._ending = threading.RLock()
        self._ending_thread = 0
        self._last: Finish | None = None
        self._companions: list[Companion] = []
        self._when_finished: list[Callable[[str], None]] = []
        self._queue = recorder.queue
        self.config = Config(dict(config), self._config_changed, changeable=changeable)
        self.summary = Summary(self._summary_values, self._summary_assigned)

    def __repr__(self) -> str:
        return f"<Run {self.path} ({self.name}, {self.state})>"

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state, code = endings.ending_of(kind, error)
        self.end(state, code)

    @property
    def label(self) -> str:
        """What this process is called among those that write the run; empty where it is the only one."""
        return self.settings.label

    @property
    def primary(self) -> bool:
        """Whether program, host and code of this process describe the run."""
        return self.settings.primary

    @property
    def id(self) -> str:
        """The run's id, unique in its project."""
        return self._id

    @property
    def entity(self) -> str:
        """Whose project this is."""
        return self.settings.entity

    @property
    def project(self) -> str:
        """The project the run belongs to."""
        return self.settings.project

    @property
    def path(self) -> str:
        """``entity/project/id``."""
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def dir(self) -> str:
        """The folder whose files are kept with the run."""
        return str(self._files)

    @property
    def name(self) -> str:
        """The run's readable name. May be set."""
        return str(self._info.get("name", ""))

    @name.setter
    def name(self, value: str) -> None:
        self._describe("name", str(value))

    @property
    def notes(self) -> str:
        """A longer description. May be set."""
        return str(self._info.get("notes") or "")

    @notes.setter
    def notes(self, value: str | None) -> None:
        self._describe("notes", str(value or ""))

    @property
    def tags(self) -> tuple[str, ...]:
        """The run's tags. May be set: ``run.tags += ("best",)``."""
        return tuple(self._info.get("tags", ()))

    @tags.setter
    def tags(self, value: Sequence[str]) -> None:
        self._describe("tags", list(check_tags(value)))

    @property
    def group(self) -> str:
        """The group the run belongs to, or an empty text."""
        return str(self._info.get("group") or "")

    @property
    def job_type(self) -> str:
        """The kind of work the run does, or an empty text."""
        return str(self._info.get("job_type") or "")

    @property
    def step(self) -> int:
        """The step that the next row gets."""
        return self._queue.step

    @property
    def state(self) -> str:
        """running, finished, failed or killed."""
        return self._state

    @property
    def exit_code(self) -> int | None:
        """The exit code the run ended with, None while it runs."""
        return self._exit_code

    @property
    def start_time(self) -> float:
        """When the run began, in seconds since the epoch."""
        return self._started

    @property
    def resumed(self) -> bool:
        """Whether this continues an earlier run."""
        return self._resumed

    @property
    def disabled(self) -> bool:
        """Whether nothing is recorded."""
        return False

    @property
    def url(self) -> str | None:
        """Where the run can be seen in a browser; None without a server."""
        if not self.settings.server:
            return None
        return f"{self.settings.server}/{self.entity}/{self.project}/runs/{self.id}"

    @property
    def program(self) -> str:
        """The script that runs, ``-m module``, or ``<python>``."""
        return str(self._info.get("program", ""))

    @property
    def queue(self) -> RowQueue:
        """Where rows wait to be recorded."""
        return self._queue

    @property
    def ending(self) -> bool:
        """Whether this thread is ending the run at this moment (a signal came in between)."""
        return self._ending_thread == threading.get_ident()

    @property
    def rows_logged(self) -> int:
        """Rows of history handed over so far."""
        return self._queue.rows

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Log a row: a dict of names to numbers, texts, booleans, None, lists or media; nested are dotted.

        Without ``step`` the row is complete and takes the next step. With ``step``, or ``commit=False``,
        values add to the row of that step, which is complete when another step begins. A step lower than
        the last is kept. Costs a few microseconds; never does I/O. Raises UsageError for what cannot be
        logged, naming the key, and when the run has ended.
        """
        self._queue.log(data, step, commit)

    def define_metric(
        self,
        name: str,
        step_metric: str | Definition | None = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | Sequence[str] | None = None,
        goal: str | None = None,
        overwrite: bool | None = None,
    ) -> Definition:
        """Say how a metric, or every metric that matches a glob, is charted and summarised, from now on.

        ``step_metric`` names the metric that serves as x axis; with ``step_sync`` (default when it is
        given) rows that lack it get its last value. ``summary``: min, max, mean, last, first, best, none,
        or several with commas, each under ``name.rule``, or ``copy`` for the last value under the name
        itself; ``goal`` (minimize, maximize) tells what best is. ``hidden`` keeps it out of charts. A
        further definition of the same name adds to the earlier, or replaces it with ``overwrite``. Returns
        what was defined, which serves as another's ``step_metric``. Raises UsageError.
        """
        definition = Definition.parse(name, step_metric, step_sync, hidden, summary, goal, overwrite)
        if self._writable("define_metric"):
            self._recorder.put(Define(definition.to_json()))
        return definition

    def finish(
        self, exit_code: int | None = None, quiet: bool | None = None, timeout: float | None = None
    ) -> None:
        """End the run, as failed with an ``exit_code`` other than 0. Idempotent.

        Everything is on disk when this returns. It returns after about ``timeout`` seconds (60) in any
        case, and says so where the disk did not take everything by then. With 0 it returns at once: the run
        ends in the background, and the program does not exit before. Raises UsageError for a timeout that is
        negative or no number.
        """
        code = _exit_code(exit_code)
        state = "failed" if code else "finished"
        patience = _patience(timeout)
        if patience == 0 and self._pid == os.getpid() and self._state == "running":
            ending = threading.Thread(
                target=self.end, args=(state, code, quiet), name="artline-ending", daemon=False
            )
            try:
                ending.start()
            except RuntimeError:  # the program is exiting already
                patience = FINISH_TIMEOUT
            else:
                current.leave(self)
                return
        self.end(state, code, quiet, patience)

    def mark_preempting(self) -> None:
        """Record, on disk before this returns, that the machine is about to be taken away."""
        if self._writable("mark_preempting"):
            self.update({"preempting": time.time()})
            self._recorder.flush()

    def end(
        self, state: str, exit_code: int, quiet: bool | None = None, timeout: float = FINISH_TIMEOUT
    ) -> None:
        """End the run as finished, failed or killed. Idempotent; in a forked child it does nothing."""
        if self._pid != os.getpid():
            return
        with self._ending:
            if self._state != "running":
                self._wait_for_the_rest()
                return
            self._state, self._exit_code = state, exit_code
            self._ending_thread = threading.get_ident()
            self._deadline = deadline = time.monotonic() + timeout
            impatience = self._stop_companions(deadline)
            runtime = time.monotonic() - self._clock
            self._last = Finish(state, exit_code, time.time(), runtime)  # type: ignore[arg-type]  # one of three
            self._queue.close(f"run {self.path} has ended ({state}); nothing can be logged to it any more")
            patience = max(min(1.0, timeout), deadline - time.monotonic()) if impatience is None else 5.0
            try:
                complete = self._recorder.finish(self._last, patience)
            except KeyboardInterrupt as error:
                impatience = error
                complete = self._recorder.finish(self._last, 5.0)
        current.leave(self)
        endings.forget(self)
        if not (self.settings.quiet if quiet is None else quiet):
            kept = "" if complete else ", not all of it could be written"
            notices.say(
                f"run {self.name} {state} after {_duration(runtime)}{kept}. "
                f"Look: art runs show {self.project}/{self.id}"
            )
        self._ending_thread = 0
        for action in self._when_finished:
            try:
                action(state)
            except Exception as error:  # noqa: BLE001  # the run is safe; nothing after it ends a program
                notices.warn(f"run {self.id}: after its end: {type(error).__name__}: {error}")
        if impatience is not None:
            raise impatience

    def _stop_companions(self, deadline: float) -> BaseException | None:
        """Stop what works beside the run; return the interruption (a second Ctrl-C) that cut this short."""
        impatience: BaseException | None = None
        for companion in self._companions:
            left = companion.patience if impatience is None else 1.0
            try:
                companion.stop(max(0.1, min(left, deadline - time.monotonic())))
            except BaseException as error:  # noqa: BLE001  # raised again once the run is safe
                impatience = error
        return impatience

    def _wait_for_the_rest(self) -> None:
        """Let the recorder come to its end although an earlier call was interrupted (a second Ctrl-C)."""
        if self._ending_thread == threading.get_ident() and self._last is not None:
            self._recorder.finish(self._last, FINISH_TIMEOUT)

    def attach(self, companion: Companion, first: bool = False) -> None:
        """Stop a background companion when the run ends, in the order of attaching, or before all others."""
        self._companions.insert(0 if first else len(self._companions), companion)

    def after_end(self, action: Callable[[str], None]) -> None:
        """Call ``action(state)`` once the run has ended."""
        self._when_finished.append(action)

    def update(self, values: Mapping[str, Any]) -> None:
        """Record descriptive fields (git, host, files …) that became known later."""
        self._info.update(values)
        self._recorder.put(Update(dict(values)))

    def capture_console(self, take: Callable[[], list[Console]]) -> None:
        """Record what ``take`` hands out, at every flush."""
        self._recorder.console_waiting = take

    def abandon(self) -> None:
        """In a forked child: never write to the parent's journal."""
        self._recorder.abandon()
        self._queue.ignore(self._warn_fork)
        for companion in self._companions:
            companion.abandon()

    def _warn_fork(self) -> None:
        if not self._warned_fork:
            self._warned_fork = True
            notices.warn(
                f"run {self.path} belongs to process {self._pid}; what its forked child {os.getpid()} logs "
                "is not recorded. Log in the parent, or call artline.init in the child"
            )

    def _writable(self, what: str) -> bool:
        """Tell whether records may be queued; in a forked child they are ignored. Raises UsageError."""
        if self._pid != os.getpid():
            self._warn_fork()
            return False
        if self._state != "running":
            raise UsageError(
                f"{what}: run {self.path} has ended ({self._state}). Begin a new one, or resume it"
            )
        return True

    def _require_open(self, what: str) -> None:
        if not self._writable(what):
            raise UsageError(
                f"{what}: run {self.path} belongs to process {self._pid}. Call it there, or call "
                "artline.init in this process"
            )

    def _describe(self, name: str, value: Any) -> None:
        if self._writable(name):
            self._info[name] = value
            self._recorder.put(Update({name: value}))

    def _config_changed(self, values: dict[str, Any], removed: list[str]) -> None:
        if self._writable("config"):
            self._recorder.put(ConfigRecord(values, removed))

    def _summary_values(self) -> dict[str, Any]:
        return self._recorder.values()

    def _summary_assigned(self, values: dict[str, Any], removed: list[str]) -> None:
        if self._writable("summary"):
            self._recorder.put(SummaryRecord(values, removed))


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return tags without repetition. Raises UsageError for anything but texts of 1 to 64 characters."""
    if isinstance(tags, str):
        tags = (tags,)
    for tag in tags:
        if not isinstance(tag, str) or not 1 <= len(tag) <= 64:
            raise UsageError(f"tag {tag!r}: use texts of 1 to 64 characters")
    return tuple(dict.fromkeys(tags))


def _exit_code(given: Any) -> int:
    """Return an exit code that a journal and every catalog can keep: 32 bits, and 1 for what is no number."""
    if given is None:
        return 0
    try:
        code = index(given)
    except TypeError:
        return int(bool(given))
    return code if -(2**31) <= code < 2**31 else 1


def _patience(given: Any) -> float:
    if given is None:
        return FINISH_TIMEOUT
    try:
        found = float(given)
    except (TypeError, ValueError):
        found = -1.0
    if not 0 <= found < float("inf"):
        raise UsageError(f"finish: timeout must be a number of seconds, at least 0, not {given!r}")
    return found


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
