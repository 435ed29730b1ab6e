"""TensorBoardX: event files."""

# The library is installed in an environment of its own, where mypy does not look.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import struct
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.child import KEYS, time_calls
from benchmarks.peers.drivers import check, main

FOLDER = "events"


def log(calls: str) -> dict[str, Any]:
    """Call ``add_scalar`` ten times a row: ``add_scalars`` would open a file for each key."""
    from tensorboardX import SummaryWriter

    steps = count()
    writer = SummaryWriter(FOLDER)

    def call(row: dict[str, float]) -> None:
        step = next(steps)
        for key, value in row.items():
            writer.add_scalar(key, value, step)

    return time_calls(int(calls), call, writer.close)


def short_run() -> dict[str, Any]:
    from tensorboardX import SummaryWriter

    writer = SummaryWriter("short")
    writer.add_scalar("loss", 1.0, 0)
    writer.close()
    return {}


def read(calls: str) -> dict[str, Any]:
    """Read the event files back: records of a length, a checksum, the bytes and a checksum."""
    from tensorboardX.proto.event_pb2 import Event

    values = []
    for path in sorted(Path(FOLDER).glob("events.*")):
        data, position = path.read_bytes(), 0
        while position < len(data):
            (length,) = struct.unpack_from("<Q", data, position)
            event = Event.FromString(data[position + 12 : position + 12 + length])
            values += [value.simple_value for value in event.summary.value if value.tag == KEYS[3]]
            position += 16 + length
    return check(values, calls)


if __name__ == "__main__":
    main(log, short_run, read)
