"""Lineage: which runs made and used which versions, up and down, in one query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.artifacts.versions import VersionRecord
    from artline.storage.digest import Algorithm

__all__ = ["Direction", "Edge", "Graph", "Node", "Step", "closes_circle", "draw", "trace"]

Direction = Literal["up", "down", "both"]

# An edge as the catalog has it: version id, run, role, use_as, when in seconds since 1970.
Step = tuple[int, str, str, str, float]


@dataclass(frozen=True, slots=True)
class Node:
    """A version or a run. ``key`` is ``entity/project/name:vN`` or a run's ``entity/project/run_id``.

    Type, digest, aliases and ``deleted`` are a version's; a run has only its key.
    """

    key: str
    kind: Literal["artifact", "run"]
    type: str = ""
    digest: str = ""
    aliases: tuple[str, ...] = ()
    deleted: bool = False

    @property
    def label(self) -> str:
        """Return the part of the key behind entity and project."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Edge:
    """From what was there before to what came of it; ``role`` is the version's in the run.

    ``output``: run to version; ``input``: version to run. ``at``: when, in seconds since 1970.
    """

    source: str
    target: str
    role: str
    use_as: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class Graph:
    """Everything that leads to ``subject`` or comes of it; nodes and edges are sorted."""

    subject: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def node(self, key: str) -> Node:
        """Return a node by its key."""
        return self._by_key[key]

    def sources(self, key: str) -> tuple[Edge, ...]:
        """Return the edges that lead to a node."""
        return tuple(self._sources.get(key, ()))

    def targets(self, key: str) -> tuple[Edge, ...]:
        """Return the edges that lead away from a node."""
        return tuple(self._targets.get(key, ()))

    @cached_property
    def _by_key(self) -> dict[str, Node]:
        return {node.key: node for node in self.nodes}

    @cached_property
    def _sources(self) -> dict[str, list[Edge]]:
        return _grouped((edge.target, edge) for edge in self.edges)

    @cached_property
    def _targets(self) -> dict[str, list[Edge]]:
        return _grouped((edge.source, edge) for edge in self.edges)


def _grouped(pairs: Iterable[tuple[str, Edge]]) -> dict[str, list[Edge]]:
    groups: dict[str, list[Edge]] = {}
    for key, edge in pairs:
        groups.setdefault(key, []).append(edge)
    return groups


# A step goes along one edge: down from a version to the runs that used it and from a run to what it made,
# up the other way round. UNION drops what was seen before, so cycles end; a limit on depth ends them too.
_WALK = """
WITH RECURSIVE walk (way, version_id, run{depth_column}) AS (
    {seeds}
    UNION
    SELECT walk.way,
           CASE WHEN walk.version_id = 0 THEN edge.version_id ELSE 0 END,
           CASE WHEN walk.version_id = 0 THEN '' ELSE edge.run END{depth_step}
    FROM walk JOIN artifact_edge AS edge ON (
        (walk.version_id <> 0 AND edge.version_id = walk.version_id
            AND edge.role = CASE walk.way WHEN 'down' THEN 'input' ELSE 'output' END)
        OR (walk.version_id = 0 AND edge.run = walk.run
            AND edge.role = CASE walk.way WHEN 'down' THEN 'output' ELSE 'input' END)
    ){depth_limit}
)
SELECT DISTINCT edge.version_id, edge.run, edge.role, edge.use_as, edge.at
FROM artifact_edge AS edge
JOIN walk AS here ON here.version_id = edge.version_id
JOIN walk AS there ON there.run = edge.run AND there.version_id = 0 AND there.way = here.way
"""


def trace(
    conn: sa.Connection,
    *,
    version_id: int = 0,
    run: str = "",
    direction: Direction = "both",
    depth: int | None = None,
) -> list[Step]:
    """Return the edges around a version or a run.

    ``depth`` limits how many edges are followed in a row. One recursive query, whatever the size.
    """
    import sqlalchemy as sa

    limited = depth is not None
    ways = ("up", "down") if direction == "both" else (direction,)
    zero = ", 0" if limited else ""
    seeds = " UNION ALL ".join(
        f"SELECT '{way}', CAST(:version_id AS BIGINT), CAST(:run AS TEXT){zero}" for way in ways
    )
    if len(ways) > 1:
        seeds = f"SELECT * FROM ({seeds}) AS seed"
    text = _WALK.format(
        seeds=seeds,
        depth_column=", depth" if limited else "",
        depth_step=", walk.depth + 1" if limited else "",
        depth_limit="\n    WHERE walk.depth < :depth" if limited else "",
    )
    values: dict[str, int | str] = {"version_id": version_id, "run": run}
    if depth is not None:
        values["depth"] = depth
    rows = conn.execute(sa.text(text), values)
    return sorted((row.version_id, row.run, row.role, row.use_as, row.at) for row in rows)


def closes_circle(conn: sa.Connection, version_id: int, run: str, role: str) -> bool:
    """Tell whether an edge would make something its own ancestor.

    That a run uses what it made itself, at first hand or through others, or logs again what it was made
    from. Transactions that ask this wait for each other, so that no two edges close a circle together.
    """
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_edge

    if conn.dialect.name == "postgresql":
        conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('lineage', 0))"))
    edge = artifact_edge.c
    if role == "output":
        # Only a version that something used can lead to the run.
        used = sa.select(edge.id).where(edge.version_id == version_id, edge.role == "input").limit(1)
        if conn.execute(used).scalar() is None:
            return False
        return any(step[0] == version_id for step in trace(conn, run=run, direction="up"))
    # Only a run that logged something can lead to the version.
    made = sa.select(edge.id).where(edge.run == run, edge.role == "output").limit(1)
    if conn.execute(made).scalar() is None:
        return False
    return any(step[1] == run for step in trace(conn, version_id=version_id, direction="up"))


def draw(
    subject: VersionRecord | str,
    records: dict[int, VersionRecord],
    steps: Iterable[Step],
    algorithm: Algorithm,
) -> Graph:
    """Return edges, with the records of their versions by id, as a graph around a version or a run's key."""
    from artline.storage.digest import format_digest

    nodes = {
        record.qualified_name: Node(
            key=record.qualified_name,
            kind="artifact",
            type=record.type,
            digest=format_digest(algorithm, record.digest),
            aliases=record.aliases,
            deleted=record.deleted_at is not None,
        )
        for record in records.values()
    }
    edges = []
    for version_id, run, role, use_as, at in steps:
        version = records[version_id].qualified_name
        nodes.setdefault(run, Node(key=run, kind="run"))
        source, target = (version, run) if role == "input" else (run, version)
        edges.append(Edge(source, target, role, use_as, at))
    key = subject if isinstance(subject, str) else subject.qualified_name
    nodes.setdefault(key, Node(key=key, kind="run"))
    return Graph(
        key,
        tuple(sorted(nodes.values(), key=lambda node: (node.kind, node.key))),
        tuple(sorted(edges, key=lambda edge: (edge.source, edge.target, edge.role))),
    )
