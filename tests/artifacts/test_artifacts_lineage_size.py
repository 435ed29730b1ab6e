"""Lineage of thousands of nodes, and circles that nobody can close however many try at once."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from artline.artifacts.commit import INPUT, OUTPUT, Proposal, commit_version, write_edge
from artline.artifacts.interchange import openlineage, prov
from artline.artifacts.lineage import closes_circle, draw, trace
from artline.artifacts.manifest import Built
from artline.artifacts.render import tree
from artline.artifacts.schema import artifact_edge, artifact_version
from artline.artifacts.versions import load_version, load_versions
from artline.storage.catalog import Catalog
from artline.storage.digest import Algorithm

VERSIONS = 2500  # and as many runs


def make_versions(catalog: Catalog, count: int) -> list[int]:
    """Write versions of one artifact, as rows of the catalog."""
    manifest = Built(digest=bytes(32), root=bytes(32), rows=0, files=0, size=0)
    with catalog.write() as conn:
        first, _ = commit_version(conn, Proposal("e", "p", "a", "t", manifest))
        row = load_version(conn, first)
        rows = [
            {
                "artifact_id": row.artifact_id, "number": number, "digest": number.to_bytes(32, "big"),
                "root": bytes(32), "size": 0, "file_count": 0, "metadata": "{}", "description": "",
                "created_at": 0.0, "updated_at": 0.0,
            }
            for number in range(1, count)
        ]  # fmt: skip
        conn.execute(artifact_version.insert(), rows)
        query = artifact_version.select().order_by(artifact_version.c.number)
        return [found.id for found in conn.execute(query)]


def make_mesh(catalog: Catalog) -> tuple[list[int], list[tuple[int, str, str]]]:
    """Let every run use up to five of the 200 versions before its own: many ways of many lengths."""
    ids, chance = make_versions(catalog, VERSIONS), random.Random(1)
    edges = []
    for index, version_id in enumerate(ids):
        edges.append((version_id, f"e/p/r{index:04d}", OUTPUT))
        for used in chance.sample(range(max(0, index - 200), index), min(5, index)):
            edges.append((ids[used], f"e/p/r{index:04d}", INPUT))
    rows = [
        {"version_id": version_id, "run": run, "role": role, "use_as": "", "at": 0.0}
        for version_id, run, role in edges
    ]
    with catalog.write() as conn:
        conn.execute(artifact_edge.insert(), rows)
    return ids, edges


def test_a_mesh_of_5000_nodes_is_walked_to_any_depth(catalog: Catalog) -> None:
    ids, edges = make_mesh(catalog)
    sources: dict[object, set[object]] = {}
    for version_id, run, role in edges:
        after, before = (run, version_id) if role == INPUT else (version_id, run)
        sources.setdefault(after, set()).add(before)
    near: set[object] = {ids[-1]}
    frontier = set(near)
    with catalog.read() as conn:
        for depth in range(1, 70):
            frontier = {node for after in frontier for node in sources.get(after, ())} - near
            near |= frontier
            if depth in (1, 2, 7, 20, 69):
                steps = trace(conn, version_id=ids[-1], direction="up", depth=depth)
                wanted = {edge for edge in edges if edge[0] in near and edge[1] in near}
                assert {step[:3] for step in steps} == wanted
        everything = trace(conn, version_id=ids[-1], direction="up")
        assert trace(conn, version_id=ids[-1], direction="up", depth=1_000_000) == everything
        assert closes_circle(conn, ids[-1], "e/p/r0000", INPUT)
        assert not closes_circle(conn, ids[0], "e/p/r2499", INPUT)
        records = {record.id: record for record in load_versions(conn, sorted({s[0] for s in everything}))}
    graph = draw(records[ids[-1]], records, everything, Algorithm.BLAKE3)
    assert len(graph.nodes) > 4500
    assert "(see above)" in tree(graph)
    assert tree(graph).count("\n") == len(graph.edges) + 1  # each edge is drawn once


def test_5000_nodes_in_a_row_are_followed_and_drawn(catalog: Catalog) -> None:
    ids = make_versions(catalog, VERSIONS)
    rows = [
        {"version_id": version_id, "run": f"e/p/r{index + step}", "role": role, "use_as": "", "at": 0.0}
        for index, version_id in enumerate(ids)
        for step, role in ((0, OUTPUT), (1, INPUT))
    ]
    with catalog.write() as conn:
        conn.execute(artifact_edge.insert(), rows)
        steps = trace(conn, version_id=ids[0], direction="down")
        assert len(steps) == 2 * VERSIONS - 1
        assert trace(conn, run="e/p/r0", direction="down") == sorted(
            [*steps, (ids[0], "e/p/r0", OUTPUT, "", 0.0)]
        )
        for depth in (30, 200):  # level by level, and all at once
            assert len(trace(conn, version_id=ids[0], direction="down", depth=depth)) == depth
        records = {record.id: record for record in load_versions(conn, ids)}
    graph = draw(records[ids[0]], records, steps, Algorithm.BLAKE3)
    assert len(graph.nodes) == 2 * VERSIONS
    assert tree(graph).count("\n") == 2 * VERSIONS
    assert len(openlineage(graph)) == VERSIONS
    assert len(prov(graph)["used"]) == VERSIONS


def test_two_that_would_close_a_circle_together_do_not(catalog: Catalog) -> None:
    ids = make_versions(catalog, 40)
    barrier = Barrier(2)

    def use(version_id: int, run: str) -> bool:
        with catalog.write() as conn:
            return write_edge(conn, version_id, run, INPUT)

    def close(number: int, half: int) -> bool:
        barrier.wait(60)
        return use(ids[2 * number + half], f"r{number}-{1 - half}")

    with catalog.write() as conn:
        for number in range(20):
            for half in (0, 1):
                assert write_edge(conn, ids[2 * number + half], f"r{number}-{half}", OUTPUT)
    with ThreadPoolExecutor(2) as pool:
        for number in range(20):  # each run uses what the other made
            first, second = pool.submit(close, number, 0), pool.submit(close, number, 1)
            assert sorted([first.result(), second.result()]) == [False, True]
