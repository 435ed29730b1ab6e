"""Whole stores with something forged in them: what is done with it is refused or right, and stays inside."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from rundata import Writer

from artline.artifacts.artifact import Artifact
from artline.artifacts.fsck import check
from artline.artifacts.repair import repair
from artline.artifacts.retention import collect
from artline.artifacts.store import ArtifactStore
from artline.errors import ArtlineError
from artline.runs.store import RunStore
from artline.settings import load_settings
from artline.storage.content import ContentStore
from artline.storage.digest import Algorithm
from artline.storage.pack import Kind
from artline.storage.records import list_records, read_record, write_record
from artline.storage.stat_cache import StatCache
from proof import decoders, workload
from proof.mutation import TEXTS, mutate, number

HASH = Algorithm.BLAKE3.hash
STORE = decoders.STORE


@cache
def template() -> Path:
    """Return a store with a few versions, some deleted, made once."""
    import atexit

    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="artline-proof-", dir=base))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    root = folder / "store"
    workload.prepare(root)
    with opened(root) as store:
        workload.perform(store, ("log", "a", {"p": 1, "q": 4}))
        workload.perform(store, ("log", "a", {"p": 4, "r": 5}))
        workload.perform(store, ("log", "b", {"p": 7}))
        workload.perform(store, ("alias", "a", 0, "best"))
        workload.perform(store, ("rm", "b", 0))
        store.catalog.close()
    with contextlib.closing(sqlite3.connect(root / "catalog.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return root


@contextlib.contextmanager
def opened(root: Path, *, adopt: bool = False) -> Iterator[ArtifactStore]:
    """Open a store for a moment."""
    from artline.storage import content

    settings = load_settings(root=root)
    store = ArtifactStore(ContentStore.open(settings, adopt=adopt), settings)
    try:
        yield store
    finally:
        if store.content._stat_cache is not None:
            store.content._stat_cache.close()
        store.catalog.close()
        content._open_stores.clear()


def attempt(target: Callable[[random.Random, Path], None], source: random.Random, scratch: Path) -> None:
    """Let a target do its worst in a folder of its own; nothing may appear outside of that."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    root = folder / "in" / "side" / "store"
    shutil.copytree(template(), root)
    before = os.getcwd()
    (folder / "in" / "side" / "work").mkdir()
    os.chdir(folder / "in" / "side" / "work")
    try:
        target(source, root)
        assert os.listdir(folder) == ["in"], os.listdir(folder)
        assert os.listdir(folder / "in") == ["side"], os.listdir(folder / "in")
        assert sorted(os.listdir(folder / "in" / "side")) == ["store", "work"]
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


def _try(action: Callable[[], Any]) -> Any:
    """Do something that may be refused, but only in order."""
    try:
        return action()
    except ArtlineError as refusal:
        return refusal


def _use(store: ArtifactStore, out: Path) -> None:
    """Do with a store what people do; what is delivered is right."""
    _try(lambda: check(store, full=True))
    for name in ("a", "b", "forged"):
        for version in (0, 1):
            found = _try(lambda name=name, version=version: store.get(f"{name}:v{version}", project="p"))
            if isinstance(found, Artifact):
                _try(lambda found=found: list(found.files()))
                _try(lambda found=found: found.manifest.check())
                _try(lambda found=found: _deliver(found, out))
                _try(lambda found=found: found.diff(store.get("a:v0", project="p")))
                _try(found.new_draft)
    _try(lambda: collect(store))
    _try(lambda: collect(store, dry_run=False))


def _deliver(version: Artifact, out: Path) -> None:
    folder = version.download(out)
    for entry in version.files():
        if entry.is_file:
            assert HASH((folder / entry.path).read_bytes()).hex() == entry.digest.partition(":")[2]


def packs(source: random.Random, root: Path) -> None:
    """Replace a pack by a forged or spoilt one; then check, read and repair, with the catalog or without."""
    path = source.choice(sorted((root / "bucket" / "packs").rglob("*.pack")))
    data = path.read_bytes()
    if source.random() < 0.5:
        path.write_bytes(mutate(source, data))
    else:
        forged = decoders._make_pack(source)
        header = decoders._checked(data[:16] + data[16:56])
        path.write_bytes(header + forged[64:])
    if source.random() < 0.5:
        for catalog in root.glob("catalog.db*"):
            catalog.unlink()
    with opened(root, adopt=True) as store:
        _use(store, Path("out"))
        _try(lambda: repair(store))
        _use(store, Path("out"))


def manifests(source: random.Random, root: Path) -> None:
    """Commit a version whose manifest is forged, by somebody who may write to the store."""
    data = decoders._make_manifest(source)
    at, parts = 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        parts.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    with opened(root) as store:
        with store.content.writer() as writer:
            for part in parts[1:]:
                writer.add_bytes(part, Kind.SHARD)
            for path in decoders._PATHS:
                writer.add_bytes(path.encode())
            blob = writer.add_bytes(parts[0], Kind.ROOT)
            writer.flush()
            writer.lease.release()
        with contextlib.closing(sqlite3.connect(store.catalog.place)) as database, database:
            database.execute(
                "UPDATE artifact_version SET root = ?, digest = ? WHERE id = 1", (blob.digest, bytes(32))
            )
        _use(store, Path("out"))
        _try(lambda: repair(store))


