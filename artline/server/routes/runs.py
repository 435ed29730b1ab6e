"""Runs of a team: what they write, and reading, finding and editing them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import anyio.to_thread
import sqlalchemy as sa
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse

from artline.artifacts.schema import project as project_table
from artline.errors import EntryNotFoundError, IntegrityError, RunNotFoundError, UsageError
from artline.runs.alerts import RunAlert
from artline.runs.attributes import clean_text
from artline.runs.charts import Curve
from artline.runs.files import KeptRow, PendingFolder
from artline.runs.history import Metric
from artline.runs.ingest import REFUSED
from artline.runs.intake import mark_writer, take_in
from artline.runs.listing import Page, RunRecord
from artline.runs.output import OutputPiece
from artline.runs.records import HISTORY, SYSTEM, Finish
from artline.runs.remote_store import CurveQuery, FileInfo, KeptNews, RunEdit, RunQuery
from artline.runs.schema import run, run_writer
from artline.runs.sending import Taken, read_batch, unpack_pieces
from artline.runs.writers import RunWriter
from artline.server.directory import Role
from artline.server.routing import Call, Route
from artline.storage.lease import Lease
from artline.storage.wire import encode, from_wire

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["ROUTES"]

_MOST_RUNS = 1000
_MOST_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class GivenUp:
    """How far the journal of a writer goes whose process is gone, and what is wrong with it."""

    offset: int
    damage: str = ""


@dataclass(frozen=True, slots=True)
class WithDeleted:
    """Whether a deleted run is wanted, too."""

    deleted: bool = False


@dataclass(frozen=True, slots=True)
class OfStream:
    """Metrics of one stream, or of all."""

    stream: Literal["history", "system"] | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows of a history: ``keys`` as a JSON list, or all; steps from and up to."""

    keys: str | None = None
    stream: Literal["history", "system"] = "history"
    min_step: int | None = None
    max_step: int | None = None
    page_size: int = 1000


@dataclass(frozen=True, slots=True)
class Output:
    """Output from a cursor on, or the last lines."""

    after: int = 0
    lines: int | None = None


@dataclass(frozen=True, slots=True)
class OfPlace:
    """Of which project, and which run."""

    project: str | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True)
class FileName:
    """Which file of a run."""

    name: str


def find_journal(call: Call) -> Taken:
    with call.team.runs.catalog.read() as conn:
        found = _writer(conn, call.path)
    if found is None:
        raise RunNotFoundError("nothing of this journal was taken in yet")
    return Taken(found.offset, found.seq, found.state)


def take_frames(call: Call) -> Taken:
    """Take frames in, exactly once: the answer says where the journal goes on."""
    store, place = call.team.runs, call.path
    label = "/".join(place[name] for name in ("team", "project", "run", "writer"))
    batch = read_batch(unpack_pieces(call.body), None, label)
    start = batch.start
    if (start.entity, start.project, start.run_id, start.writer) != tuple(
        place[name] for name in ("team", "project", "run", "writer")
    ):
        raise UsageError(f"{label}: the journal says that it is another one's")
    # Frames that a power failure takes back the client still has, until the last of them is here for good.
    durable = any(isinstance(record, Finish) for record in batch.records)
    try:
        with store.catalog.write(durable=durable) as conn:
            elsewhere = take_in(conn, batch)
            state = _writer(conn, place).state
    except REFUSED as error:
        reason = str(getattr(error, "orig", error))[:200]
        raise IntegrityError(f"{label}: the catalog cannot keep what it says: {reason}") from error
    call.state.counts.add("journal_bytes_received", len(call.body))
    return Taken(*(elsewhere or (batch.end, batch.seq)), state)


def give_up(call: Call) -> Taken:
    """Mark a writer crashed whose process its own machine knows to be gone."""
    with call.team.runs.catalog.write() as conn:
        found = _writer(conn, call.path)
        if found is None:
            raise RunNotFoundError("nothing of this journal was taken in yet")
        if found.state == "running":
            values: dict[str, Any] = {"state": "crashed", "ended_at": found.heartbeat_at}
            mark_writer(conn, found.id, call.body.offset, damage=call.body.damage[:500], **values)
            found = _writer(conn, call.path)
    return Taken(found.offset, found.seq, found.state)


def get_run(call: Call) -> RunRecord:
    call.team.settle()
    return _record(call, deleted=call.query.deleted)


def find_runs(call: Call) -> Page:
    call.team.settle()
    query: RunQuery = call.body
    return call.team.runs.find(
        filters=_free(query.filters),
        order=query.order,
        limit=max(1, min(query.limit, _MOST_RUNS)),
        after=query.after,
        deleted=query.deleted,
        **_scope(call),
    )


def count_runs(call: Call) -> int:
    return call.team.runs.count(filters=_free(call.body.filters), **_scope(call))


