"""Sound."""

from __future__ import annotations

import io
import os
import wave
from collections.abc import Mapping, Sequence
from typing import Any

from artline.artifacts.media.base import Content, FileMedia, Source, read_source
from artline.errors import UsageError

__all__ = ["Audio"]


class Audio(FileMedia):
    """A sound with a caption.

    Made of a path or an open file (kept byte by byte: WAV, MP3, FLAC, Ogg, Opus, M4A, AAC), or of an array
    of samples with a ``sample_rate`` in Hertz: floats from -1 to 1, or 16-bit integers; samples, or samples
    × channels. Arrays become WAV of 16 bits; what lies outside is clipped. Raises UsageError,
    SourceNotFoundError.
    """

    kind = "audio"
    record_type = "audio-file"
    list_type = "audio"
    items = "audio"
    folder = "audio"
    suffixes = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac")

    def __init__(self, data_or_path: Any, sample_rate: int | None = None, caption: str | None = None) -> None:
        self.sample_rate = sample_rate
        self._duration: float | None = None
        if isinstance(data_or_path, str | os.PathLike) or hasattr(data_or_path, "read"):
            content, name = read_source(data_or_path, "audio file")
            suffix = self.suffix_of(name) if name else ".wav"
            super().__init__(content, suffix, caption)
            return
        if sample_rate is None or sample_rate <= 0:
            raise UsageError("audio made of an array needs its sample rate. Pass sample_rate, in Hertz")
        samples = _samples(data_or_path)
        self._duration = len(samples) / sample_rate
        content = Content(make=lambda: _encode_wav(samples, int(sample_rate)), held=samples.nbytes)
        super().__init__(content, ".wav", caption)

    @property
    def duration(self) -> float | None:
        """Its length in seconds; None where the format does not tell without a decoder (all but WAV)."""
        if self._duration is None and self.suffix == ".wav":
            try:
                with self.open() as stream, wave.open(stream) as sound:
                    self._duration = sound.getnframes() / sound.getframerate()
                    self.sample_rate = self.sample_rate or sound.getframerate()
            except (wave.Error, EOFError, ZeroDivisionError):
                return None
        return self._duration

    def details(self) -> dict[str, Any]:
        """Return what a record says beyond path, digest, size and caption."""
        found = {"format": self.suffix[1:], "duration": self.duration, "sample_rate": self.sample_rate}
        return {name: value for name, value in found.items() if value is not None}

    def restore(self, record: Mapping[str, Any], source: Source) -> None:
        """Take up what the record told."""
        self.sample_rate, self._duration = record.get("sample_rate"), record.get("duration")

    @classmethod
    def join_records(cls, records: Sequence[dict[str, Any]]) -> Any:
        """Return what a history says of several."""
        joined = super().join_records(records)
        for name, key in (("sampleRates", "sample_rate"), ("durations", "duration")):
            if any(key in record for record in records):
                joined[name] = [record.get(key) for record in records]
        return joined


def _samples(source: Any) -> Any:
    """Return 16-bit integers of our own, samples × channels."""
    import numpy as np

    samples = np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or 0 in samples.shape or samples.dtype.kind not in "fiu":
        raise UsageError(
            f"cannot make audio of an array of {samples.dtype} of shape {samples.shape}. Pass samples, or "
            "samples × channels"
        )
    if samples.shape[1] > 255:
        raise UsageError(
            f"audio of {samples.shape[1]} channels is not possible. Pass samples × channels, in this order"
        )
    if samples.dtype.kind == "f":
        return np.rint(np.nan_to_num(samples).clip(-1, 1) * 32767).astype("<i2")
    return samples.clip(-32768, 32767).astype("<i2")


def _encode_wav(samples: Any, rate: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(samples.shape[1])
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.tobytes())
    return buffer.getvalue()
