"""What a run's journal says: one frozen record per kind of frame.

Records are the border between the process that writes a run and everybody who reads it. Their fields are
plain JSON values, numbers and bytes; the bytes on disk are specified in ``docs/format/v1.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "HISTORY",
    "SYSTEM",
    "Alert",
    "Branch",
    "Config",
    "Console",
    "Define",
    "Edge",
    "File",
    "Finish",
    "Heartbeat",
    "Process",
    "Record",
    "Rewind",
    "Rows",
    "Start",
    "Stream",
    "Summary",
    "Update",
]

Stream = Literal["history", "system"]
HISTORY: Stream = "history"
SYSTEM: Stream = "system"


@dataclass(frozen=True, slots=True)
class Process:
    """Which process writes a journal, precisely enough to tell later whether it still lives.

    ``started`` is the process's start time in clock ticks since boot (field 22 of ``/proc/PID/stat``) on
    Linux, in whole seconds since the epoch elsewhere, and 0 when it could not be read; ``boot_id`` and
    ``pid_namespace`` are empty where the system has none. ``label`` tells processes apart that write one
    run, and the end of one that does not ``decide`` leaves the run's state alone.
    """

    pid: int
    started: int
    boot_id: str
    pid_namespace: str
    host: str
    label: str = ""
    decides: bool = True


@dataclass(frozen=True, slots=True)
class Start:
    """The first record of every journal: whose run this is, and who writes.

    ``attempt`` counts the writers of one run from 1; ``info`` holds the descriptive fields known at once
    (name, notes, tags, group, job_type, program, args, …), which Update records complete or change.
    """

    entity: str
    project: str
    run_id: str
    writer: str
    attempt: int
    time: float
    process: Process
    info: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Update:
    """Later values of the fields that ``Start.info`` holds; a key that is absent did not change."""

    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Config:
    """Config keys that changed: dotted path to JSON value. ``removed`` names paths that went away.

    A mapping is spread over its leaves, so no value here is a non-empty mapping.
    """

    values: dict[str, Any]
    removed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Define:
    """One ``define_metric`` call, as ``artline.runs.definitions.Definition.to_json`` writes it."""

    definition: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one key set, column by column.

    ``types`` has one letter per key: ``d`` float64, ``q`` int64, ``?`` bool, ``j`` JSON text (``str``).
    ``steps``, ``times`` (seconds since the epoch) and each column have one item per row; a reader gets
    ``array.array`` for ``q`` and ``d`` and lists otherwise. ``orders`` numbers the rows of this writer
    and stream from 0 in the order they were logged: frames of different key sets may interleave, so the
    row logged last is the one with the highest order, not the one read last.
    """

    stream: Stream
    keys: tuple[str, ...]
    types: str
    steps: Sequence[int]
    times: Sequence[float]
    columns: Sequence[Sequence[Any]]
    orders: Sequence[int]


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary keys assigned explicitly (dotted path to JSON value), and keys removed explicitly."""

    values: dict[str, Any]
    removed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Console:
    """Raw bytes that the process tree wrote to a stream; a chunk may end inside a line or a character."""

    stream: Literal["stdout", "stderr"]
    time: float
    data: bytes


@dataclass(frozen=True, slots=True)
class File:
    """A file under the run's files folder worth keeping: POSIX path relative to it, and when to keep it."""

    path: str
    policy: Literal["live", "now", "end"]


@dataclass(frozen=True, slots=True)
class Edge:
    """An artifact this run logged (``output``) or used (``input``). Informational: the store keeps edges."""

    role: Literal["input", "output"]
    artifact: str


@dataclass(frozen=True, slots=True)
class Rewind:
    """History that earlier attempts logged beyond ``step`` counts no longer; system metrics stay."""

    step: int


@dataclass(frozen=True, slots=True)
class Branch:
    """The history that a run goes on from, after Rewind its own, else that of ``parent``.

    ``parent`` is ``entity/project/run_id``, empty after Rewind; its rows up to ``step``, of attempts up to
    ``attempt``, are the fork's too. ``last_step`` is the highest step of all that counts (None: there is
    none), ``summary`` the state of its summary as ``SummaryBuilder.to_json`` writes it.
    """

    step: int
    last_step: int | None
    summary: dict[str, Any]
    parent: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Alert:
    """What the run told a person; ``level`` is INFO, WARN or ERROR."""

    title: str
    text: str
    level: str
    time: float


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The writer lived at ``time``."""

    time: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The last record of a journal whose process ended in order. ``runtime`` is in seconds."""

    state: Literal["finished", "failed", "killed"]
    exit_code: int
    time: float
    runtime: float


Record = (
    Start
    | Update
    | Config
    | Define
    | Rows
    | Summary
    | Console
    | File
    | Edge
    | Heartbeat
    | Finish
    | Rewind
    | Branch
    | Alert
)
