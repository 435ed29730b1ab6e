"""Lineage as text: a tree, Mermaid, Graphviz DOT, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from artline.artifacts.lineage import Edge, Graph, Node

__all__ = ["as_dict", "dot", "mermaid", "to_json", "tree"]


def tree(graph: Graph) -> str:
    """Return the graph as two indented trees: what led to the subject, and what came of it."""
    subject = graph.node(graph.subject)
    lines = [_describe(subject)]
    for title, upwards in (("made from", True), ("led to", False)):
        if graph.sources(graph.subject) if upwards else graph.targets(graph.subject):
            lines.append(f"{title}:")
            lines.extend(_branches(graph, upwards))
    return "\n".join(lines)


def mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart; versions are boxes, runs are rounded."""
    names = {node.key: f"n{index}" for index, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for node in graph.nodes:
        left, right = ("[", "]") if node.kind == "artifact" else ("([", "])")
        lines.append(f'    {names[node.key]}{left}"{_mermaid_text(_describe(node))}"{right}')
    for edge in graph.edges:
        label = f"|{_mermaid_text(edge.use_as)}|" if edge.use_as else ""
        lines.append(f"    {names[edge.source]} -->{label} {names[edge.target]}")
    if graph.subject in names:
        lines.append(f"    style {names[graph.subject]} stroke-width:3px")
    return "\n".join(lines)


def dot(graph: Graph) -> str:
    """Return the graph in Graphviz' language; versions are boxes, runs are ellipses."""
    lines = ["digraph lineage {", "    rankdir=LR;"]
    for node in graph.nodes:
        shape = "box" if node.kind == "artifact" else "ellipse"
        bold = ", penwidth=2" if node.key == graph.subject else ""
        lines.append(f"    {_quote(node.key)} [label={_quote(_describe(node))}, shape={shape}{bold}];")
    for edge in graph.edges:
        label = f" [label={_quote(edge.use_as)}]" if edge.use_as else ""
        lines.append(f"    {_quote(edge.source)} -> {_quote(edge.target)}{label};")
    return "\n".join([*lines, "}"])


def as_dict(graph: Graph) -> dict[str, object]:
    """Return the graph as plain values."""
    return {
        "subject": graph.subject,
        "nodes": [asdict(node) for node in graph.nodes],
        "edges": [
            {"source": edge.source, "target": edge.target, "role": edge.role, "use_as": edge.use_as}
            for edge in graph.edges
        ],
    }


def to_json(graph: Graph) -> str:
    """Return the graph as JSON: subject, nodes, edges."""
    return json.dumps(as_dict(graph), indent=2, ensure_ascii=False)


def _branches(graph: Graph, upwards: bool) -> Iterator[str]:
    def below(key: str, indent: str) -> list[tuple[Edge, str, bool]]:
        edges = graph.sources(key) if upwards else graph.targets(key)
        return [(edge, indent, edge is edges[-1]) for edge in reversed(edges)]

    seen = {graph.subject}
    pending = below(graph.subject, "")
    while pending:
        edge, indent, last = pending.pop()
        other = edge.source if upwards else edge.target
        role = f" as {edge.use_as}" if edge.use_as else ""
        repeated = other in seen
        text = _describe(graph.node(other)) + role + (" (see above)" if repeated else "")
        yield indent + ("└── " if last else "├── ") + text
        if not repeated:
            seen.add(other)
            pending += below(other, indent + ("    " if last else "│   "))


def _describe(node: Node) -> str:
    if node.kind == "run":
        return f"run {node.label}"
    notes = [node.type, *(alias for alias in node.aliases)]
    return f"{node.label} ({', '.join(notes)}{', deleted' if node.deleted else ''})"


def _mermaid_text(text: str) -> str:
    return text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace("|", "#124;")


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
