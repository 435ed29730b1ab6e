"""Things in space: meshes and clouds of points."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from artline.artifacts.media.base import Content, FileMedia, read_source
from artline.errors import UsageError

__all__ = ["Object3D"]

SCENES = ("lidar/beta",)


class Object3D(FileMedia):
    """A mesh or a cloud of points, with a caption.

    Made of a path or an open file (``file_type`` tells its format where its name does not), kept byte by
    byte: OBJ, glTF, GLB, Babylon, STL, or points as JSON (``.pts.json``); of an array of points × 3 (x, y,
    z), × 4 (and a category from 1 to 14) or × 6 (and red, green, blue); or of a scene: a dict of ``type``
    (``lidar/beta``), ``points``, ``boxes`` (``corners``, ``label``, ``color``) and ``vectors`` (``start``,
    ``end``). Raises UsageError, SourceNotFoundError.
    """

    kind = "object3d"
    record_type = "object3D-file"
    list_type = "object3D"
    items = "objects"
    folder = "object3D"
    suffixes = (".obj", ".gltf", ".glb", ".babylon", ".stl", ".pts.json")

    def __init__(
        self, data_or_path: Any, caption: str | None = None, *, file_type: str | None = None
    ) -> None:
        if isinstance(data_or_path, str | os.PathLike) or hasattr(data_or_path, "read"):
            content, name = read_source(data_or_path, "3D object")
            super().__init__(content, self.suffix_of(f".{file_type}" if file_type else name), caption)
            return
        scene = _scene(data_or_path) if isinstance(data_or_path, Mapping) else _points(data_or_path)
        text = json.dumps(scene, separators=(",", ":"))
        super().__init__(Content(text.encode()), ".pts.json", caption)

    @classmethod
    def from_file(cls, data_or_path: Any, file_type: str | None = None) -> Object3D:
        """Make one of a path or an open file."""
        return cls(data_or_path, file_type=file_type)

    @classmethod
    def from_numpy(cls, data: Any) -> Object3D:
        """Make one of an array of points."""
        return cls(data)

    @classmethod
    def from_point_cloud(
        cls,
        points: Sequence[Any],
        boxes: Sequence[Mapping[str, Any]],
        vectors: Sequence[Mapping[str, Any]] | None = None,
        point_cloud_type: str = "lidar/beta",
    ) -> Object3D:
        """Make a scene of points, boxes and vectors."""
        return cls({"type": point_cloud_type, "points": points, "boxes": boxes, "vectors": vectors or []})

    def details(self) -> dict[str, Any]:
        """Return what a record says beyond path, digest, size and caption."""
        return {"format": self.suffix[1:]}

    @classmethod
    def join_records(cls, records: Sequence[dict[str, Any]]) -> Any:
        """Return what a history says of several."""
        return super().join_records(records) | {"filenames": [record["path"] for record in records]}


def _points(source: Any) -> list[list[float]]:
    import numpy as np

    points = np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)
    if points.ndim != 2 or points.shape[1] not in (3, 4, 6) or points.dtype.kind not in "fiu":
        raise UsageError(
            f"cannot make a cloud of points of an array of {points.dtype} of shape {points.shape}. Pass "
            "points × 3, 4 or 6"
        )
    if not np.isfinite(points).all():
        raise UsageError("a point has a coordinate that is not finite. Leave such points out")
    found: list[list[float]] = points.tolist()
    return found


def _scene(scene: Mapping[str, Any]) -> dict[str, Any]:
    if scene.get("type") not in SCENES:
        raise UsageError(
            f"a 3D scene of type {scene.get('type')!r} is not known. Use one of: {', '.join(SCENES)}"
        )
    points = scene.get("points")
    if points is None:
        raise UsageError("a 3D scene needs 'points'")
    plain: dict[str, Any] = {"type": scene["type"], "points": _points(points) if len(points) else []}
    for name in ("boxes", "vectors"):
        if scene.get(name) is not None and len(scene[name]):
            plain[name] = [_plain(item, name) for item in scene[name]]
    return plain


def _plain(value: Any, name: str) -> Any:
    """Return a value in JSON's types, arrays as lists."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, name) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, name) for inner in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise UsageError(f"'{name}' of a 3D scene hold a {type(value).__name__}. Use numbers, texts and lists")
