"""``init``: begin a run, or go on with an earlier one."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from artline.artifacts.refs import check_name
from artline.errors import ConflictError, RunNotFoundError, StoreUnavailableError, UsageError
from artline.runs import current, endings, notices
from artline.runs.config import flatten, nest, replace_leaves
from artline.runs.config_sources import parse_config, read_defaults, read_overrides
from artline.runs.earlier import Earlier, find_earlier, is_in_progress, journal_folder
from artline.runs.host import describe_host, describe_process, in_notebook
from artline.runs.journal import JournalWriter
from artline.runs.names import new_id, new_name
from artline.runs.records import Rewind, Start
from artline.runs.run import Run, check_tags
from artline.runs.sharing import part_of, renamed, shared_name
from artline.settings import Settings, load_settings

if TYPE_CHECKING:
    from artline.runs.moments import Moment, Past

__all__ = ["init"]

RESUME = ("allow", "must", "never", "auto")
REINIT = ("return_previous", "finish_previous", "create_new")
AUTO_FILE = "resume-auto"  # beside a project's runs: the id that resume="auto" goes on with

_live: weakref.WeakSet[Run] = weakref.WeakSet()
_fork_watched = False


def init(
    project: str | None = None,
    *,
    entity: str | None = None,
    name: str | None = None,
    id: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    group: str | None = None,
    job_type: str | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | Any = None,
    config_exclude_keys: Sequence[str] | None = None,
    config_include_keys: Sequence[str] | None = None,
    dir: str | os.PathLike[str] | None = None,
    mode: Literal["online", "offline", "disabled", "shared"] | None = None,
    resume: bool | Literal["allow", "must", "never", "auto"] | None = None,
    resume_from: str | None = None,
    fork_from: str | None = None,
    reinit: bool | Literal["return_previous", "finish_previous", "create_new"] | None = None,
    save_code: bool | None = None,
    sync_tensorboard: bool | None = None,
    allow_val_change: bool | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
) -> Run:
    """Begin a run and make it the one in progress; return it.

    ``config`` is a mapping, an argparse Namespace, absl flags, or the path of a JSON or YAML file; of it
    ``config_exclude_keys`` are left out, or only ``config_include_keys`` are taken. Files named by
    ``ART_CONFIG_PATHS`` say what it leaves open, and ``ART_CONFIG`` and ``--config.key=value`` on the
    command line say otherwise. With ``allow_val_change`` keys that are set may be changed. ``dir`` is the
    folder whose files are kept with the run (default: one under the root). ``resume``: ``allow`` goes on
    with the run of this ``id`` if there is one, ``must`` and ``never`` raise if there is none or one,
    ``auto`` goes on with the project's last run that did not finish and that nobody is writing.
    ``resume_from`` (``id?_step=N``) goes on with a run right after a step: its history beyond counts no
    longer. ``fork_from`` begins a new run whose history up to the step is that run's; it begins with its
    config and summary, too. Only one of the three may be given. While a run
    is open ``reinit`` decides: ``return_previous`` (the default in a script), ``finish_previous`` (all of
    them; True, and the default in a notebook), or ``create_new`` for one beside it that ``artline.log`` and
    its like do not act on. ``sync_tensorboard`` logs what TensorBoard writers write; see tensorboard.patch.

    Everything slow (git, packages, GPUs) is gathered in the background. Raises UsageError,
    InvalidNameError, ConflictError (the id is taken), RunNotFoundError, StoreUnavailableError (the root
    cannot be written).
    """
    resolved = _settings(settings, project, entity, mode, save_code)
    choice = _reinit(reinit)
    previous = [run for run in current.open_runs() if run._pid == os.getpid()]
    if previous and choice == "return_previous":
        notices.warn(
            f"init: run {previous[-1].path} is in progress and is returned. Finish it first, or pass "
            "reinit='finish_previous' or 'create_new'"
        )
        return previous[-1]
    if choice == "finish_previous":
        for run in reversed(previous):
            run.finish()
    values = parse_config(config, config_exclude_keys, config_include_keys)
    values = nest(replace_leaves(flatten(read_defaults()), flatten(values)))
    overrides = read_overrides()
    given = _describe(name, notes, tags, group, job_type)
    moment = _moment(resolved, resume, resume_from, fork_from)
    resuming = _resume(resume or os.environ.get("ART_RESUME")) if moment is None else None
    chosen_id = id or os.environ.get("ART_RUN_ID") or ""
    if moment is not None and resume_from is not None:
        chosen_id = moment.run_id
    if moment is not None and fork_from is not None and moment.path == _path(resolved, chosen_id):
        raise UsageError(f"init: run {moment.path} cannot be forked from itself. Give the fork another id")
    if chosen_id:
        check_name(chosen_id, "run id")
    changeable = in_notebook() if allow_val_change is None else bool(allow_val_change)
    if resolved.mode == "disabled":
        begun: Run = _disabled(resolved, chosen_id, given, values, changeable)
    else:
        past = None
        if moment is not None:
            from artline.runs.moments import find_past

            past = find_past(resolved, moment, fork=fork_from is not None)
        begun = _begin(resolved, chosen_id, given, values, dir, resuming, changeable, past)
    for place, said in overrides:
        begun.config.update_locked(said, place)
    current.enter(begun, beside=choice == "create_new")
    if not begun.disabled:
        if not resolved.quiet:
            verb = "goes on" if begun.resumed else "begins"
            notices.say(
                f"run {begun.name} ({begun.id}) {verb} in project {begun.project}, kept in {resolved.root}"
            )
        _attach(begun)
        if sync_tensorboard:
            from artline.runs.tensorboard import patch

            patch()
    return begun


def _begin(
    settings: Settings,
    run_id: str,
    given: dict[str, Any],
    config: dict[str, Any],
    folder: str | os.PathLike[str] | None,
    resume: str | None,
    allow_val_change: bool,
    past: Past | None,
) -> Run:
    from artline.runs.recorder import Recorder

    runs_folder = settings.root / "runs" / settings.project
    auto = runs_folder / AUTO_FILE
    if resume == "auto" and not run_id:
        run_id = _read_auto(auto)
        if run_id and is_in_progress(settings, run_id):
            notices.say(f"init: run {settings.project}/{run_id} is still in progress; beginning another one")
            run_id = ""
    rewound = past is not None and not past.branch.parent
    earlier = past.earlier if past is not None and rewound else _earlier(settings, run_id, resume)
    origin = past.earlier if past is not None else earlier
    run_id = run_id or new_id()
    attempt = 1 if earlier is None else earlier.attempt + 1
    sharing = settings.mode == "shared"  # every writer of a shared run counts its own steps
    info = _info(settings, given, run_id, earlier)
    files = Path(folder).absolute() if folder is not None else runs_folder / run_id / "files"
    if folder is not None:
        info["dir"] = str(files)
    journals = journal_folder(settings, run_id)
    writer = f"{attempt:04d}-{new_id()}"
    process = describe_process(label=settings.label, decides=settings.update_finish_state)
    start = Start(settings.entity, settings.project, run_id, writer, attempt, time.time(), process, info)
    try:
        files.mkdir(parents=True, exist_ok=True)
        recorder = Recorder(
            _create(journals / f"{writer}.journal"),
            start,
            flush_interval=settings.flush_interval,
            heartbeat_interval=settings.heartbeat_interval,
            strict_steps=settings.strict_steps,
            first_step=origin.next_step if origin is not None and (resume or not sharing) else 0,
            summary=None if origin is None else origin.summary,
        )
        if past is not None:
            if rewound:
                recorder.put(Rewind(past.moment.step))
            recorder.put(past.branch)
    except OSError as error:
        raise StoreUnavailableError(
            f"init: cannot write under {settings.root}: {error.strerror or error}. Free or mount it, or set "
            "ART_HOME to a folder that can be written (mode='disabled' records nothing)"
        ) from error
    known = {**(earlier.info if earlier is not None else {}), **info}
    known.setdefault("name", shared_name(run_id))
    run = Run(
        settings=settings,
        run_id=run_id,
        info=known,
        config=dict(earlier.config) if earlier is not None else {},
        files=files,
        recorder=recorder,
        resumed=earlier is not None,
        changeable=allow_val_change,
    )
    if origin is not None and earlier is None:  # what a fork inherits is its own from here on
        run.config.update(origin.config)
    run.config.update(config, allow_val_change=allow_val_change or origin is not None)
    if resume == "auto":
        _write_auto(auto, run_id)
        run.after_end(lambda state: auto.unlink(missing_ok=True) if state == "finished" else None)
    _watch_forks()
    _live.add(run)
    endings.watch(run)
    return run


def _create(path: Path) -> JournalWriter:
    """Create a journal and its folder; a reader may remove an empty folder between the two."""
    for _ in range(10):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return JournalWriter(path)
    return JournalWriter(path)


def _attach(run: Run) -> None:
    """Start what works beside the run; the console last, so that it ends first and misses nothing."""
    from artline.runs.companions import start_companions

    start_companions(run)


def _disabled(
    settings: Settings, run_id: str, given: dict[str, Any], config: dict[str, Any], changeable: bool
) -> Run:
    from artline.runs.disabled import DisabledRun

    info = {**given, "name": given.get("name") or new_name()}
    return DisabledRun(
        settings=settings,
        run_id=run_id or new_id(),
        info=info,
        config=flatten(config),
        changeable=changeable,
    )


def _settings(
    given: Settings | Mapping[str, Any] | None,
    project: str | None,
    entity: str | None,
    mode: str | None,
    save_code: bool | None,
) -> Settings:
    named = {"project": project, "entity": entity, "mode": mode, "save_code": save_code}
    if given is not None and not isinstance(given, (Settings, Mapping)):
        raise UsageError(f"init: settings takes a dict or artline.Settings, not {type(given).__qualname__}")
    if isinstance(given, Settings):
        changes: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
        resolved = replace(given, **changes)
    else:
        merged = {
            **renamed(given or {}),
            **{key: value for key, value in named.items() if value is not None},
        }
        resolved = load_settings(**merged)
    if resolved.mode not in ("online", "offline", "disabled", "shared"):
        raise UsageError(f"init: mode must be online, offline, disabled or shared, not {resolved.mode!r}")
    check_name(resolved.project, "project")
    check_name(resolved.entity, "entity")
    return part_of(resolved)


def _describe(
    name: str | None, notes: str | None, tags: Sequence[str] | None, group: str | None, job_type: str | None
) -> dict[str, Any]:
    """Return the descriptive fields given as arguments or, failing that, in the environment."""
    environment = os.environ.get
    words = environment("ART_TAGS", "")
    texts = {
        "name": name or environment("ART_NAME"),
        "notes": notes or environment("ART_NOTES"),
        "group": group or environment("ART_RUN_GROUP"),
        "job_type": job_type or environment("ART_JOB_TYPE"),
    }
    found: dict[str, Any] = {key: str(value) for key, value in texts.items() if value is not None}
    if tags is not None:
        found["tags"] = list(check_tags(tags))
    elif words:
        found["tags"] = list(check_tags([word.strip() for word in words.split(",") if word.strip()]))
    return found


def _info(settings: Settings, given: dict[str, Any], run_id: str, earlier: Earlier | None) -> dict[str, Any]:
    """Return the fields of the Start record: what is given, what is told of the host, and defaults."""
    info = {**(describe_host() if settings.primary else {}), "mode": settings.mode, **given}
    if settings.mode == "shared":  # defaults of one writer must not replace what another was given
        if earlier is None and settings.primary:
            info.setdefault("name", shared_name(run_id))
    elif earlier is None:
        info = {"notes": "", "tags": [], "group": "", "job_type": "", **info}
        info.setdefault("name", new_name())
    if earlier is not None and earlier.info.get("preempting"):  # that was the attempt before this one
        info["preempting"] = None
    return info


def _earlier(settings: Settings, run_id: str, resume: str | None) -> Earlier | None:
    """Return the run to go on with, None to begin a new one. Raises when ``resume`` forbids it."""
    path = _path(settings, run_id)
    if not run_id:
        if resume == "must":
            raise UsageError("init: resume='must' needs the id of the run. Pass id=, or set ART_RUN_ID")
        return None
    found = find_earlier(settings, run_id)
    if found is None and resume == "must":
        raise RunNotFoundError(f"init: there is no run {path} to resume. Use resume='allow' to begin it")
    if found is not None and resume not in ("allow", "must", "auto") and settings.mode != "shared":
        raise ConflictError(
            f"init: run {path} exists already. Choose another id, or pass resume='allow' to go on with it"
        )
    if found is not None and found.busy and settings.mode != "shared":
        notices.warn(
            f"init: run {path} is still being written by another process, and both count their own steps. "
            "For several processes in one run: mode='shared'"
        )
    return found


def _path(settings: Settings, run_id: str) -> str:
    return f"{settings.entity}/{settings.project}/{run_id}"


def _moment(settings: Settings, resume: Any, resume_from: str | None, fork_from: str | None) -> Moment | None:
    """Return the moment to go on from, None without one. Raises UsageError for several."""
    if resume_from is None and fork_from is None:
        return None
    from artline.runs.moments import parse_moment

    if resume or (resume_from is not None and fork_from is not None):
        raise UsageError("init: only one of resume, resume_from and fork_from can be given")
    if settings.mode == "shared":
        raise UsageError(
            "init: mode='shared' takes no resume_from or fork_from. Rewind or fork first, in one process"
        )
    if resume_from is None:
        return parse_moment("fork_from", fork_from or "", settings)
    found = parse_moment("resume_from", resume_from, settings)
    if (found.entity, found.project) != (settings.entity, settings.project):
        raise UsageError(
            f"init: resume_from names a run of project '{found.project}', and the project is "
            f"'{settings.project}'. Say project='{found.project}', or use fork_from"
        )
    return found


def _resume(value: bool | str | None) -> str | None:
    if value is None or value is False or value == "":
        return None
    if value is True:
        return "auto"
    if value not in RESUME:
        raise UsageError(f"init: resume must be one of {', '.join(RESUME)}, not {value!r}")
    return value


def _reinit(value: bool | str | None) -> str:
    if value is None or value == "default":
        return "finish_previous" if in_notebook() else "return_previous"
    if value is False:
        return "return_previous"
    if value is True:
        return "finish_previous"
    if value not in REINIT:
        raise UsageError(f"init: reinit must be one of {', '.join(REINIT)}, not {value!r}")
    return value


def _read_auto(file: Path) -> str:
    with contextlib.suppress(OSError):
        found = file.read_text(encoding="utf-8").strip()
        if found:
            return check_name(found, "run id")
    return ""


def _write_auto(file: Path, run_id: str) -> None:
    try:
        file.write_text(run_id + "\n", encoding="utf-8")
    except OSError as error:
        notices.warn(f"init: resume='auto' cannot remember run {run_id} in {file}: {error.strerror or error}")


def _watch_forks() -> None:
    global _fork_watched
    if not _fork_watched:
        _fork_watched = True
        os.register_at_fork(after_in_child=_abandon_all)


def _abandon_all() -> None:
    for run in list(_live):
        run.abandon()
    _live.clear()
