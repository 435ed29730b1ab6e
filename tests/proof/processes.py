"""Processes in one process: clients of a store that are stopped, or die, between any two of their steps.

A step is a read or a transaction of the catalog, the moment before its commit and the one after it, and each
operation on the bucket. At a step that is no part of a transaction another client may act; at any step the
client may die, after which nothing that it still tries reaches the disk.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from artline.artifacts.artifact import Artifact
from artline.artifacts.store import ArtifactStore
from artline.settings import load_settings
from artline.storage import lease, sink, writer
from artline.storage.bucket import LocalBucket
from artline.storage.catalog import Catalog
from artline.storage.content import ContentStore

CRASH = object()


class Crash(BaseException):
    """The process is no more."""


class Clock:
    """The time of every client, in place of the ``time`` module; it goes only where it is told to.

    ``now`` may jump, as when a machine slept or its clock was set; ``passed`` does not see that.
    """

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.passed = 1000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.passed

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.passed += seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        modules: list[Any] = [lease, sink, writer]
        before = [module.time for module in modules]
        try:
            for module in modules:
                module.time = self
            yield
        finally:
            for module, old in zip(modules, before, strict=True):
                module.time = old


class Gate:
    """Where a client's steps are counted, and where it is made to wait or to die."""

    def __init__(self) -> None:
        self.committed: Callable[[], None] = lambda: None
        self.restart({})

    def restart(self, plan: dict[int, Any]) -> None:
        self.plan = dict(plan)
        self.steps = 0
        self.depth = 0
        self.dead = False
        self.waiting: list[Callable[[], None]] = []

    def step(self) -> None:
        if self.dead:
            raise Crash
        action = self.plan.pop(self.steps, None)
        self.steps += 1
        if action is CRASH:
            self.dead = True
            raise Crash
        if action is not None:
            self.waiting.append(action)
        if not self.depth:
            while self.waiting:
                self.waiting.pop()()


class SteppingCatalog(Catalog):
    """A catalog whose transactions are steps."""

    gate: Gate
    clock: Clock

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        if not self.gate.depth:
            self.gate.step()
        with super().read() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self, **options: Any) -> Iterator[sa.Connection]:
        self.gate.step()
        self.gate.depth += 1
        try:
            with super().write(**options) as connection:
                yield connection
                self.gate.step()
        finally:
            self.gate.depth -= 1
        self.gate.committed()
        self.gate.step()

    def now(self, connection: sa.Connection) -> float:
        return self.clock.now

    def read_clock(self) -> float:
        return self.clock.now


class SteppingBucket(LocalBucket):
    """A bucket whose operations are steps."""

    gate: Gate


def _stepping(name: str) -> Any:
    plain = getattr(LocalBucket, name)

    def operation(self: SteppingBucket, *args: Any, **kwargs: Any) -> Any:
        self.gate.step()
        result = plain(self, *args, **kwargs)
        if name not in ("read", "read_into"):
            self.gate.step()
        return result

    return operation


for _name in ("put", "put_file", "create", "delete", "read", "read_into"):
    setattr(SteppingBucket, _name, _stepping(_name))


class Client:
    """A process that uses the store; it may have one draft in hand."""

    def __init__(self, root: str, catalog: str, bucket: str, clock: Clock) -> None:
        settings = load_settings(root=root, catalog=catalog, bucket=bucket, lock_timeout=5.0)
        content = ContentStore.open(settings)
        self.gate = Gate()
        self.catalog: Any = content.catalog
        self.catalog.__class__ = SteppingCatalog
        self.catalog.gate, self.catalog.clock = self.gate, clock
        self.bucket: Any = content.bucket
        self.bucket.__class__ = SteppingBucket
        self.bucket.gate = self.gate
        self.store = ArtifactStore(content, settings)
        self.draft: Artifact | None = None

    def run(self, action: Callable[[], Any], plan: dict[int, Any]) -> Any:
        """Act, with a plan of what happens at which step; Crash when that ended the process."""
        self.gate.restart(plan)
        try:
            return action()
        except Crash:
            self.forget()
            raise
        finally:
            self.gate.restart({})

    def forget(self) -> None:
        """Be a new process: what was in memory is gone."""
        draft, self.draft = self.draft, None
        if draft is not None and draft.is_draft:
            with contextlib.suppress(Crash):
                draft.staging.close()
        self.store.content._pack_names.clear()
        self.bucket._folders.clear()
        self.catalog.close()
