"""Console capture at file-descriptor level: what this process and its children write to stdout and stderr.

Each stream gets a tap: a pipe, or a pseudo-terminal where it was one, takes the place of the descriptor;
a thread passes everything on to where it went before, unchanged, and keeps a copy for the journal. Two
descriptors of one terminal share a tap, so that what a progress bar writes to one arrives in order with what
is printed to the other; the journal then has both as stdout. Beside each tap sleeps a tiny shell process, its
guardian: should this process die with text still inside the tap, or children outlive it, the guardian passes
the rest on. So that nothing is ever in this process's memory alone, the kernel moves text from the tap into a
spool in memory that the guardian shares, offset included.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import sys
import termios
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from artline.runs import notices
from artline.runs.records import Console
from artline.runs.run import Companion

__all__ = ["ConsoleCapture", "Tap", "inheritable"]

Name = Literal["stdout", "stderr"]
STREAMS: tuple[tuple[Name, int], ...] = (("stdout", 1), ("stderr", 2))

READ_SIZE = 64 * 1024
PIPE_SIZE = 1024 * 1024
MOST_WAITING = (
    8 * 1024 * 1024
)  # bytes kept for the journal at once; what exceeds it is passed on, not recorded
CHUNK = 256 * 1024  # bytes of one record, about
CHUNK_TIME = 1.0  # seconds that one record spans, at most
HIGH = 64  # descriptors from here on are out of the way of those the guardian is given

# 3: lifeline, which ends with this process; 4: spool; 5: relay; 6: tap; 7: where the tap's text goes
GUARDIAN = "( read -r _ <&3; { cat <&4; cat <&5; cat <&6; } >&7 2>/dev/null ) &"


class Tap:
    """What stands between a descriptor, or two that lead to one terminal, and where they led."""

    def __init__(self, name: Name, *fds: int) -> None:
        self.name: Name = name
        self.fds = fds
        fd = fds[0]
        self.is_terminal = os.isatty(fd)
        self.saved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH)
        try:
            self.source, inlet = _open_terminal(fd) if self.is_terminal else _open_pipe()
        except OSError:
            os.close(self.saved)
            raise
        self._inlet = inlet
        self._size = b""
        self._spool = -1
        self._relay = (-1, -1)  # a terminal's text gets into the spool by way of a pipe only
        self._sendfile = True
        if hasattr(os, "splice") and hasattr(os, "memfd_create"):
            self._spool = os.memfd_create(f"artline-{name}")
            if self.is_terminal:
                self._relay = os.pipe2(os.O_CLOEXEC)
        self.ended = False  # nobody can write into it any more
        self.broken = False  # where it led is gone

    def install(self) -> None:
        """Put the tap in the place of the descriptors."""
        for fd in self.fds:
            os.dup2(self._inlet, fd, inheritable=True)
        self._identity = _identity(self._inlet)
        os.close(self._inlet)
        self._inlet = -1

    def restore(self) -> None:
        """Give descriptors back, unless somebody has put something else there meanwhile. Idempotent."""
        for fd in self.fds:
            with contextlib.suppress(OSError):
                if _identity(fd) == self._identity:
                    os.dup2(self.saved, fd, inheritable=True)

    def pump(self) -> bytes:
        """Pass on what there is; return it. Marks the tap ended at its end."""
        try:
            if self._spool < 0:
                data = os.read(self.source, READ_SIZE)
                if data:
                    self._write(data)
            else:
                data = self._through_spool()
        except OSError as error:
            if error.errno != errno.EIO or not self.is_terminal:  # a pseudo-terminal's end of file
                raise
            data = b""
        self.ended = not data
        return data

    def guarded(self) -> tuple[int, int, int, int]:
        """Return the descriptors that a guardian empties in turn, and the one it empties them into."""
        spool = self._spool if self._spool >= 0 else self.source
        return spool, self._relay[0] if self._relay[0] >= 0 else spool, self.source, self.saved

    def follow_size(self) -> None:
        """Give the pseudo-terminal the size of the real one."""
        if self.is_terminal:
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(self.saved, termios.TIOCGWINSZ, b"\0" * 8)
                if size != self._size:
                    fcntl.ioctl(self.source, termios.TIOCSWINSZ, size)
                    self._size = size

    def close(self) -> None:
        """Close every descriptor of the tap but those it stands for. Idempotent."""
        for fd in (self.source, self.saved, self._inlet, self._spool, *self._relay):
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self.source = self.saved = self._inlet = self._spool = -1
        self._relay = (-1, -1)

    def _through_spool(self) -> bytes:
        source = self.source
        if self.is_terminal:
            if os.splice(source, self._relay[1], READ_SIZE) == 0:
                return b""
            source = self._relay[0]
        count = os.splice(source, self._spool, READ_SIZE, offset_dst=0)
        if count == 0:
            return b""
        data = os.pread(self._spool, count, 0)
        if self._sendfile:
            self._send(count)
        sent = os.lseek(self._spool, 0, os.SEEK_CUR)
        if sent < count:
            self._write(data[sent:])
        os.ftruncate(self._spool, 0)
        os.lseek(self._spool, 0, os.SEEK_SET)
        return data

    def _send(self, count: int) -> None:
        """Have the kernel write the spool out, advancing the offset that the guardian would go on from."""
        while not self.broken and os.lseek(self._spool, 0, os.SEEK_CUR) < count:
            try:
                os.sendfile(self.saved, self._spool, None, count)  # None: its own offset
            except BlockingIOError:
                _wait_writable(self.saved)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    self._break()
                self._sendfile = False  # a file opened for appending, for one, does not take it
                return

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self.broken:
            try:
                count = os.write(self.saved, view)
                view = view[count:]
                if self._spool >= 0:
                    os.lseek(self._spool, count, os.SEEK_CUR)
            except BlockingIOError:
                _wait_writable(self.saved)
            except OSError:
                self._break()

    def _break(self) -> None:
        # The reader is gone: let the program meet that itself, as it would without a tap.
        self.broken = True
        self.restore()


class ConsoleCapture(Companion):
    """Tap stdout and stderr from construction to ``stop``; ``take`` hands out what came through."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._taps: list[Tap] = []
        self._waiting: list[tuple[Name, float, bytearray]] = []
        self._waiting_bytes = 0
        self._unrecorded = 0
        self._lock = threading.RLock()  # a signal handler may write in the middle of a write
        self._drained = threading.Event()
        self._stopping = False
        self._control = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._lifeline = (-1, -1)
        self._helpers: list[int] = []
        _flush_streams()
        try:
            if _is_one_terminal(1, 2):  # what is written to both must arrive there in order: progress bars
                self._taps.append(Tap("stdout", 1, 2))
            else:
                self._taps += [Tap(name, fd) for name, fd in STREAMS if _is_open(fd)]
            if not self._taps:
                raise OSError(errno.EBADF, "neither stdout nor stderr is open")
            self._lifeline = os.pipe2(os.O_CLOEXEC)
            for tap in self._taps:
                self._post_guardian(tap)
            os.close(self._lifeline[0])
            self._lifeline = (-1, self._lifeline[1])
            self._thread = threading.Thread(target=self._work, name="artline-console", daemon=True)
            self._thread.start()
        except BaseException:
            self._release()
            raise
        for tap in self._taps:
            tap.follow_size()
            tap.install()
        self._teed: list[tuple[Any, Callable[[str], int]]] = []
        self._tee_streams()

        ipython = sys.modules.get("IPython")
        self._shell = ipython.get_ipython() if ipython is not None else None
        if self._shell is not None:  # it puts write back as it was at the end of each cell
            self._shell.events.register("pre_run_cell", self._tee_streams)

    def _tee_streams(self, *_: Any) -> None:
        """Hear what is written to streams that lead elsewhere than to their descriptors, as in a notebook."""
        if self._stopping:
            return
        for name, fd in STREAMS:
            stream = getattr(sys, name)
            heard = any(one is stream and one.__dict__.get("write") is write for one, write in self._teed)
            if stream is not None and not heard and not _leads_to(stream, fd):
                self._teed = [(one, write) for one, write in self._teed if one is not stream]
                write = self._tee(name, stream)
                with contextlib.suppress(AttributeError):  # no Python object
                    stream.write = write
                    self._teed.append((stream, write))

    def _tee(self, name: Name, stream: Any) -> Callable[[str], int]:
        write: Callable[[str], int] = stream.write

        def heard(text: str) -> int:
            count = write(text)
            # Jupyter's stream echoes what came to the descriptor, which was heard there.
            if threading.current_thread() is not getattr(stream, "watch_fd_thread", None):
                self._keep(name, text.encode("utf-8", "backslashreplace"))
            return count

        return heard

    def _release_streams(self) -> None:
        if self._shell is not None:
            with contextlib.suppress(ValueError):  # it is out already
                self._shell.events.unregister("pre_run_cell", self._tee_streams)
        for stream, write in self._teed:
            if stream.__dict__.get("write") is write:
                del stream.write
        self._teed.clear()

    def take(self) -> list[Console]:
        """Return what came through since the last call."""
        if not self._waiting and not self._unrecorded:
            return []
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._waiting_bytes = 0
            unrecorded, self._unrecorded = self._unrecorded, 0
        chunks = [Console(name, at, bytes(data)) for name, at, data in waiting]
        if unrecorded:
            text = f"\n[artline: {unrecorded:,} bytes of output came too fast and are not recorded]\n"
            chunks.append(Console("stderr", time.time(), text.encode()))
        return chunks

    def stop(self, timeout: float) -> None:
        """Give the descriptors back once everything written so far has come through."""
        if self._stopping:
            return
        _flush_streams()
        self._release_streams()
        for tap in self._taps:
            tap.restore()
        self._stopping = True
        self._ring()
        if not self._drained.wait(timeout):
            notices.warn("console: the last output could not be recorded in time")

    def abandon(self) -> None:
        """In a forked child: its output goes on through the parent's taps; it holds nothing else of them."""
        self._stopping = True
        self._lock = threading.RLock()
        self._release_streams()
        self._release()

    def _work(self) -> None:
        poll = select.poll()
        poll.register(self._control[0], select.POLLIN)
        by_fd = {tap.source: tap for tap in self._taps}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        self._reap_helpers()
        try:
            while by_fd:
                ready = [fd for fd, _ in poll.poll(self._patience())]
                if self._control[0] in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._control[0], 64)
                    ready.remove(self._control[0])
                for fd in ready:
                    tap = by_fd[fd]
                    data = tap.pump()
                    if data:
                        self._keep(tap.name, data)
                    if tap.ended:
                        poll.unregister(fd)
                        del by_fd[fd]
                for tap in by_fd.values():
                    tap.follow_size()
                if not ready and self._stopping:
                    self._drained.set()  # what still comes is from children: passed on, not recorded
            self._release()
        except OSError as error:
            for tap in self._taps:
                tap.restore()
            notices.warn(f"console: capture ends: {error.strerror or error}; output goes on without it")
        finally:
            self._drained.set()

    def _patience(self) -> int:
        """Return how many milliseconds to wait for output."""
        if self._stopping and not self._drained.is_set():
            # A terminal hands text over a moment after it was written; its end needs no such guess.
            return 50 if any(tap.is_terminal for tap in self._taps) else 0
        return 1000 if any(tap.is_terminal for tap in self._taps) else 60_000

    def _keep(self, name: Name, data: bytes) -> None:
        if self._drained.is_set():
            return
        now = time.time()
        with self._lock:
            if self._waiting_bytes > MOST_WAITING:
                self._unrecorded += len(data)
                return
            self._waiting_bytes += len(data)
            last = self._waiting[-1] if self._waiting else None
            if (
                last is not None
                and last[0] == name
                and 0 <= now - last[1] < CHUNK_TIME
                and len(last[2]) < CHUNK
            ):
                last[2].extend(data)
            else:
                self._waiting.append((name, now, bytearray(data)))
        if self._waiting_bytes > MOST_WAITING // 2:
            self._wake()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._control[1], b"x")

    def _release(self) -> None:
        """Close everything; closing the lifeline wakes the guardian, which finds the taps ended and goes."""
        for tap in self._taps:
            tap.close()
        for fd in (*self._control, *self._lifeline):
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._control = self._lifeline = (-1, -1)

    def _post_guardian(self, tap: Tap) -> None:
        """Start a tap's guardian. Without one (no shell, no room for a process) capture works too."""
        high: list[int] = []
        actions: list[Any] = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        try:
            for fd in (self._lifeline[0], *tap.guarded()):
                high.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH))
            actions += [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(high, start=3)]
            actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in inheritable() if fd > 7]
            self._helpers.append(
                os.posix_spawn(
                    "/bin/sh",
                    ["sh", "-c", GUARDIAN],
                    {"PATH": os.environ.get("PATH", os.defpath)},
                    file_actions=actions,
                    setsid=True,
                )
            )
        except (OSError, NotImplementedError):
            return
        finally:
            for fd in high:
                os.close(fd)

    def _reap_helpers(self) -> None:
        """The shells that started the guardians end at once."""
        for pid in self._helpers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _open_pipe() -> tuple[int, int]:
    source, inlet = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(OSError, AttributeError):  # more than the limit, or no such call here
        fcntl.fcntl(inlet, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return source, inlet


def _open_terminal(fd: int) -> tuple[int, int]:
    """Open a pseudo-terminal that passes bytes on as they are; the real one does the line endings."""
    source, inlet = os.openpty()
    try:
        attributes = termios.tcgetattr(fd)
        attributes[1] &= ~termios.OPOST
        attributes[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(inlet, termios.TCSANOW, attributes)
    except termios.error as error:
        os.close(source)
        os.close(inlet)
        raise OSError(errno.ENOTTY, str(error)) from error
    return source, inlet


def _identity(fd: int) -> tuple[int, int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino, found.st_rdev


def _leads_to(stream: Any, fd: int) -> bool:
    """Tell whether what is written to a stream comes through a descriptor."""
    try:
        return bool(_identity(stream.fileno()) == _identity(fd))
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _is_one_terminal(one: int, other: int) -> bool:
    try:
        return os.isatty(one) and _identity(one) == _identity(other)
    except OSError:
        return False


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def inheritable() -> list[int]:
    """Return the descriptors that a program started from here would get."""
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return []
    found = []
    for name in names:
        with contextlib.suppress(OSError, ValueError):
            if os.get_inheritable(int(name)):
                found.append(int(name))
    return found


def _wait_writable(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll(1000)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
