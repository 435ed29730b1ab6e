"""art:// paths through fsspec, and the tools that read them."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artline.artifacts.artifact import Artifact
from artline.artifacts.filesystem import ArtifactFileSystem
from artline.artifacts.manifest import Manifest
from artline.artifacts.store import ArtifactStore
from artline.errors import IntegrityError, UsageError
from artline.storage.content import ContentStore

ROWS = 200_000
COLUMNS = 8


@pytest.fixture
def log(store: ArtifactStore) -> Callable[..., Artifact]:
    """Return what logs files, given as a dict of contents, to ``p/data``."""

    def log(files: dict[str, bytes], **options: object) -> Artifact:
        version = Artifact("data", "dataset", store=store)
        for path, content in files.items():
            version.add_stream(io.BytesIO(content), path)
        return store.log(version, project="p", **options)  # type: ignore[arg-type]  # aliases

    return log


@pytest.fixture
def parquet(log: Callable[..., Artifact]) -> str:
    """Log a Parquet data set of two files, the first of many chunks; return where it is."""
    numbers = random.Random(0)
    table = pa.table(
        {f"c{i}": [numbers.random() for _ in range(ROWS)] for i in range(COLUMNS)} | {"id": list(range(ROWS))}
    )
    files = {}
    for name, part in (("a", table), ("b", table.slice(0, 10))):
        buffer = io.BytesIO()
        pa.parquet.write_table(part, buffer, row_group_size=ROWS // 4)
        files[f"train/{name}.parquet"] = buffer.getvalue()
    log(files)
    return "art://p/data:v0/train"


@pytest.fixture
def chunks_read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that every chunk read from the store is added to."""
    digests: list[bytes] = []
    original = ContentStore.read_many

    def read_many(self: ContentStore, wanted: object) -> object:
        asked = list(wanted)  # type: ignore[call-overload]  # an iterable of digests
        digests.extend(asked)
        return original(self, asked)

    monkeypatch.setattr(ContentStore, "read_many", read_many)
    return digests


def test_it_is_registered_on_install() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import fsspec; print(fsspec.get_filesystem_class('art').__name__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "ArtifactFileSystem\n"


def test_pandas_reads_a_file_and_a_folder(parquet: str) -> None:
    frame = pd.read_parquet(f"{parquet}/b.parquet")
    assert frame["id"].tolist() == list(range(10))
    assert len(pd.read_parquet(parquet, columns=["id"])) == ROWS + 10


def test_pandas_reads_csv(log: Callable[..., Artifact]) -> None:
    log({"rows.csv": b"a,b\n" + b"".join(b"%d,x\n" % i for i in range(5000))})
    assert pd.read_csv("art://p/data:latest/rows.csv")["a"].sum() == sum(range(5000))


def test_arrow_reads_a_dataset(parquet: str) -> None:
    by_object = pa.dataset.dataset("p/data:v0/train", filesystem=fsspec.filesystem("art"))
    assert by_object.count_rows() == ROWS + 10
    by_address = pa.dataset.dataset(f"fsspec+{parquet}")
    found = by_address.to_table(columns=["id"], filter=pa.dataset.field("id") == 7)
    assert found.to_pydict() == {"id": [7, 7]}


def test_polars_reads_a_file_and_a_dataset(parquet: str) -> None:
    fs = fsspec.filesystem("art")
    with fs.open(f"{parquet}/b.parquet") as stream:
        assert pl.read_parquet(stream)["id"].to_list() == list(range(10))
    scanned = pl.scan_pyarrow_dataset(pa.dataset.dataset("p/data:v0/train", filesystem=fs))
    assert scanned.filter(pl.col("id") < 3).select("id").collect()["id"].to_list() == [0, 1, 2, 0, 1, 2]


def test_duckdb_queries_files_by_pattern(parquet: str) -> None:
    connection = duckdb.connect()
    connection.register_filesystem(fsspec.filesystem("art"))
    query = f"SELECT count(*), sum(id) FROM read_parquet('{parquet}/*.parquet')"
    assert connection.sql(query).fetchall() == [(ROWS + 10, sum(range(ROWS)) + 45)]
    assert connection.sql(f"SELECT max(id) FROM '{parquet}/b.parquet'").fetchall() == [(9,)]
    connection.close()


def test_one_column_of_parquet_costs_few_chunks(parquet: str, chunks_read: list[bytes]) -> None:
    frame = pd.read_parquet(f"{parquet}/a.parquet", columns=["c3"], filters=[("id", "<", 5)])
    assert len(frame) == 5
    size = fsspec.filesystem("art").size(f"{parquet}/a.parquet")
    assert len(set(chunks_read)) < size >> 20  # fewer than the file has, at about 1 MiB each


def test_a_range_reads_only_the_chunks_it_touches(
    log: Callable[..., Artifact], chunks_read: list[bytes]
) -> None:
    content = random.Random(1).randbytes(24 << 20)
    version = log({"big.bin": content})
    blob = version.get_entry("big.bin").blob
    assert blob is not None
    parts = version.store.content.recipe(blob).chunks
    assert len(parts) > 8
    starts = [sum(size for _, size in parts[:count]) for count in range(len(parts) + 1)]
    fs = ArtifactFileSystem()
    with fs.open("p/data:v0/big.bin") as stream:
        for first, last in ((2, 2), (5, 7), (len(parts) - 1, len(parts) - 1)):
            chunks_read.clear()
            stream.seek(starts[first] + 1)
            length = starts[last + 1] - starts[first] - 2
            assert stream.read(length) == content[starts[first] + 1 :][:length]
            assert [d for d in chunks_read if d != blob.recipe] == [d for d, _ in parts[first : last + 1]]
            chunks_read.clear()
            stream.seek(starts[first] + 1)
            stream.read(length)
            assert chunks_read == []
    assert fs.cat_file("p/data:v0/big.bin") == content


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ranges=st.lists(st.tuples(st.integers(0, 9 << 20), st.integers(0, 3 << 20)), max_size=8))
def test_any_range_is_right(log: Callable[..., Artifact], ranges: list[tuple[int, int]]) -> None:
    content = random.Random(2).randbytes(9 << 20)
    log({"big.bin": content})
    fs = ArtifactFileSystem(cache_size=2 << 20)
    with fs.open("p/data:v0/big.bin") as stream:
        for start, length in ranges:
            stream.seek(start)
            assert stream.read(length) == content[start : start + length]


