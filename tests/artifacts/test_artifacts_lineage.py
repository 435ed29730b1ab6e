from __future__ import annotations

import json
import random
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artline.artifacts.commit import INPUT, OUTPUT, Proposal, commit_version, write_edge
from artline.artifacts.interchange import openlineage, prov
from artline.artifacts.lineage import Edge, Graph, Node, trace
from artline.artifacts.manifest import Built
from artline.artifacts.render import dot, mermaid, to_json, tree
from artline.artifacts.schema import artifact_edge, artifact_version
from artline.storage.catalog import Catalog, sqlite_url


def versions(catalog: Catalog, count: int) -> list[int]:
    ids = []
    with catalog.write() as conn:
        for index in range(count):
            digest = index.to_bytes(32, "big")
            manifest = Built(digest=digest, root=digest, rows=0, files=0, size=0)
            ids.append(commit_version(conn, Proposal("e", "p", f"a{index}", "t", manifest))[0])
    return ids


def link(catalog: Catalog, *edges: tuple[int, str, str]) -> None:
    """Write edges as they are; an older catalog may even have circles."""
    rows = [
        {"version_id": version_id, "run": run, "role": role, "use_as": "", "at": float(number)}
        for number, (version_id, run, role) in enumerate(edges)
    ]
    with catalog.write() as conn:
        conn.execute(artifact_edge.insert(), rows)


def test_lineage_goes_up_to_what_made_it_and_down_to_what_came_of_it(catalog: Catalog) -> None:
    raw, clean, model, other, unrelated = versions(catalog, 5)
    link(
        catalog,
        (raw, "clean", INPUT),
        (clean, "clean", OUTPUT),
        (clean, "train", INPUT),
        (model, "train", OUTPUT),
        (raw, "look", INPUT),
        (other, "look", OUTPUT),
        (unrelated, "else", OUTPUT),
    )
    with catalog.read() as conn:
        up = trace(conn, version_id=model, direction="up")
        down = trace(conn, version_id=raw, direction="down")
        both = trace(conn, version_id=clean)
        near = trace(conn, version_id=clean, depth=1)
        run = trace(conn, run="train")
        nothing = trace(conn, run="no such run")
    assert {edge[:2] for edge in up} == {(raw, "clean"), (clean, "clean"), (clean, "train"), (model, "train")}
    assert {edge[:2] for edge in down} == {
        (raw, "clean"), (clean, "clean"), (clean, "train"), (model, "train"), (raw, "look"), (other, "look")
    }  # fmt: skip
    assert both == up
    assert {edge[:2] for edge in near} == {(clean, "clean"), (clean, "train")}
    assert run == up
    assert nothing == []


def test_a_circle_ends(catalog: Catalog) -> None:
    (version,) = versions(catalog, 1)
    link(catalog, (version, "same", INPUT), (version, "same", OUTPUT))
    with catalog.read() as conn:
        for depth in (None, 1, 50):
            assert len(trace(conn, version_id=version, depth=depth)) == 2
            assert len(trace(conn, run="same", direction="up", depth=depth)) == 2


def test_lineage_agrees_with_a_plain_search(catalog: Catalog) -> None:
    chance = random.Random(7)
    ids = versions(catalog, 25)
    edges = {
        (chance.choice(ids), f"r{chance.randrange(15)}", chance.choice([INPUT, OUTPUT])) for _ in range(45)
    }
    link(catalog, *edges)

    def reach(start: object, way: str, depth: int | None) -> set[tuple[int, str, str]]:
        forward = [((v, r) if role == INPUT else (r, v)) for v, r, role in edges]
        steps = forward if way == "down" else [(b, a) for a, b in forward]
        seen, edge_of = {start}, set()
        frontier, level = {start}, 0
        while frontier and (depth is None or level < depth):
            frontier = {b for a, b in steps if a in frontier} - seen
            seen |= frontier
            level += 1
        for v, r, role in edges:
            if v in seen and r in seen:
                edge_of.add((v, r, role))
        return edge_of

    with catalog.read() as conn:
        for start in (*ids[:8], "r1", "r2"):
            for way in ("up", "down"):
                for depth in (None, 1, 2, 3):
                    key = {"version_id": start} if isinstance(start, int) else {"run": start}
                    found = trace(conn, direction=way, depth=depth, **key)  # type: ignore[arg-type]
                    assert {edge[:3] for edge in found} == reach(start, way, depth)


GRAPH = Graph(
    subject="e/p/clean:v1",
    nodes=(
        Node("e/p/clean:v1", "artifact", "dataset", "blake3:00", ("latest",)),
        Node("e/p/model:v0", "artifact", "model", "blake3:01", ("best", "latest")),
        Node("e/p/raw:v0", "artifact", "dataset", "blake3:02", (), True),
        Node("e/p/r1", "run"),
        Node("e/p/r2", "run"),
    ),
    edges=(
        Edge("e/p/clean:v1", "e/p/r2", "input", 'the "set"'),
        Edge("e/p/r1", "e/p/clean:v1", "output"),
        Edge("e/p/r2", "e/p/model:v0", "output"),
        Edge("e/p/raw:v0", "e/p/r1", "input"),
    ),
)


def test_a_tree_shows_both_directions() -> None:
    assert tree(GRAPH) == (
        "clean:v1 (dataset, latest)\n"
        "made from:\n"
        "└── run r1\n"
        "    └── raw:v0 (dataset, deleted)\n"
        "led to:\n"
        '└── run r2 as the "set"\n'
        "    └── model:v0 (model, best, latest)"
    )


