"""Lineage: which runs made and used which versions, up and down, in one query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["Direction", "Edge", "Graph", "Node", "trace"]

Direction = Literal["up", "down", "both"]


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

    ``output``: run to version; ``input``: version to run.
    """

    source: str
    target: str
    role: str
    use_as: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """Everything that leads to ``subject`` or comes of it; nodes and edges are sorted."""

    subject: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def node(self, key: str) -> Node:
        """Return a node by its key."""
        return next(node for node in self.nodes if node.key == key)

    def sources(self, key: str) -> tuple[Edge, ...]:
        """Return the edges that lead to a node."""
        return tuple(edge for edge in self.edges if edge.target == key)

    def targets(self, key: str) -> tuple[Edge, ...]:
        """Return the edges that lead away from a node."""
        return tuple(edge for edge in self.edges if edge.source == key)


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
SELECT DISTINCT edge.version_id, edge.run, edge.role, edge.use_as
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
) -> list[tuple[int, str, str, str]]:
    """Return the edges ``(version id, run, role, use_as)`` around a version or a run.

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
    return sorted((row.version_id, row.run, row.role, row.use_as) for row in rows)