def edit_run(call: Call) -> RunRecord:
    edit = {name: _free(value) for name, value in asdict(call.body).items()}
    record = call.team.runs.update(call.path["project"], call.path["run"], entity=call.path["team"], **edit)
    call.audit(
        "run.edit", record.path, fields=sorted(name for name, value in edit.items() if value is not None)
    )
    return record


def delete_run(call: Call) -> None:
    call.team.runs.delete(call.path["project"], call.path["run"], entity=call.path["team"])
    call.audit("run.delete", "/".join(call.path.values()))


def undelete_run(call: Call) -> None:
    call.team.runs.undelete(call.path["project"], call.path["run"], entity=call.path["team"])
    call.audit("run.undelete", "/".join(call.path.values()))


def list_metrics(call: Call) -> list[Metric]:
    return call.team.runs.metrics(_record(call), call.query.stream)


def read_curves(call: Call) -> list[Curve]:
    query: CurveQuery = call.body
    if query.stream not in (HISTORY, SYSTEM):
        raise UsageError(f"there is no stream '{query.stream}'. Use history or system")
    return call.team.runs.curves(
        _record(call),
        query.keys,
        x_axis=query.x_axis,
        buckets=max(1, min(query.buckets, _MOST_BUCKETS)),
        low=query.low,
        high=query.high,
        stream=query.stream,
    )


def list_writers(call: Call) -> list[RunWriter]:
    return call.team.runs.writers(_record(call))


def list_alerts(call: Call) -> list[RunAlert]:
    return call.team.runs.alerts(_record(call))


def summary_state(call: Call) -> str:
    return call.team.runs.summary_state(_record(call, deleted=True))


async def read_history(call: Call) -> StreamingResponse:
    """Send the exact rows of a run, each a line of JSON, as they are read."""
    wanted: Rows = call.query
    try:
        keys = None if wanted.keys is None else [str(key) for key in json.loads(wanted.keys)]
    except (ValueError, TypeError) as error:
        raise UsageError(f"keys must be a JSON list of names: {error}") from None
    record = await anyio.to_thread.run_sync(_record, call)

    def lines() -> Iterator[bytes]:
        waiting: list[bytes] = []
        for row in call.team.runs.scan_history(
            record,
            keys,
            stream=wanted.stream,
            page_size=max(1, min(wanted.page_size, 10_000)),
            min_step=wanted.min_step,
            max_step=wanted.max_step,
        ):
            waiting.append(encode(row))
            if len(waiting) >= 500:
                yield b"\n".join([*waiting, b""])
                waiting = []
        if waiting:
            yield b"\n".join([*waiting, b""])

    return StreamingResponse(iterate_in_threadpool(lines()), media_type="application/x-ndjson")


def read_console(call: Call) -> list[OutputPiece]:
    return call.team.runs.output(_record(call), max(0, call.query.after), call.query.lines)


def list_files(call: Call) -> list[FileInfo]:
    return [
        FileInfo(
            file.name,
            file.size,
            file.modified,
            file.policy,
            None if file.blob is None else file.blob.digest,
            None if file.blob is None else file.blob.recipe,
        )
        for file in call.team.runs.files(_record(call))
    ]


def list_kept(call: Call) -> list[KeptRow]:
    return list(call.team.runs.kept_rows(_keyed(call, Role.READ)).values())


def record_kept(call: Call) -> None:
    """Enter files of a run whose content the client stored, once all of it was seen to be there."""
    news: KeptNews = call.body
    key = _keyed(call, Role.WRITE)
    store, content = call.team.runs, call.team.content
    lease = Lease.again(content.catalog, news.lease, held=bool(news.files))
    for file in news.files:
        if file.blob is None or file.path != clean_text(file.path):
            raise UsageError(f"file {file.path!r} has no content, or no name that can be kept")
        if content.missing([file.recipe or file.blob.digest], lease) or content.missing(
            content.chunks(file.blob), lease
        ):
            raise IntegrityError(f"the content of '{file.path}' was never stored here. Send it, then say so")
    store.record_kept(key, news.files, lease, whole=news.whole)


def list_pending(call: Call) -> list[PendingFolder]:
    call.team.settle()
    found = call.team.runs.pending_folders(call.query.project, call.query.run)
    role = call.state.directory.role
    return [row for row in found if role(call.account, call.path["team"], row.project) >= Role.WRITE]


def _keyed(call: Call, role: Role) -> int:
    """Return the number of a run, if the caller may do so much in its project."""
    key = int(call.path["key"])
    query = (
        sa.select(project_table.c.name)
        .join(run, run.c.project_id == project_table.c.id)
        .where(run.c.id == key)
    )
    with call.team.runs.catalog.read() as conn:
        project = conn.execute(query).scalar()
    if project is None:
        raise RunNotFoundError(f"there is no run with the number {key}")
    call.check(project, role)
    return key


