"""Weights & Biases, offline: nothing is sent, artifacts are staged for an upload that never comes."""

# The library is installed in an environment of its own, where mypy does not look.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.child import KEYS, time_calls
from benchmarks.peers.drivers import check, main

BLOCK = 32768
HEADER = struct.Struct("<IHB")


def put(source: str, name: str) -> dict[str, Any]:
    import wandb

    run = wandb.init(project="bench", mode="offline", job_type="put")
    artifact = wandb.Artifact(name, type="dataset")
    if Path(source).is_dir():
        artifact.add_dir(source)
    else:
        artifact.add_file(source)
    run.log_artifact(artifact)
    run.finish()
    wandb.teardown()
    return {}


def log(calls: str) -> dict[str, Any]:
    import wandb

    run = wandb.init(project="bench", mode="offline")
    told = time_calls(int(calls), run.log, run.finish)
    wandb.teardown()
    return told


def short_run() -> dict[str, Any]:
    import wandb

    run = wandb.init(project="bench", mode="offline")
    run.log({"loss": 1.0})
    run.finish()
    wandb.teardown()
    return {}


def read(calls: str) -> dict[str, Any]:
    """Count what the run's own file holds: the offline mode offers no other reader."""
    from wandb.proto.wandb_internal_pb2 import Record

    path = max(Path(os.environ["WANDB_DIR"]).glob("wandb/offline-run-*/run-*.wandb"), key=os.path.getmtime)
    values = []
    for data in records(path.read_bytes()):
        record = Record.FromString(data)
        for item in record.history.item:
            if KEYS[3] in (item.key, *item.nested_key):
                values.append(float(item.value_json))
    return check(values, calls)


def records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a ``.wandb`` file: LevelDB's log format after a header of 7 bytes."""
    position, parts = 7, bytearray()
    while position + HEADER.size <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER.size:
            position += left
            continue
        _, length, kind = HEADER.unpack_from(data, position)
        position += HEADER.size
        parts += data[position : position + length]
        position += length
        if kind in (1, 4):  # whole, or the last piece
            yield bytes(parts)
            parts.clear()


if __name__ == "__main__":
    main(put, log, short_run, read)