def test_names_come_in_every_form(log: Callable[..., Artifact], store: ArtifactStore) -> None:
    version = log({"sub/a.txt": b"alpha"}, aliases=["best"])
    for ref in ("p/data:v0", "p/data:best", "local/p/data:latest", f"p/data@{version.digest}"):
        with fsspec.open(f"art://{ref}/sub/a.txt", "rt") as stream:
            assert stream.read() == "alpha"
    inside = fsspec.filesystem("art", project="p")
    assert inside.cat("art://data:v0/sub/a.txt") == b"alpha"
    assert inside.info("data:v0")["digest"] == version.digest
    assert inside.ukey("data:v0/sub/a.txt") == version.get_entry("sub/a.txt").digest
    assert inside.modified("data:v0/sub/a.txt").isoformat(timespec="milliseconds") == version.created_at


def test_projects_and_versions_are_folders(log: Callable[..., Artifact]) -> None:
    log({"a.txt": b"1"})
    log({"a.txt": b"22", "b.txt": b""})
    fs = fsspec.filesystem("art")
    assert fs.ls("art://", detail=False) == ["p"]
    assert fs.ls("p", detail=False) == fs.glob("p/*") == ["p/data:v0", "p/data:v1"]
    assert fs.ls("local/p", detail=False) == ["local/p/data:v0", "local/p/data:v1"]
    assert fs.glob("p/data:*/a.txt") == ["p/data:v0/a.txt", "p/data:v1/a.txt"]
    assert fs.du("p/data:v1") == 2
    assert fs.find("p") == ["p/data:v0/a.txt", "p/data:v1/a.txt", "p/data:v1/b.txt"]


def test_an_artifact_is_a_folder_of_its_versions(log: Callable[..., Artifact]) -> None:
    log({"a.txt": b"1"})
    log({"a.txt": b"22"})
    fs = fsspec.filesystem("art")
    for place in ("p/data", "local/p/data"):
        assert fs.ls(place, detail=False) == [f"{place}:v0", f"{place}:v1"]
        assert fs.info(place)["type"] == "directory"
    assert fs.find("p/data") == ["p/data:v0/a.txt", "p/data:v1/a.txt"]
    assert fsspec.filesystem("art", project="p").ls("data", detail=False) == ["data:v0", "data:v1"]
    for place, said in (
        ("p/other", "no artifact 'other' in project 'p'"),
        ("q/data", "no such project"),
        ("q", "no such project|no artifact"),
        ("p/data/a.txt", "no such project"),
        ("local/p/data/a.txt", "project/name:version/path"),
    ):
        with pytest.raises(FileNotFoundError, match=said):
            fs.ls(place)


