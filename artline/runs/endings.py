"""How a process ends and what that makes of its runs: exit, exception, ``sys.exit``, Ctrl-C, SIGTERM, SIGHUP.

The hooks are installed with the first open run and taken out with the last, each only where nobody
else has replaced it in between. A forked child never ends its parent's runs.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artline.runs.run import Run

__all__ = ["INTERRUPTED", "ending_of", "forget", "watch"]

INTERRUPTED = 130

# Ended by these, a run was killed: a request to stop, or the terminal that is gone. nohup ignores SIGHUP.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class _Endings:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.runs: list[Run] = []
        self.state: tuple[str, int] | None = None  # how the process is about to end
        self.exit_code: int | None = None  # what sys.exit, exit or quit was last called with
        self.exit_frame: FrameType | None = None  # the outermost frame of the program at that time
        self.rows_at_exit = -1
        self.registered = False
        self.hooked = False
        self.excepthook: Callable[..., Any] = sys.excepthook
        self.exit: Callable[..., Any] = sys.exit
        self.quit: Callable[..., Any] | None = None  # what the builtins exit and quit do


_endings = _Endings()
_fork = threading.local()


def ending_of(kind: type[BaseException] | None, error: BaseException | None) -> tuple[str, int]:
    """Return the state and exit code that an exception (or its absence) leaves a run with."""
    if kind is None:
        return "finished", 0
    if issubclass(kind, KeyboardInterrupt):
        return "killed", INTERRUPTED
    if issubclass(kind, SystemExit):
        code = _exit_status(getattr(error, "code", None))
        return ("failed" if code else "finished"), code
    if issubclass(kind, GeneratorExit):
        return "finished", 0
    return "failed", 1


def watch(run: Run) -> None:
    """End this run when the process ends, with the right state."""
    if _endings.pid != os.getpid():
        _endings.pid = os.getpid()
        _endings.runs.clear()
        _endings.state = None
        _endings.hooked = False  # the signals were given back when this process was forked
    _endings.runs.append(run)
    _watch_worker()
    if not _endings.registered:
        _endings.registered = True
        atexit.register(_at_exit)
        os.register_at_fork(
            before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
        )
    if not _endings.hooked:
        _install()


def _watch_worker() -> None:
    """A worker process of multiprocessing ends without atexit, but calls its own finalizers."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None and len(_endings.runs) == 1:
        from multiprocessing import util

        util.Finalize(None, _at_exit, exitpriority=0)


def forget(run: Run) -> None:
    """Stop watching a run that has ended."""
    with contextlib.suppress(ValueError):
        _endings.runs.remove(run)
    if not _endings.runs and _endings.hooked and _endings.pid == os.getpid():
        _remove()


def _install() -> None:
    _endings.hooked = True
    _endings.exit_code = _endings.exit_frame = None
    if sys.excepthook is not _on_exception:
        _endings.excepthook = sys.excepthook
        sys.excepthook = _on_exception
    if sys.exit is not _on_sys_exit:
        _endings.exit = sys.exit
        sys.exit = _on_sys_exit
    quitter = _quitter()
    if quitter is not None and quitter.__call__ is not _on_quit:
        _endings.quit = quitter.__call__
        quitter.__call__ = _on_quit
    if threading.current_thread() is threading.main_thread():
        with contextlib.suppress(ValueError, OSError):
            for number in _SIGNALS:
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, _on_signal)


def _remove() -> None:
    _endings.hooked = False
    if sys.excepthook is _on_exception:
        sys.excepthook = _endings.excepthook
    if sys.exit is _on_sys_exit:
        sys.exit = _endings.exit
    quitter = _quitter()
    if quitter is not None and quitter.__call__ is _on_quit:
        quitter.__call__ = _endings.quit
    _endings.exit_frame = None
    if threading.current_thread() is threading.main_thread():
        with contextlib.suppress(ValueError, OSError):
            _give_back()