async def read_file(call: Call) -> StreamingResponse:
    """Send a file of a run. It is never shown as part of this server's own pages."""
    file, stream = await anyio.to_thread.run_sync(_open_file, call)

    def parts() -> Iterator[bytes]:
        with stream:
            while part := stream.read(1 << 20):
                yield part

    headers = {
        "Content-Length": str(file.size),
        "Content-Disposition": "attachment",
        "Content-Security-Policy": "sandbox",
    }
    return StreamingResponse(iterate_in_threadpool(parts()), 200, headers, "application/octet-stream")


def _open_file(call: Call) -> Any:
    store = call.team.runs
    for file in store.files(_record(call)):
        if file.name == call.query.name:
            return file, store.open_file(file)
    raise EntryNotFoundError(f"run '{call.path['run']}' has no file '{call.query.name}'")


def _record(call: Call, deleted: bool = False) -> RunRecord:
    return call.team.runs.get(
        call.path["project"], call.path["run"], entity=call.path["team"], deleted=deleted
    )


def _scope(call: Call) -> dict[str, Any]:
    return {"project": call.path.get("project"), "entity": call.path["team"]}


def _free(value: Any) -> Any:
    return from_wire(Any, value)


def _writer(conn: sa.Connection, place: dict[str, str]) -> Any:
    query = (
        sa.select(run_writer)
        .join(run, run.c.id == run_writer.c.run_id)
        .join(project_table, project_table.c.id == run.c.project_id)
        .where(
            project_table.c.entity == place["team"],
            project_table.c.name == place["project"],
            run.c.run_id == place["run"],
            run_writer.c.writer == place["writer"],
        )
    )
    return conn.execute(query).one_or_none()


_PROJECT = "/stores/{team}/projects/{project}"
_RUN = f"{_PROJECT}/runs/{{run}}"
_JOURNAL = f"{_RUN}/journals/{{writer}}"
ROUTES = (
    Route("GET", _JOURNAL, find_journal, "Tell how far a journal was taken in.", Role.WRITE, answer=Taken),
    Route(
        "POST", _JOURNAL, take_frames, "Take frames of a journal in.", Role.WRITE, body=bytes, answer=Taken
    ),
    Route(
        "POST",
        f"{_JOURNAL}/crashed",
        give_up,
        "Tell that a writer's process is gone.",
        Role.WRITE,
        body=GivenUp,
        answer=Taken,
    ),
    Route("POST", "/stores/{team}/runs/query", find_runs, "Find runs.", body=RunQuery, answer=Page),
    Route("POST", "/stores/{team}/runs/count", count_runs, "Count runs.", body=RunQuery, answer=int),
    Route("POST", f"{_PROJECT}/runs/query", find_runs, "Find a project's runs.", body=RunQuery, answer=Page),
    Route("POST", f"{_PROJECT}/runs/count", count_runs, "Count a project's runs.", body=RunQuery, answer=int),
    Route("GET", _RUN, get_run, "Return a run.", query=WithDeleted, answer=RunRecord),
    Route("PATCH", _RUN, edit_run, "Change a run.", Role.WRITE, body=RunEdit, answer=RunRecord),
    Route("DELETE", _RUN, delete_run, "Delete a run.", Role.WRITE),
    Route("POST", f"{_RUN}/undelete", undelete_run, "Bring a run back.", Role.WRITE),
    Route("GET", f"{_RUN}/metrics", list_metrics, "List metrics.", query=OfStream, answer=list[Metric]),
    Route(
        "POST",
        f"{_RUN}/curves",
        read_curves,
        "Read metrics for a chart.",
        body=CurveQuery,
        answer=list[Curve],
    ),
    Route("GET", f"{_RUN}/writers", list_writers, "List writers.", answer=list[RunWriter]),
    Route("GET", f"{_RUN}/alerts", list_alerts, "List alerts.", answer=list[RunAlert]),
    Route("GET", f"{_RUN}/summary", summary_state, "Tell how the summary came about.", answer=str),
    Route("GET", f"{_RUN}/history", read_history, "Read rows.", query=Rows, streamed=True, answer=bytes),
    Route("GET", f"{_RUN}/console", read_console, "Read output.", query=Output, answer=list[OutputPiece]),
    Route("GET", "/stores/{team}/kept/{key:int}", list_kept, "List a run's files.", answer=list[KeptRow]),
    Route(
        "PUT",
        "/stores/{team}/kept/{key:int}",
        record_kept,
        "Enter files of a run.",
        Role.WRITE,
        body=KeptNews,
    ),
    Route(
        "GET",
        "/stores/{team}/pending",
        list_pending,
        "List folders of runs that are not here yet.",
        Role.WRITE,
        query=OfPlace,
        answer=list[PendingFolder],
    ),
    Route("GET", f"{_RUN}/files", list_files, "List files.", answer=list[FileInfo]),
    Route("GET", f"{_RUN}/file", read_file, "Read a file.", query=FileName, streamed=True, answer=bytes),
)