def records(source: random.Random, root: Path) -> None:
    """Forge records, lose the catalog, and rebuild it from them."""
    with opened(root) as store:
        content = store.content
        found = source.choice(list_records(content))
        lines = list(read_record(content, found.name, []))
        place = source.randrange(len(lines))
        lines[place] = _forged_line(source, lines[place])
        content.bucket.delete(found.name)
        write_record(content, found.catalog, found.kind, lines)
    for catalog in root.glob("catalog.db*"):
        catalog.unlink()
    with opened(root, adopt=True) as store:
        _try(lambda: repair(store))
        for project in _try(store.projects) or ():
            for name in _try(lambda project=project: store.names(project.name, entity=project.entity)) or ():
                for record in (
                    _try(lambda p=project, n=name: store.versions(p.name, n, entity=p.entity)) or ()
                ):
                    _try(lambda record=record: store.by_id(record.id).download())
        _use(store, Path("out"))


def _forged_line(source: random.Random, line: bytes) -> bytes:
    if source.random() < 0.3:
        return mutate(source, line).replace(b"\n", b" ")
    fields = json.loads(line)
    inside = fields
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        if not keys:
            break
        key = source.choice(keys)
        if isinstance(inside[key], (dict, list)) and source.random() < 0.8:
            inside = inside[key]
            continue
        kind = source.randrange(4)
        if kind == 0:
            del inside[key]
        elif kind == 1:
            inside[key] = source.choice(
                (None, [], {}, 1.5, -1, 2**70, True, "x", "v1", "latest", "a b", "00" * 32)
            )
        elif kind == 2:
            inside[key] = number(source, 70)
        else:
            inside[key] = source.choice(TEXTS).decode(errors="replace")
        break
    return json.dumps(fields).replace("\n", " ").encode()


def caches(source: random.Random, root: Path) -> None:
    """Spoil the stat cache: it forgets, or knows what is so."""
    path = root / "cache" / "forged.db"
    files = [Path("f1"), Path("f2")]
    for file in files:
        file.write_bytes(file.name.encode())
    known = [
        (os.fsencode(os.getcwd()), os.fsencode(f.name), f.stat(), HASH(f.read_bytes()), None) for f in files
    ]
    cache = StatCache(path, STORE)
    cache.record(known)
    cache.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if source.random() < 0.5:
            value = source.choice((None, 1, 2**62, 1.5, "text", b"", b"x", source.randbytes(100)))
            column = source.choice(("value", "name", "folder"))
            with contextlib.suppress(sqlite3.Error), database:
                database.execute(f"UPDATE entry SET {column} = ?", (value,))
    if source.random() < 0.7:
        path.write_bytes(mutate(source, path.read_bytes()))
    cache = StatCache(path, STORE)
    for _ in range(2):
        found = cache.lookup(known[0][0], [one[1] for one in known])
        for one in known:
            if one[1] in found:
                assert _digest_of(found[one[1]]) == one[3]
        cache.record(known)
    cache.close()


def _digest_of(known: Any) -> bytes:
    value = known.digest if hasattr(known, "digest") else known[40:72]
    return bytes(value)


def tables(source: random.Random, root: Path) -> None:
    """Store files of rows that are none, and read them as tables and by row."""
    kind = source.choice((".csv", ".jsonl", ".parquet", ".table.parquet"))
    with opened(root) as store:
        versions = []
        for data in (_rows(kind), mutate(source, _rows(kind))):
            draft = Artifact("rows", "dataset", store=store)
            draft.add_stream(io.BytesIO(data), f"t{kind}")
            versions.append(store.log(draft, project="p"))
        old, new = versions
        if kind == ".table.parquet":
            _try(lambda: new.get("t").to_arrow())
            _try(lambda: list(new.get("t").iter_batches()))
        else:
            _try(lambda: [list(map(str, batch)) for batch in _changes(old, new, f"t{kind}")])


def _changes(old: Artifact, new: Artifact, path: str) -> list[Any]:
    with contextlib.ExitStack() as stack:
        rows = old.diff(new).rows(path, "k")
        if hasattr(rows, "close"):
            stack.callback(rows.close)
        return [[rows.columns], *([one] for one in rows)] if hasattr(rows, "__iter__") else [[rows]]


@cache
def _rows(kind: str) -> bytes:
    if kind == ".csv":
        return b"k,a,b\n" + b"".join(b"%d,x%d,%d.5\n" % (i, i, i) for i in range(50))
    if kind == ".jsonl":
        return b"".join(b'{"k": %d, "a": "x%d", "b": [1, {"c": null}]}\n' % (i, i) for i in range(50))
    import pyarrow
    from pyarrow import parquet

    stream = io.BytesIO()
    columns = {"k": list(range(50)), "a": [f"x{i}" for i in range(50)], "b": [[i, None] for i in range(50)]}
    parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()


def journals(source: random.Random, root: Path) -> None:
    """Put forged journals beside a good one: that one arrives, and what comes of the others can be read."""
    for run in range(3):
        folder = root / "journal" / source.choice(("p", "q")) / f"r{run}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{run:04d}-abcdefgh.journal").write_bytes(decoders._make_journal(source))
    good = Writer(root, run_id="good", name="good")
    good.rows({"loss": [0.5]}, "d")
    good.finish(after=1.0)
    store = RunStore.open(load_settings(root=root))
    try:
        for _ in range(2):
            drained = _try(store.drain)
            assert not isinstance(drained, Exception), drained
            str(drained)
        assert [row["loss"] for row in store.history(store.get("p", "good"))] == [0.5]
        for record in _try(lambda: store.find("p").runs):
            _try(lambda record=record: list(store.history(record)))
            _try(lambda record=record: store.system(record))
            _try(lambda record=record: list(store.console(record)))
            _try(lambda record=record: store.files(record))
            _try(lambda record=record: store.metrics(record))
    finally:
        store.close()


TARGETS = (packs, manifests, records, caches, tables, journals)
