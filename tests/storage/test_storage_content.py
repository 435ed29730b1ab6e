"""The content store: what goes in comes out, whatever its size and however it came."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artline.errors import (
    ConflictError,
    IntegrityError,
    StoreTooNewError,
    StoreUnavailableError,
    UsageError,
)
from artline.settings import load_settings
from artline.storage import schema
from artline.storage.content import ContentStore, Kind
from artline.storage.export import Export
from artline.storage.remote import FsspecBucket

MIB = 1 << 20


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


SIZES = [0, 1, 127, 128, 65_537, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 17 * MIB + 3]


class ContentSuite:
    """What a store does on every pair of catalog and bucket."""

    def test_round_trip_of_every_size(self, store: ContentStore, tmp_path: Path) -> None:
        contents = {f"{kind}{size}": make(size) for size in SIZES for kind, make in MAKERS.items()}
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
        with store.writer() as writer:
            paths = [str(tmp_path / name) for name in contents]
            blobs = dict(zip(contents, (blob for blob, _ in writer.add_files(paths)), strict=True))
            writer.flush()
            assert writer.stats.files == len(contents)
            assert writer.stats.bytes == sum(map(len, contents.values()))
        for name, content in contents.items():
            blob = blobs[name]
            assert blob.digest == blake3(content).digest()
            assert blob.size == len(content)
            assert (blob.recipe is not None) == (len(content) >= 8 * MIB)
            with store.open_blob(blob) as reader:
                assert reader.read() == content
            assert store.missing(store.chunks(blob)) == set()
        out = tmp_path / "out"
        stats = store.export(Export(blob, out / name[:3] / name) for name, blob in blobs.items())
        assert (stats.files, stats.bytes) == (len(contents), sum(map(len, contents.values())))
        for name, content in contents.items():
            assert (out / name[:3] / name).read_bytes() == content

    def test_file_stream_and_bytes_agree(self, store: ContentStore, tmp_path: Path) -> None:
        for size in (5000, 8 * MIB, 11 * MIB):
            content = noise(size)
            (tmp_path / "file").write_bytes(content)
            with store.writer() as writer:
                blobs = {
                    writer.add_file(tmp_path / "file"),
                    writer.add_stream(io.BytesIO(content)),
                    writer.add_bytes(content),
                }
                assert len(blobs) == 1
                writer.flush()
            assert store.open_blob(blobs.pop()).read() == content

    def test_known_content_is_not_stored_again(self, store: ContentStore) -> None:
        content = noise(20 * MIB)
        with store.writer() as writer:
            writer.add_stream(io.BytesIO(content))
            writer.flush()
        changed = content[: 10 * MIB] + b"inserted" + content[10 * MIB :]
        with store.writer() as writer:
            first = writer.add_stream(io.BytesIO(content))
            assert writer.stats.new_bytes == 0
            blob = writer.add_stream(io.BytesIO(changed))
            writer.flush()
            assert writer.stats.new_bytes < 9 * MIB
        assert store.open_blob(blob).read() == changed
        assert store.open_blob(first).read() == content

    def test_missing(self, store: ContentStore) -> None:
        with store.writer() as writer:
            kept = [writer.add_bytes(b"%d" % number).digest for number in range(1500)]
            assert store.missing(kept) == set(kept)
            writer.flush()
        absent = [bytes([number]) * 32 for number in range(10)]
        assert store.missing(kept + absent) == set(absent)
        assert store.missing([]) == set()

    def test_read_many(self, store: ContentStore) -> None:
        contents = {blake3(data).digest(): data for data in (b"%d" % number * 50 for number in range(300))}
        with store.writer() as writer:
            for data in contents.values():
                writer.add_bytes(data)
            writer.flush()
        wanted = list(contents)[::-3]
        assert dict(store.read_many(wanted)) == {digest: contents[digest] for digest in wanted}

    def test_absent_chunk_is_named(self, store: ContentStore) -> None:
        with pytest.raises(IntegrityError, match="blake3:" + "ab" * 32):
            store.read(b"\xab" * 32)

    def test_two_writers_of_the_same_content(self, store: ContentStore) -> None:
        with store.writer() as one, store.writer() as two:
            content = noise(8 * MIB)
            blob = one.add_bytes(content)
            assert two.add_bytes(content) == blob
            one.flush()
            two.flush()  # its own pack holds a copy, but the index keeps the first
            with store.catalog.read() as connection:
                pins = connection.execute(schema.lease_pack.select()).all()
            assert len({pin.pack_id for pin in pins if pin.lease_id == two.lease.id}) == 2
        assert store.open_blob(blob).read() == content

    def test_what_was_not_flushed_is_gone(self, store: ContentStore) -> None:
        with store.writer() as writer:
            blob = writer.add_stream(io.BytesIO(noise(70 * MIB)))
        assert blob.digest in store.missing([blob.digest])
        assert list(store.bucket.list("packs/")) == []


MAKERS = {
    "noise": noise,
    "text": lambda size: (b"line %d of some text\n" * (size // 20 + 1))[:size],
}


class TestEmbedded(ContentSuite):
    pass


class TestPostgresAndS3(ContentSuite):
    @pytest.fixture
    def store(self, postgres_url: str, s3_url: str) -> ContentStore:
        return ContentStore.open(load_settings(catalog=postgres_url, bucket=s3_url))


def test_one_instance_for_a_process(store: ContentStore) -> None:
    assert ContentStore.open() is store


def test_sha256_by_choice(store_root: Path) -> None:
    store = ContentStore.open(load_settings(digest="sha256"))
    with store.writer() as writer:
        blob = writer.add_bytes(b"hello")
        writer.flush()
    assert blob.digest == hashlib.sha256(b"hello").digest()
    assert store.read(blob.digest) == b"hello"


def test_catalog_that_was_lost_adopts_the_bucket(store: ContentStore) -> None:
    store.catalog.close()
    for path in store.root.glob("catalog.db*"):
        path.unlink()
    assert ContentStore.open().store_id == store.store_id


def test_bucket_of_another_store_is_refused(store: ContentStore, tmp_path: Path) -> None:
    other = ContentStore.open(load_settings(root=tmp_path / "other"))
    assert other.store_id != store.store_id
    with pytest.raises(UsageError, match="another store"):
        ContentStore.open(
            load_settings(root=tmp_path / "third", catalog=store.catalog.place, bucket=other.bucket.url)
        )


def test_bucket_that_is_away_is_not_made_anew(store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.writer() as writer:
        blob = writer.add_bytes(b"on a disk of its own")
        writer.flush()
    bucket = store.root / "bucket"
    monkeypatch.setattr("artline.storage.content._open_stores", {})
    bucket.rename(store.root / "away")
    for there in (False, True):
        if there:
            bucket.mkdir()  # an empty mount point
        for adopt in (False, True):
            with pytest.raises(StoreUnavailableError, match=str(bucket)):
                ContentStore.open(adopt=adopt)
        assert bucket.exists() == there
        assert not there or list(bucket.iterdir()) == []
    bucket.rmdir()
    (store.root / "away").rename(bucket)
    again = ContentStore.open()
    assert again.read(blob.digest) == b"on a disk of its own"
    again.catalog.close()


def test_lost_store_file_is_written_again_beside_the_packs(
    store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.writer() as writer:
        writer.add_bytes(b"x")
        writer.flush()
    text = store.bucket.read("store.json")
    store.bucket.delete("store.json")
    monkeypatch.setattr("artline.storage.content._open_stores", {})
    again = ContentStore.open()
    assert again.bucket.read("store.json") == text
    again.catalog.close()


def test_crash_while_a_store_is_made(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> bool:
        raise KeyboardInterrupt

    settings_ = load_settings(bucket=f"memory://{store_root}")
    with monkeypatch.context() as patch:
        patch.setattr(FsspecBucket, "create", crash)
        with pytest.raises(KeyboardInterrupt):
            ContentStore.open(settings_)
    store = ContentStore.open(settings_)
    assert store.store_id.encode() in store.bucket.read("store.json")
    store.catalog.close()


def test_newer_store_is_refused(store: ContentStore, tmp_path: Path) -> None:
    bucket = tmp_path / "newer"
    bucket.mkdir()
    text = (store.root / "bucket" / "store.json").read_text()
    (bucket / "store.json").write_text(text.replace('"version": 1', '"version": 2'))
    with pytest.raises(StoreTooNewError, match="format 2"):
        ContentStore.open(load_settings(root=tmp_path / "x", bucket=str(bucket)))


def test_damaged_store_file(tmp_path: Path, store_root: Path) -> None:
    (store_root / "bucket").mkdir(parents=True)
    (store_root / "bucket" / "store.json").write_text("{")
    with pytest.raises(IntegrityError, match=r"store\.json"):
        ContentStore.open()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reads=st.lists(st.tuples(st.integers(0, 10 * MIB), st.integers(0, 3 * MIB)), max_size=8))
def test_random_access(store: ContentStore, reads: list[tuple[int, int]]) -> None:
    content = noise(9 * MIB + 17, seed=4)
    with store.writer() as writer:
        blob = writer.add_bytes(content)
        writer.flush()
    with store.open_blob(blob) as reader:
        for position, length in reads:
            assert reader.seek(position) == position
            assert reader.read(length) == content[position : position + length]


def test_seeking_from_the_end(store: ContentStore) -> None:
    with store.writer() as writer:
        blob = writer.add_bytes(b"0123456789")
        writer.flush()
    with store.open_blob(blob) as reader:
        assert reader.seek(-3, io.SEEK_END) == 7
        assert reader.read() == b"789"
        with pytest.raises(OSError, match="seek"):
            reader.seek(-1)


def test_export_sets_the_mode_and_replaces(store: ContentStore, tmp_path: Path) -> None:
    with store.writer() as writer:
        blob = writer.add_bytes(b"#!/bin/sh\n")
        writer.flush()
    target = tmp_path / "deep" / "er" / "tool"
    store.export([Export(blob, target, 0o755)])
    assert target.stat().st_mode & 0o777 == 0o755
    target.write_bytes(b"mine")
    store.export([Export(blob, target)])
    assert target.read_bytes() == b"#!/bin/sh\n"
    assert os.listdir(target.parent) == ["tool"]


def test_progress_adds_up(store: ContentStore, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(noise(20 * MIB))
    (tmp_path / "b").write_bytes(b"small")
    steps: list[tuple[int, int]] = []
    for again in range(2):  # the second time, the stat cache may know them
        steps.clear()
        with store.writer() as writer:
            paths = [str(tmp_path / name) for name in "ab"]
            blobs = [blob for blob, _ in writer.add_files(paths, lambda *step: steps.append(step))]
            writer.flush()
        assert [sum(column) for column in zip(*steps, strict=True)] == [2, 20 * MIB + 5]
        if not again:  # a large file tells of every window read, not only when it is done
            assert steps[:3] == [(0, 8 * MIB), (0, 8 * MIB), (0, 4 * MIB)]
    steps.clear()
    items = [Export(blob, tmp_path / "out" / str(number)) for number, blob in enumerate(blobs)]
    store.export(items, lambda *step: steps.append(step))
    assert [sum(column) for column in zip(*steps, strict=True)] == [2, 20 * MIB + 5]


def test_blocks_larger_than_a_buffer(store: ContentStore) -> None:
    shard = noise(20 * MIB)
    with store.writer() as writer:
        blob = writer.add_bytes(shard, Kind.SHARD)
        writer.flush()
    assert blob.recipe is None
    assert store.read(blob.digest) == shard


def test_lease_that_ended_is_a_conflict(store: ContentStore) -> None:
    with store.writer() as writer:
        writer.add_bytes(b"x")
        writer.flush()
        with store.catalog.write() as connection:
            writer.lease.check(connection)
            writer.lease.release(connection)
        with pytest.raises(ConflictError, match="ended"), store.catalog.write() as connection:
            writer.lease.check(connection)
        writer.add_bytes(b"y")
        with pytest.raises(ConflictError):
            writer.flush()


def test_renewing_a_lease(store: ContentStore) -> None:
    with store.writer() as writer:
        writer.add_bytes(b"x")
        writer.flush()
        before = writer.lease.expires_at
        writer.lease.renew()
        assert writer.lease.expires_at > before


def test_closed_writer_says_so(store: ContentStore) -> None:
    writer = store.writer()
    writer.close()
    with pytest.raises(UsageError, match="closed"):
        writer.add_bytes(b"x")


def test_usage(store: ContentStore) -> None:
    with store.writer() as writer:
        writer.add_bytes(b"a" * 1000)
        writer.flush()
    usage = store.usage()
    assert (usage.packs, usage.chunks, usage.logical_bytes) == (1, 1, 1000)


def test_storing_needs_bounded_memory(store_root: Path, tmp_path: Path) -> None:
    with open(tmp_path / "large", "wb") as file:
        for number in range(60):
            file.write(noise(8 * MIB, seed=number))
    code = (
        "import sys; from artline.storage.content import ContentStore\n"
        "from artline.storage.export import Export\n"
        "store = ContentStore.open()\n"
        "with store.writer() as writer:\n"
        "    blob = writer.add_file(sys.argv[1]); writer.flush()\n"
        "store.export([Export(blob, sys.argv[1] + '.out')])\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300 * 1024