def test_a_tree_is_listed_as_it_is(store: ArtifactStore, tree: Path) -> None:
    version = Artifact("tree", "dataset", store=store)
    version.add_dir(tree)
    store.log(version, project="p")
    fs = fsspec.filesystem("art")
    top = "p/tree:v0"
    walked = [
        (os.path.relpath(folder, top), sorted(folders), sorted(files))
        for folder, folders, files in fs.walk(top)
    ]
    on_disk = [
        (os.path.relpath(folder, tree), sorted(folders), sorted(files))
        for folder, folders, files in os.walk(tree)
    ]
    assert sorted(walked) == sorted(on_disk)
    assert fs.cat(f"{top}/sub/link") == "ünï".encode()
    assert fs.info(f"{top}/sub/link")["islink"] is True
    assert fs.isdir(f"{top}/hollow")
    assert fs.ls(f"{top}/hollow") == []


def test_links_to_folders_end(store: ArtifactStore, tmp_path: Path) -> None:
    top = tmp_path / "loop"
    for folder, other in (("a", "b"), ("b", "a")):
        (top / folder).mkdir(parents=True)
        (top / folder / folder).write_bytes(folder.encode())
        (top / folder / "to").symlink_to(f"../{other}")
    (top / "gone").write_bytes(b"")
    (top / "dangling").symlink_to("gone")
    version = Artifact("loop", "dataset", store=store)
    version.add_dir(top)
    version.remove("gone")
    store.log(version, project="p")
    fs = fsspec.filesystem("art")
    found = [path.removeprefix("p/loop:v0/") for path in fs.find("p/loop:v0")]
    assert found == ["a/a", "a/to/b", "b/b", "b/to/a", "dangling"]
    assert fs.cat("p/loop:v0/a/to/to/to/b") == b"b"
    assert not fs.exists("p/loop:v0/dangling")
    with pytest.raises(FileNotFoundError):
        fs.open("p/loop:v0/dangling")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    paths=st.sets(
        st.lists(st.sampled_from(["a", "b", "a.b", "a-", "a0", "é"]), min_size=1, max_size=4).map("/".join),
        min_size=1,
        max_size=12,
    )
)
def test_folders_agree_with_the_disk(store: ArtifactStore, paths: set[str]) -> None:
    files = [path for path in paths if not any(other.startswith(path + "/") for other in paths)]
    version = Artifact("any", "dataset", store=store)
    for path in files:
        version.add_stream(io.BytesIO(path.encode()), path)
    top = store.log(version, project="p").name
    fs = ArtifactFileSystem(project="p")
    assert fs.find(top) == sorted(f"{top}/{path}" for path in files)
    for folder in {path.rpartition("/")[0] for path in files} - {""}:
        inside = {path[len(folder) + 1 :].split("/")[0] for path in files if path.startswith(folder + "/")}
        assert fs.ls(f"{top}/{folder}", detail=False) == sorted(f"{top}/{folder}/{name}" for name in inside)


