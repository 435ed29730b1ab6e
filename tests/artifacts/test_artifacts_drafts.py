"""Distributed drafts: many runs contribute, one finishes."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artline.artifacts import assembly
from artline.artifacts.artifact import Artifact
from artline.artifacts.assembly import finish, finish_draft
from artline.artifacts.contribution import contribute
from artline.artifacts.drafts import EXPIRY, DraftRecord, find_draft, list_drafts, withdraw
from artline.artifacts.fsck import check
from artline.artifacts.retention import collect
from artline.artifacts.schema import artifact_draft
from artline.artifacts.staging import Staging
from artline.artifacts.store import ArtifactStore
from artline.errors import ArtifactNotFoundError, ConflictError, InvalidPathError, UsageError
from artline.settings import load_settings

NOW = timedelta(0)


@pytest.fixture
def anywhere(store_root: Path, catalog_url: str) -> ArtifactStore:
    """Return a new, empty store with a catalog of each kind."""
    return ArtifactStore.open(load_settings(root=store_root, catalog=catalog_url))


def part(store: ArtifactStore, files: Mapping[str, str], **options: Any) -> Artifact:
    draft = Artifact("peds", "dataset", store=store, **options)
    for path, text in files.items():
        draft.add_stream(io.BytesIO(text.encode()), path)
    return draft


def send(store: ArtifactStore, run: str, files: Mapping[str, str], **options: Any) -> DraftRecord:
    given = {name: options.pop(name) for name in ("aliases", "tags") if name in options}
    return contribute(store, part(store, files, **options), "d", run=f"local/p/{run}", project="p", **given)


def end(
    store: ArtifactStore, run: str = "end", files: Mapping[str, str] | None = None, **options: Any
) -> Artifact:
    given = {name: options.pop(name) for name in ("aliases", "tags") if name in options}
    draft = part(store, files or {}, **options)
    return finish(store, draft, "d", run=f"local/p/{run}" if run else "", project="p", **given)


def texts(version: Artifact) -> dict[str, str]:
    found = {}
    for entry in version.files():
        with version.open(entry.path) as stream:
            found[entry.path] = stream.read().decode()
    return found


def contributors(record: DraftRecord) -> list[tuple[str, int]]:
    return [(found.run.rpartition("/")[2], found.file_count) for found in record.contributions]


def test_what_runs_contribute_becomes_one_version(anywhere: ArtifactStore) -> None:
    store = anywhere
    send(store, "a", {"a": "1", "both": "x"}, metadata={"k": 1}, aliases=["by-a"], tags=["t"])
    send(store, "b", {"sub/b": "2", "both": "x"}, description="of two")
    assert store.names("p") == []  # nothing is to be seen before
    (draft,) = list_drafts(store, project="p")
    assert (draft.distributed_id, draft.file_count, contributors(draft)) == ("d", 4, [("a", 2), ("b", 2)])
    version = end(store, files={"own": "3"}, aliases=["best"])
    assert texts(version) == {"a": "1", "both": "x", "own": "3", "sub/b": "2"}
    assert (version.name, version.metadata, version.description) == ("peds:v0", {"k": 1}, "of two")
    assert (version.aliases, version.tags) == (["best", "by-a", "latest"], ["t"])
    graph = store.lineage("peds", project="p")
    assert {edge.source for edge in graph.edges} == {"local/p/a", "local/p/b", "local/p/end"}
    assert version.logged_by() == "local/p/end"
    assert version.history[-1].detail == {"distributed_id": "d", "runs": 3}
    assert list_drafts(store, project="p") == []
    assert check(store, full=True).ok


def test_sending_twice_changes_nothing(anywhere: ArtifactStore) -> None:
    artifact = part(anywhere, {"a": "1"})
    given: dict[str, Any] = {"run": "local/p/a", "project": "p"}
    first = contribute(anywhere, artifact, "d", **given)
    assert contribute(anywhere, artifact, "d", **given) == first
    again = contribute(anywhere, part(anywhere, {"a": "1"}), "d", **given)
    assert again.contributions[0].root == first.contributions[0].root
    with pytest.raises(UsageError, match="contributed to draft 'd' already"):
        contribute(anywhere, artifact, "other", **given)
    with pytest.raises(ConflictError, match="Put more files into another Artifact"):
        artifact.add_stream(io.BytesIO(b"2"), "b")
    assert end(anywhere).version == "v0"
    assert contribute(anywhere, artifact, "d", **given).contributions == ()
    assert end(anywhere).version == "v0"
    assert len(anywhere.versions("p", "peds")) == 1


def test_what_a_run_sends_later_counts(store: ArtifactStore) -> None:
    send(store, "a", {"x": "1", "y": "1"}, metadata={"k": 1, "l": 1}, aliases=["one"])
    send(store, "a", {"x": "2", "z": "2"}, metadata={"k": 2}, description="d", aliases=["two"])
    assert contributors(find_draft(store, "peds", project="p")) == [("a", 3)]
    with pytest.raises(InvalidPathError):
        send(store, "a", {"x/y": "3"})
    version = end(store)
    assert texts(version) == {"x": "2", "y": "1", "z": "2"}
    assert (version.metadata, version.description) == ({"k": 2, "l": 1}, "d")
    assert version.aliases == ["latest", "one", "two"]


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        (
            {"s/x": "1"},
            {"s/x": "2"},
            r"path 's/x' has different content from local/p/a, local/p/b: draft 'd'",
        ),
        ({"x": "1"}, {"x/y": "2"}, r"path 'x' is a file from one and a folder from another of local/p/a, "),
        (
            {"Sub/x": "1"},
            {"sub/y": "2"},
            r"paths '[sS]ub' and '[sS]ub', which would be one .* local/p/a, local/p/b",
        ),
    ],
)
def test_a_path_that_two_runs_disagree_on_is_named_with_them(
    store: ArtifactStore, one: dict[str, str], two: dict[str, str], said: str
) -> None:
    send(store, "a", one)
    send(store, "b", two)
    send(store, "c", {"c": "3"})
    for _ in range(2):
        with pytest.raises(ConflictError, match=said):
            end(store)
    assert store.names("p") == []
    withdraw(store, "peds", run="b", project="p")
    assert texts(end(store)) == {**one, "c": "3"}


def test_metadata_that_two_runs_disagree_on_is_for_the_finisher_to_say(store: ArtifactStore) -> None:
    send(store, "a", {"a": "1"}, metadata={"rank": 0, "same": [1]}, description="one")
    send(store, "b", {"b": "1"}, metadata={"rank": 1, "same": [1]}, description="two")
    with pytest.raises(ConflictError, match="metadata 'rank' differs between local/p/a and local/p/b"):
        end(store, description="all")
    with pytest.raises(ConflictError, match="description differs between local/p/a and local/p/b"):
        end(store, metadata={"rank": None})
    version = end(store, metadata={"rank": None, "n": 2}, description="all")
    assert version.metadata == {"rank": None, "same": [1], "n": 2}


def test_a_contribution_outlives_its_lease_and_every_collection(anywhere: ArtifactStore) -> None:
    store = anywhere
    send(store, "a", {"a": "1" * 50_000})
    send(store, "b", {"b": "2" * 50_000})
    send(store, "b", {"c": "3" * 50_000})
    for _ in range(3):
        found = collect(store, grace=NOW, dry_run=False)
        assert (found.drafts, found.collection.pinned) == ((), 0)
    version = end(store)
    collect(store, grace=NOW, dry_run=False)
    assert check(store, full=True).ok
    assert {path: len(text) for path, text in texts(version).items()} == dict.fromkeys("abc", 50_000)


def test_a_check_names_the_run_whose_part_is_lost(store: ArtifactStore) -> None:
    send(store, "a", {"a": "1" * 50_000})
    before = set((store.content.root / "bucket" / "packs").rglob("*.pack"))
    send(store, "b", {"b": "2" * 50_000})
    assert check(store).ok
    for pack in set((store.content.root / "bucket" / "packs").rglob("*.pack")) - before:
        pack.unlink()
    assert {loss.version for loss in check(store).losses} == {"local/p/peds (draft d) of local/p/b"}


def test_what_is_given_up_or_expired_goes(anywhere: ArtifactStore) -> None:
    store = anywhere
    end(store, files={"kept": "k" * 30_000})
    send(store, "a", {"a": "1" * 30_000})
    dropped = withdraw(store, "peds", "d", project="p")
    assert contributors(dropped) == [("a", 1)]
    send(store, "b", {"b": "2" * 30_000})
    assert collect(store, grace=NOW).drafts == ()
    with store.catalog.write() as conn:
        old = artifact_draft.c.touched_at - EXPIRY.total_seconds() - 1
        conn.execute(sa.update(artifact_draft).values(touched_at=old))
    told = collect(store, grace=NOW)
    assert [contributors(draft) for draft in told.drafts] == [[("b", 1)]]
    assert told.collection.dead_bytes > 0
    assert len(list_drafts(store, project="p")) == 1
    for _ in range(3):
        collect(store, grace=NOW, dry_run=False)
    assert list_drafts(store, project="p") == []
    assert store.content.usage().logical_bytes < 40_000
    with pytest.raises(ArtifactNotFoundError, match="given up"):
        end(store)
    with pytest.raises(ArtifactNotFoundError, match="not open"):
        withdraw(store, "peds", "d", project="p")
    send(store, "b", {"b": "3"})
    assert texts(end(store)) == {"b": "3"}


def at_merge(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Do something, once, between the moment a finisher has looked and that in which it commits."""
    merge = assembly._Assembly._merge

    def merging(self: Any, record: DraftRecord) -> Any:
        monkeypatch.setattr(assembly._Assembly, "_merge", merge)
        merged = merge(self, record)
        action()
        return merged

    monkeypatch.setattr(assembly._Assembly, "_merge", merging)


