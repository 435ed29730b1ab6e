"""32 processes log to one name at once, on each kind of catalog."""

from __future__ import annotations

import io
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from artline.artifacts.artifact import Artifact
from artline.artifacts.assembly import finish
from artline.artifacts.contribution import contribute
from artline.artifacts.drafts import list_drafts
from artline.artifacts.store import ArtifactStore
from artline.settings import load_settings

PROCESSES = 32
FINISHERS = 4
MODULES = ["artline.artifacts.assembly", "artline.artifacts.store", "artline.storage.writer", __name__]

together: Barrier


def gather(barrier: Barrier) -> None:
    """Remember, in a new process, what all of them wait at."""
    global together
    together = barrier


def log(root: str, catalog: str, number: int) -> tuple[int, str]:
    """Log a version once every process is ready to; return the process and the version."""
    store = ArtifactStore.open(load_settings(root=root, catalog=catalog))
    draft = Artifact("peds", "dataset", store=store)
    draft.add_stream(io.BytesIO(b"common" * 1000), "common")
    draft.add_stream(io.BytesIO(f"{number}".encode()), "own")
    together.wait(60)
    version = store.log(draft, project="p", run=f"local/p/r{number}", aliases=[f"by{number}"])
    return os.getpid(), version.version


def finish_together(root: str, catalog: str, number: int) -> tuple[int, str]:
    """Contribute to one draft, then, once all have, finish it, several at once."""
    store = ArtifactStore.open(load_settings(root=root, catalog=catalog))
    draft = Artifact("peds", "dataset", store=store)
    draft.add_stream(io.BytesIO(b"common" * 1000), "common")
    draft.add_stream(io.BytesIO(f"{number}".encode()), f"part-{number:02d}")
    contribute(store, draft, "d", run=f"local/p/r{number}", project="p")
    together.wait(60)
    if number >= FINISHERS:
        return os.getpid(), ""
    version = finish(store, draft, "d", run=f"local/p/r{number}", project="p")
    return os.getpid(), version.version


@pytest.fixture
def context() -> ForkServerContext:
    """A server that forks processes which have imported everything, but opened nothing."""
    server = get_context("forkserver")
    server.set_forkserver_preload(MODULES)
    return server


def test_32_processes_log_one_name_without_gaps_or_duplicates(
    context: ForkServerContext, store_root: Path, catalog_url: str
) -> None:
    barrier = context.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, context, gather, (barrier,)) as pool:
        jobs = [pool.submit(log, str(store_root), catalog_url, number) for number in range(PROCESSES)]
        done = [job.result() for job in jobs]
    assert len({process for process, _ in done}) == PROCESSES
    store = ArtifactStore.open(load_settings(root=store_root, catalog=catalog_url))
    records = store.versions("p", "peds", deleted=True)
    assert [record.number for record in records] == list(range(PROCESSES - 1, -1, -1))
    holders = {alias: record.version for record in records for alias in record.aliases}
    assert holders["latest"] == f"v{PROCESSES - 1}"
    for number, (_, name) in enumerate(done):
        assert holders[f"by{number}"] == name
        version = store.get(f"peds:{name}", project="p")
        assert version.logged_by() == f"local/p/r{number}"
        with version.open("own") as stream:
            assert stream.read() == f"{number}".encode()


def test_32_processes_put_one_version_together(
    context: ForkServerContext, store_root: Path, catalog_url: str
) -> None:
    barrier = context.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, context, gather, (barrier,)) as pool:
        jobs = [
            pool.submit(finish_together, str(store_root), catalog_url, number) for number in range(PROCESSES)
        ]
        done = [job.result() for job in jobs]
    assert len({process for process, _ in done}) == PROCESSES
    assert [name for _, name in done if name] == ["v0"] * FINISHERS
    store = ArtifactStore.open(load_settings(root=store_root, catalog=catalog_url))
    assert [record.number for record in store.versions("p", "peds", deleted=True)] == [0]
    assert list_drafts(store, project="p") == []
    version = store.get("peds", project="p")
    assert [entry.path for entry in version.files()] == [
        "common",
        *[f"part-{number:02d}" for number in range(PROCESSES)],
    ]
    made = {edge.source for edge in store.lineage("peds", project="p").edges}
    assert made == {f"local/p/r{number}" for number in range(PROCESSES)}
