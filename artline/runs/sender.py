"""The sender: a thread beside a run that sends its journal to the server as it grows.

Training never waits for it: with the server away the journal grows on disk, and is sent when the server is
back, by this thread, by the next reader here, or by ``art sync``.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from artline.runs import notices
from artline.runs.run import Companion

if TYPE_CHECKING:
    from pathlib import Path

    from artline.runs.remote_ingest import RemoteIngestion
    from artline.runs.run import Run

__all__ = ["Sender"]

_LONGEST = 30.0  # seconds between two tries while the server is away
_PATIENCE = 5.0  # seconds that one try may take to find that out


class Sender(Companion):
    """Sends one run's journals, every ``interval`` seconds."""

    patience = 0.1  # it ends after the run, when the last record is in the journal

    def __init__(self, run: Run, folder: Path, interval: float) -> None:
        self._run = run
        self._folder = folder
        self._interval = interval
        self._ingestion: RemoteIngestion | None = None
        self._ended = threading.Event()
        self._done = threading.Event()
        self._deadline = float("inf")
        self._told = False
        self._refused = ""
        self._thread = threading.Thread(target=self._loop, name="artline-sender", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Do nothing: the last records are not written yet. ``finish`` ends it."""

    def finish(self, state: str, timeout: float) -> None:
        """Send the rest within ``timeout`` seconds; what is left then stays for ``art sync``."""
        self._deadline = time.monotonic() + timeout
        self._ended.set()
        self._done.wait(timeout)
        left = sum(file.stat().st_size for file in self._folder.glob("*.journal")) if self._waits() else 0
        if left:
            why = f" ({self._refused})" if self._refused else ""
            notices.warn(
                f"run {self._run.id}: not all of it is on {self._run.settings.server} yet{why}. It is kept "
                "here; send it later: art sync"
            )

    def _waits(self) -> bool:
        return self._folder.is_dir() and any(self._folder.glob("*.journal"))

    def _loop(self) -> None:
        from artline.errors import ArtlineError, StoreUnavailableError

        wait = self._interval
        while True:
            self._ended.wait(wait)
            try:
                self._drain()
                wait = self._interval
                if self._told:
                    self._told = False
                    notices.say(
                        f"run {self._run.id}: {self._run.settings.server} is back; what waited was sent"
                    )
            except StoreUnavailableError as error:
                wait = min(_LONGEST, max(wait, 1.0) * 2)
                self._refused = error.message
                if not self._told:
                    self._told = True
                    notices.warn(
                        f"run {self._run.id}: {error.message.rstrip('.')}. The run goes on and keeps "
                        "everything; it is sent when the server is back"
                    )
            except ArtlineError as error:
                if str(error) != self._refused:
                    self._refused = str(error)
                    notices.warn(f"run {self._run.id}: it cannot be sent: {error}")
                wait = _LONGEST
            except Exception as error:  # noqa: BLE001  # whatever it is, the training goes on
                self._refused = f"{type(error).__name__}: {error}"
                wait = _LONGEST
            if self._ended.is_set():
                if not self._waits() or self._refused_for_good() or time.monotonic() >= self._deadline:
                    break
                time.sleep(min(wait, 0.5, max(0.0, self._deadline - time.monotonic())))
        if not self._waits():
            self._send_files()
        self._done.set()

    def _send_files(self) -> None:
        """Take what lies in the run's folder into the store; what fails now the next reader here does."""
        from artline.errors import ArtlineError
        from artline.runs.store import RunStore

        run = self._run
        try:
            RunStore.open(run.settings).take_folders(run.project, run.id, everything=True)
        except ArtlineError as error:
            notices.warn(f"run {run.id}: its files are not on the server yet: {error}")

    def _refused_for_good(self) -> bool:
        return bool(self._refused) and not self._told

    def _drain(self) -> None:
        if self._ingestion is None:
            from dataclasses import replace

            from artline.runs.remote_ingest import RemoteIngestion
            from artline.storage.connection import connect

            settings = self._run.settings
            hasty = replace(settings, bucket_retry=_PATIENCE)
            self._ingestion = RemoteIngestion(
                connect(hasty),
                settings.root / "journal",
                heartbeat_interval=settings.heartbeat_interval,
            )
        damages = self._ingestion.drain(self._folder).damages
        self._refused = damages[0].reason if damages else ""
