"""One bit flipped in any file of a store: what is read is right, or refused by an error that names it."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from rundata import DEAD, Writer

from artline.artifacts.artifact import Artifact
from artline.artifacts.audit import Audit, audit_content
from artline.artifacts.filesystem import ArtifactFileSystem
from artline.artifacts.fsck import Report, check
from artline.artifacts.pins import Lock, pin_of, read_lock, write_lock
from artline.artifacts.protection import protected_aliases, set_protection
from artline.artifacts.repair import repair
from artline.artifacts.rules import Rule, get_rule, set_rule
from artline.artifacts.store import ArtifactStore
from artline.artifacts.versions import find_artifact
from artline.errors import ArtlineError, IntegrityError, StoreUnavailableError
from artline.runs.store import RunStore
from artline.settings import load_settings
from artline.storage.cached_blocks import BlockCache
from artline.storage.digest import Algorithm
from artline.storage.stat_cache import StatCache, known_blob, same_file
from proof import workload
from proof.stores import opened

FILES = {"small": 10, "dir/empty": 0, "dir/large": 6000, "dir/sub/middle": 700}
Observation = Callable[[], Any]
_LOG = shutil.ignore_patterns("catalog.db-*")  # all of it is in the catalog by then


class Wrong(NamedTuple):
    """What was read and is not what it was; an error is what the reader was told instead."""

    what: str
    told: Any


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size // 2) + b"text " * (size // 10)


def log(store: ArtifactStore, name: str, seed: int, **how: Any) -> Artifact:
    draft = Artifact(name, "dataset", "what it is", {"seed": seed, "deep": {"list": [1, "two"]}}, store=store)
    for path, size in FILES.items():
        draft.add_stream(io.BytesIO(content(seed if path == "small" else 0, size)), path)
    return store.log(draft, project="p", run="local/p/maker", **how)


@cache
def template() -> Path:
    """Return a store with something in each of its tables, made once; its catalog is one file."""
    import atexit

    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="artline-proof-", dir=base))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    root = folder / "store"
    workload.prepare(root)
    with opened(root) as store:
        log(store, "a", 1, aliases=["best"], tags=["good"])
        second = log(store, "a", 2, tags=["good", "new"])
        log(store, "a", 3)
        log(store, "b", 4)
        store.link(second, "p/shelf", entity="local")
        store.delete("a:v2", project="p", delete_aliases=True)
        store.use("a:v0", project="p", run="local/p/reader")
        set_rule(store, "a", Rule(keep_last=2), project="p")
        set_protection(store, "a", ["best"], project="p")
    for name in ("r1", "r2"):
        writer = Writer(root, run_id=name, name=f"run {name}", tags=["t"], notes="some notes")
        writer.config(lr=0.5, layers=[1, 2], note="text of a config")
        writer.rows({"loss": [1.0, 0.5, 0.25], "acc": [1, 2, 3]}, "dq")
        writer.summary(best=0.25)
        writer.console(b"hello\nworld\n")
        writer.finish()
    runs = RunStore.open(load_settings(root=root))
    runs.drain()
    runs.close()
    with contextlib.closing(sqlite3.connect(root / "catalog.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return root


# What can be read


def artifacts(store: ArtifactStore, out: Path) -> Iterator[tuple[str, Observation]]:
    """Yield all that can be read of artifacts, by name."""
    files = ArtifactFileSystem(root=store.settings.root, project="p")
    yield "projects", lambda: [(one.entity, one.name) for one in store.projects()]
    yield "collections", lambda: [_plain(one) for one in store.collections("p")]
    for name in ("a", "b", "shelf"):
        yield (
            f"{name}: versions",
            lambda name=name: [_plain(one) for one in store.versions("p", name, deleted=True)],
        )
    yield "a: rule", lambda: get_rule(store, "a", project="p")
    yield "a: protected", lambda: _protected(store)
    for ref in ("a:v0", "a:v1", "a:best", "b:latest", "shelf:v0"):

        def get(ref: str = ref) -> Artifact:
            return store.get(ref, project="p")

        yield f"{ref}: which", lambda get=get: get().qualified_name
        yield f"{ref}: entries", lambda get=get: [(e.path, e.size, e.digest, e.kind) for e in get().files()]
        yield f"{ref}: history", lambda get=get: [_plain(e) for e in store.history(get().record.id)]
        yield f"{ref}: lineage", lambda get=get: (get().logged_by(), sorted(get().used_by()))
        yield (
            f"{ref}: change",
            lambda get=get: [e.path for e in get().diff(store.get("a:v0", project="p")).added],
        )
        for link in ("copy", "hardlink"):
            yield (
                f"{ref}: {link}",
                lambda get=get, link=link: _tree(get().download(tempfile.mkdtemp(dir=out), link=link)),
            )
        yield f"{ref}: audit", lambda get=get: _audit(get())
        for path in FILES:
            yield f"{ref}: {path}", lambda get=get, path=path: get().open(path).read()
            yield f"art://{ref}/{path}", lambda ref=ref, path=path: files.cat_file(f"p/{ref}/{path}")


def runs(root: Path) -> Iterator[tuple[str, Observation]]:
    """Yield all that can be read of runs, by name."""

    def with_store(action: Callable[[RunStore], Any]) -> Any:
        store = RunStore.open(load_settings(root=root))
        try:
            return action(store)
        finally:
            store.close()

    yield "runs", lambda: with_store(lambda store: [one.run_id for one in store.find("p").runs])
    for name in ("r1", "r2"):
        for what, read in {
            "record": lambda store, record: _plain(record),
            "history": lambda store, record: store.history(record),
            "metrics": lambda store, record: [_plain(one) for one in store.metrics(record)],
            "console": lambda store, record: [piece.data for piece in store.console(record)],
            "scan": lambda store, record: list(store.scan_history(record)),
        }.items():
            yield (
                f"{name}: {what}",
                lambda name=name, read=read: with_store(lambda store: read(store, store.get("p", name))),
            )


def _audit(version: Artifact) -> Audit:
    found = audit_content(version)
    if found.faults:
        raise IntegrityError(found.faults[0].reason)
    return found


def _protected(store: ArtifactStore) -> list[str]:
    with store.catalog.read() as conn:
        return protected_aliases(conn, find_artifact(conn, "local", "p", "a"))


def _plain(record: Any) -> dict[str, Any]:
    """Return a record without the catalog's own ids."""
    ids = ("id", "artifact_id", "source_id", "project_id")
    return {name: value for name, value in asdict(record).items() if name not in ids}


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@cache
def truth() -> dict[str, Any]:
    """Return what is read where nothing is flipped."""
    folder = Path(tempfile.mkdtemp())
    try:
        root = folder / "store"
        shutil.copytree(template(), root, ignore=_LOG)
        with opened(root) as store:
            assert check(store, full=True).ok
            found = {name: read() for name, read in artifacts(store, folder)}
        return found | {name: read() for name, read in runs(root)}
    finally:
        shutil.rmtree(folder)


