"""The recorder: one background thread a run that encodes what was queued and writes it to the journal.

It wakes four times per flush interval, so that nothing waits for a whole one, or earlier when much comes. A
journal that cannot be written costs a warning, never the training: what is encoded waits in memory up to a
limit and is tried again each time; beyond the limit rows are dropped, counted, and the count told, and of
config, summary and description only the latest values are kept. ``fsync`` runs every ``FSYNC_INTERVAL``
seconds while there is something new, in a thread of its own so that a slow disk holds up nothing else, before
an artifact is committed, and at the end. What cannot be written even then goes to a temporary folder.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from artline.runs import notices
from artline.runs.definitions import Definition, SummaryBuilder
from artline.runs.journal import JournalWriter
from artline.runs.records import Config, Console, Define, Finish, Heartbeat, Record, Start, Summary, Update
from artline.runs.rows import Item, Plan, RowQueue
from artline.runs.values import json_text

__all__ = ["FSYNC_INTERVAL", "MOST_PENDING", "Recorder"]

FSYNC_INTERVAL = 15.0  # seconds
MOST_PENDING = 32 * 1024 * 1024  # bytes encoded and unwritten beyond which rows are dropped; twice that: all
MOST_LATE = 100_000  # keys of config, summary and description whose latest values wait beyond that
PATIENCE = 30.0  # seconds that a reader of the summary waits for a thread that hangs
SILENCE = 60.0  # seconds after a warning of trouble before the next

_LARGEST = 2**63


class _Request:
    """Somebody waits until what is queued is taken in."""

    __slots__ = ("done", "fsync")

    def __init__(self, fsync: bool) -> None:
        self.fsync = fsync
        # Held until it is done. No Event: a signal may come while the waiting thread has that one's lock, and
        # what handles the signal may wait for the recorder, which could not set it.
        self.done = threading.Lock()
        self.done.acquire()


class Recorder:
    """Write one run's journal in the background.

    ``queue`` takes rows and records from any thread. The thread is a daemon, so it never holds up the
    interpreter's exit; ``finish`` writes the rest.
    """

    def __init__(
        self,
        writer: JournalWriter,
        start: Start,
        *,
        flush_interval: float,
        heartbeat_interval: float,
        first_step: int = 0,
        strict_steps: bool = False,
        summary: SummaryBuilder | None = None,
    ) -> None:
        self.summary = summary if summary is not None else SummaryBuilder()
        self.attempt = start.attempt
        self.queue = RowQueue(self.wake, first_step, strict=strict_steps)
        self.console_waiting: Callable[[], list[Console]] = list
        self._label = f"run {start.run_id}"
        self._flush_interval = flush_interval
        self._heartbeat_interval = heartbeat_interval
        self._writer = writer
        self._start = start
        self._orders = {"history": 0, "system": 0}
        self._step_values: dict[str, Any] = {}
        self._synced_plans: dict[Plan, tuple[str, ...]] = {}
        self._extended_plans: dict[tuple[Any, ...], Plan] = {}
        self._trouble = ""
        self._told = False
        self._silent_until = 0.0
        self._lost = 0
        self._late: dict[type[Config | Summary | Update], tuple[dict[str, Any], set[str]]] = {}
        self._syncing = False
        self._sync_failed = False
        self._last_beat = self._last_fsync = time.monotonic()
        self._bell = threading.Lock()  # held: nothing to do; released by wake(). Safe in signal handlers.
        self._bell.acquire()
        self._requests: deque[_Request] = deque()
        self._last_record: Finish | None = None
        self._complete = False
        self._closed = False
        self._latest: dict[str, Any] = {}
        try:
            self._writer.append(start)
            self._writer.flush()
        except BaseException:  # a journal that says nothing would lie there for ever
            self._writer.close()
            self._writer.path.unlink(missing_ok=True)
            raise
        self._thread = threading.Thread(target=self._loop, name="artline-recorder", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        """The journal file."""
        return self._writer.path

    @property
    def trouble(self) -> str:
        """Why the journal cannot be written at present; empty when it can."""
        return self._trouble

    def wake(self) -> None:
        """Make the thread work now."""
        with contextlib.suppress(RuntimeError):  # it is awake already
            self._bell.release()

    def put(self, record: Record) -> None:
        """Queue a record behind everything queued so far."""
        self.queue.put(record)

    def values(self) -> dict[str, Any]:
        """Return the summary with everything logged so far, what is still queued included."""
        self._ask(fsync=False, timeout=PATIENCE)
        return dict(self._latest)

    def flush(self) -> None:
        """Write and sync everything queued so far. Returns when it is done or cannot be done now."""
        self._ask(fsync=True, timeout=PATIENCE)

    def finish(self, record: Finish, timeout: float) -> bool:
        """Write the rest and the last record; return, within ``timeout``, whether all is on disk.

        May be called again, to wait longer: the record given first is the one written.
        """
        if self._last_record is None:
            self.queue.commit()
            self._last_record = record
        self.wake()
        self._thread.join(timeout)
        if not self._closed and self._thread.is_alive():
            notices.warn(
                f"{self._label}: writing {self._writer.path} hangs; going on without the last records"
            )
        return self._complete

    def abandon(self) -> None:
        """In a forked child: let go of the parent's journal without writing a byte."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._writer.close()

    def _ask(self, *, fsync: bool, timeout: float) -> None:
        """Have the thread take in everything queued so far, and wait for it."""
        request = _Request(fsync)
        self._requests.append(request)
        deadline = time.monotonic() + timeout
        while not self._closed and self._thread.is_alive() and time.monotonic() < deadline:
            self.wake()
            if request.done.acquire(timeout=1.0):
                return

    def _loop(self) -> None:
        # Everything but the queue belongs to this thread alone: an exception or a signal that interrupts
        # another thread anywhere leaves nothing half done.
        while not self._closed:
            self._bell.acquire(timeout=self._flush_interval / 4)
            last = self._last_record
            requests = [self._requests.popleft() for _ in range(len(self._requests))]
            try:
                self._turn(last, any(request.fsync for request in requests), bool(requests))
            except Exception as error:  # noqa: BLE001  # whatever it is, the training goes on
                self._tell(f"{type(error).__name__}: {error}")
            for request in requests:
                request.done.release()
            if last is not None:
                self._latest = self.summary.values()
                self._closed = True
                self._writer.close()

    def _turn(self, last: Finish | None, fsync: bool, summarise: bool) -> None:
        """Take in and write what is queued; with ``last`` also the end."""
        if last is None:
            self.queue.commit(older_than=self._flush_interval / 4)
        if self._trouble:  # first, so that nothing is dropped that would fit by now
            self._write(fsync=False)
        try:
            self._absorb(final=last is not None)
        except Exception as error:  # noqa: BLE001  # the end must be written whatever else is wrong
            self._tell(f"{type(error).__name__}: {error}")
        if summarise:
            self._latest = self.summary.values()
        now = time.monotonic()
        if last is not None:
            self._writer.append(last)
        elif now - self._last_beat >= self._heartbeat_interval and not self._trouble:
            self._last_beat = now
            self._writer.append(Heartbeat(time.time()))
        due = now - self._last_fsync >= FSYNC_INTERVAL
        self._write(fsync=fsync or self._sync_failed or (due and bool(self._trouble)) or last is not None)
        if last is not None:
            self._complete = not self._trouble or self._rescue()
        elif due and not self._trouble:
            self._sync_aside(now)

    def _sync_aside(self, now: float) -> None:
        """Have another thread make durable what is written, unless the last one still does."""
        if self._syncing:
            return
        sync = self._writer.sync_later()
        self._last_fsync = now
        if sync is not None:
            self._syncing = True
            threading.Thread(target=self._sync_now, args=(sync,), name="artline-sync", daemon=True).start()

    def _sync_now(self, sync: Callable[[], None]) -> None:
        try:
            sync()
        except OSError:
            self._sync_failed = True  # tried again, and told, by the recorder
        self._syncing = False

    def _rescue(self) -> bool:
        """Write a journal that cannot be completed where it is to a temporary folder, whole; tell where."""
        import tempfile

        reason = f"its end could not be written to {self._writer.path}: {self._trouble}"
        try:
            place = Path(tempfile.mkdtemp(prefix="artline-rescued-")) / self._writer.path.name
            self._writer.copy_to(place)
        except OSError as error:
            notices.warn(f"{self._label}: {reason}; nor elsewhere: {error.strerror or error}")
            return False
        notices.warn(f"{self._label}: {reason}. All of it is in {place}. Bring it in later: art sync {place}")
        return True

    def _write(self, *, fsync: bool) -> None:
        """Write what is encoded; on failure keep it for the next try and tell the person once."""
        try:
            # In this order: the other thread says that it failed before it says that it is done.
            if fsync and (self._syncing or self._sync_failed):
                self._sync_failed = False
                self._writer.doubt()
            if self._writer.lost():
                self._writer.restore()
                notices.warn(f"{self._label}: its journal was deleted; wrote it again as {self._writer.path}")
            self._writer.flush(fsync=fsync)
        except OSError as error:
            self._tell(error.strerror or str(error))
            return
        if fsync:
            self._last_fsync = time.monotonic()
        if self._trouble:
            self._trouble = ""
            lost = f"; {self._lost:,} records did not fit into memory and are lost" if self._lost else ""
            if self._told or lost:
                notices.warn(f"{self._label}: writing {self._writer.path} works again{lost}")
            self._lost = 0
            self._told = False

    def _tell(self, trouble: str) -> None:
        """Remember that something is wrong, and say so: once, not each time if it comes and goes."""
        self._trouble = trouble
        now = time.monotonic()
        if not self._told and now >= self._silent_until:
            self._told = True
            self._silent_until = now + SILENCE
            notices.warn(
                f"{self._label}: cannot write {self._writer.path}: {trouble}. The program goes on; up to "
                f"{MOST_PENDING >> 20} MiB wait in memory and are written when it works again"
            )

    def _absorb(self, *, final: bool = False) -> None:
        """Encode everything queued, in order."""
        items = self.queue.take()
        if self._late and self._writer.pending <= MOST_PENDING:
            self._append_late()
        if self.queue.dropped:
            dropped, self.queue.dropped = self.queue.dropped, 0
            notices.warn(
                f"{self._label}: {dropped:,} rows came faster than they could be written and are lost"
            )
        full = bool(self._trouble) and self._writer.pending > MOST_PENDING
        if items:
            if full and not final:
                rest = [item for item in items if item[0] is None]
                self._lost += len(items) - len(rest)
                items = rest
            self._encode(items)
        if final:
            self._append_late()
        for chunk in self.console_waiting():
            if not full:
                self._writer.append(chunk)

    def _encode(self, items: list[Item]) -> None:
        first = items[0][0] if items else None
        if first is not None and not self.summary.definitions.synced:
            plans = {item[0] for item in items}
            if len(plans) == 1:
                self._rows(first, items, None)
                return
        groups: dict[Plan, list[Item]] = {}
        orders: dict[Plan, list[int]] = {}
        orders_of = dict(self._orders)
        for item in items:
            plan = item[0]
            if plan is None:
                self._emit(groups, orders)
                self._record(item[1])
                continue
            if self.summary.definitions.synced and plan.stream == "history" and not plan.apart:
                item = self._sync(item)
                plan = item[0]
                assert plan is not None
            group = groups.get(plan)
            if group is None:
                group = groups[plan] = []
                orders[plan] = []
            group.append(item)
            orders[plan].append(orders_of[plan.stream])
            orders_of[plan.stream] += 1
        self._emit(groups, orders)

    def _emit(self, groups: dict[Plan, list[Item]], orders: dict[Plan, list[int]]) -> None:
        for plan, group in groups.items():
            self._rows(plan, group, orders[plan])
        groups.clear()
        orders.clear()

    def _rows(self, plan: Plan, items: list[Item], orders: list[int] | range | None) -> None:
        """Encode rows of one plan, and let the summary see them."""
        if orders is None:
            low = self._orders[plan.stream]
            orders = range(low, low + len(items))
        self._orders[plan.stream] += len(items)
        _, steps, times, values = zip(*items, strict=True)
        columns: list[Any] = list(zip(*values, strict=True))
        types = plan.types
        if plan.texts:
            for n in plan.texts:
                columns[n] = [json_text(value) for value in columns[n]]
        try:
            self._writer.append_rows(plan.stream, plan.keys, types, steps, times, columns, orders)
        except OverflowError:  # an integer beyond 64 bits: this batch of its column becomes JSON text
            for n, letter in enumerate(types):
                if letter == "q" and (max(columns[n]) >= _LARGEST or min(columns[n]) < -_LARGEST):
                    columns[n] = [_integer_text(value) for value in columns[n]]
                    types = f"{types[:n]}j{types[n + 1 :]}"
            try:
                self._writer.append_rows(plan.stream, plan.keys, types, steps, times, columns, orders)
            except OverflowError as error:
                notices.warn(f"{self._label}: {len(items)} rows are too large to be kept: {error}")
                return
        if plan.stream == "history":
            self.summary.add_columns(plan.keys, types, columns, orders, self.attempt)

    def _record(self, record: Record) -> None:
        if isinstance(record, Define):
            self.summary.define(Definition.from_json(record.definition))
            self._synced_plans.clear()
        elif isinstance(record, Summary):
            self.summary.assign(record.values, record.removed)
        if self._writer.pending > MOST_PENDING and not isinstance(record, Finish):
            if isinstance(record, (Config, Summary, Update)):
                self._keep_latest(record)
                return
            if self._writer.pending > 2 * MOST_PENDING:
                self._lost += 1
                return
        self._append(record)

    def _append(self, record: Record) -> None:
        try:
            self._writer.append(record)
        except (OverflowError, TypeError, ValueError) as error:  # too large, or no JSON
            kind = type(record).__name__.lower()
            notices.warn(f"{self._label}: one {kind} record cannot be kept: {error}")

    def _keep_latest(self, record: Config | Summary | Update) -> None:
        """Keep only the latest values of what changes again and again while nothing can be written."""
        values, removed = self._late.setdefault(type(record), ({}, set()))
        for name in () if isinstance(record, Update) else record.removed:
            values.pop(name, None)
            removed.add(name)
        for name, value in record.values.items():
            if name in values or len(values) < MOST_LATE:
                values[name] = value
            else:
                self._lost += 1

    def _append_late(self) -> None:
        late, self._late = self._late, {}
        for kind, (values, removed) in late.items():
            self._append(Update(values) if kind is Update else kind(values, sorted(removed)))  # type: ignore[call-arg]  # both others have two

    def _sync(self, item: Item) -> Item:
        """Add to a row the step metrics it lacks, with the values logged last (``step_sync``)."""
        plan, step, at, values = item
        assert plan is not None
        missing = self._synced_plans.get(plan)
        if missing is None:
            missing = tuple(self.summary.definitions.missing_steps(plan.keys))
            if len(self._synced_plans) > 1000:
                self._synced_plans.clear()
            self._synced_plans[plan] = missing
        for key, letter, value in zip(plan.keys, plan.types, values, strict=True):
            if letter in "dq" and key in self.summary.definitions.step_metrics:
                self._step_values[key] = value
        known = [name for name in missing if name in self._step_values]
        if not known:
            return item
        added = tuple(self._step_values[name] for name in known)
        return self._extended(plan, known, added), step, at, (*values, *added)

    def _extended(self, plan: Plan, names: list[str], values: tuple[Any, ...]) -> Plan:
        kinds = tuple("d" if type(value) is float else "q" for value in values)
        key = (plan, *names, *kinds)
        found = self._extended_plans.get(key)
        if found is None:
            found = Plan((*plan.keys, *names), (), plan.stream)
            found.types = plan.types + "".join(kinds)
            found.texts = plan.texts
            if len(self._extended_plans) > 1000:
                self._extended_plans.clear()
            self._extended_plans[key] = found
        return found


def _integer_text(value: int) -> str:
    try:
        return json.dumps(value)
    except ValueError:  # thousands of digits, more than Python turns into text
        return "Infinity" if value > 0 else "-Infinity"
