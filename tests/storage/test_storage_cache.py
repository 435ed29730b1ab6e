"""The cache of a remote bucket: nothing is fetched twice, nothing wrong comes out, and it stays small."""

from __future__ import annotations

import io
import os
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from services.counter import CountingBucket

from artline.errors import IntegrityError, UsageError
from artline.settings import load_settings, parse_size
from artline.storage.cache import Cache
from artline.storage.cached_blocks import BlockCache
from artline.storage.content import Blob, ContentStore
from artline.storage.export import Export
from artline.storage.pack import encode_block_header

MIB = 1 << 20


def remote(tmp_path: Path, name: str = "here", **overrides: object) -> ContentStore:
    """Open a store whose bucket is remote as far as it can tell, for the first of several machines."""
    (tmp_path / "remote").mkdir(exist_ok=True)
    url = f"local://{tmp_path}/remote"
    return ContentStore.open(load_settings(root=tmp_path / name, bucket=url, **overrides))


@pytest.fixture
def store(store_root: Path, tmp_path: Path) -> Iterator[ContentStore]:
    content = remote(tmp_path)
    content.bucket = CountingBucket(content.bucket)
    yield content
    content.catalog.close()


@pytest.fixture
def counter(store: ContentStore) -> CountingBucket:
    assert isinstance(store.bucket, CountingBucket)
    return store.bucket


def put(store: ContentStore, *contents: bytes) -> list[Blob]:
    """Store contents in a pack of their own."""
    with store.writer() as writer:
        blobs = [writer.add_stream(io.BytesIO(content)) for content in contents]
        writer.flush()
    return blobs


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def kept(store: ContentStore) -> list[Path]:
    return sorted((store.cache.folder / "packs").rglob("*.pack"))


def cache_of(store: ContentStore, limit: int) -> Cache:
    """Give a store's cache another limit."""
    store.cache = Cache(store.cache.folder, str(limit))
    store.blocks = BlockCache(store.cache)
    return store.cache


def test_what_was_read_is_not_fetched_again(store: ContentStore, counter: CountingBucket) -> None:
    blobs = put(store, b"one" * 1000, b"two" * 1000, noise(9 * MIB))
    chunks = [digest for blob in blobs for digest in store.chunks(blob)]
    counter.reset()
    first = dict(store.read_many(chunks))
    assert counter.moved > 9 * MIB
    counter.reset()
    assert dict(store.read_many(chunks)) == first
    with store.open_blob(blobs[2]) as stream:
        assert stream.read() == noise(9 * MIB)
    assert (counter.moved, counter.reads) == (0, 0)
    assert dict(store.uncached().read_many(chunks)) == first
    assert counter.moved > 9 * MIB


def test_only_what_is_missing_in_a_stretch_is_fetched(store: ContentStore, counter: CountingBucket) -> None:
    blobs = put(store, *(noise(100_000, seed) for seed in range(20)))
    for blob in blobs[::3]:
        store.read(blob.digest)
    counter.reset()
    assert len(dict(store.read_many([blob.digest for blob in blobs]))) == 20
    assert counter.moved < 13 * 101_000


def test_a_local_bucket_has_no_copies(store_root: Path) -> None:
    content = ContentStore.open()
    (blob,) = put(content, b"near")
    assert content.read(blob.digest) == b"near"
    assert content.cache.usage().size == 0


