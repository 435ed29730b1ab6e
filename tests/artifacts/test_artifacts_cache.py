"""Pulling from a remote bucket through the cache, and checkouts that share their files with it."""

from __future__ import annotations

import fcntl
import io
import os
import random
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from services.counter import CountingBucket

from artline.artifacts.artifact import Artifact
from artline.artifacts.audit import audit_content
from artline.artifacts.store import ArtifactStore
from artline.errors import StoreUnavailableError, UsageError
from artline.settings import load_settings
from artline.storage.cached_files import linked_files

MIB = 1 << 20
FICLONE = 0x40049409


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def open_store(root: Path, url: str, **overrides: object) -> ArtifactStore:
    """Open a store with a remote bucket whose bytes are counted."""
    store = ArtifactStore.open(load_settings(root=root, bucket=url, project="p", **overrides))
    if not isinstance(store.content.bucket, CountingBucket):
        store.content.bucket = CountingBucket(store.content.bucket)
    return store


@pytest.fixture
def remote(store_root: Path, tmp_path: Path) -> ArtifactStore:
    """Return a store whose bucket is remote as far as it can tell."""
    (tmp_path / "remote").mkdir()
    return open_store(store_root, f"local://{tmp_path}/remote")


def counter(store: ArtifactStore) -> CountingBucket:
    assert isinstance(store.content.bucket, CountingBucket)
    return store.content.bucket


def log(store: ArtifactStore, **files: bytes) -> Artifact:
    draft = Artifact("peds", "dataset", store=store)
    for name, content in files.items():
        draft.add_stream(io.BytesIO(content), name)
    return store.get(store.log(draft).name)


def entries(store: ArtifactStore) -> list[Path]:
    folder = store.content.cache.folder / "files"
    return sorted(path for path in folder.rglob("*") if path.is_file())


def clones(folder: Path) -> bool:
    """Tell whether the disk under a folder makes reflinks."""
    (folder / "one").write_bytes(bytes(4096))
    try:
        with open(folder / "one", "rb") as one, open(folder / "two", "wb") as two:
            fcntl.ioctl(two, FICLONE, one.fileno())
    except OSError:
        return False
    return True


def test_a_new_version_moves_what_is_new(store_root: Path, s3_url: str, tmp_path: Path) -> None:
    store = open_store(store_root, s3_url)
    data = noise(32 * MIB, 5)
    first = log(store, big=data)
    before = store.content.usage().stored_bytes
    grown = data[: 16 * MIB] + noise(MIB, 6) + data[16 * MIB :]
    second = log(store, big=grown)
    added = store.content.usage().stored_bytes - before
    assert (first.download(tmp_path / "first") / "big").read_bytes() == data
    assert counter(store).moved > 32 * MIB
    counter(store).reset()
    assert (second.download(tmp_path / "second") / "big").read_bytes() == grown
    assert MIB <= counter(store).moved <= added <= 5 * MIB
    counter(store).reset()
    again = store.get("peds:v1").download(tmp_path / "again")
    assert (again / "big").read_bytes() == grown
    assert (counter(store).moved, counter(store).reads) == (0, 0)


