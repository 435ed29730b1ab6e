"""Images: in tables and on their own."""

from __future__ import annotations

import io
import os
import posixpath
import struct
import zlib
from typing import TYPE_CHECKING, Any

from artline.errors import EntryNotFoundError, MissingExtraError, SourceNotFoundError, UsageError

if TYPE_CHECKING:
    from artline.artifacts.artifact import Artifact
    from artline.artifacts.manifest import Entry

__all__ = ["IMAGE_FOLDER", "Image"]

IMAGE_FOLDER = "media/images"

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}
_SUFFIXES = (".png", ".jpg", ".gif", ".bmp", ".tif", ".webp")


class Image:
    """An image with a caption.

    Made of a path (kept byte by byte), the encoded bytes of an image file, a PIL image, or an array: height
    × width, or height × width × channels (1 gray, 2 gray and alpha, 3 RGB, 4 RGBA). Integers are 0 to 255,
    booleans black and white, floats 0 to 1 (0 to 255 when any is above 1); what lies outside is clipped.
    Arrays and PIL images become PNG, without loss.
    """

    def __init__(self, data_or_path: Any, caption: str = "", mode: str | None = None) -> None:
        self.caption = caption
        self.data = _encoded(data_or_path, mode)
        self.suffix = _suffix(self.data)

    def __repr__(self) -> str:
        return f"<Image {self.suffix[1:]} {len(self.data)} bytes{' ' + self.caption if self.caption else ''}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and other.data == self.data

    def __hash__(self) -> int:
        return hash(self.data)

    def to_pil(self) -> Any:
        """Return the image as a PIL image; raises MissingExtraError without Pillow."""
        try:
            from PIL import Image as Pillow
        except ImportError as error:
            raise MissingExtraError("reading images needs Pillow. Install it: pip install pillow") from error
        return Pillow.open(io.BytesIO(self.data))

    def to_numpy(self) -> Any:
        """Return the image as an array, height × width (× channels), of 8-bit integers."""
        import numpy as np

        return np.asarray(self.to_pil())

    def add_to_artifact(self, artifact: Artifact, name: str, *, overwrite: bool = False) -> Entry:
        """Store the image under ``name``, with the suffix of its format if it has none of them."""
        path = name if name.lower().endswith((*_SUFFIXES, ".jpeg", ".tiff")) else name + self.suffix
        return artifact.add_stream(io.BytesIO(self.data), path, overwrite=overwrite)

    def add_by_content(self, artifact: Artifact, folder: str) -> str:
        """Store the image in ``folder`` under its digest and return its path; the same image once only."""
        digest = artifact.algorithm.hash(self.data).hex()
        path = posixpath.join(folder, IMAGE_FOLDER, digest + self.suffix)
        if path not in artifact:
            artifact.add_stream(io.BytesIO(self.data), path)
        return path

    @classmethod
    def from_artifact(cls, artifact: Artifact, name: str) -> Image | None:
        """Return the image stored under ``name``, with or without its suffix; None without one."""
        for path in (name, *(name + suffix for suffix in _SUFFIXES)):
            if not path.lower().endswith((*_SUFFIXES, ".jpeg", ".tiff")):
                continue
            try:
                with artifact.open(path) as stream:
                    return cls(stream.read())
            except EntryNotFoundError:
                continue
        return None


def _encoded(source: Any, mode: str | None) -> bytes:
    if isinstance(source, Image):
        return source.data
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str | os.PathLike):
        try:
            with open(source, "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            raise SourceNotFoundError(f"image '{os.fspath(source)}' does not exist. Check the path") from None
    if hasattr(source, "save") and hasattr(source, "mode"):
        return _encode_pil(source if mode is None else source.convert(mode))
    if hasattr(source, "__array__"):
        encoded = _encode_array(source)
        return encoded if mode is None else _encode_pil(Image(encoded).to_pil().convert(mode))
    raise UsageError(
        f"cannot make an image of a {type(source).__name__}. Pass a path, an array or a PIL image"
    )


def _encode_pil(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _encode_array(source: Any) -> bytes:
    """Write an array as PNG (https://www.w3.org/TR/png-3/), without any image library."""
    import numpy as np

    pixels = np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4 or 0 in pixels.shape:
        raise UsageError(
            f"cannot make an image of an array of shape {pixels.shape}. Pass height × width or "
            "height × width × channels, with 1 to 4 channels"
        )
    if pixels.dtype == bool:
        pixels = pixels * np.uint8(255)
    elif pixels.dtype.kind == "f":
        pixels = np.nan_to_num(pixels)
        scale = 1.0 if pixels.max() > 1 else 255.0
        pixels = np.rint(pixels * scale).clip(0, 255).astype(np.uint8)
    elif pixels.dtype.kind in "iu":
        pixels = pixels.clip(0, 255).astype(np.uint8)
    else:
        raise UsageError(f"cannot make an image of an array of {pixels.dtype}. Pass numbers")
    height, width, channels = pixels.shape
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # each line begins with its filter, 0: none
    lines[:, 1:] = pixels.reshape(height, width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    blocks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
        for tag, body in blocks
    )


def _suffix(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    for signature, suffix in _SIGNATURES.items():
        if data.startswith(signature):
            return suffix
    raise UsageError("the data is not an image in PNG, JPEG, GIF, BMP, TIFF or WebP format")
