"""Acts on versions of many files, for ``benchmarks.child``: listing, comparing, changing, verifying."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["ACTS"]


def list_all(name: str) -> dict[str, Any]:
    """Go through every entry of the latest version."""
    with timing() as told:
        told["files"] = sum(1 for _ in latest(name).files())
    return told


def list_folder(name: str) -> dict[str, Any]:
    """List the folder at the top of the latest version, through the file system ``art://``."""
    import fsspec

    files = fsspec.filesystem("art", project="bench")
    with timing() as told:
        told["names"] = len(files.ls(f"{name}:latest", detail=False))
    return told


def one_entry(name: str, path: str) -> dict[str, Any]:
    """Find one path of the latest version, in a store that is open."""
    version = latest(name)
    with timing() as told:
        version.get_entry(path)
    return told


def compare(name: str, old: str, new: str, changed: str) -> dict[str, Any]:
    """Compare two versions, of which so many files differ."""
    import artline

    api = artline.Api()
    before, after = (api.artifact(f"bench/{name}:{version}") for version in (old, new))
    with timing() as told:
        found = before.diff(after)
    if (len(found.changed), len(found.added), len(found.removed)) != (int(changed), 0, 0):
        raise SystemExit(f"{len(found.changed)} files differ, not {changed}")
    return told


def edit(name: str, count: str, stride: str, size: str) -> dict[str, Any]:
    """Replace files of the latest version, every so many-th from the middle on, and log the next one."""
    import artline

    chosen, step = int(count), int(stride)
    version = latest(name)
    start = 0 if step > 1 else version.record.file_count // 2
    paths = [entry.path for place, entry in enumerate(version.files()) if place >= start]
    source = random.Random(time.time_ns())
    with artline.init(project="bench", job_type="edit") as run, timing() as told:
        draft = version.new_draft()
        for path in paths[: chosen * step : step]:
            draft.add_stream(io.BytesIO(source.randbytes(int(size))), path, overwrite=True)
        told["version"] = run.log_artifact(draft).version
    return told


def verify(name: str, folder: str) -> dict[str, Any]:
    """Compare a folder with the latest version, every byte."""
    version = latest(name)
    with timing() as told:
        version.verify(folder)
    return told


def collect() -> dict[str, Any]:
    """See what a collection would free."""
    from artline.artifacts.retention import collect as look

    store = opened()
    with timing() as told:
        look(store)
    return told


def check(versions: str) -> dict[str, Any]:
    """Check the whole store without reading every byte again."""
    from artline.artifacts.fsck import check as look

    store = opened()
    with timing() as told:
        report = look(store)
    if not report.ok or report.versions != int(versions):
        raise SystemExit(f"{report.versions} versions, {report.losses[:3]}, {report.problems[:3]}")
    return told


def opened() -> Any:
    from artline.artifacts.store import ArtifactStore

    return ArtifactStore.open()


def latest(name: str) -> Any:
    import artline

    return artline.Api().artifact(f"bench/{name}:latest")


@contextmanager
def timing() -> Iterator[dict[str, Any]]:
    told: dict[str, Any] = {}
    begun = time.perf_counter()
    yield told
    told["seconds"] = time.perf_counter() - begun


ACTS = {
    act.__name__: act for act in (list_all, list_folder, one_entry, compare, edit, verify, collect, check)
}
