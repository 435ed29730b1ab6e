"""Read TensorBoard's event files: TFRecord frames around protocol buffers of the message ``Event``.

Only what a run can keep is read: scalars, histograms, images, texts and hyperparameters, in the messages'
first form and in the later one of tensors with a plugin's name. The field numbers are those of event.proto,
summary.proto, tensor.proto and the hparams plugin's plugin_data.proto.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["EventFile", "Spread", "Step", "masked_crc32c"]

LARGEST_RECORD = 1 << 30
BLOCK = 1 << 20
_MOST_BINS = 512
_MASK = 0xA282EAD8
_NUMBERS = {1: "<f", 2: "<d", 3: "<i", 4: "<B", 5: "<h", 6: "<b", 9: "<q", 10: "<?", 17: "<H", 19: "<e"}
_NUMBERS |= {22: "<I", 23: "<Q"}
_STRING = 7


@dataclass(frozen=True, slots=True)
class Spread:
    """A histogram: counts, and the edges between them."""

    counts: list[float]
    edges: list[float]


@dataclass(frozen=True, slots=True)
class Step:
    """What one event says: values by tag, hyperparameters, and the kinds of what was left out by tag.

    A value is a float, a text, a list of texts, a ``Spread``, or the bytes of an image file, or several.
    """

    step: int
    time: float
    values: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


class EventFile:
    """One event file that may still be written. ``read`` gives what is new since it was last called.

    A record whose end is not written yet is left for the next time. The checksums of the frames' lengths
    are verified; where one is wrong ``broken`` says where, and the rest of the file is not read. ``frames``
    counts what was read. Not thread-safe.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = ""
        self.frames = 0
        self._offset = 0
        self._plugins: dict[str, str] = {}

    def read(self) -> Iterator[Step]:
        """Yield the events that were completed since. Raises OSError."""
        with open(self.path, "rb") as stream:
            stream.seek(self._offset)
            waiting = b""
            while not self.broken:
                block = stream.read(BLOCK)
                if not block:
                    return
                waiting += block
                start = 0
                while (end := self._frame(waiting, start)) is not None:
                    event = memoryview(waiting)[start + 12 : end - 4]
                    self._offset += end - start
                    self.frames += 1
                    start = end
                    yield from self._event(event)
                waiting = waiting[start:]

    def _frame(self, data: bytes, start: int) -> int | None:
        """Return where the frame that begins at ``start`` ends; None when it is not all there."""
        if len(data) - start < 12:
            return None
        size, check = struct.unpack_from("<QI", data, start)
        if size > LARGEST_RECORD or check != masked_crc32c(data[start : start + 8]):
            self.broken = f"no record begins at byte {self._offset} of '{self.path}'"
            return None
        end = start + 16 + int(size)
        return end if end <= len(data) else None

    def _event(self, data: memoryview) -> Iterator[Step]:
        try:
            found = self._parse(data)
        except (AttributeError, IndexError, struct.error, TypeError, ValueError):  # it holds no Event
            return
        if found is not None:
            yield found

    def _parse(self, data: memoryview) -> Step | None:
        at, number, summaries = 0.0, 0, []
        for key, value in _fields(data):
            if key == 1:
                (at,) = struct.unpack("<d", value)
            elif key == 2:
                number = _signed(value)
            elif key == 5:
                summaries.append(value)
        if not summaries:
            return None
        step = Step(number, at)
        for summary in summaries:
            for key, value in _fields(summary):
                if key == 1:
                    self._value(step, value)
        return step

    def _value(self, step: Step, data: memoryview) -> None:
        tag, parts, plugin, content = "", {}, "", b""
        for key, value in _fields(data):
            if key == 1:
                tag = _text(value)
            elif key == 9:
                plugin, content = _metadata(value)
            else:
                parts[key] = value
        if plugin:
            self._plugins[tag] = plugin
        plugin = self._plugins.get(tag, "")
        if plugin == "hparams":
            step.config.update(_hyperparameters(content))
        elif 2 in parts:
            (step.values[tag],) = struct.unpack("<f", parts[2])
        elif 4 in parts:
            step.values[tag] = _last(parts[4], 4)
        elif 5 in parts:
            found = _histogram(parts[5])
            if found is not None:
                step.values[tag] = found
        elif 8 in parts and plugin in ("", "scalars", "text", "images", "histograms"):
            self._tensor(step, tag, plugin, parts[8])
        elif 6 in parts or plugin:
            step.skipped[tag] = plugin or "audio"

    def _tensor(self, step: Step, tag: str, plugin: str, data: memoryview) -> None:
        kind, items = _tensor(data)
        if kind == _STRING:
            if plugin == "images":  # width and height come first
                images = [item.tobytes() for item in items[2:]]
                step.values[tag] = images[0] if len(images) == 1 else images
            else:
                texts = [_text(item) for item in items]
                step.values[tag] = texts[0] if len(texts) == 1 else texts
        elif plugin == "histograms":
            found = _triples(items)
            if found is not None:
                step.values[tag] = found
        elif len(items) == 1:
            step.values[tag] = items[0]
        elif items:
            step.skipped[tag] = "tensor"


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield the fields of a message: integers for varints, memoryviews for everything else."""
    place, end = 0, len(data)
    while place < end:
        head, place = _varint(data, place)
        wire = head & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield head >> 3, value
            continue
        if wire == 2:
            size, place = _varint(data, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if place + size > end:
            raise ValueError("a field is longer than its message")
        yield head >> 3, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(value: memoryview) -> str:
    return value.tobytes().decode("utf-8", "replace")


def _last(data: memoryview, wanted: int) -> bytes:
    found = b""
    for key, value in _fields(data):
        if key == wanted:
            found = value.tobytes()
    return found


def _metadata(data: memoryview) -> tuple[str, bytes]:
    """Return the plugin's name and content of a SummaryMetadata."""
    name, content = "", b""
    for key, value in _fields(data):
        if key == 1:
            for inner, part in _fields(value):
                if inner == 1:
                    name = _text(part)
                elif inner == 2:
                    content = part.tobytes()
    return name, content


