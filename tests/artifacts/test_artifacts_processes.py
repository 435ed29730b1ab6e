from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
from multiprocessing import get_context
from pathlib import Path

import pytest

from artline.artifacts.artifact import Artifact
from artline.artifacts.store import ArtifactStore
from artline.errors import ArtifactNotFoundError
from artline.settings import load_settings

WRITERS, EACH = 12, 4


def log_many(root: str, worker: int) -> list[str]:
    """Log versions of its own, each with a file that every worker has."""
    store = ArtifactStore.open(load_settings(root=root))
    names = []
    for index in range(EACH):
        draft = Artifact("peds", "dataset", store=store)
        draft.add_stream(io.BytesIO(b"common" * 1000), "common")
        draft.add_stream(io.BytesIO(f"{worker} {index}".encode()), "own")
        run = f"local/p/r{worker}"
        names.append(store.log(draft, project="p", run=run, aliases=["best", f"by{worker}"]).version)
    return names


def test_many_processes_log_one_name_without_gaps_or_duplicates(store_root: Path) -> None:
    with get_context("spawn").Pool(WRITERS) as pool:
        given = pool.starmap(log_many, [(str(store_root), worker) for worker in range(WRITERS)])
    store = ArtifactStore.open(load_settings(root=store_root))
    records = store.versions("p", "peds")
    assert [record.number for record in reversed(records)] == list(range(WRITERS * EACH))
    assert sorted(name for names in given for name in names) == sorted(record.version for record in records)
    holders = {alias: record.version for record in records for alias in record.aliases}
    assert holders["latest"] == holders["best"] == f"v{WRITERS * EACH - 1}"
    for worker, names in enumerate(given):
        assert holders[f"by{worker}"] == names[-1]
        version = store.get(f"peds:{names[0]}", project="p")
        assert version.logged_by() == f"local/p/r{worker}"
        with version.open("own") as stream:
            assert stream.read() == f"{worker} 0".encode()


