"""Arrays of pixels: brought into one form, and written as PNG without any image library."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from artline.errors import UsageError

__all__ = ["encode_png", "pixels_of"]

COLUMNS = 8  # images in one line of a batch
GAP = 2  # pixels between them


def pixels_of(source: Any, normalize: bool = True) -> Any:
    """Return an array of its own of height × width × channels of 8-bit integers.

    Tensors of torch have their channels first, and a batch of them becomes one image, 8 in a line.
    Floats are 0 to 1 where none is above 1, unless ``normalize`` is False; otherwise 0 to 255.
    Raises UsageError for other shapes and for what is no number.
    """
    import numpy as np

    if hasattr(source, "detach"):
        tensor = source.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":
            tensor = tensor.float()
        pixels = _channels_last(np.asarray(tensor))
    else:
        pixels = np.asarray(source)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4 or 0 in pixels.shape:
        raise UsageError(
            f"cannot make an image of an array of shape {np.shape(source)}. Pass height × width or "
            "height × width × channels, with 1 to 4 channels"
        )
    if pixels.dtype == np.uint8:
        return np.array(pixels, order="C")
    if pixels.dtype == bool:
        return np.multiply(pixels, 255, dtype=np.uint8)
    if pixels.dtype.kind == "f":
        return _whole_numbers(pixels, normalize)
    if pixels.dtype.kind in "iu":
        return pixels.clip(0, 255).astype(np.uint8)
    raise UsageError(f"cannot make an image of an array of {pixels.dtype}. Pass numbers")


def _whole_numbers(pixels: Any, normalize: bool) -> Any:
    import numpy as np

    top = pixels.max()
    if not top < np.inf or not pixels.min() > -np.inf:  # one of them is NaN if any number is
        pixels = np.nan_to_num(pixels)
        top = pixels.max()
    wide = pixels.dtype if pixels.dtype.itemsize > 2 else np.dtype(np.float32)
    scaled = np.multiply(pixels, 1.0 if top > 1 or not normalize else 255.0, dtype=wide)
    np.rint(scaled, out=scaled)
    np.clip(scaled, 0, 255, out=scaled)
    return scaled.astype(np.uint8)


def _channels_last(tensor: Any) -> Any:
    import numpy as np

    if tensor.ndim == 4:
        tensor = _grid(tensor)
    if tensor.ndim == 3 and 1 <= tensor.shape[0] <= 4:
        tensor = np.moveaxis(tensor, 0, -1)
    return tensor


def _grid(batch: Any) -> Any:
    """Lay a batch of images (count × channels × height × width) out as one, black in between."""
    import numpy as np

    count, channels, height, width = batch.shape
    if count <= 1:
        return batch.reshape(batch.shape[1:]) if count else batch
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    whole = np.zeros(
        (channels, rows * (height + GAP) + GAP, columns * (width + GAP) + GAP), dtype=batch.dtype
    )
    for number, image in enumerate(batch):
        top = number // columns * (height + GAP) + GAP
        left = number % columns * (width + GAP) + GAP
        whole[:, top : top + height, left : left + width] = image
    return whole


def encode_png(pixels: Any) -> bytes:
    """Write height × width × channels of 8-bit integers as PNG (https://www.w3.org/TR/png-3/)."""
    import numpy as np

    height, width, channels = pixels.shape
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    # Each line begins with its filter. Sub (1), the difference to the pixel on the left, and runs alone take
    # a fourth of the time of a full search for repetitions, and less space for photographs.
    lines = np.ones((height, 1 + width * channels), np.uint8)
    lines[:, 1:] = pixels.reshape(height, width * channels)
    lines[:, 1 + channels :] -= pixels.reshape(height, width * channels)[:, :-channels]
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    packed = packer.compress(lines.tobytes()) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    blocks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
        for tag, body in blocks
    )
