"""Moving images."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from artline.artifacts.media.base import Content, FileMedia, Source, read_source
from artline.errors import MissingExtraError, UsageError

__all__ = ["Video"]

FRAMES = 4  # frames a second where none are said
_CODECS = {"mp4": "libx264", "webm": "libvpx-vp9", "ogg": "libtheora"}


class Video(FileMedia):
    """A video with a caption.

    Made of a path or an open file (kept byte by byte: GIF, MP4, WebM, Ogg, MOV, MKV), or of an array of
    frames × channels × height × width, or a batch of those, laid out side by side; 1, 3 or 4 channels,
    integers from 0 to 255 or floats from 0 to 1. An array becomes ``format`` with ``fps`` frames a second (4
    if not said): a GIF by Pillow, MP4, WebM or Ogg by the program ffmpeg, where they are installed; an open
    file without a name is of ``format``, too. Raises MissingExtraError where the encoder is missing,
    UsageError, SourceNotFoundError.
    """

    kind = "video"
    record_type = "video-file"
    list_type = "videos"
    items = "videos"
    folder = "videos"
    shared_suffixes = (".gif", ".ogg")
    suffixes = (".gif", ".mp4", ".webm", ".ogg", ".ogv", ".mov", ".mkv")

    def __init__(
        self,
        data_or_path: Any,
        caption: str | None = None,
        fps: int | None = None,
        format: Literal["gif", "mp4", "webm", "ogg"] | None = None,
    ) -> None:
        self._size: tuple[int, int] | None = None
        if format is not None and format not in ("gif", *_CODECS):
            raise UsageError(f"format {format!r} is not known. Use one of: gif, {', '.join(_CODECS)}")
        if isinstance(data_or_path, str | os.PathLike) or hasattr(data_or_path, "read"):
            content, name = read_source(data_or_path, "video file")
            super().__init__(content, self.suffix_of(name or f".{format or 'mp4'}"), caption)
            return
        chosen, rate = format or "gif", fps or FRAMES
        frames = _frames(data_or_path)
        encoder = _encoder(chosen)
        self._size = (frames.shape[2], frames.shape[1])

        def make() -> bytes:
            return (
                _encode_gif(frames, rate) if encoder is None else _encode_film(frames, rate, chosen, encoder)
            )

        super().__init__(Content(make=make, held=frames.nbytes), f".{chosen}", caption)

    def details(self) -> dict[str, Any]:
        """Return what a record says beyond path, digest, size and caption."""
        found: dict[str, Any] = {"format": self.suffix[1:]}
        if self._size is not None:
            found["width"], found["height"] = self._size
        return found

    def restore(self, record: Mapping[str, Any], source: Source) -> None:
        """Take up what the record told."""
        known = "width" in record and "height" in record
        self._size = (record["width"], record["height"]) if known else None


def _frames(source: Any) -> Any:
    """Return frames × height × width × 3 of 8-bit integers of our own."""
    import numpy as np

    frames = np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)
    if frames.ndim == 5:
        frames = np.concatenate(list(frames), axis=3)
    if frames.ndim != 4 or frames.shape[1] not in (1, 3, 4) or 0 in frames.shape:
        raise UsageError(
            f"cannot make a video of an array of shape {np.shape(source)}. Pass frames × channels × height × "
            "width, with 1, 3 or 4 channels"
        )
    if frames.dtype.kind == "f":
        frames = np.rint(np.nan_to_num(frames) * (1.0 if frames.max() > 1 else 255.0))
    elif frames.dtype.kind not in "iub":
        raise UsageError(f"cannot make a video of an array of {frames.dtype}. Pass numbers")
    frames = frames.clip(0, 255).astype(np.uint8)
    if frames.shape[1] == 1:
        frames = frames.repeat(3, axis=1)
    return np.ascontiguousarray(np.moveaxis(frames[:, :3], 1, -1))


def _encoder(chosen: str) -> str | None:
    """Return the program that writes a format, None for Pillow."""
    if chosen == "gif":
        if find_spec("PIL") is None:
            raise MissingExtraError("a GIF of an array needs Pillow. Install it: pip install pillow")
        return None
    program = shutil.which("ffmpeg")
    if program is None and find_spec("imageio_ffmpeg") is not None:
        from imageio_ffmpeg import get_ffmpeg_exe

        program = get_ffmpeg_exe()
    if program is None:
        raise MissingExtraError(
            f"a video of an array as {chosen} needs ffmpeg. Install it: pip install imageio-ffmpeg; or pass "
            "format='gif'"
        )
    return str(program)


def _encode_gif(frames: Any, rate: float) -> bytes:
    from PIL import Image as Pillow

    first, *others = (Pillow.fromarray(frame) for frame in frames)
    buffer = io.BytesIO()
    first.save(buffer, format="GIF", save_all=True, append_images=others, duration=round(1000 / rate), loop=0)
    return buffer.getvalue()


def _encode_film(frames: Any, rate: float, chosen: str, program: str) -> bytes:
    height, width = frames.shape[1:3]
    with tempfile.TemporaryDirectory(prefix="artline-") as folder:
        target = Path(folder, f"film.{chosen}")
        command = [
            program, "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
            "-r", str(rate), "-i", "-", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2",
            "-c:v", _CODECS[chosen], "-pix_fmt", "yuv420p", str(target),
        ]  # fmt: skip
        done = subprocess.run(command, input=frames.tobytes(), capture_output=True, check=False)
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise UsageError(
                f"ffmpeg cannot write the video as {chosen}: {said[-1] if said else 'no reason given'}"
            )
        return target.read_bytes()
