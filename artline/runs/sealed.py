"""Chunks of rows in Parquet files in the bucket: how they are written, and how rows are read from anywhere.

A file holds some consecutive full chunks of one group, with the columns ``_step``, ``_timestamp``,
``_order`` and then the group's keys: any tool that reads Parquet reads it as it lies. The row of a sealed
chunk names the file, the row group, and the rows of it that are the chunk.
"""

from __future__ import annotations

import json
import threading
import uuid
from array import array
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from io import BytesIO, RawIOBase
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from artline.artifacts.schema import project as project_table
from artline.artifacts.sealed_files import FOLDER, FileState
from artline.errors import (
    ArtlineError,
    AuthError,
    IntegrityError,
    MissingExtraError,
    NotFoundError,
    StoreFullError,
)
from artline.runs.blocks import RowBlock
from artline.runs.chunks import chunk_capacity
from artline.runs.columns import (
    BOOL,
    FLOAT,
    INT,
    JSON,
    decode_axis,
    decode_column,
    decode_numbers,
    decode_orders,
    decode_steps,
)
from artline.runs.schema import metric_chunk, metric_file, metric_group, metric_key, run, run_writer
from artline.storage.bucket import LocalBucket, storage_error

if TYPE_CHECKING:
    from artline.storage.bucket import Bucket
    from artline.storage.catalog import Catalog

__all__ = ["SEAL_VALUES", "ChunkFiles", "StoredAxis", "seal_chunks"]

SEAL_VALUES = 1 << 20  # values that one file holds at most, unless a chunk has more: 8 MiB of floats
_GROUP_CHUNKS = 16  # chunks of a row group: streams of 128 KiB compress best, and analytic engines like them
_FEWEST_ROWS = 1024  # a chunk of a wider group has too few to make a good row group
_AXIS = ("_step", "_timestamp", "_order")
_OPEN_FILES = 16
_CACHED_VALUES = 1 << 22  # of row groups read last, of which the next chunk needs other rows

Parts = Mapping[int, tuple[bytes | None, str | None]]
"""By ordinal the payload of a stored chunk's row, or else its location."""


@dataclass(slots=True)
class StoredAxis:
    """The axis of a chunk; times and orders are there when they were asked for."""

    steps: Sequence[int]
    times: Sequence[float]
    source: bytes | Sequence[int]

    @property
    def orders(self) -> Sequence[int]:
        """The order of logging."""
        return decode_orders(self.source) if isinstance(self.source, bytes) else self.source

    def pick(
        self, steps: Collection[int], columns: Sequence[Sequence[Any]]
    ) -> tuple[StoredAxis, list[Sequence[Any]]]:
        """Return the rows of some steps, of this axis and of columns beside it."""
        at = [place for place, step in enumerate(self.steps) if step in steps]
        orders = self.orders
        axis = StoredAxis(
            [self.steps[place] for place in at],
            [self.times[place] for place in at],
            [orders[place] for place in at],
        )
        return axis, [[column[place] for place in at] for column in columns]