def test_cache_size_nothing_keeps_nothing(tmp_path: Path, store_root: Path) -> None:
    content = remote(tmp_path, cache_size=0)
    (blob,) = put(content, b"far")
    assert content.read(blob.digest) == b"far"
    assert not kept(content)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bits_are_found_and_fetched_anew(store: ContentStore, data: st.DataObject) -> None:
    counter = store.bucket
    assert isinstance(counter, CountingBucket)
    contents = [b"text " * 500, noise(3000), b"x"]
    blobs = put(store, *contents)
    digests = [blob.digest for blob in blobs]
    expected = dict(zip(digests, contents, strict=True))
    assert dict(store.read_many(digests)) == expected
    (path,) = kept(store)
    pack = bytearray(path.read_bytes())
    places = data.draw(st.lists(st.integers(64, len(pack) - 1), min_size=1, max_size=3, unique=True))
    for place in places:
        pack[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(pack)
    counter.reset()
    assert dict(store.read_many(digests)) == expected
    assert counter.moved > 0
    counter.reset()
    assert dict(store.read_many(digests)) == expected
    assert counter.moved == 0


def test_torn_and_empty_entries_are_as_good_as_none(store: ContentStore, counter: CountingBucket) -> None:
    (blob,) = put(store, noise(9 * MIB))
    chunks = store.chunks(blob)
    list(store.read_many(chunks))
    (path,) = kept(store)
    size = path.stat().st_size
    for cut in (0, 10, size // 2, size - 1):
        os.truncate(path, cut)
        with store.open_blob(blob) as stream:
            assert stream.read() == noise(9 * MIB)
        assert path.stat().st_size == size
    assert counter.moved > 9 * MIB


def forge(store: ContentStore, digest: bytes, content: bytes) -> None:
    """Put a block into the cache that is in order in all but its content."""
    location = store.locate([digest])[digest]
    header = encode_block_header(location.kind, location.codec, location.raw_size, content, digest)
    path = store.cache.path(store.pack_object(location.pack_id))
    with open(path, "r+b") as file:
        file.seek(location.position)
        file.write(header + content)


def test_forged_entries_are_not_delivered(
    store: ContentStore, counter: CountingBucket, tmp_path: Path
) -> None:
    small, large = put(store, noise(500), noise(20 * MIB))
    chunk = store.chunks(large)[3]
    items = [Export(small, tmp_path / "small"), Export(large, tmp_path / "large")]
    store.export(items)
    size = store.locate([chunk])[chunk].stored_size
    for _ in range(2):
        forge(store, small.digest, bytes(500))
        forge(store, chunk, bytes(size))
        assert store.read(small.digest) == noise(500)
        forge(store, small.digest, bytes(500))
        told = [0, 0]

        def progress(files: int, size: int, told: list[int] = told) -> None:
            told[0] += files
            told[1] += size

        store.export(items, progress)
        assert (tmp_path / "small").read_bytes() == noise(500)
        assert (tmp_path / "large").read_bytes() == noise(20 * MIB)
        assert told == [2, 500 + 20 * MIB]
    counter.reset()
    store.export(items)
    assert counter.moved == 0


def test_damage_in_the_bucket_is_still_an_error(store: ContentStore, tmp_path: Path) -> None:
    small, large = put(store, noise(500), noise(20 * MIB))
    (pack,) = (tmp_path / "remote").rglob("*.pack")
    data = bytearray(pack.read_bytes())
    data[data.find(noise(500)[:64]) + 70] ^= 1
    data[data.find(noise(20 * MIB)[:64]) + 5 * MIB] ^= 1
    pack.write_bytes(data)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="checksum"):
            store.read(small.digest)
        with pytest.raises(IntegrityError, match="checksum"):
            store.export([Export(large, tmp_path / "large")])
        with pytest.raises(IntegrityError, match="checksum"):
            store.export([Export(small, tmp_path / "small")])
    assert not (tmp_path / "large").exists()
    assert not (tmp_path / "small").exists()


def test_the_longest_unused_goes_first(store: ContentStore, counter: CountingBucket) -> None:
    cache_of(store, 5 * MIB)
    digests = [put(store, noise(MIB, seed))[0].digest for seed in range(4)]
    for digest in (*digests, digests[0]):
        store.read(digest)
    (more,) = put(store, noise(3 * MIB, 9))
    store.read(more.digest)
    assert store.cache.usage().size <= 5 * MIB
    counter.reset()
    store.read(digests[0])
    store.read(more.digest)
    assert counter.moved == 0
    store.read(digests[1])
    assert counter.moved > MIB


def test_the_limit_holds_whatever_is_read(store: ContentStore) -> None:
    cache = cache_of(store, 3 * MIB)
    for seed in range(12):
        (blob,) = put(store, noise(700_000, seed))
        assert store.read(blob.digest) == noise(700_000, seed)
        assert cache.usage().size <= 3 * MIB + 3 * MIB // 32 + 4096
    (large,) = put(store, noise(4 * MIB))
    assert store.read(large.digest) == noise(4 * MIB)
    assert cache.usage().size <= 3 * MIB


def test_cleaning_by_size_age_and_all(store: ContentStore) -> None:
    digests = [put(store, noise(MIB, seed))[0].digest for seed in range(3)]
    for day, digest in enumerate(digests):
        store.read(digest)
        path = store.cache.path(store.pack_object(store.locate([digest])[digest].pack_id))
        os.utime(path, (86400 * (day + 1), 0))
    cache = store.cache
    whole = cache.usage()
    assert (whole.packs, whole.oldest) == (3, 86400)
    assert cache.clean(unused_since=86400 * 1.5, dry_run=True).entries == 1
    assert cache.clean(size=MIB + MIB // 2, dry_run=True).entries == 2
    assert cache.clean(everything=True, dry_run=True).bytes == whole.size
    assert cache.clean(size=MIB, unused_since=86400 * 1.5, dry_run=True).entries == 3
    assert cache.usage() == whole
    assert cache.clean().entries == 0
    assert cache.clean(unused_since=86400 * 1.5).entries == 1
    assert cache.clean(size=MIB + MIB // 2).entries == 1
    assert [path.stat().st_atime for path in kept(store)] == [86400 * 3]
    assert cache.clean(everything=True).entries == 1
    assert cache.usage().size == 0
    assert [store.read(digest) for digest in digests] == [noise(MIB, seed) for seed in range(3)]


def test_a_folder_that_cannot_be_used_only_costs_time(store: ContentStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    store.cache = Cache(tmp_path / "file" / "cache", "1000000")
    store.blocks = BlockCache(store.cache)
    (blob,) = put(store, b"content")
    for _ in range(2):
        assert store.read(blob.digest) == b"content"
    assert store.cache.usage().size == 0


def test_entries_stay_within_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Cache(tmp_path).path("packs/../../etc/passwd")


def test_backups_leave_it_out(store: ContentStore) -> None:
    (blob,) = put(store, b"content")
    store.read(blob.digest)
    text = (store.cache.folder / "CACHEDIR.TAG").read_text()
    assert text.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_readers_survive_whoever_empties_it(store: ContentStore, tmp_path: Path) -> None:
    blobs = put(store, *(noise(300_000, seed) for seed in range(40)), noise(20 * MIB))
    small = [blob.digest for blob in blobs[:40]]
    expected = dict(zip(small, (noise(300_000, seed) for seed in range(40)), strict=True))
    reading = True

    def empty() -> int:
        count = 0
        while reading:
            count += store.cache.clean(everything=True).entries
        return count

    def read() -> None:
        for _ in range(6):
            assert dict(store.read_many(small)) == expected

    with ThreadPoolExecutor(4) as pool:
        cleaner = pool.submit(empty)
        readers = [pool.submit(read) for _ in range(2)]
        try:
            store.export([Export(blobs[40], tmp_path / "large")])
            for reader in readers:
                reader.result()
        finally:
            reading = False
        assert cleaner.result() > 0
    assert (tmp_path / "large").read_bytes() == noise(20 * MIB)


def use_with_others(tmp_path: Path, blobs: list[Blob], seed: int) -> None:
    """Read blobs in some order through a cache that is too small for them and that others use too."""
    content = remote(tmp_path, cache_size=f"{2 * MIB}")
    order = random.Random(seed)
    for _ in range(20):
        number = order.randrange(len(blobs))
        assert content.read(blobs[number].digest) == noise(200_000, number)
        if order.random() < 0.1:
            content.cache.clean(size=order.randrange(2 * MIB))


def test_processes_share_one_cache(store: ContentStore, tmp_path: Path) -> None:
    blobs = [
        blob for part in range(5) for blob in put(store, *(noise(200_000, 5 * part + i) for i in range(5)))
    ]
    with get_context("spawn").Pool(3) as pool:
        pool.starmap(use_with_others, [(tmp_path, blobs, seed) for seed in range(3)])
    assert store.cache.usage().size <= 2 * MIB + 3 * (2 * MIB // 32 + 200_000)


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from artline.settings import load_settings
from artline.storage.content import ContentStore
from artline.storage.export import Export

root, url, blob, kill_at, place = sys.argv[1:]
content = ContentStore.open(load_settings(root=root, bucket=url))
fill, left = content.bucket.read_into, int(kill_at)
write = os.pwrite

def read_into(*arguments):
    global left
    left -= 1
    if place == "before" and left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return fill(*arguments)

def pwrite(descriptor, data, position):
    if place == "torn" and left <= 0:
        write(descriptor, data[: len(data) // 2], position)
        os.kill(os.getpid(), signal.SIGKILL)
    return write(descriptor, data, position)

content.bucket.read_into = read_into
os.pwrite = pwrite
content.export([Export(pickle.loads(bytes.fromhex(blob)), Path("out"))])
"""


@pytest.mark.parametrize("place", ["before", "torn"])
def test_a_killed_pull_goes_on_where_it_was(
    store: ContentStore, counter: CountingBucket, tmp_path: Path, place: str
) -> None:
    (blob,) = put(store, noise(32 * MIB))
    store.catalog.close()
    arguments = [str(store.root), store.bucket.url, pickle.dumps(blob).hex(), "3", place]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    had = store.cache.usage().size
    assert 0 < had < 32 * MIB
    counter.reset()
    store.export([Export(blob, Path("out"))])
    assert Path("out").read_bytes() == noise(32 * MIB)
    assert counter.moved < 34 * MIB - had + 8 * MIB


FULL = """
import os
from pathlib import Path
from artline.settings import load_settings
from artline.storage.content import Blob, ContentStore
from artline.storage.export import Export

root, url, large, small = {arguments!r}
for name, part in (("a", small), ("b", small), ("c", [large])):
    if os.fork():
        assert os.wait()[1] == 0
        continue
    cache = os.getcwd() + "/cache"
    content = ContentStore.open(load_settings(root=root, bucket=url, cache=cache, cache_size="1TB"))
    list(content.read_many([chunk for one in part for chunk in content.chunks(Blob(*one))]))
    assert content.cache.usage().size > 10 << 20
    content.export([Export(Blob(*one), Path(name, str(number))) for number, one in enumerate(part)])
    for path in Path(name).iterdir():
        print(path.stat().st_size)
        path.unlink()
    break
"""


def test_a_full_disk_fails_no_pull(
    store: ContentStore, tmp_path: Path, on_small_disk: Callable[..., str]
) -> None:
    """The disk has no room for both what is kept already and what is written."""
    *small, large = put(store, *(noise(MIB, seed) for seed in range(12)), noise(14 * MIB))
    store.catalog.close()
    blobs = [(blob.digest, blob.size, blob.recipe) for blob in (large, *small)]
    arguments = (str(store.root), store.bucket.url, blobs[0], blobs[1:])
    said = on_small_disk(FULL.format(arguments=arguments), size="20m").split()
    assert said == [str(MIB)] * 24 + [str(14 * MIB)]


@given(st.integers(0, 2**50))
def test_sizes_are_read_as_written(size: int) -> None:
    assert parse_size(str(size)) == size
    assert parse_size(f"{size} KiB") == size * 1024
    assert parse_size(f"{size}kb") == size * 1000
    assert parse_size(f"{size}G") == size << 30


@pytest.mark.parametrize("text", ["", "-1", "1iB", "1 XB", "10%", "ten", "١GB", "1e3"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("auto", "auto"), ("20GiB", str(20 << 30)), (0, "0"), ("5%", "5%"), (" 2.5 % ", "2.5%")],
)
def test_the_limit_is_a_size_or_a_share(text: object, kept: str, tmp_path: Path) -> None:
    assert load_settings(cache_size=text).cache_size == kept
    cache = Cache(tmp_path / "not" / "there", kept)
    assert 0 <= cache.limit <= cache.disk_size()


@pytest.mark.parametrize("text", ["0%", "101%", "lots", True, "%", "-5"])
def test_other_limits_are_refused(text: object) -> None:
    with pytest.raises(UsageError, match="cache_size"):
        load_settings(cache_size=text)


def test_the_folder_may_stand_in_the_project_file(clean_environment: Path) -> None:
    (clean_environment / "art.toml").write_text('cache = "../kept"\ncache_size = "1GiB"\n')
    found = load_settings()
    assert found.cache_folder == clean_environment.parent / "kept"
    assert found.cache_size == str(1 << 30)
    (clean_environment / "art.toml").write_text('cache = ""\n')
    assert load_settings().cache_folder == load_settings().root / "cache"