def compare(observations: Iterator[tuple[str, Observation]]) -> list[Wrong]:
    """Return what is not as it was and not refused as damaged either. What is no ArtlineError is a defect."""
    expected, wrong = truth(), []
    for name, read in observations:
        try:
            found = read()
        except (IntegrityError, StoreUnavailableError) as error:
            _says(error, " ")
            continue
        except FileNotFoundError as error:  # art:// speaks as files do
            wrong.append(Wrong(name, error))
            continue
        except ArtlineError as error:
            wrong.append(Wrong(name, error))
            continue
        if found != expected[name]:
            wrong.append(Wrong(name, found))
    return wrong


def _says(error: ArtlineError, *texts: str) -> None:
    lacking = [text for text in texts if text not in error.message]
    assert not lacking, (lacking, error)


# Where a bit flips


def flip(source: random.Random, path: Path) -> str:
    """Flip one bit of a file, mostly near bytes that say something; return where."""
    data = bytearray(path.read_bytes())
    position = source.randrange(len(data))
    for _ in range(50):
        if any(data[max(0, position - 4) : position + 5]):
            break
        position = source.randrange(len(data))
    data[position] ^= 1 << (bit := source.randrange(8))
    mode, status = path.stat().st_mode, path.stat()
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return f"bit {bit} of byte {position} of {path.name}"


def _never_wrong(root: Path, out: Path) -> tuple[Report, Report]:
    """Read everything, which must be right or refused; return what a quick check says, and a full one."""
    with opened(root) as store:
        wrong = compare(artifacts(store, out))
        assert not wrong, wrong
        reports = check(store), check(store, full=True)
    wrong = compare(runs(root))
    assert not wrong, wrong
    return reports


def pack(source: random.Random, root: Path, out: Path) -> None:
    """A block of data, recipe, shard or root, a header, an index or a trailer."""
    path = source.choice(sorted((root / "bucket" / "packs").rglob("*.pack")))
    flip(source, path)
    quick, full = _never_wrong(root, out)
    told = [*full.packs.problems, *(chunk.place for chunk in full.packs.damaged)]
    assert any(path.name in text for text in told), full
    assert quick.ok or not full.ok


def record(source: random.Random, root: Path, out: Path) -> None:
    path = source.choice(sorted((root / "bucket" / "records").rglob("*.records")))
    flip(source, path)
    quick, full = _never_wrong(root, out)
    assert any(path.name in problem for problem in quick.problems), quick
    assert quick.problems == full.problems


def store_file(source: random.Random, root: Path, out: Path) -> None:
    """``store.json``: the catalog has the same, so it can be mended."""
    path = root / "bucket" / "store.json"
    before = path.read_bytes()
    flip(source, path)
    try:
        _never_wrong(root, out)
    except ArtlineError as error:
        _says(error, str(root / "bucket"), "store", "art fsck --repair")
        with opened(root, adopt=True) as store:
            assert repair(store).report.ok
        assert path.read_bytes() == before
        _never_wrong(root, out)