class ChunkFiles:
    """Reads chunks of rows, from their payloads or from Parquet files. Thread-safe.

    ``open_bucket`` is called when the first sealed chunk is met, ``name_run`` to tell whose a file is that
    cannot be read.
    """

    def __init__(self, open_bucket: Callable[[], Bucket], name_run: Callable[[str], str]) -> None:
        self._open_bucket = open_bucket
        self._name_run = name_run
        self._bucket: Bucket | None = None
        self._files: OrderedDict[str, Any] = OrderedDict()
        self._columns: OrderedDict[tuple[str, int, int], Sequence[Any]] = OrderedDict()
        self._cached = 0
        self._lock = threading.Lock()

    @property
    def bucket(self) -> Bucket:
        """The bucket that the files lie in."""
        if self._bucket is None:
            self._bucket = self._open_bucket()
        return self._bucket

    def read(
        self, parts: Parts, ordinals: Sequence[int], *, times: bool = True, orders: bool = True
    ) -> tuple[StoredAxis, list[Sequence[Any]]]:
        """Return the axis and some columns of one chunk: arrays of numbers, lists of booleans or JSON.

        Without ``times`` and ``orders`` these need not be read.

        Raises IntegrityError for damage and for a file that is gone, MissingExtraError where a sealed chunk
        is met without pyarrow.
        """
        location = parts[0][1]
        if location is not None:
            return self._read_sealed(location, ordinals, times, orders)
        payloads = {ordinal: payload or b"" for ordinal, (payload, _) in parts.items()}
        axis = payloads[0]
        steps, seconds = decode_axis(axis) if times else (decode_steps(axis), [])
        stored = StoredAxis(steps, seconds, axis)
        columns = [_column(payloads[ordinal]) for ordinal in ordinals]
        if any(len(column) != len(stored.steps) for column in columns):
            raise IntegrityError(f"a metric chunk of {len(stored.steps)} rows holds another number of values")
        return stored, columns

    def _read_sealed(
        self, location: str, ordinals: Sequence[int], times: bool, orders: bool
    ) -> tuple[StoredAxis, list[Sequence[Any]]]:
        name, _, place = location.rpartition("#")
        group, first, count = map(int, place.split(":"))
        places = [ordinal + 2 for ordinal in ordinals]
        wanted = [0, *places, *([1] if times else []), *([2] if orders else [])]
        try:
            with self._lock:
                found = self._read_columns(name, group, wanted)
        except (NotFoundError, FileNotFoundError) as error:
            raise self._lost(name, "it is missing") from error
        except ArtlineError:
            raise
        except OSError as error:
            if error.errno:
                raise storage_error(error, name, self.bucket.url) from error
            raise self._lost(name, str(error)) from error
        except Exception as error:  # whatever Arrow makes of bytes that are no Parquet any more
            raise self._lost(name, str(error) or type(error).__name__) from error
        parts = {at: column[first : first + count] for at, column in found.items()}
        if any(len(column) != count for column in parts.values()):
            raise self._lost(name, f"it has fewer rows than {location} names")
        return StoredAxis(parts[0], parts.get(1, ()), parts.get(2, ())), [parts[at] for at in places]

    def _lost(self, name: str, why: str) -> IntegrityError:
        with self._lock:
            file = self._files.pop(name, None)  # it may be restored
            if file is not None:
                file.close()
        run = self._name_run(name)
        return IntegrityError(
            f"the history of run {run or '(unknown)'} cannot be read: the sealed file {name} in "
            f"{self.bucket.url}: {why.rstrip('.')}. Restore it from a backup of the bucket; art fsck --full "
            "names what else is damaged"
        )

    def _read_columns(self, name: str, group: int, wanted: Sequence[int]) -> dict[int, Sequence[Any]]:
        """Return columns of a row group, and keep them for the next chunk."""
        found: dict[int, Sequence[Any]] = {}
        for at in wanted:
            column = self._columns.get((name, group, at))
            if column is not None:
                found[at] = column
                self._columns.move_to_end((name, group, at))
        missing = sorted(set(wanted) - found.keys())
        if missing:
            table = self._file(name).reader.read_row_groups(
                [group], column_indices=missing, use_threads=False
            )
            for place, at in enumerate(missing):
                column = found[at] = _values(table.column(place))
                self._columns[name, group, at] = column
                self._cached += len(column)
            while self._cached > _CACHED_VALUES and len(self._columns) > len(wanted):
                self._cached -= len(self._columns.popitem(last=False)[1])
        return found

    def _file(self, name: str) -> Any:
        found = self._files.get(name)
        if found is None:
            parquet = _parquet("reading metrics that are sealed as Parquet")
            found = self._files[name] = parquet.ParquetFile(
                self._source(name), pre_buffer=False, page_checksum_verification=True
            )
            if len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(name)
        return found

    def _source(self, name: str) -> Any:
        bucket = self.bucket
        if isinstance(bucket, LocalBucket):
            bucket.size(name)  # one that is gone is named as such
            return bucket.root / name
        return _ObjectFile(bucket, name)


