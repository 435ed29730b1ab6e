"""What is measured, each in a process of its own: ``python -m benchmarks.child ACT ARGUMENT…``.

Prints one line of JSON: ``seconds`` inside the call, ``peak_mib`` of the whole process, and what else
the act tells.
"""

from __future__ import annotations

import json
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import history_acts, image_acts, remote_acts, version_acts

KEYS = [f"train/metric_{place}" for place in range(10)]


def short_run() -> dict[str, Any]:
    """Start a run, log one row, finish."""
    import artline

    with artline.init(project="bench") as run:
        run.log({"loss": 1.0})
    heavy = [name for name in ("sqlalchemy", "alembic", "numpy", "pyarrow", "fsspec") if name in sys.modules]
    if heavy:
        raise SystemExit(f"a run that only logs imported {', '.join(heavy)}")
    return {}


def short_floor(target: str) -> dict[str, Any]:
    """Write the same as JSON lines."""
    with open(target, "a") as file:
        for record in ({"start": "bench"}, {"loss": 1.0}, {"finish": 0}):
            file.write(json.dumps(record) + "\n")
    return {}


def log(calls: str) -> dict[str, Any]:
    """Log rows of ten scalars in one tight loop."""
    import artline

    run = artline.init(project="bench", id="log")
    return time_calls(int(calls), run.log, run.finish)


def log_floor(calls: str, target: str) -> dict[str, Any]:
    """Pack the same rows as binary records and write them in 64 KiB pieces."""
    import struct

    pack = struct.Struct("<qd10d").pack
    buffer = bytearray()
    with open(target, "wb", buffering=0) as file:

        def call(row: dict[str, float]) -> None:
            buffer.extend(pack(0, 0.0, *row.values()))
            if len(buffer) >= 65536:
                file.write(buffer)
                buffer.clear()

        return time_calls(int(calls), call, lambda: file.write(buffer))


def time_calls(
    count: int, call: Callable[[dict[str, float]], object], finish: Callable[[], object]
) -> dict[str, Any]:
    """Time each call alone, and all of them with their finish (making the rows included: about 1 µs)."""
    took = array("q", bytes(8 * count))
    clock = time.perf_counter_ns
    begun = clock()
    for step in range(count):
        row = {key: step * 0.5 + place for place, key in enumerate(KEYS)}
        before = clock()
        call(row)
        took[step] = clock() - before
    finish()
    whole = clock() - begun
    ordered = sorted(took)
    return {
        "mean_us": sum(ordered) / count / 1000,
        "p50_us": ordered[count // 2] / 1000,
        "p99_us": ordered[count * 99 // 100] / 1000,
        "in_all_us": whole / count / 1000,
    }


def read(calls: str) -> dict[str, Any]:
    """Read one metric back: first with what the journal still holds, then again."""
    import artline

    count = int(calls)
    begun = time.perf_counter()
    run = artline.Api().run("bench/log")
    first = run.history(keys=[KEYS[3]])
    ingested = time.perf_counter() - begun
    begun = time.perf_counter()
    again = artline.Api().run("bench/log").history(keys=[KEYS[3]])
    seconds = time.perf_counter() - begun
    for rows in (first, again):
        if [row[KEYS[3]] for row in rows] != [step * 0.5 + 3 for step in range(count)]:
            raise SystemExit("what was read is not what was logged")
    return {"seconds": seconds, "first_seconds": ingested}


def read_floor(calls: str, source: str) -> dict[str, Any]:
    """Read one column of the binary records."""
    import struct

    begun = time.perf_counter()
    data = Path(source).read_bytes()
    values = [record[5] for record in struct.iter_unpack("<qd10d", data)]
    seconds = time.perf_counter() - begun
    if values != [step * 0.5 + 3 for step in range(int(calls))]:
        raise SystemExit("what was read is not what was written")
    return {"seconds": seconds}


def put(source: str, name: str) -> dict[str, Any]:
    """Log a file or a folder as a version."""
    import artline

    with artline.init(project="bench", job_type="put") as run:
        begun = time.perf_counter()
        artifact = artline.Artifact(name, type="dataset")
        if Path(source).is_dir():
            artifact.add_dir(source)
        else:
            artifact.add_file(source)
        version = run.log_artifact(artifact).version
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "version": version}


def get(name: str, target: str) -> dict[str, Any]:
    """Download a version into a fresh folder."""
    import artline

    artifact = artline.Api().artifact(f"bench/{name}:latest")
    begun = time.perf_counter()
    artifact.download(target)
    return {"seconds": time.perf_counter() - begun}


ACTS: dict[str, Callable[..., dict[str, Any]]] = (
    {act.__name__: act for act in (short_run, short_floor, log, log_floor, read, read_floor, put, get)}
    | version_acts.ACTS
    | history_acts.ACTS
    | image_acts.ACTS
    | remote_acts.ACTS
)


def peak_mib() -> float:
    """Return the most memory this process ever held, in MiB (VmHWM; macOS has only ru_maxrss)."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


if __name__ == "__main__":
    told = ACTS[sys.argv[1]](*sys.argv[2:])
    print(json.dumps({**told, "peak_mib": peak_mib()}))