def cached_blocks(source: random.Random, root: Path, out: Path) -> None:
    """Blocks in the cache of a remote bucket: those that are wrong are fetched again."""
    for attempt in range(2):
        with opened(root) as store:
            store.content.blocks = BlockCache(store.content.cache)
            wrong = compare(artifacts(store, out))
            assert not wrong, wrong
            assert check(store, full=True).ok
        if not attempt:
            flip(source, source.choice(sorted((root / "cache" / "packs").rglob("*.pack"))))


def cached_files(source: random.Random, root: Path, out: Path) -> None:
    """Files in the cache that checkouts are linked to: those that are wrong are made anew."""
    for attempt in range(2):
        with opened(root) as store:
            wrong = compare(artifacts(store, out))
            assert not wrong, wrong
        if not attempt:
            found = [path for path in sorted((root / "cache" / "files").rglob("*")) if path.is_file()]
            flip(source, source.choice([path for path in found if path.stat().st_size]))


def stat_cache(source: random.Random, root: Path, out: Path) -> None:
    """The stat cache: it knows a file by what it was, or not at all."""
    paths = [out / f"file {number}" for number in range(40)]
    for number, path in enumerate(paths):
        path.write_bytes(content(number, 10))
    known = [(os.fsencode(out), os.fsencode(one.name), one.stat(), hashed(one), None) for one in paths]
    cache = StatCache(root / "cache" / "stat.db", "store")
    for attempt in range(3):  # one that is found damaged is removed, and made anew
        cache.record(known)
        cache.close()
        if not attempt:
            with contextlib.closing(sqlite3.connect(root / "cache" / "stat.db")) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            flip(source, root / "cache" / "stat.db")
        found = cache.lookup(os.fsencode(out), [one[1] for one in known])
        for _, name, status, digest, _ in known:
            if name in found and same_file(found[name], status):
                assert known_blob(found[name], status.st_size).digest == digest
    cache.close()


def hashed(path: Path) -> bytes:
    return Algorithm.BLAKE3.hash(path.read_bytes())


def lock_file(source: random.Random, root: Path, out: Path) -> None:
    """``art.lock``: it names the version that it named, or one whose digest is not the one it names."""
    path = out / "art.lock"
    with opened(root) as store:
        version = store.get("a:v1", project="p")
        lock = Lock().with_pin(pin_of(version, "latest"))
        write_lock(path, lock)
        flip(source, path)
        try:
            pins = read_lock(path).pins
            if pins:  # the heading of a table may be one of a comment by now
                assert store.get(pins[0].ref).digest == version.digest
        except ArtlineError as error:
            _says(error, str(path) if str(path) in error.message else "'")


def journal(source: random.Random, root: Path, out: Path) -> None:
    """A run's journal: what is before the damage arrives, and what is behind it never does wrongly."""
    rows = [{"loss": float(number)} for number in range(30)]
    writer = Writer(root, run_id="j", process=DEAD, name="n")
    writer.config(lr=0.5)
    for at in range(0, 30, 3):
        writer.rows({"loss": [float(number) for number in range(at, at + 3)]}, "d")
    writer.finish()
    os.utime(writer.path, (0, 0))  # nobody is writing it any more
    where = flip(source, writer.path)
    store = RunStore.open(load_settings(root=root))
    try:
        drained = store.drain()
        whole = False
        with contextlib.suppress(ArtlineError):
            record = store.get("p", "j")
            found = [{"loss": row["loss"]} for row in store.history(record)]
            assert found == rows[: len(found)]
            assert record.config in ({}, {"lr": 0.5})
            whole = found == rows and record.state == "finished"
        assert whole or any(str(writer.path) in str(damage) for damage in drained.damages), (where, drained)
    finally:
        store.close()


def catalog(source: random.Random, root: Path, out: Path) -> None:
    """A page of a SQLite catalog: bytes are never wrong, and a check names whatever else is, and mends it.

    Of runs there is one copy only: what is read of them may be wrong, but is no crash.
    """
    path = root / "catalog.db"
    where = flip(source, path)
    wrong: list[Wrong] = []
    try:
        with opened(root) as store:
            wrong = compare(artifacts(store, out))
            report = check(store)
            assert not report.ok or not wrong, (where, wrong)
            delivered = [one for one in wrong if isinstance(one.told, bytes)]
            assert not delivered, (where, delivered)
            if not report.ok and repair(store).report.ok:
                wrong = compare(artifacts(store, out))
                assert not wrong, (where, wrong)
    except ArtlineError as error:
        _says(error, str(path))
    compare(runs(root))


TARGETS = (
    pack,
    record,
    store_file,
    cached_blocks,
    cached_files,
    stat_cache,
    lock_file,
    journal,
    catalog,
)


def attempt(
    target: Callable[[random.Random, Path, Path], None], source: random.Random, scratch: Path
) -> None:
    """Flip a bit in a store of its own."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    try:
        shutil.copytree(template(), folder / "store", ignore=_LOG)
        (folder / "out").mkdir()
        target(source, folder / "store", folder / "out")
    finally:
        shutil.rmtree(folder)
