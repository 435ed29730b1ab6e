"""The caller's half of ``run.log``: check a row, give it its step, queue it. No I/O, no waiting.

A row of plain Python scalars whose keys and types were seen before costs one dictionary look-up and one
append; everything else takes the slower way through ``artline.runs.values``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from artline.errors import UsageError
from artline.runs import notices
from artline.runs.late import Late, Place
from artline.runs.records import HISTORY, Record, Stream
from artline.runs.values import LONGEST_TEXT, JsonText, flatten_row

__all__ = ["Item", "Plan", "RowQueue"]

WAKE_CELLS = 256 * 1024  # queued values that wake the recorder before its interval ends
MOST_CELLS = 2 * 1024 * 1024  # queued values beyond which callers wait, then drop
LONGEST_WAIT = 2.0  # seconds a caller waits for room, at most, per outage
RECORD_CELLS = 64  # what any other record counts as
KNOWN_CELLS = 200_000  # keys of all remembered plans together

_LETTERS: dict[type, str] = {float: "d", int: "q", bool: "?", str: "j", type(None): "j", JsonText: "j"}


class Plan:
    """Rows of one key set with one type each: what the recorder needs to encode them together."""

    __slots__ = ("apart", "cells", "keys", "late", "stream", "texts", "types")

    def __init__(self, keys: tuple[str, ...], kinds: tuple[type, ...], stream: Stream = HISTORY) -> None:
        self.keys = keys
        self.types = "".join(_LETTERS.get(kind, "j") for kind in kinds)
        self.stream = stream
        self.late = tuple(n for n, kind in enumerate(kinds) if issubclass(kind, Late))
        self.texts = tuple(n for n, letter in enumerate(self.types) if letter == "j" and n not in self.late)
        self.apart = False  # rows that follow theirs, and get no step metrics of their own
        self.cells = len(keys) + 4


Item = tuple[Plan | None, Any, float, Any]
"""A row (plan, step, time, values), or another record (None, record, 0.0, None)."""


class RowQueue:
    """Rows and records in the order they were handed over, for the recorder to take.

    Thread-safe, and safe to interrupt by a signal handler that logs: the only lock is reentrant, and
    ``take`` does not use it.
    """

    def __init__(self, wake: Callable[[], None], first_step: int = 0, *, strict: bool = False) -> None:
        self.items: deque[Item] = deque()
        self.step = first_step
        self.dropped = 0
        self.rows = 0
        self._epoch = time.time() - monotonic()  # rows' times rise, whatever becomes of the clock
        self._cells = 0
        self.wake = wake
        self._strict = strict
        self._lock = threading.RLock()
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self._plan_cells = 0
        self._followers: dict[str, Plan] = {}
        self._pending: tuple[Plan, int, float, tuple[Any, ...]] | None = None
        self._pending_since = 0.0
        self._stepping = False  # the thread that has the lock is about to change the pending row
        self._meanwhile: list[tuple[Plan, tuple[Any, ...], int | None, bool]] = []
        self._open_step: int | None = None  # of a row that was written early: its step may go on
        self._waited = 0.0
        self._cut = False
        self._closed: Callable[[], None] | None = None
        self.take_late: Callable[[list[Late]], None] | None = None  # who finds out what late values are

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Queue one row, or part of one; see Run.log."""
        try:
            values = tuple(data.values())
            plan = self._plans.get((*data, *map(type, values)))
        except (AttributeError, TypeError):
            plan = None
        if plan is None:
            if self._closed is not None:
                self._closed()
                return
            plan, values = self._plan(data)
            if plan.late and self.take_late is not None:
                self.take_late([values[n] for n in plan.late])
                self._step(plan, self._measure(plan, values), step, commit)
                return
        if plan.texts:
            values = self._measure(plan, values)
        if (
            step is None
            and commit is not False
            and self._pending is None
            and self._open_step is None
            and not self._stepping
        ):
            with self._lock:
                at = self.step  # up to the next call nothing can come between: no thread, no signal
                self.step = at + 1
                self.rows += 1
                self.items.append((plan, at, self._epoch + monotonic(), values))
                self._cells += plan.cells
        else:
            self._step(plan, values, step, commit)
        if self._cells > WAKE_CELLS:
            self._press()

    def put(self, record: Record) -> None:
        """Queue any other record behind the rows queued so far."""
        if self._cells > 2 * MOST_CELLS:
            self.dropped += 1
            return
        self.items.append((None, record, 0.0, None))
        self._cells += RECORD_CELLS

    def follow(self, place: Place, text: JsonText) -> None:
        """Queue a value of an earlier row, now that it is known."""
        key, step, at = place
        plan = self._followers.get(key)
        if plan is None:
            if len(self._followers) > KNOWN_CELLS // 5:
                self._followers.clear()
            plan = self._followers[key] = Plan((key,), (JsonText,))
            plan.apart = True
        self.items.append((plan, step, at, (text,)))

    def put_row(self, plan: Plan, step: int, values: tuple[Any, ...]) -> None:
        """Queue a row whose plan the caller keeps itself, as the system sampler does."""
        if self._cells > MOST_CELLS:
            self.dropped += 1
            return
        self.items.append((plan, step, self._epoch + monotonic(), values))
        self._cells += plan.cells

    def log_at(self, data: Mapping[str, Any], step: int, at: float) -> None:
        """Queue a complete row at a step and time of its own; the step of the next row stays as it is."""
        if self._closed is not None:
            self._closed()
            return
        plan, values = self._plan(data)
        if plan.late and self.take_late is not None:
            self.take_late([values[n] for n in plan.late])
        with self._lock:
            self._emit((plan, _integer(step), at, self._measure(plan, values)))
        if self._cells > WAKE_CELLS:
            self._press()

    @property
    def crowded(self) -> bool:
        """Whether so much is queued that the recorder works at once: who can wait had better wait."""
        return self._cells > WAKE_CELLS

    def take(self) -> list[Item]:
        """Take everything that is queued. Only one thread at a time may."""
        items = self.items
        count = len(items)
        self._cells = 0
        self._waited = 0.0
        taken: list[Item] = []
        try:
            for _ in range(count):
                taken.append(items.popleft())
        except IndexError:  # a caller without room took its row back meanwhile
            pass
        return taken

    def commit(self, older_than: float | None = None) -> None:
        """Queue the row that waits for its step to end.

        With ``older_than`` (seconds) only a row that has waited that long; its step stays open, and what
        is added to it later makes another row of the same step. Never waits for a busy caller then.
        """
        if not self._lock.acquire(blocking=older_than is None):
            return
        try:
            while self._meanwhile and not self._stepping:
                self._join(*self._meanwhile.pop(0))
            pending = self._pending
            if pending is None:
                return
            if older_than is not None and monotonic() - self._pending_since < older_than:
                return
            self._emit(pending)
            self._pending = None
            if older_than is not None:
                self._open_step = pending[1]
            else:
                self.step = max(self.step, pending[1] + 1)
        finally:
            self._lock.release()

    def close(self, reason: str) -> None:
        """Refuse every further row with UsageError."""

        def refuse() -> None:
            raise UsageError(f"log: {reason}")

        self._closed = refuse
        self._plans = {}

    def ignore(self, tell: Callable[[], None]) -> None:
        """In a forked child: let go of what the parent queued, and call ``tell`` for every further row."""
        self._lock = threading.RLock()
        self.items = deque()
        self._pending = None
        self._closed = tell
        self._plans = {}

    def _step(self, plan: Plan, values: tuple[Any, ...], step: int | None, commit: bool | None) -> None:
        """Add to the row of a step, as wandb does: a row is complete when another step begins."""
        if step is not None:
            step = _integer(step)
        if commit is None:
            commit = step is None
        with self._lock:
            if self._stepping:  # what handles a signal logs, and the signal came while this thread was here
                self._meanwhile.append((plan, values, step, commit))
                return
            self._stepping = True
            try:
                self._join(plan, values, step, commit)
                while self._meanwhile:
                    self._join(*self._meanwhile.pop(0))
            finally:
                self._stepping = False

    def _join(self, plan: Plan, values: tuple[Any, ...], step: int | None, commit: bool) -> None:
        pending = self._pending
        current = pending[1] if pending is not None else self._open_step
        at = step if step is not None else current if current is not None else self.step
        if self._strict and at < (self.step if current is None else max(current, self.step)):
            raise UsageError(
                f"log: step {at} comes after step {(self.step - 1) if current is None else current}, and "
                "strict_steps is set. Log steps in order, or leave strict_steps out: rows are kept then"
            )
        if current is not None and at != current:
            if pending is not None:
                self._emit(pending)
                pending = None
            self.step = max(self.step, current + 1)
        row = (plan, at, self._epoch + monotonic(), values)
        if pending is not None:
            merged = dict(zip(pending[0].keys, pending[3], strict=True))
            merged.update(zip(plan.keys, values, strict=True))
            row = (self._known(merged), at, pending[2], tuple(merged.values()))
        self._open_step = None
        if commit:
            self._pending = None
            self._emit(row)
            self.step = max(self.step, at + 1)
        else:
            if pending is None:
                self._pending_since = monotonic()
            self._pending = row
            self.step = max(self.step, at)

    def _emit(self, row: tuple[Plan, int, float, tuple[Any, ...]]) -> None:
        self.rows += 1
        plan, at, when, values = row
        if plan.late:
            rest = dict(zip(plan.keys, values, strict=True))
            for n in plan.late:
                rest.pop(plan.keys[n]).place((plan.keys[n], at, when), self.follow)
            if not rest:
                return
            row = (self._known(rest), at, when, tuple(rest.values()))
        self.items.append(row)
        self._cells += row[0].cells

    def _plan(self, data: Mapping[str, Any]) -> tuple[Plan, tuple[Any, ...]]:
        if not isinstance(data, Mapping):
            raise UsageError(f"log takes a dict of names and values, not {type(data).__qualname__}")
        row = flatten_row(data)
        return self._known(row), tuple(row.values())

    def _known(self, row: dict[str, Any]) -> Plan:
        keys, kinds = tuple(row), tuple(map(type, row.values()))
        plan = self._plans.get((*keys, *kinds))
        if plan is None:
            plan = Plan(keys, kinds)
            self._plan_cells += plan.cells
            if self._plan_cells > KNOWN_CELLS:
                self._plans.clear()
                self._plan_cells = plan.cells
            self._plans[(*keys, *kinds)] = plan
        return plan

    def _measure(self, plan: Plan, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Count long texts towards the queue's size, and cut those beyond the limit."""
        for n in plan.texts:
            text = values[n]
            if text is None or len(text) < 256:
                continue
            self._cells += len(text) // 32
            if len(text) > LONGEST_TEXT:
                if not self._cut:
                    self._cut = True
                    notices.warn(
                        f"log: '{plan.keys[n]}' is a text of {len(text):,} characters; the first "
                        f"{LONGEST_TEXT:,} of such texts are kept. Write long ones to a file under run.dir"
                    )
                values = (*values[:n], text[:LONGEST_TEXT], *values[n + 1 :])
        return values

    def _press(self) -> None:
        """Make the recorder work now; when it cannot keep up, wait a little, and at last drop the row."""
        self.wake()
        while self._cells > MOST_CELLS:
            if self._waited >= LONGEST_WAIT:
                try:
                    item = self.items.pop()
                except IndexError:
                    return
                if item[0] is None:
                    self.items.append(item)
                else:
                    self.dropped += 1
                    self._cells -= item[0].cells
                return
            self._waited += 0.01
            time.sleep(0.01)
            self.wake()


def _integer(step: Any) -> int:
    try:
        found = int(step)
        if found == step and -(2**63) <= found < 2**63 - 1:
            return found
    except (TypeError, ValueError, OverflowError):
        pass
    raise UsageError(f"log: step must be a whole number of at most 63 bits, not {step!r}")
