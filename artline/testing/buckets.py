"""What every bucket must do: subclass ``BucketSuite`` and give it a ``bucket`` fixture (pytest)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from artline.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from artline.storage.bucket import Bucket

__all__ = ["BucketSuite"]


class BucketSuite:
    """The conformance suite."""

    @pytest.fixture
    def bucket(self) -> Bucket:
        """Return an empty bucket."""
        raise NotImplementedError

    def test_put_and_read(self, bucket: Bucket) -> None:
        bucket.put("a/b.pack", b"hello")
        assert bucket.read("a/b.pack") == b"hello"
        assert bucket.size("a/b.pack") == 5
        assert bucket.exists("a/b.pack")

    def test_put_replaces(self, bucket: Bucket) -> None:
        bucket.put("a", b"first")
        bucket.put("a", memoryview(b"second"))
        assert bucket.read("a") == b"second"

    def test_empty_object(self, bucket: Bucket) -> None:
        bucket.put("empty", b"")
        assert bucket.read("empty") == b""
        assert bucket.size("empty") == 0

    @pytest.mark.parametrize(
        ("start", "length", "expected"),
        [
            (0, 3, b"012"),
            (7, None, b"789"),
            (4, 0, b""),
            (8, 5, b"89"),
            (10, 4, b""),
            (0, None, b"0123456789"),
        ],
    )
    def test_read_a_range(self, bucket: Bucket, start: int, length: int | None, expected: bytes) -> None:
        bucket.put("digits", b"0123456789")
        assert bucket.read("digits", start, length) == expected

    def test_read_into(self, bucket: Bucket) -> None:
        bucket.put("digits", b"0123456789")
        buffer = bytearray(b"......")
        assert bucket.read_into("digits", 2, memoryview(buffer)) == 6
        assert buffer == b"234567"
        assert bucket.read_into("digits", 7, memoryview(buffer)) == 3
        assert buffer[:3] == b"789"

    def test_put_file(self, bucket: Bucket, tmp_path: Path) -> None:
        source = tmp_path / "source"
        content = bytes(range(256)) * 5000
        source.write_bytes(content)
        bucket.put_file("kept/copy", source)
        assert bucket.read("kept/copy") == content
        assert source.read_bytes() == content
        bucket.put_file("moved/copy", source, move=True)
        assert bucket.read("moved/copy") == content
        assert not source.exists()

    def test_create_never_replaces(self, bucket: Bucket) -> None:
        assert bucket.create("once", b"first")
        assert not bucket.create("once", b"second")
        assert bucket.read("once") == b"first"

    def test_only_one_creator_wins(self, bucket: Bucket) -> None:
        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(lambda number: bucket.create("race", b"%d" % number), range(4)))
        assert sum(won) == 1
        assert bucket.read("race") == b"%d" % won.index(True)

    def test_list(self, bucket: Bucket) -> None:
        sizes = {"packs/aa/one.pack": 1, "packs/ab/two.pack": 2, "packs/b/three.pack": 3, "store.json": 4}
        for name, size in sizes.items():
            bucket.put(name, b"x" * size)
        assert dict(bucket.list()) == sizes
        assert dict(bucket.list("packs/")) == {name: sizes[name] for name in sizes if name != "store.json"}
        assert set(dict(bucket.list("packs/a"))) == {"packs/aa/one.pack", "packs/ab/two.pack"}
        assert dict(bucket.list("nothing/")) == {}

    def test_delete_twice(self, bucket: Bucket) -> None:
        bucket.put("a/b", b"x")
        bucket.delete("a/b")
        bucket.delete("a/b")
        assert not bucket.exists("a/b")
        assert dict(bucket.list()) == {}

    def test_what_is_not_there(self, bucket: Bucket) -> None:
        assert not bucket.exists("no/thing")
        for call in (bucket.read, bucket.size):
            with pytest.raises(NotFoundError, match="no/thing"):
                call("no/thing")
        with pytest.raises(NotFoundError):
            bucket.read_into("no/thing", 0, memoryview(bytearray(4)))

    @pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a//b", "a/./b", "a/.."])
    def test_names_that_are_refused(self, bucket: Bucket, name: str) -> None:
        with pytest.raises(UsageError):
            bucket.put(name, b"x")
        with pytest.raises(UsageError):
            bucket.read(name)
