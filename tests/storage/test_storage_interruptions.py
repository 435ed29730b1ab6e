"""What is cut short: Ctrl-C in a writer, a broken stream, a killed download, a forked child."""

from __future__ import annotations

import contextlib
import io
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from artline.errors import StoreLockedError, StoreUnavailableError
from artline.settings import load_settings
from artline.storage.content import ContentStore
from artline.storage.export import Export
from artline.storage.fsck import check_packs
from artline.storage.writer import ContentWriter

MIB = 1 << 20


def interrupted(code: CodeType, line: int, action: Callable[[], object]) -> bool:
    """Run an action with Ctrl-C before the given line, in order of running, of a function; tell whether."""
    left = line

    def step(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return step

    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: step if frame.f_code is code else None)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("name", ["_keep", "_room", "_store_arena", "_encode", "_register", "flush"])
def test_what_is_acknowledged_after_an_interrupt_can_be_read(store: ContentStore, name: str) -> None:
    code: CodeType = getattr(ContentWriter, name).__code__
    line = 1
    while True:
        contents = [b"%s %d %d" % (name.encode(), line, number) * 20 for number in range(5)]
        blobs = []
        with store.writer() as writer:
            writer.add_bytes(contents[0] + b"before")

            def add(writer: ContentWriter = writer, contents: list[bytes] = contents) -> None:
                for content in contents:
                    writer.add_bytes(content)
                writer.flush()

            hit = interrupted(code, line, add)
            with contextlib.suppress(StoreUnavailableError):  # it may refuse to go on
                blobs = [writer.add_bytes(content) for content in contents]
                writer.flush()
                assert [store.read(blob.digest) for blob in blobs] == contents
        assert check_packs(store).problems == []
        if not hit:
            break
        line += 1
    assert line > 3
    assert blobs


def test_flush_may_be_tried_again_when_the_catalog_was_locked(store_root: Path) -> None:
    store = ContentStore.open(load_settings(lock_timeout=0.05))
    with store.writer() as writer:
        blob = writer.add_bytes(b"patience")
        with contextlib.closing(sqlite3.connect(store.catalog.place, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreLockedError):
                writer.flush()
        writer.flush()
    assert store.read(blob.digest) == b"patience"
    store.catalog.close()


def test_packs_that_were_never_registered_are_removed(store_root: Path) -> None:
    store = ContentStore.open(load_settings(lock_timeout=0.05))
    with (
        contextlib.closing(sqlite3.connect(store.catalog.place, isolation_level=None)) as holder,
        store.writer() as writer,
    ):
        writer.add_bytes(b"in vain")
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLockedError):
            writer.flush()
    assert list(store.bucket.list("packs/")) == []
    store.catalog.close()


class _Broken(io.BytesIO):
    """A stream that fails once its content is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise ValueError("the stream broke")
        return data


@pytest.mark.parametrize("size", [5 * MIB, 30 * MIB])
def test_broken_stream_does_not_end_the_writer(store: ContentStore, size: int) -> None:
    content = random.Random(1).randbytes(size)
    with store.writer() as writer:
        small = writer.add_bytes(b"before")
        with pytest.raises(ValueError, match="the stream broke"):
            writer.add_stream(_Broken(content))
        blob = writer.add_stream(io.BytesIO(content))
        writer.flush()
    assert store.open_blob(blob).read() == content
    assert store.read(small.digest) == b"before"
    assert check_packs(store, full=True).clean


def test_leftovers_of_killed_downloads_are_swept(store: ContentStore, tmp_path: Path) -> None:
    content = random.Random(2).randbytes(20 * MIB)
    with store.writer() as writer:
        blob = writer.add_bytes(content)
        writer.flush()
    assert blob.recipe is not None
    out = tmp_path / "out"
    code = """
import os, signal, sys
from pathlib import Path
from artline.storage.content import Blob, ContentStore
from artline.storage.export import Export
blob = Blob(bytes.fromhex(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3]))
left = [int(sys.argv[5])]
def progress(files, size):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
ContentStore.open().export([Export(blob, Path(sys.argv[4]), 0o444)], progress)
"""
    arguments = [blob.digest.hex(), str(blob.size), blob.recipe.hex(), str(out / "a"), "2"]
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", code, *arguments], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert len(list(out.iterdir())) == 1  # the second one swept what the first one left
    (out / ".mine.part").touch()

    def look(files: int, size: int) -> None:
        """Download beside this download, from another process, which must spare what this one writes."""
        if not files and not (out / "b").exists():
            beside = [*arguments[:3], str(out / "b"), "-1"]
            subprocess.run([sys.executable, "-c", code, *beside], check=True)

    store.export([Export(blob, out / "c")], look)
    assert sorted(path.name for path in out.iterdir()) == [".mine.part", "b", "c"]
    assert (out / "b").read_bytes() == (out / "c").read_bytes() == content


def run_forking(code: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_bucket_opened_before_a_fork_works_in_the_child(s3_url: str) -> None:
    code = """
import os, sys
from artline.storage.bucket import open_bucket
bucket = open_bucket(sys.argv[1])
bucket.put("a", b"x")
child = os.fork()
if child == 0:
    try:
        bucket.put("b", bucket.read("a") + b"y")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert bucket.read("b") == b"xy"
"""
    run_forking(code, s3_url)


def test_stat_cache_opened_before_a_fork_works_in_the_child(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from artline.storage.stat_cache import StatCache
cache = StatCache(Path(sys.argv[1]), "store")
status = os.stat(sys.argv[0] if os.path.exists(sys.argv[0]) else "/")
cache.record([(b"/folder", b"a", status, bytes(32), None)])
inherited = cache._connection
with cache._lock:  # as when another thread is using it
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        cache.record([(b"/folder", b"b", status, bytes(32), None)])
        found = cache.lookup(b"/folder", [b"a", b"b"])
        os._exit(0 if len(found) == 2 and cache._connection is not inherited else 1)
assert os.waitpid(child, 0)[1] == 0
assert len(cache.lookup(b"/folder", [b"a", b"b"])) == 2
"""
    run_forking(code, str(tmp_path / "stat.db"))