def test_what_comes_while_a_run_finishes_is_in_the_version(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(store, "a", {"a": "1"})
    send(store, "b", {"b": "1"})
    at_merge(monkeypatch, lambda: [send(store, "c", {"c": "1"}), send(store, "b", {"b": "2"})])
    assert texts(end(store)) == {"a": "1", "b": "2", "c": "1"}
    assert len(store.versions("p", "peds")) == 1


def test_two_that_finish_at_once_make_one_version(
    anywhere: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = anywhere
    send(store, "a", {"a": "1"})
    others: list[Artifact] = []
    at_merge(monkeypatch, lambda: others.append(end(store, "other", {"b": "2"}, aliases=["best"])))
    version = end(store, aliases=["mine"], metadata={"k": 1})
    assert version.record.id == others[0].record.id
    assert (version.version, texts(version)) == ("v0", {"a": "1", "b": "2"})
    assert (version.aliases, version.metadata) == (["best", "latest", "mine"], {"k": 1})
    sources = {edge.source for edge in store.lineage("peds", project="p").edges}
    assert sources == {"local/p/a", "local/p/other", "local/p/end"}


def test_what_others_finished_and_a_collector_took_is_not_missed(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge, put_on = assembly._Assembly._merge, Staging.put_on

    def finish_and_collect() -> None:
        monkeypatch.setattr(assembly._Assembly, "_merge", merge)
        monkeypatch.setattr(Staging, "put_on", put_on)
        end(store, "other")
        for _ in range(3):
            collect(store, grace=NOW, dry_run=False)

    def merging(self: Any, record: DraftRecord) -> Any:
        finish_and_collect()
        return merge(self, record)

    def putting(self: Staging, root: bytes | None) -> None:
        finish_and_collect()
        put_on(self, root)

    for name, files in (("a", {"a": "1"}), ("b", {"b": "1"})):
        send(store, name, files)
    monkeypatch.setattr(assembly._Assembly, "_merge", merging)
    assert texts(end(store)) == {"a": "1", "b": "1"}
    for name, files in (("a", {"a": "2"}), ("b", {"b": "2"})):
        send(store, name, files)
    monkeypatch.setattr(Staging, "put_on", putting)
    assert contributors(send(store, "a", {"c": "2"})) == [("a", 1)]
    assert texts(end(store)) == {"c": "2"}
    assert [record.number for record in store.versions("p", "peds")] == [2, 1, 0]


def test_many_that_finish_at_once_make_one_version(anywhere: ArtifactStore) -> None:
    for run in range(6):
        send(anywhere, f"r{run}", {f"{run}": "x"})
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda run: end(anywhere, f"r{run}"), range(6)))
    assert {version.version for version in made} == {"v0"}
    assert len(anywhere.versions("p", "peds")) == 1
    assert len(list(made[0].files())) == 6


def test_a_finisher_whose_files_came_too_late_is_told(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(files: dict[str, str]) -> None:
        def late(*arguments: Any, **named: Any) -> DraftRecord:
            monkeypatch.setattr(assembly, "contribute", contribute)
            end(store, "other", files)
            return contribute(*arguments, **named)

        monkeypatch.setattr(assembly, "contribute", late)

    send(store, "a", {"a": "1"})
    meanwhile({})
    with pytest.raises(ConflictError, match="was finished or given up meanwhile"):
        end(store, files={"b": "2"})
    send(store, "a", {"a": "1"})
    meanwhile({"b": "2"})
    assert end(store, files={"b": "2"}).version == "v1"  # the other one had the same
    assert [texts(store.get(f"peds:v{n}", project="p")) for n in (0, 1)] == [{"a": "1"}, {"a": "1", "b": "2"}]


def test_nothing_is_lost_between_contributors_finishers_and_a_collector(anywhere: ArtifactStore) -> None:
    store, over = anywhere, Event()

    def work(run: int) -> None:
        for number in range(4):
            send(store, f"r{run}", {f"{run}-{number}": f"{run} {number} " * 100})
            if run % 2:
                end(store, f"r{run}")

    def sweep() -> None:
        while not over.is_set():
            collect(store, grace=NOW, dry_run=False)

    with ThreadPoolExecutor(5) as pool:
        sweeper = pool.submit(sweep)
        try:
            for worker in [pool.submit(work, run) for run in range(4)]:
                worker.result()
        finally:
            over.set()
        sweeper.result()
    end(store)
    assert check(store, full=True).ok
    versions = [store.get(f"peds:{record.version}", project="p") for record in store.versions("p", "peds")]
    seen = [entry.path for version in versions for entry in version.files()]
    assert {f"{run}-{number}" for run in range(4) for number in range(4)} == set(seen)
    assert len(seen) == len(set(seen))  # each in the version that its draft became, and in no other


def test_a_draft_on_top_of_the_latest_version(store: ArtifactStore) -> None:
    first = part(store, {"old": "1", "changed": "1"})
    store.log(first, project="p")
    send(store, "a", {"a": "1"})
    send(store, "b", {"changed": "2"}, incremental=True)
    assert texts(end(store)) == {"a": "1", "changed": "2", "old": "1"}
    send(store, "a", {"a": "1"})
    assert texts(end(store)) == {"a": "1"}


def test_one_large_contribution_is_not_read_again(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = send(store, "a", {f"{number:04d}": "x" for number in range(3000)}).contributions[0].root
    monkeypatch.setattr(
        "artline.artifacts.manifest.Manifest.load", lambda *_: pytest.fail("a shard was read")
    )
    assert end(store).record.root == root


def test_what_cannot_be_contributed_is_refused(store: ArtifactStore) -> None:
    version = end(store, files={"a": "1"})
    given: dict[str, Any] = {"run": "local/p/a", "project": "p"}
    with pytest.raises(UsageError, match="a draft of a version"):
        contribute(store, version.new_draft(), "d", **given)
    logged = store.log(part(store, {"a": "1"}), project="p")
    with pytest.raises(ConflictError, match="is finished"):
        contribute(store, logged, "d", **given)
    with pytest.raises(UsageError, match="is of type 'dataset', not 'model'"):
        contribute(store, Artifact("peds", "model", store=store), "d", **given)
    for wrong in ("", "a\nb", "x" * 300):
        with pytest.raises(UsageError, match="distributed_id"):
            contribute(store, part(store, {"a": "1"}), wrong, **given)
    with pytest.raises(UsageError, match="which a run has to contribute"):
        end(store, "", files={"b": "1"})
    send(store, "a", {"a": "1"})
    contribute(store, part(store, {"a": "1"}), "e", **given)
    with pytest.raises(UsageError, match=r"has 2 open drafts \('d', 'e'\)"):
        finish_draft(store, "p/peds")
    with pytest.raises(ArtifactNotFoundError, match="local/p/a did"):
        withdraw(store, "peds", "d", run="other", project="p")
    with pytest.raises(ArtifactNotFoundError, match="no draft 'f'"):
        finish_draft(store, "p/peds", "f")
    assert finish_draft(store, "p/peds", "e", aliases=["x"]).aliases == ["latest", "x"]
    assert finish_draft(store, "local/p/peds").version == "v0"  # the content it had before


SCRIPT = """
    import io, os, signal, sys
    from artline.artifacts import contribution
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.store import ArtifactStore
    from artline.settings import load_settings

    root, place = sys.argv[1:]
    store = ArtifactStore.open(load_settings(root=root))

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    for place, target in {"before": "load_draft", "after": None}.items():
        if place == sys.argv[2] and target:
            setattr(contribution, target, die)
    draft = Artifact("peds", "dataset", store=store)
    draft.add_stream(io.BytesIO(b"x" * 100_000), "killed")
    contribution.contribute(store, draft, "d", run="local/p/killed", project="p")
    die()
"""


@pytest.mark.parametrize(("place", "there"), [("before", False), ("after", True)])
def test_a_killed_contributor_leaves_all_or_nothing(store: ArtifactStore, place: str, there: bool) -> None:
    send(store, "a", {"a": "1"})
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(store.content.root), place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for _ in range(2):
        collect(store, grace=NOW, dry_run=False)
    assert sorted(texts(end(store))) == (["a", "killed"] if there else ["a"])
    assert check(store, full=True).ok


NAMES = st.sampled_from(["a", "b", "a/b", "A", "c/d", "c/e"])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from("rst"), st.dictionaries(NAMES, st.sampled_from("12"), max_size=3)),
        max_size=6,
    )
)
def test_a_version_is_what_its_runs_sent_or_a_conflict(
    store: ArtifactStore, sent: list[tuple[str, dict[str, str]]]
) -> None:
    name = "peds"
    with store.catalog.write() as conn:
        conn.execute(sa.text("DELETE FROM artifact_contribution"))
    model: dict[str, dict[str, str]] = {}
    for run, files in sent:
        wanted = model.get(run, {}) | files
        try:
            send(store, run, files)
        except InvalidPathError:
            assert clashes(wanted)
        else:
            assert not clashes(wanted)
            model[run] = wanted
    union: dict[str, str] = {}
    differ = False
    for files in model.values():
        differ = differ or any(union.get(path, text) != text for path, text in files.items())
        union |= files
    if not model:
        return
    if differ or clashes(union):
        with pytest.raises(ConflictError):
            end(store)
    else:
        assert texts(end(store)) == union
        assert list_drafts(store, name, project="p") == []


def clashes(paths: Mapping[str, str]) -> bool:
    """Tell whether a path is a folder, too, or two differ in case alone."""
    folded = [path.lower() for path in paths]
    folders = {path.rpartition("/")[0] for path in folded} - {""}
    return len(set(folded)) < len(folded) or bool(folders & set(folded))
