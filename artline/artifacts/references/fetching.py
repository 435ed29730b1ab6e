"""Fetching many references, several at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Self

from artline.artifacts.references.download import Progress, check_reference, fetch_reference
from artline.errors import IntegrityError

if TYPE_CHECKING:
    from artline.artifacts.manifest import Entry
    from artline.storage.digest import Algorithm

__all__ = ["Fetching"]

THREADS = 8
AHEAD = 64  # references that wait for a thread


class _StoppedError(Exception):
    """Another download failed, or the caller was interrupted."""


class Fetching:
    """Downloads, or checks, that are under way until the ``with`` block ends.

    The first error ends it and the others, but for a target that changed or vanished where ``spare`` returns
    true. ``spare`` and ``progress`` are called from any thread.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        progress: Progress | None,
        *,
        spare: Callable[[Entry, IntegrityError], bool],
    ) -> None:
        self._algorithm = algorithm
        self._progress = progress
        self._spare = spare
        self._stop = Event()
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            while kind is None and self._pending:
                self._pending.popleft().result()
        finally:
            self._stop.set()
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)

    def add(self, entry: Entry, destination: Path | None) -> None:
        """Fetch a reference into a file soon, or check its target alone; raises what an earlier one met."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, "artline-fetch")
        while self._pending and (len(self._pending) >= AHEAD or self._pending[0].done()):
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._fetch, entry, destination))

    def _fetch(self, entry: Entry, destination: Path | None) -> None:
        try:
            if destination is None:
                check_reference(entry, self._algorithm, self._count)
            else:
                fetch_reference(entry, destination, self._algorithm, self._count)
        except IntegrityError as error:
            if not self._spare(entry, error):
                raise

    def _count(self, files: int, size: int) -> None:
        if self._stop.is_set():
            raise _StoppedError
        if self._progress is not None:
            self._progress(files, size)
