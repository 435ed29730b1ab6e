"""A disk that forgets: what a traced process did to files, and what of it a power failure may leave.

strace records every change of names and bytes below a folder, and every sync. From that record ``Disk`` tells
what is certain at any moment: bytes that were synced with their file, names that were synced with their
folder. ``leave`` makes a folder as the failure might leave it: with all that is certain, and of the rest
nothing, everything, or any part, down to single sectors of a write.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,rename,renameat,renameat2,link,linkat,"
    "unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,fsync,fdatasync,ftruncate,truncate,fallocate,"
    "copy_file_range,sendfile"
)
SYNCS = ("fsync", "fdatasync")
BEGUN = "sync begun"
SECTOR = 512
_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")
_PART = re.compile(r"(\d+) +(.*?) *<unfinished \.\.\.>$")
_REST = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_PLACE = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2})*)>")


@dataclass(frozen=True)
class Call:
    """A system call that succeeded: its name, arguments as strace writes them, and result.

    A sync is two: ``BEGUN`` comes where it began, the call itself where it ended.
    """

    name: str
    arguments: str
    result: int
    thread: str = ""

    def texts(self) -> list[bytes]:
        return [_bytes(text) for text in _TEXT.findall(self.arguments)]

    def place(self) -> tuple[int, str]:
        """Return the descriptor that is the first argument, and the path it stands for."""
        match = _PLACE.match(self.arguments)
        return (int(match[1]), _bytes(match[2]).decode()) if match else (-1, "")

    def number(self, index: int) -> int:
        """Return a number that follows the texts, counted from the end of the arguments."""
        return int(self.arguments.rsplit(",", -index)[index].strip())


def record(command: Sequence[str], log: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command under strace, which writes what it does to ``log``."""
    strace = ["strace", "-f", "-y", "-xx", "-s", "100000000", "--seccomp-bpf", "-e", f"trace={CALLS}"]
    whole = [*strace, "-o", str(log), *command]
    return subprocess.run(whole, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]  # options are those of run


def calls(log: Path) -> Iterator[Call]:
    """Yield the calls of a log that succeeded, in the order in which they ended."""
    begun: dict[str, str] = {}
    with log.open() as lines:
        for line in lines:
            line = line.rstrip("\n")
            if part := _PART.match(line):
                begun[part[1]] = part[2]
                name, _, arguments = part[2].partition("(")
                if name in SYNCS:
                    yield Call(BEGUN, arguments, 0, part[1])
                continue
            rest = _REST.match(line)
            if rest:
                line = f"{rest[1]} {begun.pop(rest[1])}{rest[2]}"
            if (whole := _LINE.match(line)) and int(whole[4]) >= 0:
                if whole[2] in SYNCS and not rest:  # nothing came between
                    yield Call(BEGUN, whole[3], 0, whole[1])
                yield Call(whole[2], whole[3], int(whole[4]), whole[1])


@dataclass
class File:
    """Bytes: those that were synced, and the changes since."""

    synced: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # None: cut off there


@dataclass
class Change:
    """A change of names that no sync has made certain: ``name`` in ``folder`` is this file now, or gone."""

    folder: str
    name: str
    file: File | None
    is_folder: bool = False


