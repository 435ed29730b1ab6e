"""What the first bytes of an image file tell: its format and its size in pixels."""

from __future__ import annotations

import struct

__all__ = ["image_size", "image_suffix"]

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}


def image_suffix(data: bytes) -> str | None:
    """Return the usual suffix of the format (PNG, JPEG, GIF, BMP, TIFF, WebP), None for any other."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for signature, suffix in _SIGNATURES.items() if data.startswith(signature)), None)


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height; None where they are not found (TIFF, damaged files)."""
    try:
        match image_suffix(data):
            case ".png":
                return _pair(">II", data, 16)
            case ".gif":
                return _pair("<HH", data, 6)
            case ".bmp":
                width, height = _pair("<ii", data, 18)
                return width, abs(height)  # negative: stored from the top
            case ".jpg":
                return _jpeg_size(data)
            case ".webp":
                return _webp_size(data)
    except struct.error:
        pass
    return None


def _pair(form: str, data: bytes, at: int) -> tuple[int, int]:
    first, second = struct.unpack_from(form, data, at)
    return first, second


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Find the start-of-frame segment (ITU-T T.81, B.2.2)."""
    at = 2
    while True:
        marker, length = struct.unpack_from(">HH", data, at)
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = _pair(">HH", data, at + 5)
            return width, height
        if marker >> 8 != 0xFF:
            return None
        at += 2 + length


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Read the header of the first chunk (RFC 9649)."""
    match data[12:16]:
        case b"VP8 ":
            width, height = _pair("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            wide, high = data[24:27], data[27:30]
            return int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1
    return None