def test_what_was_pulled_is_there_without_the_bucket(store_root: Path, s3_url: str, tree: Path) -> None:
    store = open_store(store_root, s3_url)
    draft = Artifact("peds", "dataset", store=store)
    draft.add_dir(tree)
    store.log(draft)
    log(store, other=noise(MIB))
    program = [str(Path(sys.executable).parent / "art"), "pull", "-p", "p"]
    here = os.environ | {"ART_BUCKET": s3_url, "ART_BUCKET_RETRY": "0.1"}
    away = here | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    for environment, ref, out, code in (
        (here, "peds:v0", "first", 0),
        (away, "peds:v0", "second", 0),
        (away, "peds:v1", "third", 7),
    ):
        done = subprocess.run([*program, ref, out], env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
    store.get("peds:v0").verify("second")


def test_an_interrupted_pull_goes_on(remote: ArtifactStore, tmp_path: Path) -> None:
    files = {f"small{number}": noise(100_000, number) for number in range(100)}
    version = log(remote, big=noise(24 * MIB), **files)
    size = 24 * MIB + 10_000_000
    moved = 0
    counter(remote).allowed = size // 5
    for _ in range(10):
        counter(remote).reset()
        try:
            out = version.download(tmp_path / "out")
            break
        except StoreUnavailableError:
            moved += counter(remote).moved
    version.verify(out)
    assert moved + counter(remote).moved < size * 1.02


def test_nothing_comes_from_the_cache_where_it_must_not(remote: ArtifactStore, tmp_path: Path) -> None:
    version = log(remote, one=noise(10_000), big=noise(9 * MIB))
    version.download(tmp_path / "out")
    (pack,) = (tmp_path / "remote").rglob("*.pack")
    whole = pack.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    pack.write_bytes(damaged)
    version.verify(version.download(tmp_path / "cached"))
    assert [fault.path for fault in audit_content(version).faults] == ["big"]
    pack.write_bytes(whole)
    counter(remote).reset()
    version.verify(version.download(tmp_path / "uncached", skip_cache=True))
    assert counter(remote).moved > 9 * MIB
    with pytest.raises(UsageError, match="skip_cache"):
        version.download(tmp_path / "uncached", skip_cache=True, link="hardlink")


@pytest.mark.parametrize("bucket", ["near", "far"])
def test_hard_links_share_one_read_only_file(
    bucket: str, store: ArtifactStore, remote: ArtifactStore, tree: Path, tmp_path: Path
) -> None:
    used = store if bucket == "near" else remote
    draft = Artifact("peds", "dataset", store=used)
    draft.add_dir(tree)
    draft.add_stream(io.BytesIO(noise(9 * MIB)), "big")
    draft.add_stream(io.BytesIO((tree / "sub" / "run.sh").read_bytes()), "plain.sh")
    version = used.log(draft, project="p")
    told = [0, 0]

    def progress(files: int, size: int) -> None:
        told[0] += files
        told[1] += size

    outs = [version.download(tmp_path / name, link="hardlink", progress=progress) for name in ("a", "b")]
    assert told == [2 * version.file_count, 2 * version.size]
    for path in (entry.path for entry in version.files() if entry.is_file):
        one, two = (out / path for out in outs)
        assert one.samefile(two)
        assert not one.stat().st_mode & 0o222
    assert os.access(outs[0] / "sub" / "run.sh", os.X_OK)
    assert not stat.S_IMODE((outs[0] / "plain.sh").stat().st_mode) & 0o111
    for out in outs:
        version.verify(out)
    version.download(outs[0], link="hardlink")
    version.checkout(outs[0])
    assert (outs[0] / "big").samefile(outs[1] / "big")
    usage = used.content.cache.usage()
    assert usage.linked == usage.files > 0
    assert usage.size < 10 * MIB


def test_the_kind_of_link_can_be_changed(remote: ArtifactStore, tmp_path: Path) -> None:
    version = log(remote, a=noise(5000), b=noise(5000))
    out = version.download(tmp_path / "out")
    first = (out / "a").stat().st_ino
    version.download(out, link="copy")
    assert (out / "a").stat().st_ino == first
    version.download(out, link="hardlink")
    linked = (out / "a").stat()
    assert (linked.st_nlink, linked.st_mode & 0o222) == (3, 0)
    version.download(out)
    assert (out / "a").stat().st_ino == linked.st_ino
    version.download(out, link="copy")
    assert (out / "a").stat().st_nlink == 1
    assert (out / "a").stat().st_mode & 0o200
    version.verify(out)


def test_an_edit_of_a_linked_file_reaches_no_other_checkout(remote: ArtifactStore, tmp_path: Path) -> None:
    version = log(remote, small=noise(5000), big=noise(9 * MIB))
    for number, edit in enumerate(("content", "shorter", "writable", "executable", "link")):
        version.download(tmp_path / f"before{number}", link="hardlink")
        for path in entries(remote):
            data, status = path.read_bytes(), path.stat()
            path.chmod(0o644)
            if edit == "content":
                path.write_bytes(bytes(1) + data[1:])
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
                path.chmod(status.st_mode)
            elif edit == "shorter":
                path.write_bytes(data[:-1])
                path.chmod(status.st_mode)
            elif edit == "executable":
                path.chmod(0o555)
            elif edit == "link":
                path.unlink()
                path.symlink_to("/etc/passwd")
        version.verify(version.download(tmp_path / f"after{number}", link="hardlink"))
        assert not [path for path in entries(remote) if path.is_symlink() or path.stat().st_mode & 0o333]


def test_files_of_the_cache_go_when_no_checkout_has_them(remote: ArtifactStore, tmp_path: Path) -> None:
    version = log(remote, big=noise(9 * MIB))
    out = version.download(tmp_path / "out", link="hardlink")
    cache = remote.content.cache
    assert cache.clean(size=0).bytes < 10 * MIB
    assert len(entries(remote)) == 1
    (out / "big").unlink()
    assert cache.clean(size=0).bytes >= 9 * MIB
    assert not entries(remote)
    version.verify(version.download(out, link="hardlink"))
    assert cache.clean(everything=True).entries == 2
    version.verify(out)
    version.download(out, link="hardlink")
    assert (out / "big").stat().st_nlink == 2


def test_reflinks_where_the_disk_makes_them(remote: ArtifactStore, tmp_path: Path) -> None:
    version = log(remote, small=noise(5000), big=noise(9 * MIB))
    out = tmp_path / "out"
    if not clones(tmp_path):
        with pytest.raises(UsageError, match="Use link='copy'"):
            version.download(out, link="reflink")
        version.verify(version.download(out))
        assert not entries(remote)
        return
    version.verify(version.download(out))
    assert [path.stat().st_size for path in entries(remote)] == [9 * MIB]
    version.verify(version.download(tmp_path / "all", link="reflink"))
    assert len(entries(remote)) == 2
    (out / "big").write_bytes(b"mine")
    version.verify(tmp_path / "all")
    for path in entries(remote):
        path.chmod(0o644)
        path.write_bytes(bytes(1) + path.read_bytes()[1:])
        path.chmod(0o444)
    version.verify(version.download(tmp_path / "again", link="reflink"))


def test_links_that_cannot_be_made_are_refused(
    remote: ArtifactStore, store_root: Path, tmp_path: Path
) -> None:
    version = log(remote, a=b"1")
    with pytest.raises(UsageError, match="'symlink' is not known"):
        version.download(tmp_path / "out", link="symlink")
    url = remote.content.bucket.url
    other = open_store(store_root, url, cache="/dev/shm/artline-test-cache")
    elsewhere = os.stat("/dev/shm").st_dev != os.stat(tmp_path).st_dev
    assert elsewhere, "this machine has no second disk"
    with pytest.raises(UsageError, match="two disks: set ART_CACHE"):
        other.get("peds").download(tmp_path / "out", link="hardlink")
    other.content.cache.clean(everything=True)
    none = open_store(store_root, url, cache_size=0)
    for link in ("hardlink", "reflink"):
        with pytest.raises(UsageError, match="cache_size = 0"):
            none.get("peds").download(tmp_path / "out", link=link)
    none.get("peds").verify(none.get("peds").download(tmp_path / "out", link="copy"))
    assert linked_files(none.content, tmp_path, None) is None


def link_and_empty(root: str, url: str, out: str) -> None:
    """Check a version out by hard links again and again, while others do the same and empty the cache."""
    store = open_store(Path(root), url)
    version = store.get("peds")
    for number in range(3):
        place = version.download(f"{out}-{number}", link="hardlink")
        if number % 2:
            store.content.cache.clean(everything=True)
        version.verify(place)


def test_processes_link_while_others_empty_the_cache(remote: ArtifactStore, tmp_path: Path) -> None:
    files = {f"f{number}": noise(2000, number) for number in range(150)}
    log(remote, **files)
    jobs = [(str(remote.settings.root), remote.content.bucket.url, str(tmp_path / str(n))) for n in range(3)]
    with get_context("spawn").Pool(3) as pool:
        pool.starmap(link_and_empty, jobs)


def test_threads_pull_one_version_at_once(remote: ArtifactStore, tmp_path: Path) -> None:
    version = log(remote, big=noise(12 * MIB), **{f"f{n}": noise(3000, n) for n in range(50)})
    with ThreadPoolExecutor(4) as pool:
        links = [None, "copy", "hardlink", "hardlink"]
        jobs = [
            pool.submit(version.download, tmp_path / str(number), link=link)
            for number, link in enumerate(links)
        ]
        for job in jobs:
            version.verify(job.result())