class Disk:
    """What is on the disk below a folder, as the calls change it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.now: dict[str, File] = {}  # as the system shows it
        self.folders: set[str] = {root}
        self.certain: dict[str, File] = {}
        self.certain_folders: set[str] = {root}
        self.pending: list[Change] = []
        self.offsets: dict[int, int] = {}
        self.begun: dict[str, list[object]] = {}  # by thread: what its sync will have made certain at its end
        self.said: list[str] = []  # what the process wrote to its standard output

    def apply(self, call: Call) -> bool:
        """Take a call into account; tell whether it changed anything, or made it certain."""
        name = call.name
        if name in ("openat", "open", "creat"):
            return self._open(call)
        if name in ("write", "writev", "pwrite64", "pwritev", "pwritev2"):
            return self._write(call)
        if name == "lseek":
            self.offsets[call.place()[0]] = call.result
            return False
        if name == BEGUN:
            self.begun[call.thread] = self._uncertain(call.place()[1])
            return False
        if name in SYNCS:
            return self._sync(call.place()[1], self.begun.pop(call.thread, None))
        if name == "ftruncate":
            file = self.now.get(call.place()[1])
            if file is not None:
                file.pending.append((call.number(-1), None))
            return file is not None
        paths = [text.decode(errors="replace") for text in call.texts()]
        if not any(self._inside(path) for path in paths):
            return False
        if name.startswith("rename"):
            return self._rename(*paths)
        if name.startswith("link"):
            self._name(paths[1], self.now[paths[0]])
        elif name.startswith("unlink"):
            self._name(paths[0], None)
        elif name.startswith("mkdir"):
            self.folders.add(paths[0])
            self._pend(paths[0], None, is_folder=True)
        elif name == "rmdir":
            self.folders.discard(paths[0])
        else:
            raise NotImplementedError(f"{name}({call.arguments[:200]})")
        return True

    def leave(self, target: Path, source: random.Random, mode: str) -> None:
        """Make ``target`` what a power failure may leave now: ``nothing`` uncertain, ``all``, or ``some``."""
        names, folders = dict(self.certain), set(self.certain_folders)
        chosen = self.pending if mode == "all" else []
        if mode == "some":
            kept = source.randrange(len(self.pending) + 1)
            ordered = source.random() < 0.5
            chosen = [
                c for i, c in enumerate(self.pending) if (i < kept if ordered else source.random() < 0.5)
            ]
        for change in chosen:
            path = f"{change.folder}/{change.name}"
            if change.is_folder:
                folders.add(path)
            elif change.file is None:
                names.pop(path, None)
            else:
                names[path] = change.file
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        reachable = {folder for folder in folders if self._reached(folder, folders)}
        for folder in sorted(reachable):
            (target / folder[len(self.root) + 1 :]).mkdir(exist_ok=True)
        written: dict[int, bytes] = {}
        for path, file in names.items():
            if path.rpartition("/")[0] in reachable:
                content = written.get(id(file))
                if content is None:
                    content = written[id(file)] = _content(file, source, mode)
                (target / path[len(self.root) + 1 :]).write_bytes(content)

    def _reached(self, folder: str, folders: set[str]) -> bool:
        while folder != self.root:
            folder = folder.rpartition("/")[0]
            if folder not in folders:
                return False
        return True

    def _inside(self, path: str) -> bool:
        return path.startswith(self.root + "/")

    def _open(self, call: Call) -> bool:
        path = call.texts()[-1].decode(errors="replace")
        self.offsets[call.result] = 0
        if not self._inside(path):
            return False
        changed = False
        if "O_CREAT" in call.arguments and path not in self.now:
            self._name(path, File())
            changed = True
        if "O_TRUNC" in call.arguments and path in self.now:
            self.now[path].pending.append((0, None))
            changed = True
        return changed

    def _write(self, call: Call) -> bool:
        descriptor, path = call.place()
        data = b"".join(call.texts())[: call.result]
        if descriptor == 1 and not self._inside(path):
            self.said += data.decode().splitlines()
            return False
        positional = call.name.startswith("p")
        offset = (
            call.number(-2 if call.name == "pwritev2" else -1) if positional else self.offsets[descriptor]
        )
        if not positional:
            self.offsets[descriptor] += call.result
        file = self.now.get(path)
        if file is None:
            assert not self._inside(path) or path.endswith(" (deleted)"), f"a write to nowhere: {path}"
            return False
        file.pending.append((offset, data))
        return True

    def _uncertain(self, path: str) -> list[object]:
        """Return the changes of a file, or of the names in a folder, that a sync makes certain now."""
        if path in self.folders:
            return [change for change in self.pending if change.folder == path]
        return list(self.now[path].pending) if path in self.now else []

    def _sync(self, path: str, covered: list[object] | None = None) -> bool:
        """Make certain what is pending, or of that only what is ``covered``: what came later may be lost."""
        wanted = {id(change) for change in (self._uncertain(path) if covered is None else covered)}
        if path in self.folders:
            mine = [change for change in self.pending if id(change) in wanted]
            self.pending = [change for change in self.pending if id(change) not in wanted]
            for change in mine:
                inside = f"{change.folder}/{change.name}"
                if change.is_folder:
                    self.certain_folders.add(inside)
                elif change.file is None:
                    self.certain.pop(inside, None)
                else:
                    self.certain[inside] = change.file
            return bool(mine)
        file = self.now.get(path)
        if file is None:
            return False
        sure = [change for change in file.pending if id(change) in wanted]
        file.synced = _applied(file.synced, sure)
        file.pending = [change for change in file.pending if id(change) not in wanted]
        return bool(sure)

    def _rename(self, before: str, after: str) -> bool:
        file = self.now[before]
        self._name(after, file)
        self._name(before, None)
        return True

    def _name(self, path: str, file: File | None) -> None:
        if file is None:
            self.now.pop(path, None)
        else:
            self.now[path] = file
        self._pend(path, file)

    def _pend(self, path: str, file: File | None, *, is_folder: bool = False) -> None:
        folder, _, name = path.rpartition("/")
        self.pending.append(Change(folder, name, file, is_folder))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _applied(content: bytes, changes: Sequence[tuple[int, bytes | None]]) -> bytes:
    data = bytearray(content)
    for offset, piece in changes:
        if piece is None:
            del data[offset:]
            data.extend(bytes(offset - len(data)))
        else:
            data.extend(bytes(max(0, offset - len(data))))
            data[offset : offset + len(piece)] = piece
    return bytes(data)


def _content(file: File, source: random.Random, mode: str) -> bytes:
    if mode == "nothing":
        return file.synced
    if mode == "all":
        return _applied(file.synced, file.pending)
    kept: list[tuple[int, bytes | None]] = []
    for offset, piece in file.pending:
        choice = source.randrange(4)
        if choice == 0:
            continue
        if piece is None or choice < 3:
            kept.append((offset, piece))
            continue
        for start in range(0, len(piece), SECTOR):  # torn: some sectors reached the disk
            if source.random() < 0.5:
                kept.append((offset + start, piece[start : start + SECTOR]))
    return _applied(file.synced, kept)
