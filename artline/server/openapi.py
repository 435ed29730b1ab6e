"""``openapi.json``, made from the routes' own declarations."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from artline import __version__
from artline.server.directory import Role
from artline.server.routing import Route

__all__ = ["document"]

_TEMPLATE = "#/components/schemas/{name}"
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["kind", "message", "request_id"],
            "properties": {
                "kind": {"type": "string"},
                "message": {"type": "string"},
                "request_id": {"type": "string"},
            },
        }
    },
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of routes."""
    kinds: list[Any] = []
    for route in routes:
        kinds += [kind for kind in (route.body, route.answer) if kind not in (None, bytes)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    known = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        described = _describe(route, lambda: next(known))
        paths.setdefault(f"/api/v1{re.sub(r':[a-z]+}', '}', route.path)}", {})[route.method.lower()] = (
            described
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Artline", "version": __version__},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe(route: Route, schema: Any) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.handler.__name__.strip("_"),
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.query)],
        "responses": {},
    }
    if route.role is not Role.NONE:
        described["description"] = f"Needs the role {route.role.name.lower()}."
    if route.body is not None:
        binary = route.body is bytes
        media = "application/octet-stream" if binary else "application/json"
        content = _BINARY if binary else {"schema": schema()}
        described["requestBody"] = {"required": True, "content": {media: content}}
    responses = described["responses"]
    if route.answer is None:
        responses["204"] = {"description": "Done."}
    elif route.answer is bytes:
        responses["200"] = {"description": "Bytes.", "content": {"application/octet-stream": _BINARY}}
    else:
        responses["200"] = {
            "description": "The answer.",
            "content": {"application/json": {"schema": schema()}},
        }
    failure = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses["default"] = {"description": "What went wrong.", "content": failure}
    return described


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer"} if kind == ":int" else {"type": "string"},
        }
        for name, kind in re.findall(r"{(\w+)(:\w+)?}", path)
    ]


def _query_parameters(query: type | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    shown = msgspec.json.schema(query)
    definition = next(iter(shown["$defs"].values()))
    required = set(definition.get("required", ()))
    return [
        {
            "name": field.name,
            "in": "query",
            "required": field.name in required,
            "schema": definition["properties"][field.name],
        }
        for field in dataclasses.fields(query)
    ]
