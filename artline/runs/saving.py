"""The files of a run in progress: ``save``, ``restore``, and what its script writes into ``run.dir``."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from artline.errors import UsageError
from artline.runs import notices
from artline.runs.records import File

if TYPE_CHECKING:
    from collections.abc import Callable

    from artline.runs.keeper import Keeper
    from artline.runs.recorder import Recorder
    from artline.runs.run import Companion
    from artline.settings import Settings

__all__ = ["RunSaving", "restore_file"]

POLICIES = ("live", "now", "end")
# What Artline writes itself, in this attempt of the run or in one before.
WRITTEN = frozenset({"diff.patch", "diff_upstream.patch", "requirements.txt"})
WRITTEN_BELOW = ("code/", "media/")


class RunSaving:
    """The part of a run that keeps files."""

    _keeper: Keeper | None = None
    _recorded: frozenset[str] = frozenset()
    _patterns: tuple[tuple[str, str], ...] = ()
    _deadline: float = 0.0  # by when, of the monotonic clock, the end of the run is to be over

    if TYPE_CHECKING:
        settings: Settings
        _files: Path
        _recorder: Recorder

        @property
        def id(self) -> str: ...
        @property
        def path(self) -> str: ...
        def attach(self, companion: Companion) -> None: ...
        def after_end(self, action: Callable[[str], None]) -> None: ...
        def _writable(self, what: str) -> bool: ...

    def save(
        self,
        glob_str: str | os.PathLike[str],
        base_path: str | os.PathLike[str] | None = None,
        policy: Literal["live", "now", "end"] = "live",
    ) -> list[str]:
        """Keep files with the run; return where they are in ``run.dir`` (links, if they lie elsewhere).

        ``live`` keeps them up to date while they change, ``now`` as they are now, ``end`` as they are when
        the run ends; the patterns of the first and last go on to find files that come later. Names count
        from ``base_path``; without it, of a relative pattern from the working folder, of an absolute one
        from the folder above the file's. A folder stands for everything in it. It costs the script next to
        nothing: another process reads and stores. Raises UsageError.
        """
        if policy not in POLICIES:
            raise UsageError(f"save: policy must be live, now or end, not {policy!r}")
        given = os.fsdecode(glob_str)
        if "://" in given:
            notices.warn(
                f"save: {given} is a URL and is not kept. Refer to it: Artifact.add_reference('{given}')"
            )
            return []
        if not self._writable("save"):
            return []
        from artline.runs.globs import base_of, find_sources, place_source, snapshot_source

        folder, root = str(self._files), self.settings.root
        base = None if base_path is None else os.path.abspath(os.fsdecode(base_path))
        if base is None and not os.path.isabs(given):
            base = os.getcwd()
        pattern = os.path.abspath(given)
        base = base_of(pattern, base, folder)
        put = snapshot_source if policy == "now" else place_source
        names, places = [], []
        for source in list(find_sources(pattern, base, self._files, root)):
            try:
                places.append(str(put(source, self._files)))
            except OSError as error:
                notices.warn(f"save: {source.path} cannot be kept: {error.strerror or error}")
                continue
            names.append(source.name)
            self._recorder.put(File(source.name, policy))
        if not places:
            later = "" if policy == "now" else " yet; what comes later is kept"
            notices.warn(f"save: nothing matches '{given}'{later}")
        if self._sent_later:
            self._patterns += ((pattern, base),) if policy != "now" else ()
        elif places or policy != "now":
            self._start_keeper().send({"pattern": pattern, "base": base, "policy": policy, "names": names})
        return places

    def restore(
        self,
        name: str,
        run_path: str | None = None,
        replace: bool = False,
        root: str | os.PathLike[str] | None = None,
    ) -> IO[str] | None:
        """Fetch a file of a run, by default of this one as it was before, and open it for reading.

        It is written below ``root`` (default: ``run.dir``); one that is there already is only opened, unless
        ``replace``. ``.name`` of what is returned is its path. None when the run has no such file. Raises
        RunNotFoundError.
        """
        return restore_file(
            name, run_path or self.path, replace, self._files if root is None else root, self.settings
        )

    def keep_file(self, record: File) -> None:
        """Record that a file in ``dir``, which is written and stays as it is, is worth keeping."""
        self._recorded |= {record.path}
        self._recorder.put(record)

    def keep_folder(self) -> None:
        """Once the run has ended, see to it that what its script left in ``dir`` is kept."""
        self.after_end(self._keep_rest)

    @property
    def _sent_later(self) -> bool:
        """Whether the files wait in the folder for ``art sync``, as everything of an offline run does."""
        return bool(self.settings.server) and self.settings.mode == "offline"

    def _keep_rest(self, _: str) -> None:
        if self._sent_later:
            from artline.runs.globs import find_sources, place_source

            for pattern, base in self._patterns:
                for source in find_sources(pattern, base, self._files, self.settings.root):
                    with contextlib.suppress(OSError):
                        place_source(source, self._files)
            return
        keeper = self._keeper
        if keeper is None:
            if not self._has_own_files():
                return  # what Artline wrote itself whoever reads the run first takes into the store
            keeper = self._start_keeper()
        try:
            found = keeper.finish(max(0.0, self._deadline - time.monotonic()))
        except KeyboardInterrupt:
            keeper.close()
            found = None
        if found is None:
            notices.say("files: some are still being stored; that goes on by itself (art sync makes sure)")
            return
        for problem in found["problems"]:
            notices.warn(f"files: {problem}. They are in {self._files} still; art sync tries again")

    def _has_own_files(self) -> bool:
        """Tell whether the folder has files that the script wrote there."""
        for parent, _, names in os.walk(self._files):
            for base in names:
                name = Path(parent, base).relative_to(self._files).as_posix()
                if name not in self._recorded and name not in WRITTEN and not name.startswith(WRITTEN_BELOW):
                    return True
        return False

    def _start_keeper(self) -> Keeper:
        if self._keeper is None:
            from artline.runs.keeper import Keeper

            self._keeper = Keeper(self.settings, self.id, self._files)
            self.attach(self._keeper)
        return self._keeper


def restore_file(
    name: str,
    run_path: str | None,
    replace: bool = False,
    root: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
) -> IO[str] | None:
    """Fetch a file of a run and open it for reading; see ``RunSaving.restore``.

    ``root`` is the working folder if not given. Raises UsageError without a run, RunNotFoundError.
    """
    if not run_path:
        raise UsageError("restore: no run is in progress. Pass run_path='project/run_id'")
    from artline.errors import EntryNotFoundError
    from artline.runs.api import Api

    target = Path("." if root is None else root) / name
    if replace or not target.exists():
        try:
            Api(settings).run(run_path).file(name).download(target.parents[len(Path(name).parts) - 1], True)
        except EntryNotFoundError:
            return None
    return target.open(encoding="utf-8")
