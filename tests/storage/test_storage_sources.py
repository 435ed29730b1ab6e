"""Files being added that are absent, unreadable, strange, or change under the read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from artline.errors import SourceChangedError, SourceNotFoundError, UsageError
from artline.storage import writer as writer_module
from artline.storage.content import ContentStore

MIB = 1 << 20


def test_absent(store: ContentStore, tmp_path: Path) -> None:
    with store.writer() as writer:
        with pytest.raises(SourceNotFoundError, match="gone"):
            writer.add_file(tmp_path / "gone")
        blob = writer.add_bytes(b"the writer goes on")
        writer.flush()
    assert store.read(blob.digest) == b"the writer goes on"


def test_no_regular_file(store: ContentStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with store.writer() as writer:
        for path in (tmp_path / "fifo", tmp_path, Path("/dev/null")):
            with pytest.raises(UsageError, match="not a regular file"):
                writer.add_file(path)


def test_symbolic_link_is_followed_and_a_loop_refused(store: ContentStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"target")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loop").symlink_to("loop")
    with store.writer() as writer:
        assert writer.add_file(tmp_path / "link").digest == blake3(b"target").digest()
        with pytest.raises(SourceNotFoundError, match="symbolic"):
            writer.add_file(tmp_path / "loop")


def test_names_of_any_bytes(store: ContentStore, tmp_path: Path) -> None:
    names = ["ünïcødé", "with\nnewline", " ", os.fsdecode(b"\xff\xfe")]
    for name in names:
        (tmp_path / name).write_bytes(name.encode(errors="surrogateescape"))
    with store.writer() as writer:
        blobs = [blob for blob, _ in writer.add_files(str(tmp_path / name) for name in names)]
        writer.flush()
    for name, blob in zip(names, blobs, strict=True):
        assert store.read(blob.digest) == name.encode(errors="surrogateescape")


def test_unreadable(unprivileged: list[str], foreign_folder: Path) -> None:
    secret = foreign_folder / "secret"
    secret.write_bytes(b"secret")
    secret.chmod(0)
    home = foreign_folder / "home"
    home.mkdir()
    home.chmod(0o777)
    code = (
        "import sys; from artline.storage.content import ContentStore\n"
        "from artline.errors import SourceNotReadableError\n"
        "with ContentStore.open().writer() as writer:\n"
        "    try:\n        writer.add_file(sys.argv[1])\n"
        "    except SourceNotReadableError as error:\n        print(error)"
    )
    done = subprocess.run(
        [*unprivileged, sys.executable, "-c", code, str(secret)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ART_HOME": str(home / "store"), "HOME": str(home)},
        cwd=home,
    )
    assert "cannot be read: Permission denied" in done.stdout, done


@pytest.mark.parametrize("size", [100_000, 12 * MIB])
@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_file_that_changes_under_the_read(
    store: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, change: str
) -> None:
    """The change happens between the look at the file and its end, every time it is tried."""
    file = tmp_path / "file"
    file.write_bytes(os.urandom(size))

    def meddle() -> None:
        if change == "grow":
            with open(file, "ab") as out:
                out.write(b"more")
        elif change == "shrink":
            os.truncate(file, file.stat().st_size - 1000)
        else:
            before = file.stat().st_mtime_ns
            while file.stat().st_mtime_ns == before:
                with open(file, "r+b") as out:
                    out.write(os.urandom(10))

    real_check = writer_module.check_regular

    def check(status: os.stat_result, path: str) -> None:
        real_check(status, path)
        meddle()

    monkeypatch.setattr(writer_module, "check_regular", check)
    with store.writer() as writer:
        with pytest.raises(SourceChangedError, match="changed while"):
            writer.add_file(file)
        monkeypatch.undo()
        blob = writer.add_file(file)
        writer.flush()
    assert store.open_blob(blob).read() == file.read_bytes()


def test_file_that_vanishes_while_it_is_read_is_kept_whole(store: ContentStore, tmp_path: Path) -> None:
    """Once it is open its content stays, so what was stored is the file as it was; only its end counts."""
    file = tmp_path / "file"
    content = os.urandom(12 * MIB)
    file.write_bytes(content)
    descriptor = os.open(file, os.O_RDONLY)
    file.unlink()
    with store.writer() as writer:
        blob = writer.add_file(f"/proc/self/fd/{descriptor}")
        writer.flush()
    os.close(descriptor)
    assert blob.digest == blake3(content).digest()