SCRIPT = """
    import io, os, signal, sys
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.store import ArtifactStore
    from artline.settings import load_settings
    import artline.artifacts.commit, artline.artifacts.staging, artline.artifacts.store

    root, tree, place = sys.argv[1:]
    calls = 0

    def die(target, name, when):
        before = getattr(target, name)
        def dying(*args, **kwargs):
            global calls
            calls += 1
            if when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = before(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)
        setattr(target, name, dying)

    store = ArtifactStore.open(load_settings(root=root))
    draft = Artifact("peds", "dataset", store=store)
    if place == "adding":
        die(artline.artifacts.draft.Draft, "_check_everything", "before")
    draft.add_dir(tree)
    if place == "manifest":
        die(artline.artifacts.staging.Staging, "_put", "after")
    elif place == "flush":
        die(type(draft.staging.writer), "flush", "after")
    elif place == "commit":
        die(artline.artifacts.commit, "add_tags", "before")
    elif place == "released":
        die(artline.artifacts.store, "load_version", "after")
    store.log(draft, project="p", aliases=["best"])
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("place", ["adding", "manifest", "flush", "commit", "released", "done"])
def test_a_killed_log_shows_all_or_nothing(store_root: Path, tree: Path, place: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(store_root), str(tree), place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = ArtifactStore.open(load_settings(root=store_root))
    if place == "done":
        version = store.get("peds:best", project="p")
        assert version.version == "v0"
    else:
        with pytest.raises(ArtifactNotFoundError):
            store.get("peds", project="p")
        assert store.projects() == []
        draft = Artifact("peds", "dataset", store=store)
        draft.add_dir(tree)
        version = store.log(draft, project="p")
        assert version.version == "v0"
    version.verify(version.download(store_root / "out"))
    version.manifest.check()


def test_a_forked_child_leaves_the_parents_draft_alone(store_root: Path) -> None:
    script = """
        import io, os, sys
        from artline.artifacts.artifact import Artifact
        from artline.artifacts.store import ArtifactStore
        from artline.settings import load_settings

        store = ArtifactStore.open(load_settings(root=sys.argv[1]))
        draft = Artifact("peds", "dataset", store=store)
        draft.add_stream(io.BytesIO(b"1" * 100_000), "a")
        if os.fork() == 0:
            sys.exit(0)
        os.wait()
        draft.add_stream(io.BytesIO(b"2" * 100_000), "b")
        version = store.log(draft, project="p")
        version.verify(version.download(sys.argv[1] + "/out"))
        print(version.version, version.file_count)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(store_root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("v0 2\n", "")


def test_a_forked_child_cannot_change_or_log_the_parents_draft(store_root: Path) -> None:
    script = """
        import io, os, sys
        from artline.artifacts.artifact import Artifact
        from artline.artifacts.store import ArtifactStore
        from artline.errors import UsageError
        from artline.settings import load_settings

        store = ArtifactStore.open(load_settings(root=sys.argv[1]))
        draft = Artifact("peds", "dataset", store=store)
        draft.add_stream(io.BytesIO(os.urandom(20_000_000)), "a")
        if os.fork() == 0:
            for change in (
                lambda: draft.add_stream(io.BytesIO(os.urandom(20_000_000)), "b"),
                lambda: draft.add_file(sys.executable, "c"),
                lambda: draft.remove("a"),
                lambda: store.log(draft, project="p"),
            ):
                try:
                    change()
                except UsageError as error:
                    print("refused" if "is a copy" in str(error) else error, flush=True)
            own = Artifact("other", "dataset", store=store)
            own.add_stream(io.BytesIO(b"2"), "b")
            print(store.log(own, project="p").name, flush=True)
            os._exit(0)
        os.wait()
        print(store.log(draft, project="p").file_count)
    """
    quiet = "-Wignore::DeprecationWarning"  # newer Pythons warn of every fork beside threads
    command = [sys.executable, quiet, "-c", textwrap.dedent(script), str(store_root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("refused\n" * 4 + "other:v0\n1\n", "")


def test_a_killed_download_is_finished_by_the_next(store: ArtifactStore, tmp_path: Path) -> None:
    tree = tmp_path / "many"
    tree.mkdir()
    for index in range(3000):
        (tree / f"{index:04d}").write_bytes(os.urandom(50))
    draft = Artifact("peds", "dataset", store=store)
    draft.add_dir(tree)
    version = store.log(draft, project="p")
    script = """
        import os, signal, sys
        from pathlib import Path
        from artline.artifacts.store import ArtifactStore
        from artline.settings import load_settings

        root, out = sys.argv[1:]
        done = 0
        def progress(files, size):
            global done
            done += files
            if done > 1000:
                os.kill(os.getpid(), signal.SIGKILL)
        ArtifactStore.open(load_settings(root=root)).get("peds", project="p").download(out, progress=progress)
    """
    out = tmp_path / "out"
    command = [sys.executable, "-c", textwrap.dedent(script), str(store.content.root), str(out)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    names = {entry.path for entry in version.files()}
    before = {path.name: path.stat().st_ino for path in out.iterdir() if path.name in names}
    assert 0 < len(before) < 3000
    for name in before:
        assert (out / name).read_bytes() == (tree / name).read_bytes()
    version.checkout(out)
    version.verify(out)
    after = {path.name: path.stat().st_ino for path in out.iterdir()}
    assert {name: after[name] for name in before} == before


def test_memory_stays_bounded_whatever_the_number_of_files(store_root: Path, tmp_path: Path) -> None:
    script = """
        import resource, sys
        from artline.artifacts.draft import Draft
        from artline.artifacts.manifest import Manifest
        from artline.artifacts.staging import Staging
        from artline.artifacts.store import ArtifactStore
        from artline.settings import load_settings

        store = ArtifactStore.open(load_settings(root=sys.argv[1]))

        def batches(count):
            for start in range(0, count, 1000):
                yield [(f"train/{i // 500:06d}/picture-{i:09d}.JPEG", 0, i, i.to_bytes(32, "big"), b"", "")
                       for i in range(start, start + 1000)]

        def work(count):
            staging = Staging(store.content)
            staging.draft.add_many(batches(count))
            built = staging.build()
            staging.close()
            rows = sum(map(len, Manifest(store.content, store.content.algorithm, built.root).rows()))
            assert rows == built.rows == count
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        small, large = work(20_000), work(300_000)
        print(small, large)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(store_root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    small, large = map(float, done.stdout.split())
    assert large < small + 60, done.stdout
