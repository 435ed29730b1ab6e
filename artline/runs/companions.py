"""What works beside a run in the background: code capture, system metrics, console."""

from __future__ import annotations

import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

from artline.runs import notices
from artline.runs.late import Late
from artline.runs.records import File
from artline.runs.run import FINISH_TIMEOUT, Companion, Run

__all__ = ["CodeCapture", "start_companions"]


class CodeCapture(Companion):
    """Gather git state, patches and installed packages in a thread, once."""

    def __init__(self, run: Run, program: str) -> None:
        self._run = run
        self._program = program
        self._thread = threading.Thread(target=self._work, name="artline-code", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Wait for it to end."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            notices.warn("code: git takes too long; the run ends without its state")

    def _work(self) -> None:
        from artline.runs.code import capture_git, capture_packages, capture_program

        run, folder = self._run, Path(self._run.dir)
        try:
            values: dict[str, Any] = {}
            written = []
            packages = capture_packages(folder)
            if packages is not None:
                values["requirements"] = packages
                written.append(packages)
            values["git"], patches = capture_git(self._program, folder)
            script = capture_program(folder, values["git"].get("root"))
            if script is not None:
                values["code"] = script
                written.append(script)
            for name in (*written, *patches):
                run.keep_file(File(name, "now"))
            run.update(values)
        except Exception as error:  # noqa: BLE001  # no repository, however odd, may end a training
            notices.warn(f"code: its state cannot be read: {type(error).__name__}: {error}")


def start_companions(run: Run) -> None:
    """Start what the run's settings ask for. They stop in this order: the console last, to miss nothing."""
    settings = run.settings
    run.keep_folder()
    run.queue.take_late = partial(_open_media, run)
    if settings.save_code and run.primary:
        run.attach(CodeCapture(run, run.program))
        if "IPython" in sys.modules:
            from artline.runs.notebooks import NotebookCapture

            run.attach(NotebookCapture(Path(run.dir), lambda name: run.keep_file(File(name, "now"))))
    from artline.runs.system import SystemMetrics

    describe = run.update if run.primary else _ignore
    run.attach(
        SystemMetrics(run.queue, Path(run.dir), settings.stats_interval, describe, label=settings.label)
    )
    if settings.server and settings.mode in ("online", "shared"):
        from artline.runs.earlier import journal_folder
        from artline.runs.sender import Sender

        sender = Sender(run, journal_folder(settings, run.id), max(1.0, settings.flush_interval))
        run.attach(sender)
        run.after_end(lambda state: sender.finish(state, FINISH_TIMEOUT))
    if settings.console:
        from artline.runs.console import ConsoleCapture

        try:
            capture = ConsoleCapture(run.queue.wake)
        except OSError as error:
            notices.warn(f"console: output cannot be captured ({error.strerror or error}); going on without")
            return
        run.capture_console(capture.take)
        run.attach(capture)


def _ignore(values: dict[str, Any]) -> None:
    """What a process that is not the primary one of a shared run knows of its machine."""


def _open_media(run: Run, values: list[Late]) -> None:
    """Open the desk for media when the first are logged, and hand them over."""
    from artline.runs.media import MediaDesk

    desk = MediaDesk(run)
    run.attach(desk)
    run.queue.take_late = desk.take
    desk.take(values)
