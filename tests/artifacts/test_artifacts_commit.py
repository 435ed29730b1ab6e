from __future__ import annotations

import json
from multiprocessing import get_context

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import artline.artifacts.schema
from artline.artifacts.commit import Proposal, commit_version, metadata_text, move_alias, remove_alias
from artline.artifacts.manifest import Built
from artline.artifacts.projects import ensure_project, list_projects
from artline.artifacts.refs import parse_ref
from artline.artifacts.schema import artifact_alias, artifact_version
from artline.artifacts.versions import list_collections, list_events, list_versions, load_version, resolve
from artline.errors import ArtifactNotFoundError, IntegrityError, InvalidNameError, UsageError
from artline.storage.catalog import Catalog, metadata


def built(content: int) -> Built:
    digest = content.to_bytes(32, "big")
    return Built(digest=digest, root=digest, rows=1, files=1, size=content)


def commit(
    catalog: Catalog,
    content: int,
    *aliases: str,
    name: str = "peds",
    type: str = "dataset",
    run: str = "",
    meta: dict[str, object] | None = None,
    description: str | None = None,
) -> tuple[int, bool]:
    proposal = Proposal(
        entity="team",
        project="detect",
        name=name,
        type=type,
        manifest=built(content),
        metadata=None if meta is None else metadata_text(meta),
        description=description,
        run=run,
        aliases=aliases,
    )
    with catalog.write() as conn:
        return commit_version(conn, proposal)


def find(catalog: Catalog, ref: str, type: str | None = None) -> str:
    with catalog.read() as conn:
        return resolve(conn, parse_ref(ref), entity="team", project="detect", type=type).version


def test_the_migrated_schema_is_the_declared_one(catalog: Catalog) -> None:
    ours = {table.name for table in artline.artifacts.schema.metadata.sorted_tables}
    ours = {name for name in ours if name == "project" or name.startswith("artifact")}

    def include(item: object, name: str | None, kind: str, *rest: object) -> bool:
        return name in ours if kind == "table" else True

    options = {"compare_type": True, "compare_server_default": True, "include_object": include}
    with catalog.write() as conn:
        context = MigrationContext.configure(conn, opts=options)
        assert compare_metadata(context, metadata) == []


def test_projects_are_made_once(catalog: Catalog) -> None:
    with catalog.write() as conn:
        first = ensure_project(conn, "team", "detect")
        assert ensure_project(conn, "team", "detect") == first
        assert ensure_project(conn, "team", "other") != first
        assert [(p.entity, p.name) for p in list_projects(conn)] == [("team", "detect"), ("team", "other")]
        with pytest.raises(InvalidNameError):
            ensure_project(conn, "team", "../other")


def test_versions_are_numbered_from_zero_and_found_by_every_form(catalog: Catalog) -> None:
    assert [commit(catalog, content)[1] for content in (10, 11, 12)] == [True] * 3
    assert find(catalog, "peds") == "v2"
    assert find(catalog, "peds:v1") == "v1"
    assert find(catalog, "detect/peds:latest") == "v2"
    assert find(catalog, "team/detect/peds:v0") == "v0"
    digest = "blake3:" + (11).to_bytes(32, "big").hex()
    assert find(catalog, f"peds@{digest}") == "v1"
    assert find(catalog, f"peds:v1@{digest}") == "v1"
    with pytest.raises(IntegrityError, match="has not the digest"):
        find(catalog, f"peds:v2@{digest}")


def test_the_same_content_makes_no_new_version_but_moves_aliases(catalog: Catalog) -> None:
    first, _ = commit(catalog, 1, "best")
    commit(catalog, 2, "best")
    assert find(catalog, "peds:best") == "v1"
    again = commit(catalog, 1, "best", "new")
    assert again == (first, False)
    assert [find(catalog, f"peds:{alias}") for alias in ("latest", "best", "new")] == ["v0"] * 3
    assert commit(catalog, 3)[1]
    assert find(catalog, "peds") == "v2"


def test_changed_metadata_and_description_are_kept_in_history(catalog: Catalog) -> None:
    version, _ = commit(catalog, 1, meta={"acc": 1}, description="first")
    commit(catalog, 1)
    with catalog.read() as conn:
        assert load_version(conn, version).metadata == {"acc": 1}
    commit(catalog, 1, meta={"acc": 2}, description="second", run="team/detect/r1")
    with catalog.read() as conn:
        record = load_version(conn, version)
        events = [event for event in list_events(conn, version) if event.kind.endswith("changed")]
    assert (record.metadata, record.description) == ({"acc": 2}, "second")
    assert [(event.kind, event.detail, event.run) for event in events] == [
        ("metadata_changed", {"before": {"acc": 1}, "after": {"acc": 2}}, "team/detect/r1"),
        ("description_changed", {"before": "first", "after": "second"}, "team/detect/r1"),
    ]