def test_a_circle_is_drawn_once() -> None:
    graph = Graph("a:v0", (Node("a:v0", "artifact", "t"), Node("r", "run")), (
        Edge("a:v0", "r", "input"), Edge("r", "a:v0", "output"),
    ))  # fmt: skip
    assert "(see above)" in tree(graph)
    assert tree(graph).count("run r") == 2


def test_mermaid_names_every_node_and_edge() -> None:
    text = mermaid(GRAPH)
    assert text.startswith("flowchart LR\n")
    assert text.count("-->") == 4
    assert "#quot;set#quot;" in text
    assert 'n0["clean:v1 (dataset, latest)"]' in text


def test_dot_is_accepted_by_its_grammar(tmp_path: Path) -> None:
    text = dot(GRAPH)
    assert text.startswith("digraph lineage {")
    assert text.endswith("}")
    assert '"e/p/raw:v0" -> "e/p/r1";' in text
    assert 'label="the \\"set\\""' in text
    assert text.count("{") == text.count("}")


def test_json_is_the_whole_graph() -> None:
    document = json.loads(to_json(GRAPH))
    assert document["subject"] == "e/p/clean:v1"
    assert len(document["nodes"]) == 5
    assert document["edges"][0] == {
        "source": "e/p/clean:v1", "target": "e/p/r2", "role": "input", "use_as": 'the "set"'
    }  # fmt: skip


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_long_chain_is_followed_to_its_end(catalog: Catalog, direction: str) -> None:
    ids = versions(catalog, 60)
    for index in range(59):
        link(catalog, (ids[index], f"r{index}", INPUT), (ids[index + 1], f"r{index}", OUTPUT))
    start = ids[0] if direction == "down" else ids[-1]
    with catalog.read() as conn:
        assert len(trace(conn, version_id=start, direction=direction)) == 118  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.booleans()), max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_order_of_events_makes_anything_its_own_ancestor(
    shared: Catalog, steps: list[tuple[int, int, bool]]
) -> None:
    with shared.write() as conn:
        conn.execute(artifact_edge.delete())
        ids = list(conn.execute(sa.select(artifact_version.c.id).order_by(artifact_version.c.id)).scalars())
        before: dict[object, set[object]] = {}
        for version, run, used in steps:
            after, first = (f"r{run}", ids[version]) if used else (ids[version], f"r{run}")
            wanted = not _leads(before, first, after)
            assert write_edge(conn, ids[version], f"r{run}", INPUT if used else OUTPUT) == wanted
            if wanted:
                before.setdefault(after, set()).add(first)
        assert not any(_leads(before, source, node) for node in before for source in before[node])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    catalog = Catalog.open(sqlite_url(tmp_path_factory.mktemp("lineage") / "catalog.db"))
    versions(catalog, 6)
    return catalog


def _leads(before: dict[object, set[object]], node: object, target: object) -> bool:
    """Tell whether ``target`` is ``node`` or one of its ancestors."""
    pending, seen = [node], set[object]()
    while pending:
        here = pending.pop()
        if here == target:
            return True
        if here not in seen:
            seen.add(here)
            pending += before.get(here, ())
    return False


def test_a_run_that_uses_what_it_made_is_no_ancestor_of_itself(catalog: Catalog) -> None:
    first, second = versions(catalog, 2)
    with catalog.write() as conn:
        assert write_edge(conn, first, "r1", OUTPUT)
        assert not write_edge(conn, first, "r1", INPUT)
        assert write_edge(conn, first, "r2", INPUT)
        assert write_edge(conn, second, "r2", OUTPUT)
        assert not write_edge(conn, second, "r1", INPUT)
        assert not write_edge(conn, first, "r2", OUTPUT)  # it made again what it came from
        assert write_edge(conn, first, "r3", OUTPUT)
        assert {step[:3] for step in trace(conn, run="r1")} == {
            (first, "r1", OUTPUT), (first, "r2", INPUT), (second, "r2", OUTPUT)
        }  # fmt: skip


def test_openlineage_has_an_event_for_each_run() -> None:
    events = openlineage(GRAPH)
    assert [event["job"]["name"] for event in events] == ["r1", "r2"]
    first = events[0]
    assert first["eventType"] == "COMPLETE"
    assert first["eventTime"] == "1970-01-01T00:00:00.000+00:00"
    assert uuid.UUID(first["run"]["runId"]).version == 5
    assert openlineage(GRAPH) == events
    (used,), (made,) = first["inputs"], first["outputs"]
    assert (used["namespace"], used["name"]) == ("artline://e/p", "raw")
    assert (made["namespace"], made["name"]) == ("artline://e/p", "clean")
    assert made["facets"]["version"]["datasetVersion"] == "v1@blake3:00"
    assert {"producer", "schemaURL"} <= set(first)
    assert {"_producer", "_schemaURL"} <= set(made["facets"]["version"])


def test_prov_relates_entities_and_activities_that_it_declares() -> None:
    document = prov(GRAPH)
    assert json.loads(json.dumps(document)) == document
    assert set(document["activity"]) == {"art:e/p/r1", "art:e/p/r2"}
    assert document["entity"]["art:e/p/raw:v0"] == {
        "prov:label": "raw:v0", "prov:type": "dataset", "art:digest": "blake3:02", "art:deleted": True
    }  # fmt: skip
    assert len(document["used"]) == len(document["wasGeneratedBy"]) == 2
    for relation in (*document["used"].values(), *document["wasGeneratedBy"].values()):
        assert relation["prov:entity"] in document["entity"]
        assert relation["prov:activity"] in document["activity"]
    assert [relation.get("prov:role") for relation in document["used"].values()] == ['the "set"', None]