class _ObjectFile(RawIOBase):
    """An object of a bucket as a file that is read from any place."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._name = bucket, name
        self._size = bucket.size(name)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        length = left if size is None or size < 0 else min(size, left)
        data = self._bucket.read(self._name, self._at, length) if length else b""
        self._at += len(data)
        return data


def seal_chunks(
    catalog: Catalog, files: ChunkFiles, runs: Iterable[tuple[str, str, str]] | None = None
) -> int:
    """Move full chunks of large groups into Parquet files; return how many files were written.

    ``runs`` names runs by entity, project and id; by default all. Nothing happens without pyarrow.
    Idempotent, safe to kill and beside other processes: a file has a row before it is put, and the catalog
    turns to it in one transaction; what is left between the two is swept. Raises what the bucket raises.
    """
    due = _find_due(catalog, runs)
    if not due or not _has_pyarrow():
        return 0
    return sum(_seal(catalog, files.bucket, group) for group in due)


@dataclass(frozen=True, slots=True)
class _Due:
    """A group, and the chunks of it that make the next file."""

    id: int
    name: str
    first: int
    end: int
    about: Mapping[str, Any]
    keys: Sequence[str]
    kinds: str


def _find_due(catalog: Catalog, runs: Iterable[tuple[str, str, str]] | None) -> list[_Due]:
    group = metric_group.c
    query = (
        sa.select(
            group.id,
            group.stream,
            group.raised,
            group.sealed,
            project_table.c.entity,
            project_table.c.name,
            run.c.run_id,
            run_writer.c.writer,
            run_writer.c.attempt,
        )
        .join(run, run.c.id == group.run_id)
        .join(run_writer, run_writer.c.id == group.run_writer_id)
        .join(project_table, project_table.c.id == run.c.project_id)
        .where(group.row_count >= _FEWEST_ROWS, group.raised != "[]")
        .order_by(group.id)
    )
    wanted = None if runs is None else set(runs)
    if wanted is not None and len(wanted) <= 500:
        query = query.where(run.c.run_id.in_([run_id for _, _, run_id in wanted]))
    found = []
    with catalog.read() as conn:
        for row in conn.execute(query).all():
            if wanted is not None and (row.entity, row.name, row.run_id) not in wanted:
                continue
            raised = json.loads(row.raised)[0]
            if raised <= row.sealed:
                continue
            table = metric_key.c
            keys = conn.execute(
                sa.select(table.key, table.kind)
                .where(table.metric_group_id == row.id)
                .order_by(table.ordinal)
            ).all()
            capacity = chunk_capacity(len(keys))
            if capacity < _FEWEST_ROWS:
                continue
            several = max(1, SEAL_VALUES // (capacity * len(keys)))
            several -= several % _GROUP_CHUNKS if several > _GROUP_CHUNKS else 0
            about = {
                "run": f"{row.entity}/{row.name}/{row.run_id}",
                "stream": row.stream,
                "writer": row.writer,
                "attempt": row.attempt,
            }
            for first in range(row.sealed, raised - several + 1, several):
                name = f"{FOLDER}{row.name}/{row.run_id}/{row.stream}-{row.id}-{first:06d}"
                found.append(
                    _Due(
                        row.id,
                        name,
                        first,
                        first + several,
                        about,
                        [key for key, _ in keys],
                        "".join(kind for _, kind in keys),
                    )
                )
    return found


def _seal(catalog: Catalog, bucket: Bucket, due: _Due) -> bool:
    from xxhash import xxh3_64_hexdigest

    table = metric_chunk.c
    mine = (table.metric_group_id == due.id, table.level == 0, table.seq >= due.first, table.seq < due.end)
    with catalog.read() as conn:
        rows = conn.execute(
            sa.select(table.seq, table.ordinal, table.payload).where(*mine).order_by(table.seq, table.ordinal)
        ).all()
    if any(row.payload is None for row in rows):
        return False  # another process was quicker
    chunks: dict[int, RowBlock] = {}
    for row in rows:
        chunks.setdefault(row.seq, RowBlock.empty(due.kinds)).take(row.ordinal, row.payload)
    if sorted(chunks) != list(range(due.first, due.end)):
        return False
    data = _encode(due, list(chunks.values()))
    name = f"{due.name}-{xxh3_64_hexdigest(data)}.parquet"
    with catalog.write() as conn:
        if not _is_due(conn, due):
            return False
        conn.execute(
            sa.insert(metric_file).values(
                name=name,
                metric_group_id=due.id,
                size=len(data),
                state=FileState.WRITING,
                created_at=catalog.now(conn),
            )
        )
    try:
        bucket.create(name, data)
    except (AuthError, StoreFullError):  # while a bucket that is away may still take it, and keeps the row
        _drop(catalog, bucket, name)
        raise
    if _turn_to(catalog, due, name, chunks):
        return True
    _drop(catalog, bucket, name)
    return False


def _is_due(conn: sa.Connection, due: _Due) -> bool:
    """Tell whether no other process was quicker and the run is there still, until the transaction ends."""
    query = sa.select(metric_group.c.sealed).where(metric_group.c.id == due.id).with_for_update()
    found: int | None = conn.execute(query).scalar()
    return found == due.first


def _turn_to(catalog: Catalog, due: _Due, name: str, chunks: Mapping[int, RowBlock]) -> bool:
    """Let the rows of chunks name a file instead of their payloads; tell whether they were still as found."""
    table = metric_chunk.c
    with catalog.write() as conn:
        if not _is_due(conn, due):
            return False
        kept = conn.execute(
            sa.update(metric_file)
            .where(metric_file.c.name == name, metric_file.c.state == FileState.WRITING)
            .values(state=FileState.KEPT)
        )
        if not kept.rowcount:
            return False  # a collector took it for a dead process's
        first = count = 0
        for number, (seq, chunk) in enumerate(chunks.items()):
            group, place = divmod(number, _GROUP_CHUNKS)
            first = first + count if place else 0
            count = len(chunk)
            conn.execute(
                sa.update(metric_chunk)
                .where(table.metric_group_id == due.id, table.level == 0, table.seq == seq)
                .values(location=f"{name}#{group}:{first}:{count}", payload=None)
            )
        conn.execute(sa.update(metric_group).where(metric_group.c.id == due.id).values(sealed=due.end))
    return True


def _drop(catalog: Catalog, bucket: Bucket, name: str) -> None:
    """Remove a file that no row of a chunk names and that never will be named."""
    bucket.delete(name)
    with catalog.write() as conn:
        conn.execute(sa.delete(metric_file).where(metric_file.c.name == name))


def _encode(due: _Due, chunks: Sequence[RowBlock]) -> bytes:
    """Return chunks as a Parquet file, some of them to a row group."""
    import pyarrow as pa

    parquet = _parquet("sealing metrics")
    types = {FLOAT: pa.float64(), INT: pa.int64(), BOOL: pa.bool_(), JSON: pa.string()}
    kinds = f"{INT}{FLOAT}{INT}{due.kinds}"
    names = [*_AXIS, *due.keys]
    # With the random id no two files are named alike: a late delete never meets a new file.
    about = {b"artline": json.dumps({**due.about, "kinds": due.kinds, "id": uuid.uuid4().hex}).encode()}
    schema = pa.schema(
        [pa.field(name, types[kind], nullable=False) for name, kind in zip(names, kinds, strict=True)], about
    )
    encodings = {FLOAT: "BYTE_STREAM_SPLIT", INT: "DELTA_BINARY_PACKED"}
    options: dict[str, Any] = {"max_rows_per_page": 1 << 20}
    if "max_rows_per_page" not in signature(parquet.ParquetWriter.__init__).parameters:
        options = {}  # an older pyarrow makes pages as large as they are long
    file = BytesIO()
    with parquet.ParquetWriter(
        file,
        schema,
        compression="zstd",
        compression_level=3,
        use_dictionary=[name for name, kind in zip(names, kinds, strict=True) if kind == JSON],
        column_encoding={
            name: encodings[kind] for name, kind in zip(names, kinds, strict=True) if kind in encodings
        },
        data_page_size=2 << 20,
        write_page_checksum=True,
        **options,
    ) as writer:
        for at in range(0, len(chunks), _GROUP_CHUNKS):
            group = RowBlock.empty(due.kinds)
            for chunk in chunks[at : at + _GROUP_CHUNKS]:
                group.extend(chunk)
            columns = [group.steps, group.times, group.orders, *group.columns]
            arrays = [
                _arrow(pa, types[kind], kind, column) for kind, column in zip(kinds, columns, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema), row_group_size=len(group))
    return file.getvalue()


def _arrow(pa: Any, type: Any, kind: str, values: Any) -> Any:
    if kind in (FLOAT, INT):
        return pa.Array.from_buffers(type, len(values), [None, pa.py_buffer(values)])
    if kind == JSON:
        values = [text if _is_unicode(text) else json.dumps(json.loads(text)) for text in values]
    return pa.array(values, type)


def _is_unicode(text: str) -> bool:
    """Tell whether text has no lone surrogates, which Arrow cannot keep."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _values(column: Any) -> Sequence[Any]:
    """Return an Arrow column without nulls as an array of numbers or a list."""
    codes = {"int64": INT, "double": FLOAT}
    code = codes.get(str(column.type))
    if code is None:
        listed: list[Any] = column.to_pylist()
        return listed
    values = array(code)
    for part in column.chunks:
        data = part.buffers()[1]
        if data is not None:
            values.frombytes(memoryview(data)[8 * part.offset : 8 * (part.offset + len(part))])
    return values


def _column(payload: bytes) -> Sequence[Any]:
    return decode_numbers(payload) if payload[:1] in (b"d", b"q") else decode_column(payload)


def _has_pyarrow() -> bool:
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


def _parquet(what: str) -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingExtraError(f"{what} needs pyarrow. Install it: pip install 'artline[table]'") from None
    return pyarrow.parquet