def _doubles(value: Any) -> list[float]:
    return [number for (number,) in struct.iter_unpack("<d", value)]


def _histogram(data: memoryview) -> Spread | None:
    """Return a HistogramProto: right edges and counts, with the least and greatest value."""
    low = high = 0.0
    limits: list[float] = []
    counts: list[float] = []
    for key, value in _fields(data):
        if key == 1:
            (low,) = struct.unpack("<d", value)
        elif key == 2:
            (high,) = struct.unpack("<d", value)
        elif key == 6:
            limits += _doubles(value)
        elif key == 7:
            counts += _doubles(value)
    if not counts or len(limits) != len(counts):
        return None
    while len(counts) > 1 and not counts[0] and limits[0] <= low:  # an empty one that only bounds the next
        counts, limits = counts[1:], limits[1:]
    return _spread(counts, [low, *(max(low, min(limit, high)) for limit in limits)])


def _triples(items: list[Any]) -> Spread | None:
    """Return the later form: rows of left edge, right edge and count."""
    if not items or len(items) % 3:
        return None
    return _spread(items[2::3], [items[0], *items[1::3]])


def _spread(counts: list[float], edges: list[float]) -> Spread:
    while len(counts) > _MOST_BINS:
        if len(counts) % 2:
            counts, edges = [*counts, 0.0], [*edges, edges[-1]]
        counts = [one + other for one, other in zip(counts[::2], counts[1::2], strict=True)]
        edges = edges[::2]
    return Spread([int(count) if count == int(count) else count for count in counts], edges)


def _tensor(data: memoryview) -> tuple[int, list[Any]]:
    """Return a TensorProto's type and its items, one after the other."""
    kind, content, size = 0, b"", 1
    typed: list[Any] = []
    for key, value in _fields(data):
        if key == 1:
            kind = value
        elif key == 2:
            size = _size(value)
        elif key == 4:
            content = value.tobytes()
        elif key == 5:
            typed += [number for (number,) in struct.iter_unpack("<f", value)]
        elif key == 6:
            typed += _doubles(value)
        elif key in (7, 10, 11):
            typed += [_signed(value)] if isinstance(value, int) else _packed(value)
        elif key == 8:
            typed.append(value)
    if content and kind in _NUMBERS:
        typed = [number for (number,) in struct.iter_unpack(_NUMBERS[kind], content)]
    if len(typed) == 1 and 1 < size <= 1 << 20:  # one value stands for all
        typed *= size
    return kind, typed


def _packed(data: memoryview) -> array[int]:
    found, place = array("q"), 0
    while place < len(data):
        value, place = _varint(data, place)
        found.append(_signed(value))
    return found


def _size(data: memoryview) -> int:
    """Return how many items a TensorShapeProto means."""
    size = 1
    for key, value in _fields(data):
        if key == 2:
            size *= next((_signed(part) for inner, part in _fields(value) if inner == 1), 0)
    return size


def _hyperparameters(content: bytes) -> dict[str, Any]:
    """Return the hyperparameters of an HParamsPluginData that tells of a session's start."""
    found: dict[str, Any] = {}
    for key, value in _fields(memoryview(content)):
        if key != 3:
            continue
        for inner, entry in _fields(value):
            if inner != 1:
                continue
            parts = dict(_fields(entry))
            if 1 in parts and 2 in parts:
                found[_text(parts[1])] = _struct_value(parts[2])
    return found


def _struct_value(data: memoryview) -> Any:
    """Return a google.protobuf.Value that is a number, a text or a boolean; None for others."""
    for key, value in _fields(data):
        if key == 2:
            (number,) = struct.unpack("<d", value)
            return int(number) if number.is_integer() and abs(number) < 2**53 else number
        if key == 3:
            return _text(value)
        if key == 4:
            return bool(value)
    return None


def _table() -> list[int]:
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


_TABLE = _table()


def masked_crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes, rotated and shifted as TFRecord does."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF
