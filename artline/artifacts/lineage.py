"""Lineage: which runs made and used which versions, up and down, in one query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
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


# What led to a version goes up from it to the runs whose output it is, and from each to its inputs; what came
# of it goes down likewise, the roles exchanged. A step of the walk is such a pair of edges, from version to
# version, each found through an index. UNION drops what was seen before, so even a circle ends.
_WALK = """
WITH RECURSIVE reached (version_id) AS (
    {seed}
    UNION
    SELECT far.version_id
    FROM reached
    JOIN artifact_edge AS near ON near.version_id = reached.version_id AND near.role = :near
    JOIN artifact_edge AS far ON far.run = near.run AND far.role = :far
), via (run) AS (
    SELECT edge.run FROM reached
    JOIN artifact_edge AS edge ON edge.version_id = reached.version_id AND edge.role = :near
    UNION SELECT CAST(:run AS TEXT)
)
SELECT edge.version_id, edge.run, edge.role, edge.use_as, edge.at
FROM reached JOIN artifact_edge AS edge ON edge.version_id = reached.version_id AND edge.role = :near
UNION ALL
SELECT edge.version_id, edge.run, edge.role, edge.use_as, edge.at
FROM via JOIN artifact_edge AS edge ON edge.run = via.run AND edge.role = :far
"""
_FROM_VERSION = "SELECT CAST(:version_id AS BIGINT)"
_FROM_RUN = "SELECT version_id FROM artifact_edge WHERE run = :run AND role = :far"

# Up to this depth a walk goes level by level and reads no more than that; beyond, it reads everything first.
_LEVELS = 128


def trace(
    conn: sa.Connection,
    *,
    version_id: int = 0,
    run: str = "",
    direction: Direction = "both",
    depth: int | None = None,
) -> list[Step]:
    """Return the edges around a version or a run.

    ``depth`` limits how many edges are followed in a row. One recursive query, whatever the size, or a query
    or two for each level of a small depth.
    """
    ways: tuple[Direction, ...] = ("up", "down") if direction == "both" else (direction,)
    found: set[Step] = set()
    for way in ways:
        if depth is None:
            found |= _everything(conn, version_id, run, way)
            continue
        beside = _beside(conn) if depth <= _LEVELS else _among(_everything(conn, version_id, run, way))
        found |= _near(version_id or run, way, depth, beside)
    return sorted(found)


def _everything(conn: sa.Connection, version_id: int, run: str, way: Direction) -> set[Step]:
    import sqlalchemy as sa

    near, far = ("output", "input") if way == "up" else ("input", "output")
    text = _WALK.format(seed=_FROM_VERSION if version_id else _FROM_RUN)
    values: dict[str, int | str] = {"run": run, "near": near, "far": far}
    if version_id:
        values["version_id"] = version_id
    rows = conn.execute(sa.text(text), values)
    return {(row.version_id, row.run, row.role, row.use_as, row.at) for row in rows}


# Given versions or runs and a role, the edges of that role that they have.
_Beside = Callable[[Set[int | str], str], Iterable[Step]]


def _near(start: int | str, way: Direction, depth: int, beside: _Beside) -> set[Step]:
    """Return the edges between what is at most ``depth`` edges away from a version (its id) or a run."""
    seen, frontier = {start}, {start}
    found: set[Step] = set()
    for level in range(depth + 1):
        of_versions = isinstance(next(iter(frontier)), int)
        steps = beside(frontier, "output" if of_versions == (way == "up") else "input")
        if level == depth:  # what lies beyond is not wanted, but an edge back to what was met is
            found.update(step for step in steps if step[1 if of_versions else 0] in seen)
            break
        found.update(steps)
        frontier = {step[1] if of_versions else step[0] for step in steps} - seen
        seen |= frontier
        if not frontier:
            break
    return found


def _beside(conn: sa.Connection) -> _Beside:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_edge

    edge = artifact_edge.c

    def ask(nodes: Set[int | str], role: str) -> list[Step]:
        some = list(nodes)
        column = edge.version_id if isinstance(some[0], int) else edge.run
        query = sa.select(edge.version_id, edge.run, edge.role, edge.use_as, edge.at).where(edge.role == role)
        return [
            (row.version_id, row.run, row.role, row.use_as, row.at)
            for start in range(0, len(some), 500)
            for row in conn.execute(query.where(column.in_(some[start : start + 500])))
        ]

    return ask


def _among(steps: Iterable[Step]) -> _Beside:
    by_node: dict[tuple[int | str, str], list[Step]] = {}
    for step in steps:
        by_node.setdefault((step[0], step[2]), []).append(step)
        by_node.setdefault((step[1], step[2]), []).append(step)
    return lambda nodes, role: [step for node in nodes for step in by_node.get((node, role), ())]


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
    # A run that is not over has few descendants, and a version may have very many ancestors.
    return any(step[0] == version_id for step in trace(conn, run=run, direction="down"))


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
