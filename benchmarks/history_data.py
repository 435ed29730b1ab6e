"""Histories and runs in bulk, written into a catalog as ingestion writes them, without journals."""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from artline.artifacts.projects import ensure_project
from artline.runs.attributes import write_attributes
from artline.runs.intake import take_in
from artline.runs.journals import Batch
from artline.runs.records import HISTORY, Finish, Process, Rows, Start
from artline.runs.schema import run, run_writer
from artline.runs.store import RunStore
from artline.settings import Settings

__all__ = ["KEYS", "PROJECT", "make_history", "make_runs", "open_store"]

PROJECT = "history"
KEYS = tuple(f"noise_{place}" for place in range(10))
BEGAN = 1_750_000_000.0
PIECE = 12 * 8192  # rows of a transaction
GONE = Process(2**22 + 1, 1, "gone", "gone", "elsewhere")


def open_store(root: Path) -> RunStore:
    """Open the store at a root, by default settings."""
    return RunStore.open(Settings(root=root))


def make_history(store: RunStore, run_id: str, rows: int, *, regular: bool = False, seed: int = 5) -> None:
    """Log rows of ten metrics, about a millisecond apart, of noise or of what training really logs.

    ``noise_3`` has one spike each way: 1000 at a third, -1000 at two thirds.
    """
    source = np.random.default_rng(seed)
    start = Start("local", PROJECT, run_id, f"{run_id}-1", 1, BEGAN, GONE, {})
    records: list[Any] = [start]
    end = BEGAN
    for offset, low in enumerate(range(0, rows, PIECE)):
        count = min(PIECE, rows - low)
        times = end + np.cumsum(0.001 + source.normal(0, 2e-5, count))
        end = float(times[-1])
        columns = [*(_regular(low, count) if regular else _noise(source, low, count, rows))]
        records.append(
            Rows(
                HISTORY,
                KEYS,
                "d" * len(KEYS),
                array("q", range(low, low + count)),
                _array(times),
                columns,
                range(low, low + count),
            )
        )
        if low + count == rows:
            records.append(Finish("finished", 0, end, end - BEGAN))
        with store.catalog.write(durable=False) as conn:
            elsewhere = take_in(conn, Batch(start, offset, offset + 1, offset + 1, records))
        if elsewhere is not None:
            raise SystemExit(f"run {run_id} was there already, up to {elsewhere}")
        records = []
        store.seal([("local", PROJECT, run_id)])


def _noise(source: np.random.Generator, low: int, count: int, rows: int) -> Iterator[array[float]]:
    for place in range(len(KEYS)):
        values = source.standard_normal(count)
        for at, spike in ((rows // 3, 1000.0), (2 * rows // 3, -1000.0)):
            if place == 3 and low <= at < low + count:
                values[at - low] = spike
        yield _array(values)


def _regular(low: int, count: int) -> Iterator[array[float]]:
    """Yield an epoch, a learning rate, counters, an accuracy of 1,000 samples, and losses as float32."""
    at = np.arange(low, low + count, dtype=np.float64)
    source = np.random.default_rng(low)
    yield _array(np.floor(at / 10_000))
    yield _array(1e-3 * 0.5 ** np.floor(at / 100_000))
    yield _array(at * 256)
    yield _array(np.full(count, 32.0))
    yield _array(np.round(source.uniform(0.8, 0.9, count), 3))
    yield _array((source.integers(0, 1000, count)) / 1000)
    for _ in range(4):
        yield _array(np.exp(-at / 1e6).astype(np.float32) + source.normal(0, 0.01, count).astype(np.float32))


def _array(values: Any) -> array[float]:
    found = array("d")
    found.frombytes(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    return found


def make_runs(store: RunStore, count: int, *, project: str = "runs", seed: int = 6) -> None:
    """Add finished runs with ten config and ten summary values each."""
    source = random.Random(seed)
    with store.catalog.write(durable=False) as conn:
        place = ensure_project(conn, "local", project)
    for low in range(0, count, 2000):
        with store.catalog.write(durable=False) as conn:
            for number in range(low, min(count, low + 2000)):
                _make_run(conn, place, number, source)


def _make_run(conn: sa.Connection, project: int, number: int, source: random.Random) -> None:
    began = BEGAN + number
    config = {
        "lr": 10 ** source.uniform(-5, -1),
        "batch": source.choice([16, 32, 64, 128]),
        "model": source.choice(["resnet", "vit", "cnn"]),
        "seed": number,
        **{f"option_{at}": source.randrange(5) for at in range(6)},
    }
    summary = {
        "loss": source.expovariate(1),
        "acc": source.random(),
        "epoch": source.randrange(100),
        **{f"val.metric_{at}": source.gauss(0, 1) for at in range(7)},
    }
    key = conn.execute(
        sa.insert(run)
        .values(
            project_id=project,
            run_id=f"run-{number:06d}",
            attempt=1,
            name=f"run {number}",
            state="finished",
            notes="",
            group_name="",
            job_type="",
            created_at=began,
            started_at=began,
            ended_at=began + 60,
            heartbeat_at=began + 60,
            runtime=60.0,
            exit_code=0,
            last_step=99,
            config=json.dumps(config),
            summary=json.dumps(summary),
            summary_state="",
            definitions="[]",
            info="{}",
            console_bytes=0,
        )
        .returning(run.c.id)
    ).scalar_one()
    conn.execute(
        sa.insert(run_writer).values(
            run_id=key,
            writer="w",
            attempt=1,
            offset=0,
            seq=0,
            state="finished",
            started_at=began,
            heartbeat_at=began + 60,
            runtime=60.0,
            process="{}",
            damage="",
        )
    )
    write_attributes(conn, project, key, {}, config, "config")
    write_attributes(conn, project, key, {}, summary, "summary")
