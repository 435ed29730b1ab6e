"""Damage: bits that flip, packs that are cut or gone, disks that fill, processes that are killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from artline.errors import IntegrityError, StoreLockedError, StoreUnavailableError
from artline.settings import load_settings
from artline.storage import schema
from artline.storage.content import ContentStore
from artline.storage.export import Export
from artline.storage.fsck import check_packs, forget_damaged, rebuild_index
from artline.storage.pack import BLOCK_SIZE, HEADER_SIZE
from artline.storage.recipe import Blob

MIB = 1 << 20
Packs = Callable[[], list[Path]]


@pytest.fixture
def blobs(store: ContentStore) -> list[Blob]:
    """Return blobs of one pack: ten small ones and one of several chunks."""
    with store.writer() as writer:
        blobs = [writer.add_bytes(random.Random(number).randbytes(5000)) for number in range(10)]
        blobs.append(writer.add_bytes(random.Random(99).randbytes(9 * MIB)))
        writer.flush()
        writer.lease.release()
    return blobs


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def test_clean_store(store: ContentStore, blobs: list[Blob]) -> None:
    for full in (False, True):
        report = check_packs(store, full=full)
        assert report.clean
        assert (report.packs, report.chunks, report.full) == (1, len(store.chunks(blobs[-1])) + 10, full)


@pytest.mark.parametrize("part", [8, BLOCK_SIZE + 100], ids=["header", "payload"])
def test_damaged_block(
    store: ContentStore, blobs: list[Blob], pack_paths: Packs, tmp_path: Path, part: int
) -> None:
    location = store.locate([blobs[4].digest])[blobs[4].digest]
    flip(pack_paths()[0], location.position + part)
    named = blobs[4].digest.hex()
    with pytest.raises(IntegrityError, match=named):
        store.read(blobs[4].digest)
    with pytest.raises(IntegrityError, match=named):
        store.export(Export(blob, tmp_path / blob.digest.hex()) for blob in blobs)
    assert not (tmp_path / named).exists()
    assert not list(tmp_path.glob("*.part"))
    assert store.read(blobs[5].digest)
    report = check_packs(store, full=True)
    assert [damaged.digest for damaged in report.damaged] == [blobs[4].digest]
    assert not report.clean
    assert forget_damaged(store, report) == 1
    with store.writer() as writer:  # adding the content again heals the store
        writer.add_bytes(random.Random(4).randbytes(5000))
        writer.flush()
    assert store.read(blobs[4].digest) == random.Random(4).randbytes(5000)


def test_damaged_chunk_of_a_large_file(
    store: ContentStore, blobs: list[Blob], pack_paths: Packs, tmp_path: Path
) -> None:
    chunk = store.recipe(blobs[-1]).chunks[3][0]
    flip(pack_paths()[0], store.locate([chunk])[chunk].position + BLOCK_SIZE + 7)
    with pytest.raises(IntegrityError, match=chunk.hex()):
        store.export([Export(blobs[-1], tmp_path / "large")])
    assert os.listdir(tmp_path / "work") == []
    assert not (tmp_path / "large").exists()
    with store.open_blob(blobs[-1]) as reader, pytest.raises(IntegrityError, match=chunk.hex()):
        reader.read()


@pytest.mark.parametrize("position", [3, -3, -20, -100], ids=["header", "magic", "trailer", "index"])
def test_damage_around_the_blocks_loses_nothing(
    store: ContentStore, blobs: list[Blob], pack_paths: Packs, position: int
) -> None:
    flip(pack_paths()[0], position % pack_paths()[0].stat().st_size)
    assert store.read(blobs[0].digest)  # reading needs the catalog and the block only
    report = check_packs(store)
    assert len(report.problems) == 1
    assert report.damaged == []


def test_truncated_pack(store: ContentStore, blobs: list[Blob], pack_paths: Packs) -> None:
    location = store.locate([blobs[6].digest])[blobs[6].digest]
    os.truncate(pack_paths()[0], location.position + 1000)
    with pytest.raises(IntegrityError, match="ends early"):
        store.read(blobs[6].digest)
    report = check_packs(store)
    lost = {damaged.digest for damaged in report.damaged}
    assert blobs[6].digest in lost
    assert blobs[5].digest not in lost
    assert any("truncated" in problem for problem in report.problems)


def test_missing_pack(store: ContentStore, blobs: list[Blob], pack_paths: Packs) -> None:
    pack_paths()[0].unlink()
    with pytest.raises(IntegrityError, match="the pack is gone"):
        store.read(blobs[0].digest)
    report = check_packs(store)
    assert len(report.damaged) == report.chunks > 10
    assert "is missing" in report.problems[0]


def test_index_is_rebuilt_from_the_packs(store: ContentStore, blobs: list[Blob], pack_paths: Packs) -> None:
    before = {digest: store.read(digest) for blob in blobs for digest in store.chunks(blob)}
    store.catalog.close()
    for path in store.root.glob("catalog.db*"):
        path.unlink()
    flip(pack_paths()[0], -20 % pack_paths()[0].stat().st_size)  # even without the pack's own index
    with pytest.raises(IntegrityError, match=r"is new, but the bucket .* holds the packs of a store"):
        ContentStore.open()
    store = ContentStore.open(adopt=True)
    assert store.missing(list(before)) == set(before)
    result = rebuild_index(store)
    assert (result.packs, result.chunks, len(result.problems)) == (1, len(before), 1)
    assert dict(store.read_many(before)) == before
    assert rebuild_index(store).chunks == 0


def test_rebuild_forgets_packs_that_are_gone(
    store: ContentStore, blobs: list[Blob], pack_paths: Packs
) -> None:
    pack_paths()[0].unlink()
    rebuild_index(store)
    assert check_packs(store).clean
    assert len(store.missing([blob.digest for blob in blobs])) == len(blobs)


def test_pack_of_another_store_is_left_alone(store: ContentStore, blobs: list[Blob], tmp_path: Path) -> None:
    other = ContentStore.open(load_settings(root=tmp_path / "other"))
    with other.writer() as writer:
        writer.add_bytes(b"foreign")
        writer.flush()
    ((name, _),) = other.bucket.list("packs/")
    store.bucket.put(name, other.bucket.read(name))
    result = rebuild_index(store)
    assert "belongs elsewhere" in result.problems[0]
    assert check_packs(store).orphans == [name]


def test_store_file_that_is_gone_or_foreign(store: ContentStore, blobs: list[Blob]) -> None:
    text = store.bucket.read("store.json")
    store.bucket.delete("store.json")
    assert "store.json" in check_packs(store).problems[0]
    store.bucket.put("store.json", text.replace(store.store_id.encode(), b"0" * 32))
    assert "another store" in check_packs(store).problems[0]


def test_disk_full(on_small_disk: Callable[[str], str]) -> None:
    printed = on_small_disk(
        """
        import os
        from pathlib import Path
        from artline.errors import StoreFullError, StoreUnavailableError
        from artline.settings import load_settings
        from artline.storage.content import ContentStore
        from artline.storage.export import Export
        from artline.storage.fsck import check_packs
        store = ContentStore.open(load_settings(root=os.getcwd() + "/store"))
        with store.writer() as writer:
            kept = writer.add_bytes(b"acknowledged")
            writer.flush()
        for size in (3_000_000, 9_000_000):
            with store.writer() as writer:
                try:
                    for _ in range(20_000_000 // size):
                        writer.add_bytes(os.urandom(size))
                    writer.flush()
                except StoreFullError as error:
                    print("full:", error)
                try:
                    writer.flush()
                except StoreUnavailableError as error:
                    print("again:", error)
        large = b"x" * 20_000_000
        with store.writer() as writer:
            blob = writer.add_bytes(large)
            writer.flush()
        try:
            store.export([Export(blob, Path("out/large"))])
        except StoreFullError as error:
            print("export:", error)
        print(os.listdir("out"), store.read(kept.digest), check_packs(store, full=True).clean)
        print(os.listdir("store/bucket/tmp"))
        """
    )
    lines = printed.splitlines()
    assert [line.partition(":")[0] for line in lines[:5]] == ["full", "again", "full", "again", "export"]
    assert lines[5:] == ["[] b'acknowledged' True", "[]"]


def test_locked_catalog(store_root: Path) -> None:
    store = ContentStore.open(load_settings(lock_timeout=0.2))
    holder = sqlite3.connect(store.catalog.place, isolation_level=None)
    with store.writer() as writer:
        blob = writer.add_bytes(b"patience")
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLockedError):
            writer.flush()
        holder.execute("ROLLBACK")
        writer.flush()
    holder.close()
    assert store.read(blob.digest) == b"patience"


def test_failed_writer_says_so(store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.writer() as writer:
        writer.add_bytes(b"x")
        monkeypatch.setattr(store, "missing", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            writer.flush()
        monkeypatch.undo()
        with pytest.raises(StoreUnavailableError, match="failed before"):
            writer.flush()


@pytest.mark.parametrize("seed", range(6))
def test_killed_while_storing(store_root: Path, tmp_path: Path, seed: int) -> None:
    """Everything a killed writer acknowledged is there; the store opens, is clean, and takes the rest."""
    code = """
import os, random, sys
from artline.storage.content import ContentStore
store = ContentStore.open()
numbers = random.Random(int(sys.argv[1]))
print("ready", flush=True)
with store.writer() as writer:
    while True:
        blobs = [writer.add_bytes(numbers.randbytes(numbers.choice([10, 5000, 300_000, 9_000_000])))
                 for _ in range(numbers.randrange(1, 30))]
        writer.flush()
        print(*(f"{b.digest.hex()}:{b.size}:{b.recipe.hex() if b.recipe else ''}" for b in blobs), flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(seed)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    numbers = random.Random(seed)
    stop_after = numbers.randrange(1, 6)
    for line in process.stdout:
        if line.endswith("\n") and line != "ready\n":
            lines.append(line)
        if len(lines) >= stop_after:
            break
    for _ in range(numbers.randrange(200_000)):
        pass  # die somewhere inside the next batch
    process.send_signal(signal.SIGKILL)
    lines += [line for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    store = ContentStore.open()
    report = check_packs(store, full=True)
    assert report.clean, report
    for word in " ".join(lines).split():
        digest, size, recipe = word.split(":")
        blob = Blob(bytes.fromhex(digest), int(size), bytes.fromhex(recipe) or None)
        with store.open_blob(blob) as reader:
            assert len(reader.read()) == blob.size
    with store.writer() as writer:
        blob = writer.add_bytes(b"after the crash")
        writer.flush()
    assert store.read(blob.digest) == b"after the crash"
    assert sum(path.stat().st_size for path in store.staging().iterdir()) == 0
    store.catalog.close()


def test_row_that_points_nowhere(store: ContentStore, blobs: list[Blob]) -> None:
    with store.catalog.write() as connection:
        where = schema.chunk.c.digest == blobs[2].digest
        connection.execute(schema.chunk.update().where(where).values(position=HEADER_SIZE + 1))
    with pytest.raises(IntegrityError, match=blobs[2].digest.hex()):
        store.read(blobs[2].digest)
    assert [damaged.digest for damaged in check_packs(store).damaged] == [blobs[2].digest]
