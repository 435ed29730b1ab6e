"""Runs and their history as a table in a file: CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from artline.errors import MissingExtraError, SourceNotReadableError
from artline.runs.cells import arrow_type, column_kind, kind_of, typed, unicode_text
from artline.runs.records import HISTORY
from artline.runs.series import match_keys

if TYPE_CHECKING:
    from artline.runs.listing import RunRecord
    from artline.runs.store import RunStore

__all__ = ["FORMATS", "ExportReport", "every_run", "export_history", "export_runs"]

FORMATS = ("csv", "jsonl", "parquet")

_LEADING = ("_run", "_project", "_name", "_step", "_timestamp", "_runtime")
_BATCH = 8192

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written: runs, rows and columns."""

    runs: int
    rows: int
    columns: tuple[str, ...]


def every_run(store: RunStore) -> list[RunRecord]:
    """Return every run of the settings' project, oldest first, with what they have logged until now."""
    project = store.settings.project
    store.ingest(project)
    page = store.find(project, order="created_at", limit=500)
    records = list(page.runs)
    while page.after is not None:
        page = store.find(project, order="created_at", limit=500, after=page.after)
        records += page.runs
    return records


def export_history(
    store: RunStore,
    records: Sequence[RunRecord],
    destination: Path | IO[bytes],
    format: str,
    *,
    keys: Sequence[str] = (),
    stream: str = HISTORY,
) -> ExportReport:
    """Write a row for each logged step of each run, exactly as it was logged; bounded memory.

    ``keys`` are keys or patterns (``train/*``), by default all. Columns: ``_run``, ``_project``, ``_name``,
    ``_step``, ``_timestamp`` (seconds since 1970), ``_runtime`` (seconds), then the keys; a key that a row
    lacks is left empty (CSV), out (JSON lines) or null (Parquet). What is no number or text is JSON text in
    CSV and Parquet; ``artline.runs.cells`` says what Parquet makes of numbers. A file appears complete or
    not at all. Raises NotFoundError for a key that no run has, MissingExtraError for Parquet without pyarrow.
    """
    wanted = {record.key: match_keys(store, record, stream=stream) for record in records}
    if keys:
        chosen = _choose(keys, {key for found in wanted.values() for key in found})
        wanted = {run: [key for key in found if key in chosen] for run, found in wanted.items()}
    columns = (*_LEADING, *sorted({key for found in wanted.values() for key in found}))

    def rows() -> Iterator[Row]:
        for record in records:
            about = {"_run": record.run_id, "_project": record.project, "_name": record.name}
            asked = wanted[record.key]
            if asked:
                for row in store.scan_history(record, asked if keys else None, stream=stream):
                    yield {**about, **row}

    return _write(rows, columns, destination, format, len(records))


def export_runs(records: Sequence[RunRecord], destination: Path | IO[bytes], format: str) -> ExportReport:
    """Write a row for each run: what it is, then its config and summary by dotted key. As above."""
    table = [_run_row(record) for record in records]
    first = list(_run_row_head())
    rest = sorted({key for row in table for key in row} - set(first))
    return _write(lambda: iter(table), (*first, *rest), destination, format, len(records))


def _run_row_head() -> tuple[str, ...]:
    return (
        "run", "project", "name", "state", "group", "job_type", "tags", "created_at", "ended_at", "runtime",
        "exit_code",
    )  # fmt: skip


def _run_row(record: RunRecord) -> Row:
    head = (
        record.run_id, record.project, record.name, record.state, record.group, record.job_type,
        ",".join(record.tags), record.created_at, record.ended_at, record.runtime, record.exit_code,
    )  # fmt: skip
    row = dict(zip(_run_row_head(), head, strict=True))
    row.update({f"config.{key}": value for key, value in record.config.items()})
    row.update({f"summary.{key}": value for key, value in record.summary.items()})
    return row


def _choose(patterns: Sequence[str], known: set[str]) -> set[str]:
    from fnmatch import filter as matching

    from artline.errors import NotFoundError

    chosen: set[str] = set()
    for pattern in patterns:
        found = {pattern} & known or set(matching(sorted(known), pattern))
        if not found:
            raise NotFoundError(
                f"no run has logged anything that matches '{pattern}'. List keys: art metrics RUN"
            )
        chosen |= found
    return chosen


def _write(
    rows: Callable[[], Iterator[Row]],
    columns: tuple[str, ...],
    destination: Path | IO[bytes],
    format: str,
    runs: int,
) -> ExportReport:
    write = {"csv": _write_csv, "jsonl": _write_jsonl, "parquet": _write_parquet}[format]
    if not isinstance(destination, Path):
        return ExportReport(runs, write(rows, columns, destination), columns)
    partial = destination.with_name(f".{destination.name}.{os.getpid()}.partial")
    try:
        try:
            with open(partial, "wb") as file:
                count = write(rows, columns, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, destination)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SourceNotReadableError(f"cannot write '{destination}': {error.strerror or error}") from error
    return ExportReport(runs, count, columns)


def _write_csv(rows: Callable[[], Iterator[Row]], columns: Sequence[str], file: IO[bytes]) -> int:
    import io

    text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows():
        writer.writerow([_cell(row.get(key)) for key in columns])
        count += 1
    text.flush()
    text.detach()
    return count


def _write_jsonl(rows: Callable[[], Iterator[Row]], columns: Sequence[str], file: IO[bytes]) -> int:
    del columns
    count = 0
    for row in rows():
        file.write(
            json.dumps(_strict(row), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
        )
        count += 1
    return count


def _write_parquet(rows: Callable[[], Iterator[Row]], columns: Sequence[str], file: IO[bytes]) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise MissingExtraError(
            "writing Parquet needs pyarrow. Install it: pip install 'artline[table]'"
        ) from None
    kinds: dict[str, set[str]] = {key: set() for key in columns}
    for row in rows():
        for key, value in row.items():
            kinds[key].add(kind_of(value))
    types = {key: column_kind(kinds[key]) for key in columns}
    schema = pa.schema([(unicode_text(key), arrow_type(types[key])) for key in columns])
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        source = rows()
        while batch := list(islice(source, _BATCH)):
            data = [
                pa.array([typed(row.get(key), types[key]) for row in batch], type)
                for key, type in zip(columns, schema.types, strict=True)
            ]
            writer.write_table(pa.table(data, schema=schema))
            count += len(batch)
    return count


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return json.dumps(value, ensure_ascii=False)


def _strict(value: Any) -> Any:
    """Write NaN and infinities as text: JSON has no other form for them."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    return [_strict(item) for item in value] if isinstance(value, list) else value
