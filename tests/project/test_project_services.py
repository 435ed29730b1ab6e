"""The servers that other tests rely on: fresh, private, and gone with the session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import sqlalchemy as sa
from services.process import LEASH, Server


def test_each_database_is_fresh(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE made_here (n integer)"))
        assert sa.inspect(connection).get_table_names() == ["made_here"]
    engine.dispose()


def test_each_database_is_fresh_again(postgres_url: str) -> None:
    test_each_database_is_fresh(postgres_url)


def test_plain_s3fs_finds_the_server(s3_url: str) -> None:
    import s3fs

    files = s3fs.S3FileSystem()
    files.pipe_file(f"{s3_url}/folder/object", b"content")
    assert files.cat_file(f"{s3_url}/folder/object") == b"content"
    assert files.cat_file(f"{s3_url}/folder/object", start=2, end=4) == b"nt"
    assert [entry.rpartition("/")[2] for entry in files.ls(f"{s3_url}/folder")] == ["object"]


def test_store_root_is_the_tests_own(store_root: Path) -> None:
    assert os.environ["ART_HOME"] == str(store_root)
    assert not store_root.exists()
    assert [name for name in os.environ if name.startswith("ART_")] == ["ART_HOME"]
    assert Path.home().is_relative_to(store_root.parent)
    assert Path.cwd().is_relative_to(store_root.parent)


def test_a_server_dies_with_the_killed_session(tmp_path: Path) -> None:
    program = (
        "import os, subprocess, sys\n"
        "leash = sys.argv[1]\n"
        "child = subprocess.Popen([sys.executable, leash, str(os.getpid()), '9', '--', 'sleep', '1000'])\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    session = subprocess.Popen(
        [sys.executable, "-c", program, str(LEASH)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert session.stdin is not None
    assert session.stdout is not None
    server = int(session.stdout.readline())
    _wait_for(lambda: _command(server).startswith("sleep"))
    session.send_signal(signal.SIGKILL)
    session.wait()
    session.stdin.close()
    session.stdout.close()
    _wait_for(lambda: _command(server) == "")


def test_a_server_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    server = Server(["sh", "-c", "echo port taken; exit 3"], tmp_path)
    assert not server.wait_until(lambda: False, 30)
    assert "port taken" in server.tail()
    server.stop(keep=True)


def _command(pid: int) -> str:
    """Return the command line of a live process, or nothing once it is dead."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except FileNotFoundError:
        return ""


def _wait_for(condition: object, seconds: float = 20) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        tick.wait(0.01)
