"""Images: logged, in tables and on their own."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from artline.artifacts.media.annotations import Boxes, Classes, Mask, class_labels
from artline.artifacts.media.base import Content, FileMedia, Sink, Source, read_source
from artline.artifacts.media.image_header import image_size, image_suffix
from artline.artifacts.media.pixels import encode_png, pixels_of
from artline.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    pass

__all__ = ["Image"]

_FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "bmp": "BMP", "gif": "GIF", "webp": "WEBP"}
_MODES = {
    "PNG": ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"),
    "JPEG": ("L", "RGB", "CMYK"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
}
_WITH_ALPHA = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}


class Image(FileMedia):
    """An image with a caption, and with boxes and masks over it.

    Made of a path (kept byte by byte), the encoded bytes of an image file, a PIL image, a matplotlib figure,
    or an array: height × width, or height × width × channels (1 gray, 2 gray and alpha, 3 RGB, 4 RGBA);
    a tensor of torch has its channels first, and a batch of them is laid out as one image. Integers are 0
    to 255, booleans black and white, floats 0 to 1 (0 to 255 when any is above 1); what lies outside is
    clipped. Arrays and PIL images become PNG, without loss, or ``file_type`` (jpg, webp, …: with Pillow). An
    array is copied at once and encoded later, in the background of a run. With ``normalize=False`` floats
    are 0 to 255 in any case.

    A PIL image of a mode that the format has not is converted: CMYK, HSV, LAB and YCbCr to RGB; ``F`` to
    gray as floats above; ``I`` to 16 bits in PNG, clipped to 0 to 65535, and elsewhere to 8 (``I;16``, too).

    ``mode`` converts (``L``, ``RGB``, … as Pillow has them). ``boxes`` and ``masks`` are layers by name, see
    Boxes and Mask; ``classes`` names the classes of all of them. Raises UsageError, SourceNotFoundError,
    MissingExtraError.
    """

    kind = "image"
    record_type = "image-file"
    list_type = "images/separated"
    folder = "images"
    suffixes = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")

    def __init__(
        self,
        data_or_path: Any,
        mode: str | None = None,
        caption: str | None = None,
        grouping: int | None = None,
        classes: Classes | Sequence[Mapping[str, Any]] | None = None,
        boxes: Mapping[str, Any] | None = None,
        masks: Mapping[str, Any] | None = None,
        file_type: str | None = None,
        normalize: bool = True,
    ) -> None:
        content, suffix, self._size = _encode_later(data_or_path, mode, file_type, normalize)
        super().__init__(content, suffix, caption)
        self.grouping = grouping
        self.boxes = {str(name): Boxes(layer, str(name)) for name, layer in (boxes or {}).items()}
        self.masks = {str(name): Mask(layer, str(name)) for name, layer in (masks or {}).items()}
        labels = class_labels(classes)
        layers: list[Boxes | Mask] = [*self.boxes.values(), *self.masks.values()]
        for layer in layers:
            layer.class_labels = {**labels, **layer.class_labels}

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and _layers(self) == _layers(other)

    __hash__ = FileMedia.__hash__

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels, None where the file does not tell (TIFF without Pillow)."""
        if self._size is None:
            self._size = image_size(self.data)
            if self._size is None and self.suffix == ".tif":
                try:
                    self._size = self.to_pil().size
                except (MissingExtraError, OSError):
                    return None
        return self._size

    @property
    def held(self) -> int:
        """The bytes of memory that it takes."""
        return super().held + sum(mask.held for mask in self.masks.values())

    def to_pil(self) -> Any:
        """Return the image as a PIL image; raises MissingExtraError without Pillow."""
        return _pillow("reading images").open(io.BytesIO(self.data))

    @property
    def image(self) -> Any:
        """The image as a PIL image; raises MissingExtraError without Pillow."""
        return self.to_pil()

    def to_numpy(self) -> Any:
        """Return the image as an array, height × width (× channels), of 8-bit integers."""
        import numpy as np

        return np.asarray(self.to_pil())

    def details(self) -> dict[str, Any]:
        """Return what a record says beyond path, digest, size and caption."""
        found: dict[str, Any] = {"format": self.suffix[1:]}
        if self.size is not None:
            found["width"], found["height"] = self.size
        if self.grouping:
            found["grouping"] = self.grouping
        return found

    def layers(self, sink: Sink) -> dict[str, Any]:
        """Keep boxes and masks, and return what a record says of them."""
        layers = {
            name: {key: layer.to_record(sink) for key, layer in getattr(self, name).items()}
            for name in ("boxes", "masks")
        }
        return {name: found for name, found in layers.items() if found}

    def restore(self, record: Mapping[str, Any], source: Source) -> None:
        """Take up what the record told."""
        self._suffix = _suffix(self.data)
        self._size = None
        self.grouping = record.get("grouping")
        self.boxes = {k: Boxes.from_record(v, source) for k, v in (record.get("boxes") or {}).items()}
        self.masks = {k: Mask.from_record(v, source) for k, v in (record.get("masks") or {}).items()}

    @classmethod
    def join_records(cls, records: Sequence[dict[str, Any]]) -> Any:
        """Return what a history says of several images."""
        first = records[0]
        joined: dict[str, Any] = {
            "_type": cls.list_type,
            "format": first["format"],
            **{name: first[name] for name in ("width", "height") if name in first},
            "count": len(records),
            "filenames": [record["path"] for record in records],
        }
        several = {"captions": ("caption", ""), "all_boxes": ("boxes", None), "all_masks": ("masks", None)}
        for name, (key, empty) in several.items():
            if any(key in record for record in records):
                joined[name] = [record.get(key, empty) for record in records]
        return joined

    @classmethod
    def split_record(cls, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what ``join_records`` joined."""
        count = len(record["filenames"])
        nothing = [None] * count
        parts = zip(
            record["filenames"],
            record.get("captions", nothing),
            record.get("all_boxes", nothing),
            record.get("all_masks", nothing),
            strict=True,
        )
        return [
            {"_type": cls.record_type, "path": path, "caption": caption, "boxes": boxes, "masks": masks}
            for path, caption, boxes, masks in parts
        ]


def _layers(image: Any) -> tuple[Any, Any]:
    return image.boxes, image.masks


def _encode_later(
    source: Any, mode: str | None, file_type: str | None, normalize: bool
) -> tuple[Content, str, tuple[int, int] | None]:
    """Return the content, its suffix, and its size as far as it is known without encoding."""
    if file_type is not None and file_type not in _FORMATS:
        raise UsageError(f"file_type {file_type!r} is not known. Use one of: {', '.join(_FORMATS)}")
    if isinstance(source, Image):
        return Content(source.data), source.suffix, source.size
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        return Content(data), _suffix(data), None
    if isinstance(source, str | os.PathLike) or hasattr(source, "read"):
        content, _ = read_source(source, "image")
        data = content.read()
        return Content(data), _suffix(data), None
    drawn = _figure(source)
    if drawn is not None:
        return Content(drawn), ".png", None
    if hasattr(source, "save") and hasattr(source, "mode"):
        image = source.copy() if mode is None else source.convert(mode)
        return _later(image, file_type)
    if hasattr(source, "__array__") or hasattr(source, "detach") or isinstance(source, list):
        pixels = pixels_of(source, normalize)
        if mode is not None or file_type not in (None, "png"):
            drawn_on = _pillow("converting images").fromarray(
                pixels.squeeze(2) if pixels.shape[2] == 1 else pixels
            )
            return _later(drawn_on if mode is None else drawn_on.convert(mode), file_type)
        content = Content(make=lambda: encode_png(pixels), held=pixels.nbytes)
        return content, ".png", (pixels.shape[1], pixels.shape[0])
    raise UsageError(
        f"cannot make an image of a {type(source).__name__}. Pass a path, an array, a PIL image or a figure"
    )


def _later(image: Any, file_type: str | None) -> tuple[Content, str, tuple[int, int] | None]:
    """Return the content that a PIL image of our own will have."""
    name = _FORMATS[file_type or "png"]
    image = _fitting(image, name)

    def make() -> bytes:
        buffer = io.BytesIO()
        try:
            image.save(buffer, format=name)
        except OSError as error:  # of the encoder: no disk is involved
            raise UsageError(f"an image of mode {image.mode} cannot be made {name}: {error}") from error
        return buffer.getvalue()

    held = image.width * image.height * len(image.getbands())
    suffix = ".jpg" if name == "JPEG" else f".{name.lower()}"
    return Content(make=make, held=held), suffix, image.size


def _fitting(image: Any, name: str) -> Any:
    """Return a PIL image in a mode that the format has, as near to its own as can be."""
    if image.mode == "F" or (image.mode.startswith("I") and (name != "PNG" or image.mode != "I;16")):
        import numpy as np

        cells = np.asarray(image)
        if image.mode == "F":
            cells = pixels_of(cells)[:, :, 0]
        elif name == "PNG":
            cells = cells.clip(0, 65535).astype(np.uint16)
        else:
            cells = (cells.clip(0, 65535) >> (8 if cells.max() > 255 else 0)).astype(np.uint8)
        image = _pillow("converting images").fromarray(cells)
    if image.mode in _WITH_ALPHA:
        image = image.convert(_WITH_ALPHA[image.mode])
    if image.mode in _MODES.get(name, _MODES["PNG"]):
        return image
    if image.mode == "LAB":
        from PIL import ImageCms

        screen, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(image, lab, screen, outputMode="RGB")
    return image.convert("RGBA" if image.mode == "LA" and name != "JPEG" else "RGB")


def _figure(source: Any) -> bytes | None:
    """Draw a matplotlib figure (or pyplot's current one, or that of axes) as PNG; None for anything else."""
    if getattr(source, "__name__", "") == "matplotlib.pyplot":
        source = source.gcf()
    elif not hasattr(source, "savefig") and hasattr(source, "get_figure"):
        source = source.get_figure()
    if not hasattr(source, "savefig"):
        return None
    buffer = io.BytesIO()
    source.savefig(buffer, format="png")
    return buffer.getvalue()


def _pillow(what: str) -> Any:
    try:
        from PIL import Image as Pillow
    except ImportError as error:
        raise MissingExtraError(f"{what} needs Pillow. Install it: pip install pillow") from error
    return Pillow


def _suffix(data: bytes) -> str:
    suffix = image_suffix(data)
    if suffix is None:
        raise UsageError("the data is not an image in PNG, JPEG, GIF, BMP, TIFF or WebP format")
    return suffix