def test_another_type_is_refused_and_leaves_nothing(catalog: Catalog) -> None:
    commit(catalog, 1)
    with pytest.raises(UsageError, match="is of type 'dataset', not 'model'"):
        commit(catalog, 2, type="model")
    with pytest.raises(UsageError, match="is of type 'dataset'"):
        find(catalog, "peds", type="model")
    with catalog.read() as conn:
        assert [record.number for record in list_versions(conn, "team", "detect", "peds")] == [0]


def test_what_is_missing_is_named_with_what_is_there(catalog: Catalog) -> None:
    with pytest.raises(ArtifactNotFoundError, match="'peds' does not exist in project 'team/detect'"):
        find(catalog, "peds")
    commit(catalog, 1)
    with pytest.raises(ArtifactNotFoundError, match=r"'peds:v9' does not exist .*newest is v0"):
        find(catalog, "peds:v9")
    with pytest.raises(ArtifactNotFoundError, match="'peds:best'"):
        find(catalog, "peds:best")
    with catalog.read() as conn, pytest.raises(ArtifactNotFoundError):
        list_versions(conn, "team", "detect", "cars")


def test_an_alias_names_one_version_and_remembers_where_it_was(catalog: Catalog) -> None:
    first, _ = commit(catalog, 1, "best")
    second, _ = commit(catalog, 2)
    with catalog.write() as conn:
        owner = load_version(conn, first).artifact_id
        move_alias(conn, owner, "best", second)
        move_alias(conn, owner, "best", second)
        assert conn.scalar(sa.select(sa.func.count()).where(artifact_alias.c.name == "best")) == 1
        assert [e.kind for e in list_events(conn, first)][-1] == "alias_removed"
        assert load_version(conn, second).aliases == ("best", "latest")
        assert remove_alias(conn, owner, "best")
        assert not remove_alias(conn, owner, "best")


def test_collections_sum_up_their_versions(catalog: Catalog) -> None:
    commit(catalog, 5)
    commit(catalog, 7)
    commit(catalog, 1, name="model", type="model")
    with catalog.read() as conn:
        records = list_collections(conn, "team", "detect")
        assert [(r.name, r.type, r.versions, r.size, r.latest) for r in records] == [
            ("model", "model", 1, 1, 0),
            ("peds", "dataset", 2, 12, 1),
        ]
        assert [r.name for r in list_collections(conn, "team", "detect", "model")] == ["model"]
        assert list_collections(conn, "team", "nowhere") == []


@pytest.mark.parametrize("value", [[1], {"x": object()}, {1: {2, "a"}}, {(1, 2): 3}, {"f": "\udce9"}])
def test_metadata_that_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="metadata"):
        metadata_text(value)


def test_numpy_metadata_is_taken_as_plain_values() -> None:
    import numpy as np

    text = metadata_text({"b": np.float64(0.5), "a": np.arange(3), "n": float("nan")})
    assert text == '{"a": [0, 1, 2], "b": 0.5, "n": NaN}'
    assert json.loads(text)["a"] == [0, 1, 2]


WRITERS, EACH = 8, 6


def test_many_processes_get_numbers_without_gaps_or_duplicates(catalog_url: str) -> None:
    catalog = Catalog.open(catalog_url)
    context = get_context("spawn")
    with context.Pool(WRITERS) as pool:
        jobs = [(catalog_url, worker) for worker in range(WRITERS)]
        new = sum(pool.starmap(commit_many, jobs))
    with catalog.read() as conn:
        numbers = list(conn.execute(sa.select(artifact_version.c.number)).scalars())
        aliases = conn.execute(sa.select(artifact_alias.c.name).order_by(artifact_alias.c.name))
        assert list(aliases.scalars()) == ["best", "latest"]
    catalog.close()
    assert sorted(numbers) == list(range(WRITERS * EACH + 1))
    assert new == len(numbers)


def commit_many(url: str, worker: int) -> int:
    """Commit versions of its own and one that every worker has."""
    catalog = Catalog.open(url)
    new = [commit(catalog, 1000 * worker + index, "best")[1] for index in range(1, EACH + 1)]
    new.append(commit(catalog, 999_999)[1])
    catalog.close()
    return sum(new)