def _on_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if _endings.pid == os.getpid():
        _endings.state = ending_of(kind, error)
    _endings.excepthook(kind, error, traceback)


def _on_sys_exit(status: Any = None, /) -> Any:
    _remember_exit(status)
    raise SystemExit(status)


def _on_quit(quitter: Any, code: Any = None) -> Any:
    _remember_exit(code)
    assert _endings.quit is not None
    return _endings.quit(quitter, code)


def _quitter() -> Any:
    """Return the class of the builtins exit and quit; None where the site module did not make them."""
    return getattr(sys.modules.get("_sitebuiltins"), "Quitter", None)


def _remember_exit(status: Any) -> None:
    if _endings.pid == os.getpid() and threading.current_thread() is threading.main_thread():
        _endings.exit_code = _exit_status(status)
        _endings.rows_at_exit = _rows()
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
        _endings.exit_frame = frame


def _caught() -> bool:
    """Tell whether the program caught its SystemExit and went on: to its last line, or to log more."""
    frame = _endings.exit_frame
    if frame is not None and frame.f_lasti >= 0:
        from opcode import opname

        if opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN"):
            return True
    return _endings.rows_at_exit != _rows()


def _give_back() -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, signal.SIG_DFL)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _endings.pid != os.getpid():
        _die(number)
        return
    runs = list(_endings.runs)

    def end() -> None:
        for run in reversed(runs):
            run.end("killed", 128 + number)
        _die(number)

    interrupted = next((run for run in runs if run.ending), None)
    if interrupted is not None:
        interrupted.after_end(lambda _: end())  # it is being ended already: right after that
    else:
        end()


def _before_fork() -> None:
    # A child must not have our handler for one moment: the interpreter forgets signals that come before
    # the child is set up, and terminate() right after the start of a worker would be lost.
    _fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _after_fork_in_parent() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _fork.mask)


def _after_fork_in_child() -> None:
    _give_back()
    signal.pthread_sigmask(signal.SIG_SETMASK, _fork.mask)


def _die(number: int) -> None:
    """End by the signal itself, so that the exit status is what whoever sent it expects."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _at_exit() -> None:
    if _endings.pid != os.getpid():
        return
    state, code = "finished", 0
    if _endings.state is not None:
        state, code = _endings.state
    elif sys.exc_info()[0] is not None:  # in a worker process whose function raised, up to Python 3.12
        state, code = ending_of(*sys.exc_info()[:2])
    elif _worker_status():
        state, code = "failed", _worker_status()
    elif _endings.exit_code is not None and not _caught():
        # A bare `raise SystemExit(3)` is gone without a trace by now, and counts as the end of the program.
        code = _endings.exit_code
        state = "failed" if code else "finished"
    for run in reversed(list(_endings.runs)):
        run.end(state, code)
    if _endings.state is not None and code == INTERRUPTED:
        # The interpreter now ends by SIGINT itself, as shells expect, unless code from text ran since (any
        # thread that defined a dataclass); it goes by what such code raised last.
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")


def _worker_status() -> int:
    """Return the exit status of a worker process that multiprocessing is about to end, from Python 3.13 on.

    By then the exception is gone, and the only place that knows is a variable of the function that called us.
    """
    frame = sys._getframe()
    outer: FrameType | None = frame
    while outer is not None:
        name = outer.f_code.co_name
        if outer.f_globals.get("__name__") == "multiprocessing.popen_fork" and name == "_launch":
            return _exit_status(outer.f_locals.get("code"))
        if name == "_bootstrap":
            return 0
        outer = outer.f_back
    return 0


def _rows() -> int:
    return sum(run.rows_logged for run in _endings.runs)


def _exit_status(status: Any) -> int:
    """Return the exit status that the interpreter makes of a SystemExit's code."""
    if status is None:
        return 0
    if isinstance(status, int):
        return int(status) & 0xFF
    return 1
