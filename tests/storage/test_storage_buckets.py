"""Buckets: the conformance suite on each kind, and what each can suffer."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from artline.errors import MissingExtraError, NotFoundError, StoreUnavailableError, UsageError
from artline.storage.bucket import LocalBucket, MemoryBucket, open_bucket, open_staged
from artline.storage.remote import FsspecBucket
from artline.storage.retry import Patience
from artline.storage.s3 import S3Bucket
from artline.testing.buckets import BucketSuite


class TestMemoryBucket(BucketSuite):
    @pytest.fixture
    def bucket(self) -> MemoryBucket:
        return MemoryBucket()


class TestLocalBucket(BucketSuite):
    @pytest.fixture
    def bucket(self, tmp_path: Path) -> LocalBucket:
        return LocalBucket(tmp_path / "bucket")

    def test_nothing_temporary_is_left(self, bucket: LocalBucket) -> None:
        bucket.put("a", b"x")
        bucket.create("b", b"y")
        bucket.create("b", b"z")
        assert list(bucket.staging.iterdir()) == []

    def test_sweep_spares_what_is_in_use(self, bucket: LocalBucket) -> None:
        bucket.staging.mkdir(parents=True)
        in_use = open_staged(str(bucket.staging / "in-use"))
        os.write(in_use, b"half a pack")
        (bucket.staging / "dead").write_bytes(b"half a pack")
        assert bucket.sweep_staging() == 1
        assert [path.name for path in bucket.staging.iterdir()] == ["in-use"]
        os.close(in_use)

    def test_sweep_at_the_moment_a_file_is_made(
        self, bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = fcntl.flock

        def flock(descriptor: int, operation: int) -> None:
            sweep = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
            real(sweep, fcntl.LOCK_EX)
            if operation & fcntl.LOCK_NB:
                try:
                    real(descriptor, operation)
                finally:
                    os.close(sweep)
            else:
                thread = threading.Thread(target=os.close, args=(sweep,))
                thread.start()
                real(descriptor, operation)
                thread.join()

        monkeypatch.setattr(fcntl, "flock", flock)
        bucket.put("a", b"x")
        assert bucket.read("a") == b"x"

    def test_a_file_that_is_swept_before_it_is_locked_is_made_again(
        self, bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = fcntl.flock
        swept: list[int] = []

        def flock(descriptor: int, operation: int) -> None:
            if not swept and not operation & fcntl.LOCK_NB:
                swept.append(bucket.sweep_staging())
            real(descriptor, operation)

        monkeypatch.setattr(fcntl, "flock", flock)
        bucket.put("a", b"x")
        assert swept == [1]
        assert bucket.read("a") == b"x"
        assert list(bucket.staging.iterdir()) == []

    def test_file_that_cannot_be_locked_is_not_left(
        self, bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def flock(descriptor: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", flock)
        before = os.listdir("/proc/self/fd")
        with pytest.raises(StoreUnavailableError, match="No locks"):
            bucket.put("a", b"x")
        assert len(os.listdir("/proc/self/fd")) == len(before)
        assert list(bucket.staging.iterdir()) == []

    def test_put_file_from_another_file_system(self, bucket: LocalBucket) -> None:
        source = Path("/dev/shm") / f"artline-{os.getpid()}"
        source.write_bytes(b"elsewhere")
        bucket.put_file("a", source, move=True)
        assert bucket.read("a") == b"elsewhere"
        assert not source.exists()

    def test_folder_in_the_way(self, bucket: LocalBucket) -> None:
        bucket.root.mkdir()
        (bucket.root / "packs").write_text("a file where a folder should be")
        with pytest.raises(StoreUnavailableError):
            bucket.put("packs/aa/x.pack", b"x")

    def test_disk_full(self, on_small_disk: Callable[[str], str]) -> None:
        printed = on_small_disk(
            """
            from artline.errors import StoreFullError
            from artline.storage.bucket import LocalBucket
            bucket = LocalBucket("bucket")
            bucket.put("small", b"x" * 1000)
            try:
                bucket.put("large", b"x" * 20_000_000)
            except StoreFullError as error:
                print(error)
            print(dict(bucket.list()), list(bucket.staging.iterdir()))
            """
        )
        assert "no space left for 'large'" in printed
        assert printed.endswith("{'small': 1000} []\n")

    def test_no_permission(
        self, unprivileged: list[str], foreign_folder: Path, seal: Callable[[Path], None]
    ) -> None:
        LocalBucket(foreign_folder).put("a", b"x")
        seal(foreign_folder)
        code = (
            "import sys; from artline.errors import AuthError\n"
            "from artline.storage.bucket import LocalBucket\n"
            "bucket = LocalBucket(sys.argv[1]); print(bucket.read('a'))\n"
            "try:\n    bucket.put('b', b'x')\nexcept AuthError as error: print('refused', error)"
        )
        command = [*unprivileged, sys.executable, "-c", code, str(foreign_folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout.startswith("b'x'\nrefused not allowed to use 'b'"), done


class TestFsspecMemoryBucket(BucketSuite):
    @pytest.fixture
    def bucket(self, tmp_path: Path) -> FsspecBucket:
        return FsspecBucket(f"memory://{tmp_path.name}")


class TestFsspecS3Bucket(BucketSuite):
    """An asynchronous file system behind fsspec, as those of other clouds are."""

    @pytest.fixture
    def bucket(self, s3_url: str) -> FsspecBucket:
        return FsspecBucket(s3_url)

    def test_wrong_bucket_says_so(self, s3_url: str) -> None:
        bucket = FsspecBucket("s3://there-is-no-such-bucket/x")
        with pytest.raises(NotFoundError, match=r"does not exist|no object"):
            bucket.read("a")

    def test_server_that_is_away(self, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        brief = Patience(timeout=1, retry=0.01)
        bucket = FsspecBucket(s3_url, brief, config_kwargs={"retries": {"max_attempts": 0}})
        with pytest.raises(StoreUnavailableError, match="out of reach: 'a' failed"):
            bucket.put("a", b"x")


def test_open_bucket_by_path_and_url(tmp_path: Path) -> None:
    assert isinstance(open_bucket(tmp_path), LocalBucket)
    local = open_bucket(f"file://{tmp_path}/here")
    assert isinstance(local, LocalBucket)
    assert local.root == tmp_path / "here"
    assert isinstance(open_bucket("s3://bucket/prefix"), S3Bucket)
    assert isinstance(open_bucket("memory://prefix"), FsspecBucket)


def test_unknown_protocol() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        open_bucket("nonsense://x/y").read("a")


def test_protocol_without_its_package() -> None:
    with pytest.raises(MissingExtraError, match="pip install"):
        open_bucket("gs://x/y").read("a")
