"""What is drawn over an image: boxes, and masks that give pixels their class."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from artline.artifacts.media.base import Content, Sink, Source
from artline.artifacts.media.pixels import encode_png, pixels_of
from artline.errors import UsageError

__all__ = ["Boxes", "Classes", "Mask", "class_labels"]

BOX_SUFFIX = ".boxes2D.json"
MASK_SUFFIX = ".mask.png"
_CORNERS = frozenset(("minX", "maxX", "minY", "maxY"))
_MIDDLE = frozenset(("middle", "width", "height"))


class Classes:
    """The names of classes by number: ``[{"id": 0, "name": "person"}, …]``."""

    def __init__(self, class_set: Sequence[Mapping[str, Any]]) -> None:
        self.class_set: list[dict[str, Any]] = [
            {"id": int(item["id"]), "name": str(item["name"])} for item in class_set
        ]

    @property
    def labels(self) -> dict[int, str]:
        """The names by number."""
        return {int(item["id"]): str(item["name"]) for item in self.class_set}


class Boxes:
    """One layer of boxes: ``box_data``, a list of boxes, and ``class_labels``, names by class number.

    A box has ``position`` (``minX``, ``maxX``, ``minY``, ``maxY``, or ``middle`` [x, y], ``width`` and
    ``height``), in parts of the image's size or, with ``domain`` ``pixel``, in pixels; and may have
    ``class_id``, ``box_caption`` and ``scores``, numbers by name. Raises UsageError for anything else.
    """

    def __init__(self, layer: Mapping[str, Any], name: str = "boxes") -> None:
        if not isinstance(layer, Mapping) or not isinstance(layer.get("box_data"), (list, tuple)):
            raise UsageError(f"boxes '{name}' need a list of boxes under 'box_data'")
        self.class_labels = class_labels(layer.get("class_labels"))
        self.box_data = [_box(box, f"box {n} of '{name}'") for n, box in enumerate(layer["box_data"])]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Boxes) and other._document() == self._document()

    __hash__ = None  # type: ignore[assignment]  # its lists can change

    def _document(self) -> dict[str, Any]:
        labels = {str(number): label for number, label in self.class_labels.items()}
        return {"box_data": self.box_data, "class_labels": labels}

    def to_record(self, sink: Sink) -> dict[str, Any]:
        """Keep the boxes as a JSON file and return what a history says of them."""
        text = json.dumps(self._document(), separators=(",", ":"))
        kept = sink.keep(Content(text.encode()), "metadata/boxes2D", BOX_SUFFIX)
        return {"_type": "boxes2D", "path": kept.path, "digest": kept.digest, "size": kept.size}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], source: Source) -> Boxes:
        """Return what ``to_record`` described."""
        with source.open(str(record["path"])) as stream:
            return cls(json.load(stream))


class Mask:
    """One layer of classes by pixel: ``mask_data``, an array of height × width of class numbers from 0 to
    255, or ``path``, that of a gray image file; and ``class_labels``, names by class number.

    Raises UsageError for another shape and numbers out of range.
    """

    def __init__(self, layer: Mapping[str, Any], name: str = "mask") -> None:
        if not isinstance(layer, Mapping) or ("mask_data" in layer) == ("path" in layer):
            raise UsageError(f"mask '{name}' needs 'mask_data' or 'path'")
        self.class_labels = class_labels(layer.get("class_labels"))
        if "path" in layer:
            from artline.artifacts.media.base import read_source

            self._content, _ = read_source(layer["path"], f"mask '{name}'")
            return
        import numpy as np

        data = layer["mask_data"]
        classes = np.asarray(data.detach().cpu() if hasattr(data, "detach") else data)
        if classes.ndim == 3 and 1 in (classes.shape[0], classes.shape[2]):
            classes = classes.squeeze(0 if classes.shape[0] == 1 else 2)
        if classes.ndim != 2 or classes.dtype.kind not in "iub" or classes.size == 0:
            raise UsageError(
                f"mask '{name}' is an array of {classes.dtype} of shape {classes.shape}. Pass whole numbers, "
                "height × width"
            )
        if classes.min() < 0 or classes.max() > 255:
            raise UsageError(f"mask '{name}' has class numbers outside 0 to 255")
        pixels = pixels_of(classes.astype(np.uint8))
        self._content = Content(make=lambda: encode_png(pixels), held=pixels.nbytes)

    @property
    def data(self) -> bytes:
        """The bytes of the gray image."""
        return self._content.read()

    @property
    def held(self) -> int:
        """The bytes of memory that it takes."""
        return self._content.held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and other.data == self.data and other.class_labels == self.class_labels

    __hash__ = None  # type: ignore[assignment]  # its labels can change

    def to_record(self, sink: Sink) -> dict[str, Any]:
        """Keep the mask as an image file and return what a history says of it."""
        kept = sink.keep(self._content, "images/mask", MASK_SUFFIX)
        record = {"_type": "mask", "path": kept.path, "digest": kept.digest, "size": kept.size}
        if self.class_labels:
            record["class_labels"] = {str(number): label for number, label in self.class_labels.items()}
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any], source: Source) -> Mask:
        """Return what ``to_record`` described."""
        mask = cls.__new__(cls)
        mask.class_labels = class_labels(record.get("class_labels"))
        with source.open(str(record["path"])) as stream:
            mask._content = Content(stream.read())
        return mask


def class_labels(labels: Any) -> dict[int, str]:
    """Return names by class number, given so, as Classes or as a list of ``{"id": …, "name": …}``."""
    if not labels:
        return {}
    if isinstance(labels, Classes):
        return labels.labels
    if isinstance(labels, Mapping):
        try:
            return {int(number): str(label) for number, label in labels.items()}
        except (TypeError, ValueError) as error:
            raise UsageError(f"class labels are texts by whole number: {error}") from None
    return Classes(labels).labels


def _box(box: Any, name: str) -> dict[str, Any]:
    position = box.get("position") if isinstance(box, Mapping) else None
    if not isinstance(position, Mapping) or position.keys() not in (_CORNERS, _MIDDLE):
        raise UsageError(f"{name} needs a position: minX, maxX, minY, maxY; or middle, width, height")
    if box.get("domain", "pixel") != "pixel":
        raise UsageError(
            f"{name} has the domain {box['domain']!r}. Use 'pixel', or none for parts of the size"
        )
    try:
        plain: dict[str, Any] = {
            "position": {
                key: [float(part) for part in value] if key == "middle" else float(value)
                for key, value in position.items()
            }
        }
        if box.get("class_id") is not None:
            plain["class_id"] = int(box["class_id"])
        if box.get("domain"):
            plain["domain"] = "pixel"
        if box.get("box_caption") is not None:
            plain["box_caption"] = str(box["box_caption"])
        if box.get("scores"):
            plain["scores"] = {str(key): float(value) for key, value in box["scores"].items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{name} is not made of numbers: {error}") from None
    return plain
