"""Lineage in the formats of other tools: OpenLineage events and W3C PROV-JSON.

OpenLineage: https://openlineage.io/spec/2-0-2/OpenLineage.json, one COMPLETE event a run, whose time is that
of the last thing the run did. PROV-JSON: https://www.w3.org/submissions/prov-json/, versions as entities,
runs as activities. Both describe what was used and made, and order nothing beyond that.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from artline.artifacts.lineage import Edge, Graph, Node

__all__ = ["openlineage", "prov"]

PRODUCER = "https://pypi.org/project/artline/"
EVENT_SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
VERSION_SCHEMA = (
    "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json"
    "#/$defs/DatasetVersionDatasetFacet"
)
NAMESPACE = "artline"
_RUNS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:artline:run")


def openlineage(graph: Graph) -> list[dict[str, Any]]:
    """Return one event for each run of the graph, in the order in which the runs did their last.

    A run's id is a UUID made from its key, so that exporting again names the same run. Versions are
    datasets of the namespace ``artline://entity/project``, told apart by the version facet.
    """
    events = []
    for node in graph.nodes:
        if node.kind != "run":
            continue
        used, made = graph.sources(node.key), graph.targets(node.key)
        place, _, name = node.key.rpartition("/")
        events.append(
            {
                "eventType": "COMPLETE",
                "eventTime": _time(max((edge.at for edge in (*used, *made)), default=0.0)),
                "producer": PRODUCER,
                "schemaURL": EVENT_SCHEMA,
                "run": {"runId": str(uuid.uuid5(_RUNS, node.key))},
                "job": {"namespace": f"{NAMESPACE}://{place}", "name": name},
                "inputs": [_dataset(graph.node(edge.source)) for edge in used],
                "outputs": [_dataset(graph.node(edge.target)) for edge in made],
            }
        )
    return sorted(events, key=lambda event: str(event["eventTime"]))


def prov(graph: Graph) -> dict[str, Any]:
    """Return the graph as one PROV-JSON document."""
    document: dict[str, Any] = {
        "prefix": {"art": "urn:artline:"},
        "entity": {},
        "activity": {},
        "wasGeneratedBy": {},
        "used": {},
    }
    for node in graph.nodes:
        if node.kind == "run":
            document["activity"][_name(node.key)] = {"prov:label": node.label}
            continue
        facts = {
            "prov:label": node.label,
            "prov:type": node.type,
            "art:digest": node.digest,
            "art:alias": list(node.aliases),
            "art:deleted": node.deleted,
        }
        document["entity"][_name(node.key)] = {key: value for key, value in facts.items() if value}
    for number, edge in enumerate(graph.edges):
        kind, version, run = _relation(edge)
        facts = {
            "prov:entity": _name(version),
            "prov:activity": _name(run),
            "prov:time": _time(edge.at),
            "prov:role": edge.use_as,
        }
        document[kind][f"_:e{number}"] = {key: value for key, value in facts.items() if value}
    return document


def _dataset(node: Node) -> dict[str, Any]:
    place, _, name = node.key.rpartition("/")
    name, _, version = name.partition(":")
    facet = {
        "_producer": PRODUCER,
        "_schemaURL": VERSION_SCHEMA,
        "datasetVersion": f"{version}@{node.digest}",
    }
    return {"namespace": f"{NAMESPACE}://{place}", "name": name, "facets": {"version": facet}}


def _relation(edge: Edge) -> tuple[str, str, str]:
    if edge.role == "input":
        return "used", edge.source, edge.target
    return "wasGeneratedBy", edge.target, edge.source


def _name(key: str) -> str:
    return f"art:{key}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