def test_listing_a_folder_reads_the_shards_at_its_edges(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = Artifact("many", "dataset", store=store)
    top = tmp_path / "many"
    for folder in ("a", "b", "c"):
        (top / folder).mkdir(parents=True)
        for number in range(5000):
            (top / folder / f"{number:05}").touch()
    version.add_dir(top)
    version.add_stream(io.BytesIO(b"z"), "z/last")
    manifest = store.log(version, project="p").manifest
    loaded = []
    original = Manifest.load_shard

    def load_shard(self: Manifest, shard: object) -> object:
        loaded.append(shard)
        return original(self, shard)  # type: ignore[arg-type]  # a shard

    monkeypatch.setattr(Manifest, "load_shard", load_shard)
    fs = fsspec.filesystem("art")
    assert fs.cat("p/many:v0/z/last") == b"z"
    assert len(loaded) == 1
    assert [path[-1] for path in fs.ls("p/many:v0", detail=False)] == ["a", "b", "c", "z"]
    assert len(loaded) <= 5 < len(manifest.root.shards)


def test_what_is_not_there_is_said(log: Callable[..., Artifact]) -> None:
    log({"sub/a.txt": b"alpha"})
    fs = fsspec.filesystem("art")
    for path in ("p/data:v0/b", "p/data:v7/a", "p/none:v0", "q", "p/data/v0/a.txt", "p/data:v0/sub/a.txt/x"):
        assert not fs.exists(path)
        with pytest.raises(FileNotFoundError, match=path.split("/")[0]):
            fs.info(path)
    with pytest.raises(FileNotFoundError, match=r"List versions|latest is|v0"):
        fs.open("p/data:v7/a")
    with pytest.raises(FileNotFoundError, match="name:version"):
        fs.ls("p/data/v0/a.txt")
    for folder in ("p/data:v0/sub", "p/data:v0", "p"):
        with pytest.raises(IsADirectoryError):
            fs.open(folder)
    with pytest.raises(UsageError, match="digest"):
        fs.info("p/data@blake3:123/a")
    with pytest.raises(UsageError, match="names no version"):
        fs.created("p")


@pytest.mark.parametrize(
    "write",
    [
        lambda fs, path: fs.open(path, "wb"),
        lambda fs, path: fs.open(path, "ab"),
        lambda fs, path: fs.open(path, "x"),
        lambda fs, path: fs.pipe(path, b""),
        lambda fs, path: fs.pipe_file(path, b""),
        lambda fs, path: fs.write_text(path, "x"),
        lambda fs, path: fs.touch(path),
        lambda fs, path: fs.rm(path),
        lambda fs, path: fs.delete(path),
        lambda fs, path: fs.mkdir(path),
        lambda fs, path: fs.makedirs(path, exist_ok=True),
        lambda fs, path: fs.rmdir(path),
        lambda fs, path: fs.cp(path, path + "2"),
        lambda fs, path: fs.mv(path, path + "2"),
        lambda fs, path: fs.put(__file__, path),
        lambda fs, path: fs.put_file(__file__, path),
    ],
)
def test_nothing_can_be_written(log: Callable[..., Artifact], write: Callable[..., object]) -> None:
    log({"a.txt": b"alpha"})
    with pytest.raises(OSError, match="versions do not change") as caught:
        write(fsspec.filesystem("art"), "p/data:v0/a.txt")
    assert caught.value.errno == errno.EROFS


def test_an_alias_means_one_version_throughout(log: Callable[..., Artifact]) -> None:
    log({"a.txt": b"old"})
    fs = fsspec.filesystem("art")
    assert fs.cat("p/data:latest/a.txt") == b"old"
    log({"a.txt": b"new"})
    assert fs.cat("p/data:latest/a.txt") == b"old"
    assert fsspec.filesystem("art").cat("p/data:latest/a.txt") == b"new"
    fs.invalidate_cache()
    assert fs.cat("p/data:latest/a.txt") == b"new"


def test_it_travels_to_another_process(
    log: Callable[..., Artifact], tmp_path: Path, store_root: Path
) -> None:
    log({"a.txt": b"alpha"})
    fs = ArtifactFileSystem(root=store_root, project="p")
    stream = fs.open("data:v0/a.txt")
    stream.read(2)
    pickled = tmp_path / "pickled"
    pickled.write_bytes(pickle.dumps([fs, stream]))
    code = (
        "import json, pickle, sys\n"
        "fs, stream = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(json.dumps([fs.cat('data:v0/a.txt').decode(), stream.read().decode()]))\n"
    )
    elsewhere = {**os.environ, "ART_HOME": str(tmp_path / "other")}
    said = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code, str(pickled)],
        env=elsewhere,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(said.stdout) == ["alpha", "pha"]


def test_references_are_read_where_they_lie(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "far.txt").write_bytes(b"far away")
    version = Artifact("refs", "dataset", store=store)
    version.add_reference(f"file://{tmp_path}/far.txt")
    store.log(version, project="p")
    fs = fsspec.filesystem("art")
    assert fs.cat("p/refs:v0/far.txt") == b"far away"
    assert fs.info("p/refs:v0/far.txt")["size"] == 8


def test_damage_is_never_delivered(log: Callable[..., Artifact], store_root: Path) -> None:
    log({"a.bin": random.Random(3).randbytes(50_000)})
    for pack in (store_root / "bucket" / "packs").rglob("*.pack"):
        content = bytearray(pack.read_bytes())
        content[1000] ^= 1
        pack.chmod(0o644)
        pack.write_bytes(content)
    with pytest.raises(IntegrityError):
        fsspec.filesystem("art").cat_file("p/data:v0/a.bin")
